"""Widgets: from a key to new pixels, measured by the page, and what it takes the kernel to show one.

50 steps of 32 colour pictures of 32 x 32 in a StepScrubber, opened in the system's chromium as an exported page,
which runs the same script as a notebook. 40 presses of an arrow key at 30 a second. About half a minute.

examples:
  python -m benchmarks.widgets
  python -m benchmarks.widgets --rounds 10
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from minidiff import Flow, Step
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


def page(made: StepScrubber, rounds: int) -> dict:
    """Latency in ms, frames shown and blank ones, of rounds x 40 keys."""
    from playwright.sync_api import sync_playwright

    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        sys.exit("error: chromium is missing: apt-get install chromium, or your system's way to install it")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "page.html"
        path.write_text(f"<!doctype html><meta charset='utf-8'><title>x</title>{made.html}")
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        view = chromium.new_page(viewport={"width": 1280, "height": 1000})
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
        chromium.close()
    delays = sorted(each["ms"] for each in seen)
    return {
        "p50": statistics.median(delays),
        "p95": delays[int(0.95 * (len(delays) - 1))],
        "shown": min(shown),
        "keys": KEYS,
        "blank": sum(each["blank"] for each in seen),
    }


def main() -> None:
    p = common.parser("benchmarks.widgets", __doc__)
    p.add_argument("--rounds", type=common.count, default=5, help="of 40 keys, and of the kernel's work (default: 5)")
    args = p.parse_args()

    here = common.machine()
    told, made = kernel(args.rounds)
    print("kernel: {:.0f} ms, {:.2f} MB".format(1000 * told["seconds"]["median"], told["bytes"] / 1e6), flush=True)
    seen = page(made, args.rounds)
    print("page: p50 {p50:.0f} ms, p95 {p95:.0f} ms, {shown} of {keys} frames shown, {blank} blank".format(**seen))
    common.save(args.out, args, here, {"rounds": args.rounds, "kernel": told, "page": seen})


if __name__ == "__main__":
    with common.clear_errors():
        main()
