"""Lesson 00 in a real JupyterLab in a real browser: Run All, then the Playground by keyboard."""

import io
import re
import time

import browser
import pytest
from PIL import Image

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of lesson 00, served by `minidiff lab` with fresh settings that never save a notebook."""
    command = ["-m", "minidiff.cli", "lab", "--no-browser", "00"]
    with browser.serving(command, tmp_path_factory.mktemp("jupyter")) as address:
        yield address


@pytest.fixture
def page(tmp_path):
    with browser.chromium(tmp_path / "profile") as page:
        yield page


def pixels(locator) -> bytes:
    return Image.open(io.BytesIO(locator.screenshot())).convert("RGB").tobytes()


def changed(locator, before: bytes) -> bytes:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if (now := pixels(locator)) != before:
            return now
        time.sleep(0.05)
    raise AssertionError("the picture did not change")


def test_lesson_00(lab, page, tmp_path):
    shots = tmp_path / "screenshots"
    committed = (browser.ROOT / "notebooks/00_start_here.ipynb").read_bytes()
    hosts = set()
    page.on("request", lambda request: hosts.add(re.sub(r"^(\w+://[^/:]*).*", r"\1", request.url)))
    browser.open_lab(page, lab)
    page.screenshot(path=shots / "opened.png")

    for cell in browser.run_all(page):
        assert not [o for o in cell["outputs"] if o["output_type"] == "error" or o.get("name") == "stderr"]

    # Each arrow key turns a page of the walk.
    picture = page.locator(".md-picture[data-steps='10']")
    picture.wait_for(timeout=60_000)
    box = page.locator(".minidiff").filter(has=picture)
    guess, step = box.locator(".md-panels canvas").nth(1), box.get_by_label("Step", exact=True)
    guess.scroll_into_view_if_needed()
    finished = pixels(guess)
    step.focus()
    page.keyboard.press("ArrowLeft")
    box.get_by_role("img", name="Step 9 of 10").first.wait_for(timeout=20_000)  # its guess is the result already
    page.keyboard.press("Home")
    blur = changed(guess, finished)
    assert "Step 0 of 10" in guess.get_attribute("aria-label")
    page.screenshot(path=shots / "first-guess.png")
    page.keyboard.press("End")
    assert changed(guess, blur) == finished

    # A word that the model never saw is answered in the form; a known one is drawn.
    drawn, prompt = pixels(picture), box.get_by_label("Prompt", exact=True)
    prompt.fill("a sevn")
    prompt.press("Enter")
    box.get_by_role("alert").filter(has_text="seven").wait_for(timeout=20_000)
    page.screenshot(path=shots / "unknown-word.png")
    prompt.fill("a two")
    box.get_by_role("button", name="Draw", exact=True).click()
    changed(picture, drawn)
    box.get_by_role("alert").wait_for(state="detached", timeout=20_000)

    browser.dark(page)
    page.screenshot(path=shots / "dark.png")

    assert hosts <= {"http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:http://127.0.0.1"} | {
        host for host in hosts if host.startswith(("data:", "blob:"))
    }
    assert (browser.ROOT / "notebooks/00_start_here.ipynb").read_bytes() == committed
    print(f"screenshots: {shots}")
