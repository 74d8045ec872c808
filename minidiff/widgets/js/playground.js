// Playground: a form, the picture, its steps, what was drawn before, and grids over two settings.

import { choice, drawGrid, h, player, rawAtlas, row, slider } from "./core.js";

const STEPS = [1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50];
const SCALES = [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 12, 15];
const KEPT = 12; // pictures of the history
const CONTROLS = "input, select, button";
const AXES = [
  ["seed", "Seed"],
  ["cfg_scale", "Guidance"],
  ["steps", "Steps"],
  ["sampler", "Sampler"],
];

function render(box, kernel, model) {
  const now = { ...model.get("start") },
    solvers = model.get("samplers");
  const draw = () => kernel.ask({ kind: "draw", ...now });
  const text = (name, key) => {
    const input = h("input", { type: "text", spellcheck: "false", value: now[key] });
    input.addEventListener("change", () => {
      now[key] = input.value;
      draw();
    });
    return { el: row(name, input), set: (value) => (input.value = value) };
  };
  const seed = h("input", { type: "number", min: 0, max: 2 ** 31 - 1, step: 1, value: now.seed });
  const setSeed = (value) => {
    now.seed = Math.min(Math.max(0, Math.round(+value) || 0), 2 ** 31 - 1);
    seed.value = now.seed;
    draw();
  };
  seed.addEventListener("change", () => setSeed(seed.value));
  const next = h("button", { type: "button", onclick: () => setSeed(now.seed + 1) }, "Next seed");
  const among = (name, key, values) => {
    const near = () =>
      values.reduce((best, v, i) => (Math.abs(v - now[key]) < Math.abs(values[best] - now[key]) ? i : best), 0);
    const control = slider(name, values.map(String), near(), (i) => {
      now[key] = values[i];
      draw();
    });
    return { el: control.el, set: () => control.set(near()) };
  };
  const pick = choice("Sampler", solvers, solvers.indexOf(now.sampler), (i) => {
    now.sampler = solvers[i];
    draw();
  });
  const controls = {
    prompt: text("Prompt", "prompt"),
    negative: text("Negative prompt", "negative"),
    seed: { el: row("Seed", seed, next), set: (value) => (seed.value = value) },
    steps: among("Steps", "steps", STEPS),
    cfg_scale: among("Guidance", "cfg_scale", SCALES),
    sampler: { el: pick.el, set: (value) => pick.set(solvers.indexOf(value)) },
  };
  const restore = (settings) => {
    Object.assign(now, settings);
    for (const [key, control] of Object.entries(controls)) control.set(now[key]);
    draw();
  };

  const picture = h("canvas", { role: "img", "aria-label": "Nothing drawn yet", class: "md-picture" });
  const button = h("button", { type: "button", onclick: draw }, "Draw");
  const save = h("button", { type: "button", onclick: () => kernel.ask({ kind: "save", ...now }) }, "Save PNG");
  const walk = h("div"),
    history = h("div", { class: "md-history" }),
    grid = gridMaker(kernel, now, solvers);
  const words = h(
    "details",
    {},
    h("summary", {}, "Words that this model knows"),
    h("p", {}, model.get("vocabulary").join(", ")),
  );
  box.append(
    h(
      "div",
      { class: "md-split" },
      h(
        "div",
        {},
        ...Object.values(controls).map((control) => control.el),
        h("div", { class: "md-row" }, button, save),
        kernel.status,
        words,
      ),
      h("figure", {}, h("figcaption", {}, "picture"), picture),
    ),
    walk,
    h("div", { class: "md-row" }, h("span", { class: "md-name" }, "Drawn before"), history),
    grid.el,
  );

  const show = (about, bytes, last, told) => {
    drawGrid(picture, rawAtlas(bytes, about), last, 1, 1);
    picture.style.width = `${about.width * Math.max(1, Math.floor(240 / about.width))}px`;
    picture.setAttribute("aria-label", told);
  };
  kernel.on((answer, buffers) => {
    if (answer.kind === "quick") show(answer.picture, buffers[0], 0, `A first look at: ${now.prompt}`);
    if (answer.kind === "walk") {
      const { settings, picture: about, times } = answer,
        last = times.length - 1;
      const told = `${settings.prompt}, seed ${settings.seed}`;
      show(about, buffers[1], last, told);
      picture.dataset.steps = settings.steps;
      const place = [...walk.querySelectorAll(CONTROLS)].indexOf(document.activeElement);
      walk.replaceChildren();
      player(
        walk,
        steps(times),
        buffers.map((bytes) => rawAtlas(bytes, about)),
      );
      if (place >= 0) walk.querySelectorAll(CONTROLS)[place].focus(); // who works by keyboard stays where they are
      remember(settings, told);
    }
    if (answer.kind === "png") {
      const address = URL.createObjectURL(new Blob([buffers[0]], { type: "image/png" }));
      h("a", { href: address, download: answer.name }).click();
      URL.revokeObjectURL(address);
    }
    if (answer.kind === "grid") grid.show(answer, buffers[0]);
  });

  function remember(settings, told) {
    const key = JSON.stringify(settings);
    const old = [...history.children].find((each) => each.dataset.key === key);
    const held = old === document.activeElement;
    if (old) old.remove();
    const small = h("canvas", { width: picture.width, height: picture.height, "aria-hidden": "true" });
    small.getContext("2d").drawImage(picture, 0, 0);
    small.style.width = "48px";
    history.prepend(
      h(
        "button",
        { type: "button", "data-key": key, "aria-label": told, title: told, onclick: () => restore(settings) },
        small,
      ),
    );
    if (old && held) history.firstChild.focus();
    while (history.children.length > KEPT) history.lastChild.remove();
  }
  draw();
}

const steps = (times) => ({
  axes: [
    { name: "Step", values: times.map((_, i) => `${i} of ${times.length - 1}`), at: times.length - 1, as: "slider" },
  ],
  panels: [
    { title: "xt, what the sampler holds", atlas: 0, count: 1, columns: 1 },
    { title: "x0, the guess there", atlas: 1, count: 1, columns: 1 },
    { title: "difference, xt - x0", minus: [0, 1] },
  ],
  views: [
    { name: "xt and x0", panels: [0, 1] },
    { name: "xt", panels: [0] },
    { name: "x0", panels: [1] },
    { name: "difference", panels: [2] },
  ],
  texts: times.map((t, i) => `Step ${i} of ${times.length - 1}, t = ${+t.toPrecision(3)}`),
});

// Two settings and their values, as "1, 2, 4"; the answer is a table of pictures.
function gridMaker(kernel, now, solvers) {
  const start = { seed: "0, 1, 2, 3", cfg_scale: "1, 2, 4, 8", steps: "2, 5, 10", sampler: solvers.join(", ") };
  const side = (name, at) => {
    const values = h("input", { type: "text", value: start[AXES[at][0]] });
    const key = choice(
      name,
      AXES.map(([, told]) => told),
      at,
      (i) => (values.value = start[AXES[i][0]]),
    );
    const get = () => {
      const id = AXES[+key.input.value][0];
      const parts = values.value
        .split(",")
        .map((part) => part.trim())
        .filter(Boolean);
      return {
        key: id,
        values: id === "sampler" ? parts : parts.map(id === "cfg_scale" ? Number : (v) => Math.round(Number(v))),
      };
    };
    return { els: [key.el, row(`${name}: values`, values)], get };
  };
  const across = side("Across", 0),
    down = side("Down", 1),
    table = h("div");
  const ask = () => kernel.ask({ kind: "grid", ...now, across: across.get(), down: down.get() });
  const button = h("button", { type: "button", onclick: ask }, "Draw grid");
  const el = h(
    "details",
    {},
    h("summary", {}, "Grid over two settings"),
    ...across.els,
    ...down.els,
    h("div", { class: "md-row" }, button),
    table,
  );
  const named = (axis) => AXES.find(([key]) => key === axis.key)[1];
  function show(answer, bytes) {
    const atlas = rawAtlas(bytes, answer.picture);
    const cell = (i, told) => {
      const canvas = h("canvas", { role: "img", "aria-label": told });
      drawGrid(canvas, atlas, i, 1, 1);
      canvas.style.width = `${atlas.width * Math.max(1, Math.floor(84 / atlas.width))}px`;
      return canvas;
    };
    const head = h(
      "tr",
      {},
      h("td"),
      ...answer.across.values.map((v) => h("th", { scope: "col" }, `${named(answer.across)} ${v}`)),
    );
    const rows = answer.down.values.map((low, y) => {
      const name = `${named(answer.down)} ${low}`;
      const cells = answer.across.values.map((right, x) =>
        h("td", {}, cell(y * answer.across.values.length + x, `${name}, ${named(answer.across)} ${right}`)),
      );
      return h("tr", {}, h("th", { scope: "row" }, name), ...cells);
    });
    table.replaceChildren(h("table", {}, head, ...rows));
  }
  return { el, show };
}
