"""`minidiff lab` and `minidiff playground`: JupyterLab, or one page, on this machine only, until Ctrl-C."""

import importlib.util
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
# Voila's page asks for fonts from elsewhere; a page with this header may only ask this server.
OFFLINE = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob: ws:"
PLAYGROUND = "minidiff/widgets/playground.ipynb"
START_LIMIT = 60.0  # seconds; a cold disk needs about 10
STOP_LIMIT = 10.0
# No question about news, no look for updates: the course works offline. A learner's own settings win.
DEFAULTS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}


def lab(browser: bool = True, port: int | None = None, notebook: str | None = None) -> int:
    """Open JupyterLab on a lesson and stay until Ctrl-C; returns the exit code.

    `notebook` is a file in notebooks/ or the beginning of its name ("03"); without it, the map of the course.
    `port` must be free; without it, the first free one from 8888. Call it from the main thread: it handles
    the signals.
    """
    try:
        return open_page("JupyterLab", f"lab/tree/{find_lesson(notebook)}", browser, free_port(port))
    except LookupError as problem:
        print(f"minidiff lab: {problem}", file=sys.stderr)
        return 1


def playground(browser: bool = True, port: int | None = None) -> int:
    """Serve the Playground alone, as a page without code, by Voila. Otherwise like `lab`."""
    try:
        if importlib.util.find_spec("voila") is None:
            raise LookupError(
                "Voila is missing: `make setup` brings it. Or open a notebook by `minidiff lab playground`."
            )
        return open_page("The playground", f"voila/render/{PLAYGROUND}", browser, free_port(port), OFFLINE)
    except LookupError as problem:
        print(f"minidiff playground: {problem}", file=sys.stderr)
        return 1


def open_page(title: str, page: str, browser: bool, port: int, policy: str | None = None) -> int:
    """Serve `page` until Ctrl-C; returns the exit code. policy: of the security of all content."""
    for name in ("SIGTERM", "SIGHUP"):  # SIGHUP: a closed terminal; Windows has none, nohup ignores it
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN:
            signal.signal(getattr(signal, name), signal.default_int_handler)
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch) / "labconfig"
        config.mkdir()
        (config / "default_setting_overrides.json").write_text(json.dumps(DEFAULTS))
        if policy is not None:
            settings = {"ServerApp": {"tornado_settings": {"headers": {"Content-Security-Policy": policy}}}}
            (Path(scratch) / "jupyter_server_config.json").write_text(json.dumps(settings))
        # JupyterLab's many messages would hide the one line that matters, so they are shown only if it fails.
        with open(Path(scratch) / "log", "w+b") as log:
            return serve(title, page, port, browser and has_screen(), scratch, log)


def serve(title: str, page: str, port: int, browser: bool, config: str, log: BinaryIO) -> int:
    token = secrets.token_hex(24)
    address = f"http://127.0.0.1:{port}"
    server = start_server(page, port, token, browser, config, log)
    try:
        if not wait_until_up(server, address, token):
            return complain("did not start", server, log)
        print(f"{title} is ready: {address}/{page}?token={token}")
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
    if notebook == "playground":
        return PLAYGROUND
    if notebook is None:
        return f"notebooks/{next((p.name for p in lessons if p.stem == 'map'), lessons[0].name)}"
    wanted = Path(notebook).name
    for lesson in lessons:
        if lesson.name.startswith(wanted):
            return f"notebooks/{lesson.name}"
    raise LookupError(f"there is no lesson {notebook!r}. There are: {', '.join(p.stem for p in lessons)}, playground.")


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


def start_server(page: str, port: int, token: str, browser: bool, config: str, log: BinaryIO) -> subprocess.Popen:
    options = [
        f"--LabApp.default_url=/{page}",
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
