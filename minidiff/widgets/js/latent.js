// LatentMap: a point on a plane of decoded pictures, by dragging or by two sliders, and a walk between two pictures.

import { choice, drawGrid, drawPicture, h, rawAtlas, slider } from "./core.js";

const FINE = 41,
  SIDE = 360;

function render(box, kernel, model) {
  const { reach, lattice, places } = model.get("start");
  const ticks = Array.from({ length: FINE }, (_, i) => ((i / (FINE - 1)) * 2 - 1) * reach),
    names = ticks.map((v) => v.toFixed(2));
  const map = h("canvas", { role: "img", "aria-label": "Decoded pictures over the plane" });
  const marks = h("svg", { viewBox: "0 0 100 100", "aria-hidden": "true" });
  const dot = h("circle", { r: 2.2, fill: "none", stroke: "#ff8c00", "stroke-width": 1.2 });
  const spot = ([right, up]) => ({ cx: 50 + (right / reach) * 50, cy: 50 - (up / reach) * 50 });
  marks.append(...places.map((place) => h("circle", { ...spot(place), r: 0.9, fill: "#00b0ff" })), dot);
  const sheet = h("div", { class: "md-sheet md-map" }, map, marks);
  const picture = h("canvas", { role: "img", "aria-label": "Not decoded yet" });
  const walk = h("canvas", { role: "img", "aria-label": "Not decoded yet" });
  const point = [0, 0],
    ends = [0, 1];
  let steps = null,
    known = null,
    begun = false;

  const ask = () => {
    for (const [key, value] of Object.entries(spot(point))) dot.setAttribute(key, value);
    kernel.ask({ kind: "point", right: point[0], up: point[1] });
  };
  const axes = ["First direction", "Second direction"].map((name, i) =>
    slider(name, names, (FINE - 1) / 2, (k) => ask((point[i] = ticks[k]))),
  );
  const put = (event) => {
    const area = sheet.getBoundingClientRect();
    const shares = [(event.clientX - area.left) / area.width, 1 - (event.clientY - area.top) / area.height];
    shares.forEach((share, i) => {
      const k = Math.round(Math.min(1, Math.max(0, share)) * (FINE - 1));
      point[i] = ticks[k];
      axes[i].set(k);
    });
    ask();
  };
  sheet.addEventListener("pointerdown", (event) => (sheet.setPointerCapture(event.pointerId), put(event)));
  sheet.addEventListener("pointermove", (event) => event.buttons && put(event));

  const numbers = places.map((_, i) => `picture ${i + 1}`);
  const pick = ["Walk from", "to"].map((name, i) =>
    choice(name, numbers, i, (k) => {
      ends[i] = k;
      kernel.ask({ kind: "walk", from: ends[0], to: ends[1] });
    }),
  );
  const along = slider(
    "Along the walk",
    Array.from({ length: 11 }, (_, i) => `${10 * i} %`),
    0,
    show,
  );
  function show(i) {
    if (!steps) return;
    drawGrid(walk, steps, i, 1, 1);
    walk.dataset.frame = i;
    walk.setAttribute("aria-label", `${10 * i} % of the way from ${numbers[ends[0]]} to ${numbers[ends[1]]}`);
    size(walk);
  }
  const size = (canvas) => (canvas.style.width = `${canvas.width * Math.max(1, Math.floor(192 / canvas.width))}px`);
  box.append(
    ...axes.map((a) => a.el),
    kernel.status,
    h(
      "div",
      { class: "md-panels" },
      h("figure", {}, h("figcaption", {}, "the plane: drag the ring; dots are the given pictures"), sheet),
      h("figure", {}, h("figcaption", {}, "decoded there"), picture),
      h("figure", {}, h("figcaption", {}, "decoded on the walk"), walk),
    ),
    ...pick.map((p) => p.el),
    along.el,
  );
  kernel.on((answer, buffers) => {
    if (!answer.picture) return;
    const atlas = rawAtlas(buffers[0], answer.picture);
    if (answer.kind === "map") {
      map.width = lattice * atlas.width;
      map.height = lattice * atlas.height;
      const context = map.getContext("2d");
      for (let i = 0; i < lattice * lattice; i++) {
        drawPicture(context, atlas, i, (i % lattice) * atlas.width, Math.floor(i / lattice) * atlas.height);
      }
      map.style.width = `${SIDE}px`;
    }
    if (answer.kind === "pictures" && !begun) {
      begun = true;
      kernel.ask({ kind: "walk", from: 0, to: 1 });
    }
    if (answer.kind === "walk") {
      steps = atlas;
      show(+along.input.value);
      if (picture.dataset.frame === undefined) ask();
    }
    if (answer.kind === "point") {
      drawGrid(picture, atlas, 0, 1, 1);
      picture.dataset.frame = point.join(" ");
      picture.setAttribute("aria-label", `Decoded at ${point.map((v) => v.toFixed(2)).join(", ")}`);
      size(picture);
    }
  });
  kernel.ask({ kind: "look" });
}
