"""`minidiff lab`: JupyterLab on a lesson, on this machine only, until Ctrl-C."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO

ROOT = Path(__file__).resolve().parent.parent  # the checkout; site-packages, without lessons, if installed
START_LIMIT = 60.0  # seconds; a cold disk needs about 10
STOP_LIMIT = 10.0
# No question about news, no look for updates: the course works offline. A learner's own settings win.
DEFAULTS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}


def lab(browser: bool = True, port: int | None = None, notebook: str | None = None) -> int:
    """Open JupyterLab on a lesson and stay until Ctrl-C; returns the exit code.

    `notebook` is a file in notebooks/ or the beginning of its name ("03"); without it, the first lesson.
    `port` must be free; without it, the first free one from 8888. Call it from the main thread: it handles
    the signals.
    """
    try:
        lesson = find_lesson(notebook)
        port = free_port(port)
    except LookupError as problem:
        print(f"minidiff lab: {problem}", file=sys.stderr)
        return 1

    for name in ("SIGTERM", "SIGHUP"):  # SIGHUP: a closed terminal; Windows has none, nohup ignores it
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN:
            signal.signal(getattr(signal, name), signal.default_int_handler)
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch) / "labconfig"
        config.mkdir()
        (config / "default_setting_overrides.json").write_text(json.dumps(DEFAULTS))
        # JupyterLab's many messages would hide the one line that matters, so they are shown only if it fails.
        with open(Path(scratch) / "log", "w+b") as log:
            return serve(lesson, port, browser and has_screen(), scratch, log)


def serve(lesson: str, port: int, browser: bool, config: str, log: BinaryIO) -> int:
    token = secrets.token_hex(24)
    address = f"http://127.0.0.1:{port}"
    server = start_server(lesson, port, token, browser, config, log)
    try:
        if not wait_until_up(server, address, token):
            return complain("did not start", server, log)
        print(f"JupyterLab is ready: {address}/lab/tree/{lesson}?token={token}")
        print("Ctrl-C ends it. Notebooks that you saved stay on disk.", flush=True)
        while server.poll() is None:  # wait() would not hear a Ctrl-C on Windows
            time.sleep(0.2)
        return complain("ended by itself", server, log) if server.returncode else 0  # 0: File > Shut Down
    except KeyboardInterrupt:
        print("\nEnding JupyterLab and its kernels.", flush=True)
        return 0
    finally:
        stop_server(server, address, token)


def find_lesson(notebook: str | None) -> str:
    """The lesson's path below ROOT, with slashes, as it stands in the URL; LookupError if there is none."""
    lessons = sorted((ROOT / "notebooks").glob("*.ipynb"))
    if not lessons:
        raise LookupError(
            f"there are no lessons in {ROOT / 'notebooks'}. They come with a checkout of the project, "
            "not with the installed package: clone it and run `make lab` there."
        )
    if notebook is None:
        return f"notebooks/{lessons[0].name}"
    wanted = Path(notebook).name
    for lesson in lessons:
        if lesson.name.startswith(wanted):
            return f"notebooks/{lesson.name}"
    raise LookupError(f"there is no lesson {notebook!r}. There are: {', '.join(p.stem for p in lessons)}.")


def free_port(port: int | None) -> int:
    """`port`, or the first free one from 8888 to 8987; LookupError if it is taken."""
    for candidate in [port] if port is not None else range(8888, 8988):
        try:
            with socket.create_server(("127.0.0.1", candidate)) as probe:
                return probe.getsockname()[1]
        except (OSError, OverflowError):
            continue
    raise LookupError(f"port {candidate} is taken, or is none. Without --port a free one is chosen.")


def has_screen() -> bool:
    # Without one, Python would open a text browser in this terminal.
    return not sys.platform.startswith("linux") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


def start_server(lesson: str, port: int, token: str, browser: bool, config: str, log: BinaryIO) -> subprocess.Popen:
    options = [
        lesson,
        f"--ServerApp.root_dir={ROOT}",  # the whole checkout, because lessons link to exercises
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.open_browser={browser}",
    ]
    if getattr(os, "geteuid", lambda: 1)() == 0:
        options.append("--allow-root")  # containers; the token still guards it
    # In a group of its own the server does not see the Ctrl-C, so it neither asks "Shut down? y/n" nor dies
    # before its kernels. The token goes through the environment, because everyone can read a command line.
    windows = os.name == "nt"
    apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if windows else {"start_new_session": True}
    configs = os.pathsep.join(filter(None, [config, os.environ.get("JUPYTER_CONFIG_PATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options],
        cwd=ROOT,
        env={**os.environ, "JUPYTER_TOKEN": token, "JUPYTER_CONFIG_PATH": configs},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        **apart,
    )


def complain(what: str, server: subprocess.Popen, log: BinaryIO) -> int:
    log.seek(0)
    sys.stderr.write("".join(log.read().decode(errors="replace").splitlines(keepends=True)[-20:]))
    code = server.poll()
    print(f"minidiff lab: JupyterLab {what} (exit code {code}). Its last words stand above;", file=sys.stderr)
    print("`minidiff doctor` looks for the cause.", file=sys.stderr)
    return 1


def ask(address: str, token: str, method: str = "GET") -> bool:
    """True if the server at `address` took our token and answered well."""
    request = urllib.request.Request(address, method=method, headers={"Authorization": f"token {token}"})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never by a proxy to this machine
    try:
        with direct.open(request, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def wait_until_up(server: subprocess.Popen, address: str, token: str) -> bool:
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end and server.poll() is None:
        if ask(f"{address}/api/status", token):
            return True
        time.sleep(0.1)
    return False


def stop_server(server: subprocess.Popen, address: str, token: str) -> None:
    """Ask it to end, which shuts its kernels down on every system; then insist."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # an impatient second Ctrl-C must not leave kernels behind
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if server.poll() is None and not ask(f"{address}/api/shutdown", token, "POST"):
        server.terminate()
    try:
        server.wait(STOP_LIMIT)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
