"""What the browser tests share: a page of the system's chromium, and JupyterLab with fresh settings."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest

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


@contextmanager
def chromium(profile: Path, **options):
    """An empty page of the system's chromium."""
    if CHROMIUM is None:
        missing("chromium", "apt-get install chromium, or your system's way to install it")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright", "make setup")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=CHROMIUM,
            headless=True,
            args=FLAGS,
            **{"viewport": {"width": 1280, "height": 1000}} | options,
        )
        yield context.pages[0]
        context.close()


def fresh_settings(home: Path) -> dict[str, str]:
    """The environment of a JupyterLab that never saves a notebook by itself, and that a test may steer."""
    settings = home / "settings/@jupyterlab/docmanager-extension/plugin.jupyterlab-settings"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(json.dumps({"autosave": False}))
    (home / "config").mkdir(exist_ok=True)
    (home / "config/jupyter_lab_config.json").write_text(json.dumps({"LabApp": {"expose_app_in_browser": True}}))
    return os.environ | {
        "JUPYTER_CONFIG_PATH": str(home / "config"),
        "JUPYTER_CONFIG_DIR": str(home / "own"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
    }


@contextmanager
def serving(command: list[str], home: Path):
    """Run a Python command that serves pages until Ctrl-C; yields the address in its first line."""
    server = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=fresh_settings(home) | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
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


def lab_of(cells: list[str], home: Path):
    """`minidiff lab` on a new notebook of these cells."""
    (home / "notebooks").mkdir()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(notebook, home / "notebooks/widgets.ipynb")
    return lab_in(home)


def lab_in(home: Path):
    """`minidiff lab` on the first notebook in home/notebooks."""
    code = f"from pathlib import Path; from minidiff import lab; lab.ROOT = Path({str(home)!r}); "
    code += f"lab.START_LIMIT = {START / 1000}; lab.lab(browser=False)"
    return serving(["-c", code], home)


def open_lab(page, address: str) -> None:
    page.goto(address, timeout=START)
    page.wait_for_function(
        "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status == 'idle'",
        timeout=START,
    )


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


def saved(page) -> None:
    """Save the notebook, as Ctrl-S does."""
    page.evaluate("jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_function("() => !jupyterapp.shell.currentWidget.context.model.dirty", timeout=START)


def dark(page) -> None:
    page.evaluate("jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    page.wait_for_function("() => document.body.dataset.jpThemeLight == 'false'")
    page.wait_for_timeout(1000)
