"""The set-up: what `make`, the locks, the wheel, `minidiff lab` and `minidiff doctor` promise."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
import urllib.request
import zipfile
from importlib import metadata
from pathlib import Path

import psutil
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from minidiff import data, doctor, lab

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = {
    "requirements.lock": PROJECT["dependencies"],
    # without `fid`, which is for whoever has the weights of Inception
    "requirements-test.lock": PROJECT["dependencies"]
    + [need for extra, needs in PROJECT["optional-dependencies"].items() if extra != "fid" for need in needs],
}


def make(*args: str, **env: str) -> subprocess.CompletedProcess:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    return subprocess.run(
        ["make", *args], cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, timeout=60
    )


# --- Makefile -------------------------------------------------------------------------------------


def test_plain_make_lists_every_target_on_one_line():
    listed = re.findall(r"^make ([a-z-]+) +\S", make().stdout, re.M)
    phony = re.search(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(), re.M)[1].split()
    assert listed == phony


def test_make_without_a_fitting_python_says_so(tmp_path):
    answer = make("setup", f"VENV={tmp_path}/venv", "PYTHON=")
    assert answer.returncode != 0
    assert "needs Python 3.11 or newer" in answer.stderr


def test_make_passes_over_a_python_that_does_not_run(tmp_path):
    for name, body in {"python3.13": "exit 127", "python3.12": "exit 1", "python3.11": "exit 0"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    answer = make("-n", "setup", f"VENV={tmp_path}/venv", PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert '"python3.11" -m venv' in answer.stdout


# --- pyproject.toml and the locks -----------------------------------------------------------------


def pins(lock: str) -> list[tuple[Requirement, str]]:
    """Each pinned requirement of a lock with its version."""
    text = (ROOT / lock).read_text()
    found = [Requirement(line.rstrip("\\ ")) for line in re.findall(r"^[a-z0-9].*", text, re.M)]
    return [(pin, re.fullmatch(r"==([^,*]+)", str(pin.specifier))[1]) for pin in found]


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_is_pinned_hashed_and_names_no_place(lock):
    text = (ROOT / lock).read_text()
    assert not re.search(r"https?:|file:|--(extra-)?index|--find-links|(^|\s)/\w", text)
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.M)[1:]
    assert len(entries) == len(pins(lock)) > 80
    assert all("--hash=sha256:" in entry for entry in entries)


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_lock_meets_every_lower_bound_everywhere(lock, python, system):
    names = {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}
    place = {
        "python_version": python,
        "python_full_version": f"{python}.1",
        "sys_platform": system,
        "platform_system": names[system],
        "os_name": "nt" if system == "win32" else "posix",
        "platform_machine": {"linux": "x86_64", "darwin": "arm64", "win32": "AMD64"}[system],
    }
    here = {}
    for pin, number in pins(lock):
        if pin.marker is None or pin.marker.evaluate(place):
            assert canonicalize_name(pin.name) not in here, f"{pin.name} is pinned twice"
            here[canonicalize_name(pin.name)] = number
    for need in map(Requirement, LOCKS[lock]):
        assert need.specifier.contains(here[canonicalize_name(need.name)]), f"{need}: run `make lock`"


def test_the_test_environment_has_the_versions_of_the_lessons():
    lessons, tests = ({(pin.name, number) for pin, number in pins(lock)} for lock in LOCKS)
    assert lessons <= tests


def test_dependencies_have_lower_bounds_and_no_upper_ones():
    for need in map(Requirement, LOCKS["requirements-test.lock"]):
        assert [spec.operator for spec in need.specifier] == [">="], need


@pytest.mark.slow
def test_wheel_holds_the_package_its_weights_and_its_data(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    names = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    want = [p for p in (ROOT / "minidiff").rglob("*") if p.suffix in {".py", ".safetensors", ".js", ".css", ".ipynb"}]
    assert {p.relative_to(ROOT).as_posix() for p in want} <= names
    assert {f"minidiff/datasets/{p.name}" for p in (ROOT / "datasets").glob("*.*")} <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"minidiff"}


# --- minidiff lab ---------------------------------------------------------------------------------

LAB = "import sys; from minidiff.lab import lab; sys.exit(lab(browser=False))"


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
@pytest.mark.parametrize("end", ["SIGINT", "SIGTERM"])
def test_lab_serves_the_map_and_ends_cleanly(end):
    process = subprocess.Popen(
        [sys.executable, "-c", LAB], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        ready = process.stdout.readline()
        address, lesson, token = re.search(r"(http://[\d.:]+)/lab/tree/(\S+)\?token=(\w+)", ready).groups()
        assert lesson == "notebooks/map.ipynb"

        def ask(path: str, body: bytes | None = None) -> dict:
            request = urllib.request.Request(address + path, body, {"Authorization": f"token {token}"})
            return json.load(urllib.request.urlopen(request, timeout=20))

        assert ask(f"/api/contents/{lesson}?content=0")["type"] == "notebook"
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{address}/api/contents/{lesson}?content=0", timeout=20)
        kernel = ask("/api/kernels", b'{"name": "python3"}')["id"]
        assert running(kernel)
        process.send_signal(getattr(signal, end))
        rest, errors = process.communicate(timeout=30)
        assert process.returncode == 0
        assert errors == ""
        assert "y/n" not in rest
        assert not running(kernel)
    finally:
        process.terminate()  # not kill: it has a server to end
        process.communicate(timeout=30)


def running(kernel: str) -> bool:
    return any(kernel in " ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"]))


def test_lab_takes_a_free_port_and_refuses_a_taken_one():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(LookupError, match=f"port {number} is taken"):
            lab.free_port(number)
    assert lab.free_port(number) == number
    assert 8888 <= lab.free_port(None) < 8988


def test_lab_finds_a_lesson_by_its_number_and_names_the_others(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lab, "ROOT", tmp_path)
    assert lab.lab() == 1
    assert "make lab" in capsys.readouterr().err
    (tmp_path / "notebooks").mkdir()
    for name in ("00_start_here.ipynb", "03_learning.ipynb", "map.ipynb"):
        (tmp_path / "notebooks" / name).touch()
    assert lab.find_lesson(None) == "notebooks/map.ipynb"
    (tmp_path / "notebooks/map.ipynb").unlink()
    assert lab.find_lesson(None) == "notebooks/00_start_here.ipynb"
    for wanted in ("03", "03_learning", "notebooks/03_learning.ipynb"):
        assert lab.find_lesson(wanted) == "notebooks/03_learning.ipynb"
    assert (Path(lab.__file__).parent.parent / lab.find_lesson("playground")).is_file()
    with pytest.raises(LookupError, match=r"no lesson '7'.*03_learning"):
        lab.find_lesson("7")


def test_lab_without_a_screen_opens_no_browser(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not lab.has_screen()


# --- minidiff doctor ------------------------------------------------------------------------------


def test_doctor_finds_this_installation_healthy(capsys, monkeypatch):
    monkeypatch.delenv("MINIDIFF_DATA", raising=False)
    code = doctor.doctor()
    said = capsys.readouterr().out
    assert code == 0, said
    for name in ("torch", "jupyterlab", "ipywidgets"):
        assert re.search(rf"^  {name} +{re.escape(metadata.version(name))}$", said, re.M)
    assert re.search(r"^  float32 +1\.00 +\d+\.\d\d$", said, re.M)
    assert re.search(r"^  sample +9,000 digits and 1,000 held out$", said, re.M)


def test_doctor_names_what_mends_each_problem(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("MINIDIFF_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setattr(data, "_HERE", tmp_path)  # no sample below it
    monkeypatch.setattr(doctor, "HERE", tmp_path)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    monkeypatch.setattr(doctor, "version", lambda name: "1.2.3" if name == "jupyterlab" else None)
    assert doctor.doctor() == 1
    said = capsys.readouterr().out
    problems = "which is no folder/mnist_10k.npz/cut.safetensors is damaged/must be 4/torch is not installed"
    for problem in problems.split("/"):
        assert re.search(rf"{problem}.*\n    mend: \S", said), said


def test_doctor_survives_a_broken_section(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "machine", lambda problems: 1 / 0)
    assert doctor.doctor() == 1
    assert "could not be examined: ZeroDivisionError" in capsys.readouterr().out
