"""Lesson 00 in a real JupyterLab in a real browser: Run All, then every control by keyboard."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START, RUN = 90_000, 300_000  # ms


def missing(what: str, mend: str) -> None:
    line = f"{what} is missing, so the lessons are not tried in a browser: {mend}"
    if os.environ.get("MINIDIFF_CI") == "1":
        pytest.fail(line)
    pytest.skip(line)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of lesson 00, served by `minidiff lab` with fresh settings that never save a notebook."""
    home = tmp_path_factory.mktemp("jupyter")
    settings = home / "settings/@jupyterlab/docmanager-extension/plugin.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"autosave": False}))
    (home / "config").mkdir()
    (home / "config/jupyter_lab_config.json").write_text(json.dumps({"LabApp": {"expose_app_in_browser": True}}))
    env = os.environ | {
        "JUPYTER_CONFIG_PATH": str(home / "config"),
        "JUPYTER_CONFIG_DIR": str(home / "own"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "minidiff.cli", "lab", "--no-browser", "00"],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        line = server.stdout.readline()
        address = re.search(r"http://\S+", line)
        assert address, line + (server.stdout.read() if server.poll() is not None else "")
        yield address[0]
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()


@pytest.fixture
def page(tmp_path):
    """An empty page of the system's chromium."""
    if CHROMIUM is None:
        missing("chromium", "apt-get install chromium, or your system's way to install it")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright", "make setup")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=CHROMIUM,
            headless=True,
            args=FLAGS,
            viewport={"width": 1280, "height": 1000},
        )
        yield context.pages[0]
        context.close()


def pixels(locator) -> bytes:
    """What the picture shows on the screen, once it is decoded; again if a new one took its place meanwhile."""
    from playwright.sync_api import Error

    for _ in range(20):
        try:
            locator.evaluate("img => img.decode()")
            return Image.open(io.BytesIO(locator.screenshot())).convert("RGB").tobytes()
        except Error as error:
            last = error
            time.sleep(0.1)
    raise last


def changed(locator, before: bytes) -> bytes:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if (now := pixels(locator)) != before:
            return now
        time.sleep(0.05)
    raise AssertionError("the picture did not change")


def run_all(page) -> list[dict]:
    """Run All by the menu; the code cells when all of them have run."""
    page.evaluate("jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(
        """() => {
            const panel = jupyterapp.shell.currentWidget, cells = panel.content.model.toJSON().cells;
            const code = cells.filter(c => c.cell_type == 'code');
            const failed = code.some(c => c.outputs.some(o => o.output_type == 'error'));
            return failed || panel.sessionContext.session.kernel.status == 'idle'
                && code.every(c => c.execution_count !== null);
        }""",
        timeout=RUN,
        polling=500,
    )
    cells = page.evaluate("jupyterapp.shell.currentWidget.content.model.toJSON().cells")
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_lesson_00(lab, page, tmp_path):
    shots = tmp_path / "screenshots"
    committed = (ROOT / "notebooks/00_start_here.ipynb").read_bytes()
    hosts = set()
    page.on("request", lambda request: hosts.add(re.sub(r"^(\w+://[^/:]*).*", r"\1", request.url)))
    page.goto(lab, timeout=START)
    page.wait_for_function(
        "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status == 'idle'",
        timeout=START,
    )
    page.screenshot(path=shots / "opened.png")

    for cell in run_all(page):
        assert not [o for o in cell["outputs"] if o["output_type"] == "error" or o.get("name") == "stderr"]

    # Each arrow key turns a page of the walk.
    handle = page.locator(".widget-slider .noUi-handle")
    picture = page.locator(".widget-html img")
    handle.scroll_into_view_if_needed()
    page.wait_for_function("() => document.querySelector('.widget-html img')?.naturalWidth > 0")
    finished = pixels(picture)
    handle.focus()
    page.keyboard.press("ArrowLeft")
    one_before = changed(picture, finished)
    page.keyboard.press("Home")
    noise = changed(picture, one_before)
    assert "Step 0 of 10" in picture.get_attribute("alt")
    page.screenshot(path=shots / "noise.png")
    page.keyboard.press("End")
    assert changed(picture, noise) == finished

    # A word that the model never saw is answered in the form; a known one is drawn.
    prompt = page.get_by_label("Prompt", exact=True)
    prompt.fill("a sevn")
    prompt.press("Enter")
    page.get_by_role("alert").get_by_text("seven").wait_for(timeout=20_000)
    page.screenshot(path=shots / "unknown-word.png")
    prompt.fill("a two")
    page.get_by_role("button", name="Draw").click()
    changed(picture, finished)
    page.get_by_role("alert").wait_for(state="detached", timeout=20_000)

    page.evaluate("jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    page.wait_for_function("() => document.body.dataset.jpThemeLight == 'false'")
    page.wait_for_timeout(1000)
    page.screenshot(path=shots / "dark.png")

    assert hosts <= {"http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:http://127.0.0.1"} | {
        host for host in hosts if host.startswith(("data:", "blob:"))
    }
    assert (ROOT / "notebooks/00_start_here.ipynb").read_bytes() == committed
    print(f"screenshots: {shots}")
