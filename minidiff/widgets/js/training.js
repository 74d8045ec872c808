// TrainingBoard: the curve of the loss, speed and time left, pictures from fixed seeds, pause and stop.

import { drawGrid, h, rawAtlas, slider } from "./core.js";

const W = 420,
  H = 160,
  LEFT = 46;

const duration = (s) => {
  const [unit, length] = s < 100 ? ["s", 1] : s < 6000 ? ["min", 60] : ["h", 3600];
  return `${Math.ceil(s / length).toLocaleString("en")} ${unit}`;
};

function render(box, kernel) {
  const pause = h("button", { type: "button" }, "Pause"),
    stop = h("button", { type: "button", onclick: () => kernel.tell({ kind: "stop" }) }, "Stop");
  pause.addEventListener("click", () => kernel.tell({ kind: pause.textContent === "Pause" ? "pause" : "go" }));
  const line = h("path", { class: "md-one", fill: "none", "stroke-width": 2 });
  const high = h("text", { x: LEFT - 6, y: 12, "text-anchor": "end" }),
    low = h("text", { x: LEFT - 6, y: H, "text-anchor": "end" });
  const frame = h("path", { d: `M${LEFT} 0V${H}H${W}`, fill: "none", stroke: "currentColor" });
  const plot = h(
    "svg",
    { viewBox: `0 0 ${W} ${H + 4}`, width: W, role: "img", "aria-label": "No loss yet" },
    frame,
    line,
    high,
    low,
  );
  const text = h("p", { class: "md-text" }, "Starting");
  const canvas = h("canvas", { role: "img", "aria-label": "Nothing drawn yet" });
  const moments = ["0"];
  let atlas = null,
    each = 0;
  const look = slider("Training step", moments, 0, (i) => show(i));
  const pictures = h(
    "div",
    { hidden: true },
    look.el,
    h("figure", {}, h("figcaption", {}, "drawn from the same seeds"), canvas),
  );
  box.append(
    h("div", { class: "md-row" }, pause, stop),
    text,
    kernel.status,
    h("figure", {}, h("figcaption", {}, "loss, on a logarithmic scale"), plot),
    pictures,
  );

  function show(i) {
    const columns = each <= 10 ? each : Math.ceil(Math.sqrt(2 * each));
    drawGrid(canvas, atlas, i * each, each, columns);
    canvas.style.width = `${canvas.width * Math.max(1, Math.floor(600 / canvas.width))}px`;
    canvas.setAttribute("aria-label", `Pictures after ${moments[i]} steps`);
    canvas.dataset.frame = i;
  }
  function state(told) {
    const over = ["finished", "stopped", "failed"].includes(told.stage);
    pause.textContent = told.stage === "paused" ? "Go on" : "Pause";
    pause.disabled = stop.disabled = over;
    box.dataset.stage = told.stage;
    if (told.step === undefined) return;
    const parts = [
      `step ${told.step.toLocaleString("en")}` + (told.steps ? ` of ${told.steps.toLocaleString("en")}` : ""),
    ];
    parts.push(`loss ${told.loss.toFixed(4)}`, `${Math.round(told.rate).toLocaleString("en")} images/s`);
    if (!over && told.left !== null) parts.push(`${duration(told.left)} left`);
    text.textContent = `${told.stage[0].toUpperCase()}${told.stage.slice(1)}: ${parts.join(", ")}`;
    curve(told.curve.filter((loss) => loss > 0));
    plot.setAttribute("aria-label", `The loss, from ${told.curve[0]} to ${told.loss.toFixed(4)}`);
  }
  function curve(losses) {
    const logs = losses.map(Math.log),
      top = Math.max(...logs),
      bottom = Math.min(...logs, top - 0.1);
    const x = (i) => LEFT + (i / Math.max(1, logs.length - 1)) * (W - LEFT);
    const points = logs.map((v, i) => `${x(i).toFixed(1)} ${(((top - v) / (top - bottom)) * (H - 8) + 4).toFixed(1)}`);
    line.setAttribute("d", points.length > 1 ? `M${points.join("L")}` : "");
    high.textContent = Math.exp(top).toPrecision(2);
    low.textContent = Math.exp(bottom).toPrecision(2);
  }
  kernel.on((answer, buffers) => {
    if (answer.kind === "state") state(answer);
    if (answer.kind === "pictures") {
      const newest = +look.input.value === moments.length - 1;
      moments.splice(0, moments.length, ...answer.steps.map((step) => step.toLocaleString("en")));
      atlas = rawAtlas(buffers[0], answer.picture);
      each = answer.picture.n / moments.length;
      look.input.max = moments.length - 1;
      look.set(newest ? moments.length - 1 : Math.min(+look.input.value, moments.length - 1));
      pictures.hidden = false;
      show(+look.input.value);
    }
  });
  kernel.ask({ kind: "look" });
}
