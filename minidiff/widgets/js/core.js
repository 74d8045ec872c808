// What all widgets share: elements, pictures packed into one image, a canvas for them, axes that scrub and play.
// Plain modules: Python joins the files and takes out the words `import` and `export`; nothing is fetched.

let counter = 0;

// An element. Keys in `attributes` that begin with "on" are listeners; null and false are left out.
export function h(tag, attributes = {}, ...children) {
  const svg = /^(svg|path|line|circle|rect|text|g|title)$/.test(tag);
  const el = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  if (/^(input|select|button|summary)$/.test(tag)) el.setAttribute("data-lm-suppress-shortcuts", "true");
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) el.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) el.setAttribute(key, value === true ? "" : value);
  }
  el.append(...children.filter((child) => child !== null));
  return el;
}

// The root of a widget in `el`. JupyterLab's shortcuts stay out: it would take the arrow keys.
export function root(el, label, css) {
  const box = h("div", { class: "minidiff", role: "group", "aria-label": label, "data-lm-suppress-shortcuts": "true" });
  box.append(h("style", {}, css));
  box.addEventListener("keydown", (event) => event.stopPropagation());
  el.append(box);
  return box;
}

// A control with its name before it.
export function row(name, control, ...more) {
  control.id = `md-${++counter}-${Math.random().toString(36).slice(2, 8)}`;
  return h("div", { class: "md-row" }, h("label", { for: control.id }, name), control, ...more);
}

export function slider(name, values, at, changed, ...more) {
  const input = h("input", { type: "range", min: 0, max: values.length - 1, step: 1 });
  const output = h("output", { "aria-hidden": "true" });
  const show = () => {
    output.textContent = values[+input.value];
    input.setAttribute("aria-valuetext", values[+input.value]);
  };
  input.value = at;
  show();
  input.addEventListener("input", () => (show(), changed(+input.value)));
  const set = (value) => {
    input.value = value;
    show();
  };
  return { el: row(name, input, ...more, output), input, set };
}

export function choice(name, values, at, changed) {
  const select = h("select", {}, ...values.map((value, i) => h("option", { value: i, selected: i === at }, value)));
  select.addEventListener("change", () => changed(+select.value));
  return { el: row(name, select), input: select, set: (value) => (select.value = value) };
}

// One of several words, by Tab and the arrow keys, or by pointing at it.
export function words(name, values, at, changed) {
  const group = `md-${++counter}-${Math.random().toString(36).slice(2, 8)}`;
  const inputs = values.map((_, i) => h("input", { type: "radio", name: group, checked: i === at }));
  const pick = (i) => {
    inputs[i].checked = true;
    changed(i);
  };
  inputs.forEach((input, i) => input.addEventListener("change", () => changed(i)));
  const labels = values.map((value, i) => h("label", { onmouseenter: () => pick(i) }, inputs[i], value));
  const box = h("div", { class: "md-words", role: "radiogroup", "aria-label": name }, ...labels);
  const el = h("div", { class: "md-row" }, h("span", { class: "md-name" }, name), box);
  return { el, input: inputs[at], set: (i) => (inputs[i].checked = true) };
}

// Pictures of one size in rows of `columns`, in one image: a data URL, or bytes from the kernel.
export async function openAtlas({ src, columns, width, height }) {
  const image = new Image();
  image.src = src;
  await image.decode();
  return { image, columns, width, height };
}

// The same from raw bytes: n pictures of `channels` (1 or 3), each row by row.
export function rawAtlas(bytes, { n, width, height, channels }) {
  const canvas = h("canvas", { width, height: height * n });
  const data = new ImageData(width, height * n);
  for (let i = 0, from = 0; i < data.data.length; i += 4, from += channels) {
    for (let c = 0; c < 3; c++) data.data[i + c] = bytes[from + (channels === 3 ? c : 0)];
    data.data[i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(data, 0, 0);
  return { image: canvas, columns: 1, width, height };
}

export function drawPicture(context, atlas, index, x, y, w = atlas.width, height = atlas.height) {
  const { image, columns, width } = atlas;
  const left = (index % columns) * width,
    top = Math.floor(index / columns) * atlas.height;
  context.drawImage(image, left, top, width, atlas.height, x, y, w, height);
}

// Pictures [first, first + count) of the atlas on the canvas, `columns` in a row, a grey line between them.
export function drawGrid(canvas, atlas, first, count, columns) {
  const rows = Math.ceil(count / columns),
    w = atlas.width + 1,
    height = atlas.height + 1;
  if (canvas.width !== columns * w - 1 || canvas.height !== rows * height - 1) {
    canvas.width = columns * w - 1;
    canvas.height = rows * height - 1;
  }
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  if (count > 1) {
    context.fillStyle = "#808080";
    context.fillRect(0, 0, canvas.width, canvas.height);
  }
  for (let k = 0; k < count; k++) {
    drawPicture(context, atlas, first + k, (k % columns) * w, Math.floor(k / columns) * height);
  }
}

// canvas = 128 + (a - b) / 2: grey where two canvases agree.
function drawDifference(canvas, a, b) {
  canvas.width = a.width;
  canvas.height = a.height;
  const [one, two] = [a, b].map((c) => c.getContext("2d").getImageData(0, 0, c.width, c.height));
  for (let i = 0; i < one.data.length; i++) {
    if (i % 4 !== 3) one.data[i] = 128 + (one.data[i] - two.data[i]) / 2;
  }
  canvas.getContext("2d").putImageData(one, 0, 0);
}

// The heat of a word over the picture: dark where it is not looked at, orange where it is.
function drawHeat(canvas, atlas, frame, strength = 0.85) {
  const small = h("canvas", { width: atlas.width, height: atlas.height });
  const brush = small.getContext("2d");
  drawPicture(brush, atlas, frame, 0, 0);
  const pixels = brush.getImageData(0, 0, atlas.width, atlas.height);
  for (let i = 0; i < pixels.data.length; i += 4) {
    const heat = pixels.data[i] / 255;
    pixels.data.set([255, 140, 0, 255 * strength * heat], i);
  }
  brush.putImageData(pixels, 0, 0);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = true;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

// A histogram: heights from 0 to 255, over the numbers `from` to `to`.
function drawBars(canvas, heights, [from, to], colour) {
  const width = 300,
    height = 150;
  const ratio = Math.max(1, Math.ceil(window.devicePixelRatio || 1));
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.fillStyle = colour;
  const step = width / heights.length;
  heights.forEach((value, i) => {
    const tall = (value / 255) * (height - 20);
    context.fillRect(i * step + 1, height - 18 - tall, step - 2, tall);
  });
  context.fillRect(0, height - 18, width, 1);
  context.font = "12px sans-serif";
  for (let x = Math.ceil(from); x <= to; x++) {
    context.textAlign = x === from ? "left" : x === to ? "right" : "center";
    context.fillText(x, ((x - from) / (to - from)) * width, height - 4);
  }
}

// Plays an axis: a button and a speed. Someone who asked for less motion gets slow pages, not a film.
function playButtons(length, get, set) {
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  let speed = calm ? 1 : Math.max(4, Math.min(15, length / 4)),
    running = 0;
  const start = speed;
  const button = h("button", { type: "button", onclick: () => (running ? stop() : play()) }, "Play");
  const labels = ["half speed", "normal speed", "double speed"];
  const pick = h("select", { "aria-label": "Speed of playing" }, ...labels.map((l, i) => h("option", { value: i }, l)));
  pick.value = 1;
  pick.addEventListener("change", () => (speed = start * 2 ** (+pick.value - 1)));
  function stop() {
    cancelAnimationFrame(running);
    running = 0;
    button.textContent = "Play";
  }
  function play() {
    let last = performance.now();
    if (get() === length - 1) set(0);
    button.textContent = "Pause";
    const tick = (now) => {
      if (!button.isConnected || get() === length - 1) return stop();
      if (now - last >= 1000 / speed) {
        last = now;
        set(get() + 1);
      }
      running = requestAnimationFrame(tick);
    };
    running = requestAnimationFrame(tick);
  }
  return { buttons: [button, pick], stop };
}

// The whole part of a number of pixels that a picture's pixel gets, so that `panels` fit into the page.
function fit(canvases, available) {
  const n = canvases.length;
  const wide = Math.max(...canvases.map((c) => c.width)),
    tall = Math.max(...canvases.map((c) => c.height));
  const beside = Math.min((available - 20 * (n - 1)) / (n * wide), 360 / tall);
  const below = Math.min(available / wide, 420 / n / tall);
  return Math.max(1, Math.min(8, Math.floor(Math.max(beside, below))));
}

// Axes, panels of pictures and a line of text. What `spec` holds is written in player.py.
export function player(box, spec, atlases) {
  const at = spec.axes.map((axis) => axis.at);
  const text = h("p", { class: "md-text" });
  const panels = spec.panels.map((panel) => {
    const canvas = h("canvas", { role: "img" });
    return { ...panel, canvas, el: h("figure", {}, h("figcaption", {}, panel.title), canvas) };
  });
  const views = spec.views || [{ name: "", panels: panels.map((_, i) => i) }];
  let view = views[0];

  function draw() {
    const frame = spec.axes.reduce((sum, axis, i) => sum * axis.values.length + at[i], 0);
    const seen = new Set(view.panels.flatMap((i) => [...(panels[i].minus || []), i]));
    for (const panel of panels.filter((_, i) => seen.has(i))) {
      const mine = panel.frames ? panel.frames[frame] : frame;
      panel.canvas.dataset.frame = mine;
      if (panel.minus) drawDifference(panel.canvas, ...panel.minus.map((i) => panels[i].canvas));
      else if (panel.bars) drawBars(panel.canvas, panel.bars[mine], panel.range, getComputedStyle(box).color);
      else drawGrid(panel.canvas, atlases[panel.atlas], mine * panel.count, panel.count, panel.columns);
      if (panel.heat) drawHeat(panel.canvas, atlases[panel.heat.atlas], panel.heat.frames[frame]);
      panel.canvas.setAttribute("aria-label", `${panel.title}: ${spec.texts ? spec.texts[frame] : axisText()}`);
    }
    text.textContent = spec.texts ? spec.texts[frame] : "";
  }
  const axisText = () => spec.axes.map((axis, i) => `${axis.name} ${axis.values[at[i]]}`).join(", ");

  function layout() {
    const pictures = view.panels.map((i) => panels[i]).filter((panel) => !panel.bars);
    const scale = fit(
      pictures.map((panel) => panel.canvas),
      (box.clientWidth || 640) - 12, // its padding
    );
    for (const { canvas } of pictures) canvas.style.width = `${canvas.width * scale}px`;
    for (const { canvas, bars } of panels) if (bars) canvas.style.width = "300px";
  }

  const controls = spec.axes.map((axis, i) => {
    const set = (value) => {
      at[i] = value;
      draw();
    };
    if (axis.as === "choice") return choice(axis.name, axis.values, axis.at, set);
    if (axis.as === "words") return words(axis.name, axis.values, axis.at, set);
    const film = playButtons(
      axis.values.length,
      () => at[i],
      (value) => {
        controls[i].set(value);
        set(value);
      },
    );
    return slider(axis.name, axis.values, axis.at, (value) => (film.stop(), set(value)), ...film.buttons);
  });
  const look = (i) => {
    view = views[i];
    panels.forEach((panel, k) => (panel.el.hidden = !view.panels.includes(k)));
    draw();
    layout();
  };
  const looks = choice(
    "Show",
    views.map((v) => v.name),
    0,
    look,
  );
  box.append(
    ...controls.map((control) => control.el),
    ...(views.length > 1 ? [looks.el] : []),
    h("div", { class: "md-panels" }, ...panels.map((panel) => panel.el)),
    ...(spec.texts ? [text] : []),
  );
  look(0);
  if (panels.some((panel) => panel.bars)) { // their colour is that of the text
    const dark = { attributes: true, attributeFilter: ["data-jp-theme-light"] };
    new MutationObserver(() => setTimeout(draw, 300)).observe(document.body, dark); // when its style sheet is there
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  }
  let width = box.clientWidth; // 0 before the box is in the page
  new ResizeObserver(() => {
    if (box.clientWidth !== width) layout();
    width = box.clientWidth;
  }).observe(box);
}
