"""Every widget in a real JupyterLab in a real browser, by keyboard only; then without a kernel, and as a page.

The cells of the notebook are run here as well: what the canvas shows must be what the library made.
"""

from __future__ import annotations

import base64
import io
import itertools
import re
import shutil
import time
from types import SimpleNamespace

import browser
import nbformat
import numpy as np
import pytest
import torch
from PIL import Image

from minidiff.export import export
from minidiff.widgets import player

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

SET_UP = """import tiny, torch
from minidiff import Cosine, DDPM, ddim, heun
from minidiff.train import Format, train
from minidiff.vae import VAE
from minidiff.widgets import *

m = tiny.stirred()
pictures = tiny.pictures(6).pixels.float() / 127.5 - 1
torch.manual_seed(0)
vae = VAE(1, 4, (8, 8))
vae.calibrate(pictures)"""
PLAYERS = {
    "StepScrubber": "StepScrubber(m.walk(['seven', 'one'], steps=4))",
    "NoiseSlider": "NoiseSlider(pictures[:2], [Cosine(), DDPM()], seeds=(1, 2), steps=3)",
    "SamplerRace": "SamplerRace(m, 'seven', (ddim, heun), (2, 3), places=3, progress=False)",
    "GuidanceExplorer": "GuidanceExplorer(m, 'seven', (1, 3), ('', 'one'), n=3, steps=2, progress=False)",
    "WordHeat": "WordHeat(m, 'seven one', steps=3)",
    "scrub": "scrub(lambda k: pictures[k], [0, 1, 2], 'picture', progress=False)",
}
LIVE = {
    "Playground": "Playground(m, 'seven', seed=3, steps=5)",
    "TrainingBoard": "TrainingBoard(train(tiny.model(), tiny.stream(), 10**6, format=Format(), progress=False),"
    " ['seven', 'one'], every=1.0, steps=2)",
    "PaintMask": "PaintMask(m, pictures[0], 'seven', 2, steps=3)",
    "LatentMap": "LatentMap(vae, pictures)",
    "ScheduleDesigner": "ScheduleDesigner(pictures[:2], [Cosine(), DDPM()])",
}
NAMES = [*PLAYERS, *LIVE]
VIEW = "application/vnd.jupyter.widget-view+json"
SHOTS = [("light-1024", 1024, 768), ("light-1920", 1920, 1080), ("dark-1920", 1920, 1080), ("dark-1024", 1024, 768)]
ROOTS = ".minidiff:not([class*=minidiff-still] *)"  # not the player that stands where no kernel is
PIXELS = """canvas => Array.from(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data)"""


@pytest.fixture(scope="module")
def here():
    """The names that the first cell defines, in this process."""
    scope: dict = {}
    exec(SET_UP, scope)
    return SimpleNamespace(**{k: v for k, v in scope.items() if not k.startswith("__")}, scope=scope)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """(page, home, code cells) after Run All, the hosts that were asked for in page.hosts."""
    home = tmp_path_factory.mktemp("widgets")
    with browser.chromium(home / "profile", viewport={"width": 1280, "height": 1000}) as page:
        page.hosts = set()
        page.on("request", lambda request: page.hosts.add(re.sub(r"^(\w+:)(//[^/:]*)?.*", r"\1\2", request.url)))
        live = [f"{name}_ = {code}\n{name}_" for name, code in LIVE.items()]
        with browser.lab_of([SET_UP, *PLAYERS.values(), *live], home) as address:
            browser.open_lab(page, address)
            page.evaluate("jupyterapp.commands.execute('application:toggle-left-area')")
            cells = browser.run_all(page)
            page.locator(ROOTS).nth(len(NAMES) - 1).wait_for(timeout=browser.RUN)
            yield page, home, cells, address


@pytest.fixture
def widget(opened):
    page = opened[0]
    return lambda name: page.locator(ROOTS).nth(NAMES.index(name))


def pixels(canvas) -> np.ndarray:
    """(h w 3) of what stands on the canvas."""
    size = canvas.evaluate("canvas => [canvas.height, canvas.width]")
    return np.array(canvas.evaluate(PIXELS), np.uint8).reshape(*size, 4)[..., :3]


def sheet(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Pictures (n h w c) in rows, one pixel of grey apart, as (h w 3)."""
    n, h, w, _ = pictures.shape
    rows = -(-n // columns)
    made = np.full((rows * (h + 1) - 1, columns * (w + 1) - 1, 3), 128, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = i // columns * (h + 1), i % columns * (w + 1)
        made[top : top + h, left : left + w] = picture
    return made


def becomes(canvas, wanted: np.ndarray, seconds: float = 60.0) -> None:
    """The canvas shows these pixels before long."""
    end = time.monotonic() + seconds
    while not np.array_equal(now := pixels(canvas), wanted):
        assert time.monotonic() < end, (now.shape, wanted.shape, np.abs(now.astype(int).mean() - wanted.mean()))
        time.sleep(0.1)


def turn(box, axis: dict, place: int) -> None:
    """Move one axis by keyboard alone."""
    if axis["as"] == "words":
        box.get_by_role("radio").first.focus()
        box.page.keyboard.press("Space")
        for _ in range(place):
            box.page.keyboard.press("ArrowRight")
        return
    control = box.get_by_label(axis["name"], exact=True)
    control.focus()
    control.press("Home")
    for _ in range(place):
        control.press("ArrowRight" if axis["as"] == "slider" else "ArrowDown")


def check(box, made) -> None:
    """Every place of the first axis, and the corners of the others, shows the frames of the library."""
    spec, panels = made.spec, box.locator("figure")
    sizes = [len(axis["values"]) for axis in spec["axes"]]
    files = [unpack(atlas) for atlas in spec["atlases"]]
    corners = itertools.product(range(sizes[0]), *[sorted({0, size - 1}) for size in sizes[1:]])
    for place in corners:
        for axis, k in zip(spec["axes"], place, strict=True):
            turn(box, axis, k)
        frame = int(np.ravel_multi_index(place, sizes))
        for k, panel in enumerate(spec["panels"]):
            canvas = panels.nth(k).locator("canvas")
            if "atlas" not in panel or not canvas.is_visible():
                continue
            first = (panel["frames"][frame] if "frames" in panel else frame) * panel["count"]
            wanted = sheet(files[panel["atlas"]][first : first + panel["count"]], panel["columns"])
            seen = pixels(canvas)
            if "heat" in panel:
                heat = files[panel["heat"]["atlas"]][panel["heat"]["frames"][frame]][..., 0] / 255
                share = (0.85 * heat)[..., None]
                wanted = (1 - share) * wanted + share * [255, 140, 0]
                assert np.abs(seen - wanted).max() < 4
            else:
                np.testing.assert_array_equal(seen, wanted)
        if "texts" in spec:
            assert spec["texts"][frame] == box.locator(".md-text").inner_text()


def unpack(atlas: dict) -> np.ndarray:
    """All pictures (n h w c) of a packed image, empty places at the end among them."""
    file = base64.b64decode(atlas["src"].partition(",")[2])
    sheet = np.asarray(Image.open(io.BytesIO(file)))
    h, w, columns = atlas["height"], atlas["width"], atlas["columns"]
    cells = sheet.reshape(len(sheet) // h, h, columns, w, -1).swapaxes(1, 2)
    return cells.reshape(-1, h, w, cells.shape[-1])


def test_run_all_shows_every_widget_and_asks_nobody_else(opened):
    page, _, cells, _ = opened
    assert not [o for cell in cells for o in cell["outputs"] if o["output_type"] == "error"]
    assert page.locator(ROOTS).count() == len(NAMES)
    assert {host for host in page.hosts if not host.startswith(("data:", "blob:"))} <= {
        "http://127.0.0.1",
        "ws://127.0.0.1",
    }


FAIL_ONCE = """def fail_once(widget):
    answer = widget.answer
    def failing(request, buffers):
        widget.answer = answer
        raise ZeroDivisionError("no way")
        yield
    widget.answer = failing
"""
ACTS = {  # a control of each live widget that asks the kernel, and the key that does
    "Playground": (lambda box: box.get_by_role("button", name="Draw", exact=True), "Enter"),
    "TrainingBoard": (lambda box: box.get_by_role("button").first, "Enter"),
    "PaintMask": (lambda box: box.get_by_role("button", name="Draw what is painted over"), "Enter"),
    "LatentMap": (lambda box: box.get_by_label("First direction"), "ArrowRight"),
    "ScheduleDesigner": (lambda box: box.get_by_role("slider").nth(1), "ArrowUp"),
}


@pytest.mark.parametrize("name", LIVE)
def test_an_error_is_told_in_the_widget_which_goes_on(name, widget, opened):
    page, box = opened[0], widget(name)
    (find, key), alert = ACTS[name], box.get_by_role("alert")
    run = "code => jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({ code }).done"
    reply = page.evaluate(run, f"{FAIL_ONCE}\nfail_once({name}_)")
    assert reply["content"]["status"] == "ok"
    find(box).press(key)
    alert.wait_for(timeout=60_000)
    assert alert.evaluate("el => el.firstChild.textContent") == "Not done: ZeroDivisionError: no way"
    page.wait_for_timeout(1000)
    assert alert.is_visible()  # what comes unasked meanwhile does not take it away
    alert.locator("summary").press("Enter")
    assert "in failing" in alert.locator("pre").inner_text()
    find(box).press(key)
    alert.wait_for(state="detached", timeout=60_000)
    if name == "TrainingBoard":
        box.get_by_role("button", name="Go on").press("Enter")


def test_training_board_pauses_and_stops(widget, opened):
    page, box = opened[0], widget("TrainingBoard")
    box.locator("canvas").scroll_into_view_if_needed()
    box.get_by_text("Running: step").wait_for(timeout=60_000)
    for name, stage in (("Pause", "paused"), ("Go on", "running"), ("Stop", "stopped")):
        button = box.get_by_role("button", name=name)
        button.focus()
        start = time.monotonic()
        page.keyboard.press("Enter")
        page.wait_for_function(
            "([box, stage]) => box.dataset.stage == stage", arg=[box.element_handle(), stage], timeout=20_000
        )
        print(f"{name}: {1000 * (time.monotonic() - start):.0f} ms")
    assert not box.get_by_role("alert").count()


@pytest.mark.parametrize("name", PLAYERS)
def test_player_shows_the_frames_of_the_library(name, widget, here):
    check(widget(name), eval(PLAYERS[name], here.scope))


def test_player_plays_and_shows_the_difference(widget, opened):
    page, box = opened[0], widget("StepScrubber")
    slider, play = box.get_by_label("Step", exact=True), box.get_by_role("button", name="Play")
    turn(box, {"as": "slider", "name": "Step"}, 0)
    assert slider.get_attribute("aria-valuetext") == "0 of 4"
    play.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("input => input.value == 4", arg=slider.element_handle(), timeout=20_000)
    turn(box, {"as": "slider", "name": "Step"}, 1)
    both = [pixels(box.locator("canvas").nth(k)).astype(int) for k in (0, 1)]
    turn(box, {"as": "choice", "name": "Show"}, 3)
    assert np.abs(pixels(box.locator("canvas").nth(2)) - (128 + (both[0] - both[1]) / 2)).max() <= 1
    turn(box, {"as": "choice", "name": "Show"}, 0)


def test_playground(widget, here, opened):
    page, box = opened[0], widget("Playground")
    picture = box.locator(".md-picture")
    settings = dict(seed=3, steps=5)
    becomes(picture, sheet(player.pixels(here.m.draw("seven", **settings)), 1))
    prompt = box.get_by_label("Prompt", exact=True)
    prompt.focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("sevn")
    page.keyboard.press("Enter")
    box.get_by_role("alert").filter(has_text="nearest known: seven").wait_for(timeout=30_000)
    prompt.focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("two")
    page.keyboard.press("Enter")
    becomes(picture, sheet(player.pixels(here.m.draw("two", **settings)), 1))
    box.get_by_role("alert").wait_for(state="detached", timeout=30_000)
    turn(box, {"as": "choice", "name": "Sampler"}, 1)
    from minidiff import ddim

    becomes(picture, sheet(player.pixels(here.m.draw("two", sampler=ddim, **settings)), 1))
    turn(box, {"as": "slider", "name": "Step"}, 0)
    (first, *_) = here.m.walk("two", sampler=ddim, **settings)
    np.testing.assert_array_equal(pixels(box.locator(".md-panels canvas").nth(1)), sheet(player.pixels(first.x0), 1))
    box.get_by_text("Grid over two settings").focus()
    page.keyboard.press("Enter")
    button = box.get_by_role("button", name="Draw grid")
    button.focus()
    page.keyboard.press("Enter")
    box.locator("td canvas").nth(15).wait_for(timeout=60_000)
    drawn = here.m.draw("two", sampler=ddim, seed=1, steps=5, cfg_scale=4.0)  # second column, third row
    becomes(box.locator("td canvas").nth(9), sheet(player.pixels(drawn), 1))
    with page.expect_download() as download:
        box.get_by_role("button", name="Save PNG").focus()
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "two-3.png"


def test_paint_mask(widget, here, opened):
    page, box = opened[0], widget("PaintMask")
    area, result = box.get_by_role("application"), box.locator("canvas").nth(2)
    becomes(result, sheet(player.pixels(here.pictures[:1]), 1))
    area.focus()
    for key in ("Home", "ArrowRight", "ArrowDown", "Space"):
        page.keyboard.press(key)
    assert area.get_attribute("data-painted") == "9"
    box.get_by_role("button", name="Draw what is painted over").focus()
    page.keyboard.press("Enter")
    known = torch.ones(8, 8, dtype=torch.bool)
    known[:3, :3] = False
    drawn = here.m.inpaint(here.pictures[:1], known, "seven", seed=2, steps=3)
    becomes(result, sheet(player.pixels(drawn), 1))
    box.get_by_role("button", name="Undo").focus()
    page.keyboard.press("Enter")
    assert area.get_attribute("data-painted") == "0"


def test_latent_map(widget, here):
    from minidiff.widgets import LatentMap

    box, made = widget("LatentMap"), LatentMap(here.vae, here.pictures)
    turn(box, {"as": "slider", "name": "First direction"}, 3)
    place = -2.5 + 5 * 3 / 40
    becomes(box.locator("canvas").nth(1), sheet(player.pixels(made._decoded(made.at(place, 0.0))), 1))
    turn(box, {"as": "slider", "name": "Along the walk"}, 10)
    becomes(box.locator("canvas").nth(2), sheet(player.pixels(made._decoded(made.latents[1:2])), 1))


def test_schedule_designer(widget, here, opened):
    from minidiff.widgets import ScheduleDesigner
    from minidiff.widgets.schedule import Designed

    page, box, made = opened[0], widget("ScheduleDesigner"), ScheduleDesigner(here.pictures[:2])
    for place in (1, 0):  # Cosine, and back to the straight line
        turn(box, {"as": "choice", "name": "Begin with"}, place)
    box.get_by_role("slider").nth(1).focus()
    for _ in range(2):
        page.keyboard.press("ArrowUp")
    rows = made._along(Designed([0, 0.2, 0.5, 0.6, 0.8, 1]))
    becomes(box.locator("canvas").first, sheet(player.pixels(rows), 9))


# What Tab must reach: of a radio group, the one that is chosen.
CONTROLS = """box => [...box.querySelectorAll("input, select, button, summary, [tabindex='0']")].filter(
    (el) => !el.disabled && el.checkVisibility() && (el.type !== "radio" || el.checked)).map(
    (el, k) => (el.dataset.control = k))"""
# The control with the focus: its number in the widget, and whether its outline can be seen.
FOCUSED = """box => {
    const el = document.activeElement, seen = el.type === "radio" ? el.parentElement : el;
    const style = getComputedStyle(seen);
    const ring = style.outlineStyle === "solid" && style.outlineWidth === "3px";
    return [box.contains(el) ? +el.dataset.control : null, ring];
}"""
# What a key changes in a control: its value, its mark, or that it was pressed.
STATE_OF = """el => [el.value, el.checked, el.parentElement.open, el.getAttribute("aria-valuenow"),
    el.getAttribute("aria-label"), el.dataset.pressed].join()"""


KEYS = {"text": ["1", "Backspace"], "number": ["1", "Backspace"], "button": ["Enter"], "SUMMARY": ["Enter", "Enter"]}


def work(page, control) -> None:
    """A key changes the control; where another one undoes that, it does."""
    control.evaluate("el => (el.focus(), el.addEventListener('click', () => (el.dataset.pressed = true)))")
    kind = control.evaluate("el => el.type || el.tagName")
    before = control.evaluate(STATE_OF)
    keys = KEYS.get(kind, ["ArrowDown", "ArrowUp"])
    page.keyboard.press(keys[0])
    if control.evaluate(STATE_OF) == before and kind not in KEYS:  # it was at its end
        keys.reverse()
        page.keyboard.press(keys[0])
    assert control.evaluate(STATE_OF) != before, control.evaluate("el => el.outerHTML.slice(0, 200)")
    for key in keys[1:]:
        page.keyboard.press(key)


@pytest.mark.parametrize("name", NAMES)
def test_every_control_is_reached_and_worked_by_keyboard(name, widget, opened):
    """Tab reaches every control in turn and shows where it is, there and back; a key changes each."""
    page, box = opened[0], widget(name)
    for summary in box.locator("summary:visible").all():
        if not summary.evaluate("el => el.parentElement.open"):
            summary.focus()
            page.keyboard.press("Enter")
    numbers = box.evaluate(CONTROLS)
    assert numbers
    box.locator("[data-control='0']").focus()
    for key, order in (("Tab", numbers[1:]), ("Shift+Tab", numbers[-2::-1])):
        for k in order:
            page.keyboard.press(key)
            assert box.evaluate(FOCUSED) == [k, True], (name, k)
    for k in reversed(numbers):  # from the end: what stands at the top makes the rest anew
        control = box.locator(f"[data-control='{k}']:not(.md-history *)")
        if control.count() and not control.is_disabled():  # Pause after Stop
            work(page, control.element_handle())
    if name == "Playground":
        box.get_by_role("button", name="Draw", exact=True).press("Enter")
        work(page, box.locator(".md-history button").last.element_handle())


def test_nothing_keeps_people_out(opened):
    """axe-core finds nothing serious in any widget."""
    from axe_playwright_python.sync_playwright import Axe

    page = opened[0]
    found = Axe().run(page, context=".minidiff").response["violations"]
    serious = {v["id"]: [n["html"][:160] for n in v["nodes"]] for v in found if v["impact"] in ("serious", "critical")}
    assert not serious, serious


def test_screenshots(opened, widget):
    """Kept to be looked at; here only that nothing is wider than its place."""
    page, home = opened[:2]
    for name, width, height in SHOTS:
        page.set_viewport_size({"width": width, "height": height})
        if name.startswith("dark") != (page.evaluate("document.body.dataset.jpThemeLight") == "false"):
            browser.dark(page)
        for each in NAMES:
            box = widget(each)
            box.scroll_into_view_if_needed()
            page.wait_for_timeout(150)
            box.screenshot(path=home / f"shots/{each}-{name}.png")
            assert box.evaluate("box => box.scrollWidth <= box.clientWidth + 1"), f"{each} is cut at {name}"
    print(f"screenshots: {home}/shots")


@pytest.fixture(scope="module")
def ran(opened):
    """The notebook as it would be saved when the board has drawn something: its still picture is a player then."""
    page = opened[0]
    page.locator("[class^=minidiff-still] .minidiff").nth(1).wait_for(state="attached", timeout=60_000)
    cells = page.evaluate("jupyterapp.shell.currentWidget.content.model.toJSON().cells")
    return nbformat.v4.new_notebook(cells=[nbformat.from_dict(cell) for cell in cells])


def test_an_exported_page_needs_no_kernel_and_no_network(opened, ran, here, tmp_path):
    nbformat.write(ran, tmp_path / "lesson.ipynb")
    out = export(tmp_path / "lesson.ipynb", tmp_path / "lesson.html")
    page = opened[0].context.new_page()
    try:
        page.context.set_offline(True)
        page.goto(out.as_uri())
        boxes = page.locator(".minidiff")
        page.wait_for_function("n => document.querySelectorAll('.minidiff').length == n", arg=len(PLAYERS) + 2)
        check(boxes.nth(0), eval(PLAYERS["StepScrubber"], here.scope))
        stills = page.locator("[class^=minidiff-still] img")  # of the live widgets; two became players
        assert [still.is_visible() for still in stills.all()] == [False, False, True, True, True]
        assert all(still.get_attribute("alt") for still in stills.all())
    finally:
        page.context.set_offline(False)
        page.close()


def test_the_page_of_another_exporter_shows_every_picture(opened, ran, tmp_path):
    """`jupyter nbconvert --to html`, which knows nothing of minidiff, offline."""
    from nbconvert import HTMLExporter

    body, _ = HTMLExporter().from_notebook_node(ran)
    (tmp_path / "page.html").write_text(body)
    page = opened[0].context.new_page()
    try:
        page.context.set_offline(True)
        page.goto((tmp_path / "page.html").as_uri(), wait_until="domcontentloaded")
        page.locator(".minidiff").nth(len(PLAYERS) - 1).wait_for(timeout=30_000)
        outputs = page.locator(".jp-OutputArea:has(img, canvas)")
        assert outputs.count() == len(NAMES)
        for k, name in enumerate(NAMES):
            assert outputs.nth(k).locator("img:visible, canvas:visible").count(), name
            assert "rror" not in outputs.nth(k).inner_text(), name
        assert "run this cell to use it" in outputs.last.inner_text()
    finally:
        page.context.set_offline(False)
        page.close()


STATE = "@jupyter-widgets/jupyterlab-manager:saveWidgetState"
AGAIN = {
    "own": ("a kernel that knows nothing of it", {}),
    "own-no-kernel": ("no kernel at all", {"shouldStart": False, "canStart": False}),
    "state": ("saved state, and a kernel that knows nothing of it", {}),
    "foreign": ("a notebook that is not trusted", {}),
    "stripped": ("one whose views were taken out, as in a lesson", {"shouldStart": False, "canStart": False}),
}


@pytest.fixture(scope="module")
def again(opened, ran):
    """A page of a fresh JupyterLab in which the notebook lies that a reader ran and saved, in all kinds of AGAIN."""
    page, home, *_ = opened
    folder = home / "notebooks"
    browser.saved(page)
    own = nbformat.read(folder / "widgets.ipynb", as_version=4)
    assert "widgets" not in own.metadata
    for name in ("own", "own-no-kernel"):
        shutil.copy(folder / "widgets.ipynb", folder / f"{name}.ipynb")
    page.evaluate(f"jupyterapp.commands.execute('{STATE}')")
    page.wait_for_timeout(1000)
    browser.saved(page)
    assert "widgets" in nbformat.read(folder / "widgets.ipynb", as_version=4).metadata
    shutil.copy(folder / "widgets.ipynb", folder / "state.ipynb")
    own.cells[0].source += "  # by someone else"
    nbformat.write(own, folder / "foreign.ipynb")
    for cell in own.cells:
        cell.outputs = [o for o in cell.outputs if VIEW not in o.get("data", {})]
    nbformat.write(own, folder / "stripped.ipynb")
    page = page.context.new_page()
    page.home = home
    with browser.lab_in(home) as address:
        browser.open_lab(page, address)
        yield page
    page.close()


@pytest.mark.parametrize("kind", AGAIN)
def test_a_notebook_opened_again_shows_every_picture(kind, again):
    """No kernel knows the widgets of the notebook: each shows its picture, and no error text."""
    again.evaluate(
        "args => jupyterapp.commands.execute('docmanager:open', args)",
        {"path": f"notebooks/{kind}.ipynb", "factory": "Notebook", "kernelPreference": AGAIN[kind][1]},
    )
    panel = again.locator(".jp-NotebookPanel:visible")
    panel.locator(".jp-OutputArea-output").first.wait_for(timeout=browser.START)
    has_kernel = "() => !!jupyterapp.shell.currentWidget.sessionContext.session?.kernel"
    if "shouldStart" not in AGAIN[kind][1]:
        again.wait_for_function(has_kernel, timeout=browser.START)
        again.wait_for_timeout(3000)  # for the manager of the widgets to see that it knows none
    else:
        assert not again.evaluate(has_kernel)
    texts = []
    for k, name in enumerate(NAMES, 1):
        again.evaluate("k => jupyterapp.shell.currentWidget.content.scrollToItem(k)", k)
        cell = panel.locator(f".jp-Cell[data-windowed-list-index='{k}'] .jp-OutputArea")
        cell.locator("img:visible, canvas:visible").first.wait_for(timeout=20_000)
        texts.append(cell.inner_text())
        assert cell.locator("img:visible, canvas:visible").first.bounding_box()["width"] >= 16, name
        for wrong in ("rror", "Loading", "Busy", "undefined"):
            assert wrong not in texts[-1], (name, texts[-1])
        again.screenshot(path=again.home / f"again/{kind}-{name}.png")
    if kind == "own":  # or this test shows nothing
        assert "Error displaying widget" in panel.locator(".jp-OutputArea").last.evaluate("area => area.textContent")
    if kind == "foreign":
        assert "[Playground: run this cell to use it.]" in texts[NAMES.index("Playground")]
