"""`minidiff playground` as a class sees it: one page by Voila in a real browser, with the shipped weights."""

from __future__ import annotations

import re
import time

import browser
import numpy as np
import pytest

from minidiff import TextToImage
from minidiff.widgets import player

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

PIXELS = """canvas => Array.from(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data)"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(page, what went wrong in it, hosts that it asked)."""
    home = tmp_path_factory.mktemp("voila")
    with (
        browser.chromium(home / "profile", viewport={"width": 1024, "height": 768}) as page,
        browser.serving(["-m", "minidiff.cli", "playground", "--no-browser"], home) as address,
    ):
        wrong, hosts = [], set()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("response", lambda answer: hosts.add(re.sub(r"^(\w+:)(//[^/:]*)?.*", r"\1\2", answer.url)))
        page.goto(address, timeout=browser.START)
        page.locator(".md-picture[data-steps='10']").wait_for(timeout=browser.RUN)
        yield page, wrong, hosts, home


def shows(page, wanted: np.ndarray) -> None:
    """The picture becomes these pixels, but for rounding."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        seen = np.array(page.locator(".md-picture").evaluate(PIXELS)).reshape(28, 28, 4)[..., :3]
        if np.abs(seen - wanted).max() <= 2:
            return
        time.sleep(0.2)
    raise AssertionError("another picture")


def test_a_prompt_typed_into_the_page_is_drawn(served):
    page, wrong, hosts, home = served
    model = TextToImage.load("mnist")
    for name, prompt in (("first", None), ("typed", "a two")):
        if prompt:
            page.get_by_label("Prompt", exact=True).focus()
            page.keyboard.press("Control+a")
            page.keyboard.type(prompt)
            page.keyboard.press("Enter")
        shows(page, player.pixels(model.draw(prompt or "a seven", steps=10))[0])
        page.screenshot(path=home / f"shots/{name}.png", full_page=True)
    assert page.locator(".md-history button").count() == 2
    assert not page.get_by_role("alert").count() and not wrong
    assert "rror" not in page.locator("body").inner_text()
    assert not page.get_by_text("import Playground").count()  # no code
    assert {host for host in hosts if not host.startswith(("data:", "blob:"))} == {"http://127.0.0.1"}
    print(f"screenshots: {home}/shots")
