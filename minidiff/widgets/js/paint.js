// PaintMask: a brush and an eraser over a picture, by pointer or by the arrow keys and the space bar.

import { choice, drawGrid, h, rawAtlas, row, slider } from "./core.js";

const SIDE = 256; // of the painting, in pixels of the page
const DIRECTIONS = { right: [1, 0], left: [-1, 0], down: [0, 1], up: [0, -1] };

function render(box, kernel, model) {
  const start = model.get("start");
  const prompt = h("input", { type: "text", spellcheck: "false", value: start.prompt });
  const seed = h("input", { type: "number", min: 0, max: 2 ** 31 - 1, value: start.seed });
  const asked = () => ({ prompt: prompt.value, seed: Math.max(0, Math.round(+seed.value) || 0) });
  const below = h("canvas"),
    over = h("canvas", { tabindex: 0, role: "application" }),
    result = h("canvas", { role: "img", "aria-label": "Nothing drawn yet" });
  let width = 1,
    height = 1,
    scale = 1,
    mask = new Uint8Array(1),
    undo = [],
    size = 3,
    erase = false,
    at = [0, 0],
    inside = false;

  function paintAll() {
    over.width = width;
    over.height = height;
    const context = over.getContext("2d");
    context.fillStyle = "rgba(255, 140, 0, .65)";
    mask.forEach((on, i) => on && context.fillRect(i % width, Math.floor(i / width), 1, 1));
    if (inside) {
      context.strokeStyle = "#00b0ff";
      context.lineWidth = 0.4;
      const [left, top] = corner();
      context.strokeRect(left + 0.2, top + 0.2, size - 0.4, size - 0.4);
    }
    const share = mask.reduce((sum, on) => sum + on, 0) / mask.length;
    over.setAttribute(
      "aria-label",
      `Painting: arrow keys move the brush, space paints. Column ${at[0] + 1}, row ${at[1] + 1}, ${Math.round(100 * share)} percent painted`,
    );
    over.dataset.painted = mask.reduce((sum, on) => sum + on, 0);
  }
  const corner = () => at.map((v) => v - Math.floor(size / 2));
  function stroke() {
    const [left, top] = corner();
    for (let y = Math.max(0, top); y < Math.min(height, top + size); y++) {
      for (let x = Math.max(0, left); x < Math.min(width, left + size); x++) mask[y * width + x] = erase ? 0 : 1;
    }
    paintAll();
  }
  const keep = () => (undo = [...undo.slice(-49), mask.slice()]);
  const place = (event) => {
    const area = over.getBoundingClientRect();
    at = [
      Math.floor(((event.clientX - area.left) / area.width) * width),
      Math.floor(((event.clientY - area.top) / area.height) * height),
    ];
  };
  over.addEventListener("pointerdown", (event) => {
    over.setPointerCapture(event.pointerId);
    keep();
    place(event);
    stroke();
  });
  over.addEventListener("pointermove", (event) => {
    place(event);
    inside = true;
    if (event.buttons) stroke();
    else paintAll();
  });
  over.addEventListener("focus", () => paintAll((inside = true)));
  for (const leaving of ["blur", "pointerleave"]) over.addEventListener(leaving, () => paintAll((inside = false)));
  over.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (step)
      at = [Math.min(width - 1, Math.max(0, at[0] + step[0])), Math.min(height - 1, Math.max(0, at[1] + step[1]))];
    else if (event.key === "Home") at = [0, 0];
    else if (event.key === "End") at = [width - 1, height - 1];
    else if (event.key === " ") keep();
    else return;
    event.preventDefault();
    inside = true;
    if (event.key === " ") stroke();
    else paintAll();
  });

  const button = (name, act) => h("button", { type: "button", onclick: act }, name);
  const sizes = [1, 2, 3, 5, 7, 9];
  const brush = slider(
    "Size of the brush",
    sizes.map((n) => `${n} pixels`),
    2,
    (i) => (size = sizes[i]),
  );
  const tool = choice("Tool", ["brush", "eraser"], 0, (i) => (erase = i === 1));
  const clear = () => {
    keep();
    mask.fill(0);
    paintAll();
  };
  const back = () => {
    if (undo.length) mask = undo.pop();
    paintAll();
  };
  const beyond = Object.entries(DIRECTIONS).map(([name, [x, y]]) =>
    button(name, () =>
      kernel.ask({ kind: "move", ...asked(), right: Math.round((x * width) / 4), down: Math.round((y * height) / 4) }),
    ),
  );
  const sheet = h("div", { class: "md-sheet" }, below, over);
  box.append(
    row("Prompt", prompt),
    row("Seed", seed),
    tool.el,
    brush.el,
    h(
      "div",
      { class: "md-row" },
      button("Undo", back),
      button("Clear", clear),
      button("Draw what is painted over", () => kernel.ask({ kind: "paint", ...asked() }, [mask.slice().buffer])),
      button("Keep the result", () => kernel.tell({ kind: "keep" })),
    ),
    h(
      "div",
      { class: "md-row", role: "group", "aria-label": "Draw beyond the edge" },
      h("span", { class: "md-name" }, "Beyond the edge"),
      ...beyond,
    ),
    kernel.status,
    h(
      "div",
      { class: "md-panels" },
      h("figure", {}, h("figcaption", {}, "paint here"), sheet),
      h("figure", {}, h("figcaption", {}, "result"), result),
    ),
  );
  kernel.on((answer, buffers) => {
    if (!answer.picture) return;
    const atlas = rawAtlas(buffers[0], answer.picture);
    if (answer.kind === "picture") {
      ({ width, height } = answer.picture);
      scale = Math.max(1, Math.floor(SIDE / width));
      mask = new Uint8Array(width * height);
      undo = [];
      at = [Math.floor(width / 2), Math.floor(height / 2)];
      drawGrid(below, atlas, 0, 1, 1);
      for (const canvas of [below, over]) canvas.style.width = `${width * scale}px`;
      paintAll();
    }
    drawGrid(result, atlas, 0, 1, 1);
    result.style.width = `${width * scale}px`;
    result.dataset.kind = answer.kind;
    result.setAttribute(
      "aria-label",
      { picture: "The picture as it is", guess: "A guess on the way", result: `Drawn: ${prompt.value}` }[answer.kind],
    );
  });
  kernel.ask({ kind: "look" });
}
