"""Widgets: from a key to new pixels, measured by the page, and what it takes the kernel to show one.

50 steps of 32 colour pictures of 32 x 32 in a StepScrubber, opened in the system's chromium as an exported page,
which runs the same script as a notebook. 40 presses of an arrow key at 30 a second.

The Playground with the shipped weights, as `minidiff playground` serves it: from a key to the first picture and to
the full walk. A TrainingBoard on MNIST, served alike: from Stop to the end of the training. About three minutes.

examples:
  python -m benchmarks.widgets
  python -m benchmarks.widgets --rounds 10
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import torch
import torch.nn.functional as F

from minidiff import Flow, Step, lab
from minidiff.widgets import StepScrubber

from . import common

STEPS, PICTURES, SIDE, KEYS, RATE = 50, 32, 32, 40, 30
# The time from the key to the end of the frame in which the canvas was drawn: a timer of 0 runs after the painting.
WATCH = """() => {
    const slider = document.querySelector(".minidiff input[type=range]"), canvas = document.querySelector("canvas");
    window.seen = [];
    let pressed = 0;
    slider.addEventListener("keydown", (event) => (pressed = event.timeStamp), true);
    slider.addEventListener("input", () => {
        const at = pressed, frame = canvas.dataset.frame;
        requestAnimationFrame(() => setTimeout(() => {
            const ms = performance.now() - at;
            const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            window.seen.push({ ms, frame, blank: data.every((v, i) => i % 4 == 3 || v == data[i % 4]) });
        }));
    });
    slider.focus();
}"""
BURST = 5  # changes of the guidance at RATE a second, of which only the last counts
PROMPTS = ("a two", "a three")
# The time from the last key to the end of the frame in which the Playground drew a first look, and the full walk.
WATCH_PLAYGROUND = """() => {
    const picture = document.querySelector(".md-picture");
    let pressed = 0;
    window.seen = [];
    document.addEventListener("keydown", (event) => (pressed = event.timeStamp), true);
    new MutationObserver(() => {
        const at = pressed, label = picture.getAttribute("aria-label");
        requestAnimationFrame(() => setTimeout(() => window.seen.push(
            { seconds: (performance.now() - at) / 1000, full: !label.startsWith("A first look") })));
    }).observe(picture, { attributeFilter: ["aria-label"] });
}"""
# The same from the key on Stop until the board tells that the training has ended.
WATCH_BOARD = """() => {
    const board = document.querySelector(".minidiff[data-stage]"), stop = [...board.querySelectorAll("button")][1];
    let pressed = 0;
    document.addEventListener("keydown", (event) => (pressed = event.timeStamp), true);
    new MutationObserver(() => {
        if (board.dataset.stage === "stopped" && !window.ms)
            requestAnimationFrame(() => setTimeout(() => (window.ms = performance.now() - pressed)));
    }).observe(board, { attributeFilter: ["data-stage"] });
    stop.focus();
}"""
BOARD = """from minidiff import TextToImage, batches, mnist, train
from minidiff.data import all_digit_captions, digit_captions
from minidiff.widgets import TrainingBoard

model = TextToImage.new(all_digit_captions(), widths=(32, 64), blocks=1)
states = train(model, batches(mnist(), 64, captions=digit_captions), 10**6, progress=False)
TrainingBoard(states, ["a seven", "a two", "a three", "a four"])"""
SERVE = "import sys; from pathlib import Path; from minidiff import lab; "
SERVE += "lab.ROOT, lab.PLAYGROUND = Path(sys.argv[1]), sys.argv[2]; sys.exit(lab.playground(browser=False))"


def walk() -> list[Step]:
    """A walk as long and as noisy as a real one, without a network: the pictures are smooth colours."""
    process, chance = Flow(), torch.Generator().manual_seed(0)
    smooth = torch.rand(PICTURES, 3, 8, 8, generator=chance) * 2 - 1
    x0, eps = F.interpolate(smooth, (SIDE, SIDE), mode="bilinear"), torch.randn(PICTURES, 3, SIDE, SIDE)
    ts = process.timesteps(STEPS).float()
    return [Step(i, float(t), process.add_noise(x0, eps, t), process.alpha(t) * x0) for i, t in enumerate(ts)]


def kernel(rounds: int) -> tuple[dict, StepScrubber]:
    """Seconds from a finished walk to the HTML, and its size."""
    steps, times = walk(), []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        made = StepScrubber(steps)
        sent = len(made.html.encode())
        times.append(time.perf_counter() - start)
    return {"seconds": common.spread(times[1:]), "bytes": sent}, made


@contextmanager
def chromium() -> Iterator:
    """An empty page of the system's chromium."""
    from playwright.sync_api import sync_playwright

    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        sys.exit("error: chromium is missing: apt-get install chromium, or your system's way to install it")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        yield made.new_page(viewport={"width": 1280, "height": 1000})
        made.close()


@contextmanager
def served(root: Path, notebook: str) -> Iterator[str]:
    """The address at which Voila shows a notebook below `root`."""
    path = os.pathsep.join(filter(None, [str(common.HERE.parent), os.environ.get("PYTHONPATH")]))
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(root), notebook],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        address = re.search(r"http://\S+", server.stdout.readline())
        if address is None:
            sys.exit("error: the page was not served")
        yield address[0]
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)


def page(made: StepScrubber, rounds: int) -> dict:
    """Latency in ms, frames shown and blank ones, of rounds x 40 keys."""
    with tempfile.TemporaryDirectory() as folder, chromium() as view:
        path = Path(folder) / "page.html"
        path.write_text(f"<!doctype html><meta charset='utf-8'><title>x</title>{made.html}")
        view.goto(path.as_uri())
        view.locator(".minidiff canvas").first.wait_for()
        view.evaluate(WATCH)
        seen, shown = [], []
        for _ in range(rounds):
            view.keyboard.press("Home")
            view.wait_for_timeout(300)
            view.evaluate("window.seen.length = 0")
            start = time.perf_counter()
            for k in range(KEYS):
                time.sleep(max(0.0, start + k / RATE - time.perf_counter()))
                view.keyboard.press("ArrowRight")
            view.wait_for_timeout(500)
            now = view.evaluate("window.seen")
            seen += now
            shown.append(len({each["frame"] for each in now}))
    delays = sorted(each["ms"] for each in seen)
    return {
        "p50": statistics.median(delays),
        "p95": delays[int(0.95 * (len(delays) - 1))],
        "shown": min(shown),
        "keys": KEYS,
        "blank": sum(each["blank"] for each in seen),
    }


def drawn(view) -> tuple[float, float]:
    """Seconds from the last key to its first picture and to its full one, once that is there."""
    view.wait_for_function("() => window.seen.at(-1)?.full", timeout=120_000)
    view.wait_for_timeout(500)
    *_, first, full = view.evaluate("window.seen.splice(0)")
    assert full["full"] and not first["full"]
    return first["seconds"], full["seconds"]


def playground(rounds: int) -> dict:
    """Seconds to the first and to the full picture after a change of the guidance, of the prompt, and a burst."""
    told: dict = {"guidance": [], "prompt": [], "burst": []}
    with served(common.HERE.parent, lab.PLAYGROUND) as address, chromium() as view:
        view.goto(address, timeout=120_000)
        view.locator(".md-picture[data-steps]").wait_for(timeout=120_000)
        view.evaluate(WATCH_PLAYGROUND)
        guidance, prompt = (view.get_by_label(name, exact=True) for name in ("Guidance", "Prompt"))
        for k in range(rounds):
            key = ("ArrowRight", "ArrowLeft")[k % 2]
            guidance.press(key)
            told["guidance"].append(drawn(view))
            prompt.fill(PROMPTS[k % 2])
            prompt.press("Enter")
            told["prompt"].append(drawn(view))
            guidance.focus()
            for _ in range(BURST):
                view.keyboard.press(key)
                time.sleep(1 / RATE)
            view.wait_for_timeout(1000)
            told["burst"].append(drawn(view))
    spread = {kind: [common.spread(list(part)) for part in zip(*times, strict=True)] for kind, times in told.items()}
    return {kind: {"first": first, "full": full} for kind, (first, full) in spread.items()}


def stop(rounds: int) -> dict:
    """Milliseconds from the key on Stop to the end of the training, each of a page opened anew."""
    cell = nbformat.v4.new_code_cell(BOARD)
    times = []
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), Path(folder) / "board.ipynb")
        with served(Path(folder), "board.ipynb") as address, chromium() as view:
            for _ in range(rounds):
                view.goto(address, timeout=120_000)
                view.get_by_text("Running: step").wait_for(timeout=120_000)
                view.wait_for_timeout(3000)
                view.evaluate(WATCH_BOARD)
                view.keyboard.press("Enter")
                view.wait_for_function("() => window.ms", timeout=60_000)
                times.append(view.evaluate("window.ms"))
    return common.spread(times)


def main() -> None:
    p = common.parser("benchmarks.widgets", __doc__)
    p.add_argument("--rounds", type=common.count, default=5, help="of each measurement (default: 5)")
    args = p.parse_args()

    here = common.machine()
    told, made = kernel(args.rounds)
    print("kernel: {:.0f} ms, {:.2f} MB".format(1000 * told["seconds"]["median"], told["bytes"] / 1e6), flush=True)
    seen = page(made, args.rounds)
    print("page: p50 {p50:.0f} ms, p95 {p95:.0f} ms, {shown} of {keys} frames shown, {blank} blank".format(**seen))
    result = {"rounds": args.rounds, "kernel": told, "page": seen, "playground": playground(args.rounds)}
    for kind, times in result["playground"].items():
        first, full = (times[part]["median"] for part in ("first", "full"))
        print(f"playground, {kind}: first picture {first:.2f} s, full {full:.2f} s", flush=True)
    result["stop"] = stop(args.rounds)
    print("stop: {median:.0f} ms".format(**result["stop"]), flush=True)
    common.save(args.out, args, here, result)


if __name__ == "__main__":
    with common.clear_errors():
        main()
