// ScheduleDesigner: drag the noise level over time; the curves follow at once, the pictures from the kernel.

import { choice, drawGrid, h, rawAtlas } from "./core.js";

const W = 262, // three beside each other on a projector
  H = 150,
  LEFT = 40,
  FINE = 80;

function chart(title, low, high, curves) {
  const paths = curves.map(([, style]) => h("path", { class: style, fill: "none", "stroke-width": 2.5 }));
  const other = curves.map(([, style]) =>
    h("path", { class: style, fill: "none", "stroke-width": 1.2, opacity: 0.75 }),
  );
  const plot = h(
    "svg",
    { viewBox: `0 -6 ${W + 10} ${H + 26}`, width: W, role: "group", "aria-label": title },
    h("path", { d: `M${LEFT} 0V${H}H${W}`, fill: "none", stroke: "currentColor" }),
    h("text", { x: LEFT - 6, y: 8, "text-anchor": "end" }, high),
    h("text", { x: LEFT - 6, y: H, "text-anchor": "end" }, low),
    h("text", { x: LEFT, y: H + 16 }, "t = 0, picture"),
    h("text", { x: W, y: H + 16, "text-anchor": "end" }, "t = 1, noise"),
    ...other,
    ...paths,
  );
  const keys = curves.map(([name, style]) =>
    h(
      "span",
      { class: "md-key" },
      h(
        "svg",
        { width: 34, height: 10, "aria-hidden": "true" },
        h("path", { d: "M0 5H34", class: style, "stroke-width": 3, fill: "none" }),
      ),
      ` ${name}`,
    ),
  );
  const el = h("figure", {}, h("figcaption", { class: "md-keys" }, ...keys), plot);
  const draw = (which, functions) =>
    functions.forEach((f, i) => which[i].setAttribute("d", f ? pathOf((t) => (f(t) - low) / (high - low)) : ""));
  return { el, plot, draw: (fs) => draw(paths, fs), compare: (fs) => draw(other, fs) };
}
const pathOf = (f) =>
  "M" +
  Array.from({ length: FINE + 1 }, (_, i) => i / FINE)
    .map((t) => `${(LEFT + t * (W - LEFT)).toFixed(1)} ${(H * (1 - Math.min(1, Math.max(0, f(t))))).toFixed(1)}`)
    .join("L");
const between = (values) => (t) => {
  const place = t * (values.length - 1),
    left = Math.min(values.length - 2, Math.floor(place));
  return values[left] + (place - left) * (values[left + 1] - values[left]);
};
const alpha = (level) => (t) => Math.cos((level(t) * Math.PI) / 2);
const sigma = (level) => (t) => Math.sin((level(t) * Math.PI) / 2);
const logsnr = (level) => (t) => 2 * Math.log(Math.max(1e-9, alpha(level)(t)) / Math.max(1e-9, sigma(level)(t)));

function render(box, kernel, model) {
  const { knots: first, levels } = model.get("start"),
    names = Object.keys(levels);
  let knots = [...first],
    beside = "";
  const level = chart("The noise level over time, with points to drag", 0, 1, [["level", "md-one"]]);
  const scales = chart("alpha and sigma over time", 0, 1, [
    ["alpha", "md-one"],
    ["sigma", "md-two"],
  ]);
  const ratio = chart("logsnr over time", -12, 12, [["logsnr", "md-three"]]);
  const canvases = [0, 1].map(() => h("canvas", { role: "img" }));
  const figures = canvases.map((canvas) => h("figure", {}, h("figcaption"), canvas));

  const points = knots.map((_, i) => {
    const fixed = i === 0 || i === knots.length - 1;
    const point = h("circle", {
      r: fixed ? 4 : 9,
      cx: LEFT + (i / (knots.length - 1)) * (W - LEFT),
      fill: fixed ? "currentColor" : "var(--md-accent)",
    });
    if (fixed) return point;
    for (const [key, value] of Object.entries({
      tabindex: 0,
      role: "slider",
      "aria-valuemin": 0,
      "aria-valuemax": 1,
      "aria-orientation": "vertical",
      "aria-label": `Noise level at t = ${(i / (knots.length - 1)).toFixed(1)}`,
      style: "cursor: ns-resize; touch-action: none",
    }))
      point.setAttribute(key, value);
    point.addEventListener("pointerdown", (event) => point.setPointerCapture(event.pointerId));
    point.addEventListener("pointermove", (event) => {
      if (!event.buttons) return;
      const area = level.plot.getBoundingClientRect(),
        unit = area.height / (H + 26);
      move(i, 1 - ((event.clientY - area.top) / unit - 6) / H);
    });
    point.addEventListener("keydown", (event) => {
      const by = {
        ArrowUp: 0.05,
        ArrowRight: 0.05,
        ArrowDown: -0.05,
        ArrowLeft: -0.05,
        PageUp: 0.2,
        PageDown: -0.2,
        Home: -1,
        End: 1,
      }[event.key];
      if (!by) return;
      event.preventDefault();
      move(i, knots[i] + by);
    });
    return point;
  });
  level.plot.append(...points);

  // The curve stays one that rises: a point takes its neighbours along.
  function move(i, value) {
    const to = Math.round(100 * Math.min(1, Math.max(0, value))) / 100;
    knots = knots.map((v, k) =>
      k === 0 || k === knots.length - 1 ? v : k < i ? Math.min(v, to) : k > i ? Math.max(v, to) : to,
    );
    changed();
  }
  function changed() {
    const mine = between(knots),
      other = beside && between(levels[beside]);
    level.draw([mine]);
    scales.draw([alpha(mine), sigma(mine)]);
    ratio.draw([logsnr(mine)]);
    level.compare([other]);
    scales.compare(other ? [alpha(other), sigma(other)] : [null, null]);
    ratio.compare([other && logsnr(other)]);
    points.forEach((point, i) => {
      point.setAttribute("cy", H * (1 - knots[i]));
      if (point.hasAttribute("role")) point.setAttribute("aria-valuenow", knots[i]);
    });
    kernel.ask({ kind: "curve", knots, beside });
  }
  const from = choice("Begin with", ["a straight line", ...names], 0, (i) => {
    const curve = between(i ? levels[names[i - 1]] : [0, 1]);
    knots = knots.map((_, k) => Math.round(100 * curve(k / (knots.length - 1))) / 100);
    knots[0] = 0;
    knots[knots.length - 1] = 1;
    changed();
  });
  const compare = choice("Compare with", ["nothing", ...names], 0, (i) => changed((beside = i ? names[i - 1] : "")));
  box.append(
    from.el,
    compare.el,
    h(
      "p",
      { class: "md-hint" },
      "Drag the points of the first curve, or reach them by Tab and move them with the arrow keys. The thin curves are those of the process to compare with; alpha and sigma are at unit variance.",
    ),
    h("div", { class: "md-panels" }, level.el, scales.el, ratio.el),
    kernel.status,
    ...figures,
  );
  kernel.on((answer, buffers) => {
    if (answer.kind !== "pictures") return;
    const atlas = rawAtlas(buffers[0], answer.picture),
      each = answer.columns * answer.rows;
    figures.forEach((figure, i) => {
      figure.hidden = answer.picture.n <= i * each;
      if (figure.hidden) return;
      const title = i ? `along ${beside}` : "along your curve";
      figure.firstChild.textContent = title;
      drawGrid(canvases[i], atlas, i * each, each, answer.columns);
      canvases[i].style.width = `${canvases[i].width * Math.max(1, Math.floor(620 / canvases[i].width))}px`;
      canvases[i].setAttribute("aria-label", `Pictures ${title}, from no noise to nothing else`);
    });
  });
  changed();
}
