// What widgets with a kernel share: requests of which the newest wins, a line of status, errors in one sentence.

import { h, root } from "./core.js";

const PAUSE = 60,
  BUSY = 500; // ms: between two requests; until the kernel counts as busy
const WAIT = "The controls appear when the kernel answers. If it was started anew, run this cell again.";
const STILL_BUSY = "The kernel is busy. It answers when the cell has run; if it was started anew, run this cell again.";

// `render(box, kernel, model)` builds the widget; it may return what to do when it goes.
// It shows when the kernel answers. Until then the still picture stands, perhaps for good: in a notebook opened again.
export function renderLive({ model, el }, css, render) {
  const wait = h("p", { role: "status" });
  el.append(wait);
  const box = root(el, model.get("label"), css);
  box.hidden = true;
  const kernel = connect(model, () => {
    box.append(h("style", {}, `.${model.get("still_name") || "minidiff-none"} { display: none; }`));
    box.hidden = false;
    clearTimeout(late);
    wait.remove();
  });
  const late = setTimeout(() => (wait.textContent = WAIT), BUSY);
  const end = render(box, kernel, model);
  if (!kernel.status.parentElement) box.append(kernel.status);
  return () => {
    clearTimeout(late);
    kernel.close();
    if (end) end();
  };
}

function connect(model, awake) {
  const view = Math.random().toString(36).slice(2);
  const status = h("div", { class: "md-status", role: "status" });
  let latest = 0,
    waiting = null,
    timer = 0,
    busy = 0;
  const listeners = [];

  function send() {
    timer = 0;
    if (!waiting) return;
    const [request, buffers] = waiting;
    waiting = null;
    model.send({ ...request, view, id: ++latest }, {}, buffers);
    clearTimeout(busy);
    busy = setTimeout(() => (status.textContent = STILL_BUSY), BUSY);
    timer = setTimeout(send, PAUSE);
  }

  let asleep = true;
  function heard(answer, buffers) {
    if (asleep) {
      asleep = false;
      awake();
    }
    if (answer.view !== undefined && (answer.view !== view || answer.id !== latest)) return; // outdated
    clearTimeout(busy);
    if (answer.error) {
      const more = h("details", {}, h("summary", {}, "Show where it happened"), h("pre", {}, answer.more));
      status.replaceChildren(h("div", { class: "md-error", role: "alert" }, `Not done: ${answer.error}`, more));
      for (const listener of listeners) if (listener.failed) listener.failed(answer);
      return;
    }
    if (answer.status !== undefined || answer.view !== undefined || answer.tell) {
      status.replaceChildren(answer.status || ""); // what comes unasked leaves an error where it is
    }
    for (const listener of listeners)
      listener(
        answer,
        buffers.map((part) => new Uint8Array(part.buffer || part)),
      );
  }
  model.on("msg:custom", heard);

  return {
    status,
    on: (listener) => listeners.push(listener),
    // Ask for this; what was asked before and is not sent yet is forgotten.
    ask(request, buffers = []) {
      waiting = [request, buffers];
      if (!timer) timer = setTimeout(send, 0);
    },
    // A command: never dropped, and carried out at once.
    tell: (request) => model.send({ ...request, tell: true }),
    close: () => (clearTimeout(busy), model.off("msg:custom", heard)),
  };
}
