"""The half of a live widget that runs in the page, in a real browser. The test itself plays the kernel."""

from __future__ import annotations

import json

import browser
import pytest
import tiny

from minidiff.widgets import Playground, TrainingBoard

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

# The modules of the widget with a model whose messages the test reads in `sent` and writes by `hear`.
PAGE = """async ([script, state]) => {
    const file = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    const { render } = (await import(file)).default;
    window.sent = [];
    const model = {
        get: (key) => state[key],
        send: (content) => window.sent.push(content),
        on: (_, heard) => (window.hear = (answer, bytes) => heard(answer, bytes.map((part) => Uint8Array.from(part)))),
        off: () => {},
    };
    render({ model, el: document.body });
}"""
ONE = {"n": 1, "height": 1, "width": 1, "channels": 1}


@pytest.fixture(scope="module")
def blank(tmp_path_factory):
    with browser.chromium(tmp_path_factory.mktemp("page") / "profile") as page:
        yield page


@pytest.fixture
def page(blank):
    """A Playground whose kernel has not answered yet; the still picture is a line of text."""
    board = Playground(tiny.stirred(), "seven", seed=3, steps=5)
    state = {name: getattr(board, name) for name in ("label", "start", "samplers", "vocabulary")}
    blank.goto("about:blank")
    blank.set_content("<p class='minidiff-still-x'>the still picture</p>")
    blank.evaluate(PAGE, [board._esm, json.loads(json.dumps(state)) | {"still_name": "minidiff-still-x"}])
    blank.wait_for_function("() => window.sent.length == 1")
    return blank


def answer(page, request: dict, grey: int | None = None, **told) -> None:
    """What the kernel sends to this request; with a grey picture of one pixel."""
    told |= {key: request[key] for key in ("id", "view")}
    bytes_ = [] if grey is None else [[grey]]
    page.evaluate("([told, bytes]) => window.hear(told, bytes)", [told | {"picture": ONE}, bytes_])


def asked(page, n: int) -> dict:
    """The n-th request."""
    page.wait_for_function("n => window.sent.length >= n", arg=n)
    return page.evaluate("n => window.sent[n - 1]", n)


def grey(page) -> int:
    return page.locator(".md-picture").evaluate("c => c.getContext('2d').getImageData(0, 0, 1, 1).data[0]")


def test_the_still_picture_stands_until_the_kernel_answers(page):
    still, box = page.get_by_text("the still picture"), page.locator(".minidiff")
    page.get_by_text("The controls appear when the kernel answers").wait_for(timeout=10_000)
    assert still.is_visible() and not box.is_visible()
    answer(page, asked(page, 1), kind="step", status="Step 0 of 5")
    assert box.is_visible() and not still.is_visible()
    assert not page.get_by_text("The controls appear when the kernel answers").count()


def test_an_answer_to_an_outdated_request_is_dropped(page):
    first = asked(page, 1)
    answer(page, first, 10, kind="quick")
    assert grey(page) == 10
    guidance = page.get_by_label("Guidance")
    guidance.focus()
    page.keyboard.press("ArrowRight")
    second = asked(page, 2)
    assert second["cfg_scale"] == 2.5 and second["id"] > first["id"]
    answer(page, first, 20, kind="quick")
    assert grey(page) == 10
    answer(page, second, 30, kind="quick")
    assert grey(page) == 30


def test_of_many_changes_at_once_only_some_are_asked_and_the_last_is(page):
    answer(page, asked(page, 1), 10, kind="quick")
    page.get_by_label("Guidance").evaluate(
        """input => { for (const value of [0, 1, 2, 3, 4, 5, 6]) {
            input.value = value; input.dispatchEvent(new Event("input")); } }"""
    )
    page.wait_for_timeout(500)
    sent = page.evaluate("window.sent.map((request) => request.cfg_scale)")
    assert sent[-1] == 5 and len(sent) <= 3, sent


def test_an_error_is_one_sentence_until_the_next_answer(page):
    answer(page, asked(page, 1), error="ZeroDivisionError: no way", more="line 1\nline 2")
    alert = page.get_by_role("alert")
    assert alert.evaluate("box => box.innerText.split('\\n')[0]") == "Not done: ZeroDivisionError: no way"
    more = alert.get_by_text("line 2")
    assert not more.is_visible()
    alert.get_by_text("Show where it happened").focus()
    page.keyboard.press("Enter")
    assert more.is_visible()
    page.get_by_role("button", name="Draw", exact=True).press("Enter")
    answer(page, asked(page, 2), 40, kind="quick", status="A first look")
    assert not alert.count() and grey(page) == 40


def test_an_error_that_nobody_asked_for_stays(blank):
    """That of a training, which goes on telling how it ended."""
    board = TrainingBoard(iter(()))
    board._thread.join()
    blank.set_content("<p></p>")
    blank.evaluate(PAGE, [board._esm, {"label": board.label, "still_name": "minidiff-still-y"}])
    blank.evaluate("""() => {
        window.hear({ kind: "state", stage: "running", curve: [] }, []);
        window.hear({ error: "RuntimeError: out of digits", more: "" }, []);
        window.hear({ kind: "state", stage: "failed", curve: [] }, []);
    }""")
    assert "Not done: RuntimeError: out of digits" in blank.get_by_role("alert").inner_text()
    assert blank.get_by_role("button", name="Stop").is_disabled()


def test_a_kernel_that_does_not_answer_is_told(page):
    answer(page, asked(page, 1), 10, kind="quick")
    page.get_by_role("button", name="Draw", exact=True).press("Enter")
    page.get_by_text("The kernel is busy").wait_for(timeout=10_000)
    answer(page, asked(page, 2), 20, kind="quick", status="")
    assert not page.get_by_text("The kernel is busy").count()
