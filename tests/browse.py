"""Every lesson in a real JupyterLab in a real browser: Run All, a control moved by key, a screenshot of what it did.

python tests/browse.py [LESSONS] [--shots FOLDER]; about 20 minutes for all on two cores, or `make browse`. Prints what
was found lesson by lesson, and ends with 1 if any had an error or a control that moves nothing. What the cells
printed lies beside the screenshots, to compare two runs by.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import browser

# A picture that follows a slider says in its label what it shows; a live widget redraws a canvas or an image.
STATE = """box => JSON.stringify([...box.querySelectorAll('canvas, img, output, svg, [aria-label], [aria-valuetext]')]
    .map(e => [e.getAttribute('aria-label'), e.getAttribute('aria-valuetext'), e.textContent,
               e.tagName == 'CANVAS' ? e.toDataURL().length : e.src && e.src.length]))"""


def tried(page, lesson: Path, shots: Path) -> list[str]:
    """What is wrong with this lesson, in the lab that the page shows."""
    wrong, said, start = [], [], time.monotonic()
    for number, cell in enumerate(browser.run_all(page)):
        for output in cell["outputs"]:
            said.append("".join(output.get("text", "")))
            if output["output_type"] == "error" or output.get("name") == "stderr":
                wrong.append(f"code cell {number}: {output.get('ename') or output.get('text')}")
    took = time.monotonic() - start
    (shots / f"{lesson.stem}.txt").write_text("".join(said))
    page.wait_for_timeout(1000)
    moved = 0
    sliders = page.locator(".minidiff input[type=range], .minidiff-player input[type=range]")
    for i in range(sliders.count()):
        slider = sliders.nth(i)
        slider.evaluate("e => e.closest('.jp-Cell').scrollIntoView()")
        page.wait_for_timeout(700)  # the lab shows a cell only when it comes into view
        slider.evaluate("e => e.scrollIntoView({block: 'center'})")
        page.wait_for_timeout(300)
        if not slider.is_visible():  # in a part that is folded away
            continue
        box = slider.locator("xpath=ancestor::*[contains(@class, 'minidiff')][last()]")
        before, place = box.evaluate(STATE), slider.input_value()
        slider.focus()
        slider.press("ArrowLeft" if place == slider.get_attribute("max") else "ArrowRight")
        end = time.monotonic() + 20
        while box.evaluate(STATE) == before and time.monotonic() < end:
            page.wait_for_timeout(100)
        if slider.input_value() == place or box.evaluate(STATE) == before:
            wrong.append(f"slider {slider.get_attribute('aria-label')} moves nothing")
        moved += 1
        page.screenshot(path=shots / f"{lesson.stem}-{i}.png")
    if not moved:
        wrong.append("it has no slider")
    print(f"{lesson.stem}: {took:.0f} s, {moved} controls moved{', '.join(['', *wrong])}", flush=True)
    return wrong


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("lessons", nargs="*", help="beginnings of names, such as 03; default: all")
    p.add_argument("--shots", type=Path, default=Path(tempfile.gettempdir()) / "minidiff-shots")
    args = p.parse_args()
    args.shots.mkdir(parents=True, exist_ok=True)
    failed = 0
    for lesson in sorted((browser.ROOT / "notebooks").glob("[0-9]*.ipynb")):
        if not lesson.name.startswith(tuple(args.lessons) or ""):
            continue
        with tempfile.TemporaryDirectory() as home:
            command = ["-m", "minidiff.cli", "lab", "--no-browser", lesson.stem]
            serving = browser.serving(command, Path(home))
            with serving as address, browser.chromium(Path(home) / "profile") as page:
                browser.open_lab(page, address)
                failed += bool(tried(page, lesson, args.shots))
    print(f"screenshots: {args.shots}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
