"""`minidiff doctor`: what a bug report needs, and each problem with the command that mends it."""

import json
import os
import platform
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

Row = tuple[str, str]
Problem = tuple[str, str]  # what is wrong, what mends it

HERE = Path(__file__).resolve().parent
PACKAGES = ["minidiff", "torch", "torchvision", "numpy", "jupyterlab", "ipywidgets", "anywidget"]
WIDGETS = [("jupyterlab", 4), ("ipywidgets", 8), ("jupyterlab_widgets", 3), ("anywidget", 0)]  # least major versions
IN_CHECKOUT = (HERE.parent / "Makefile").is_file()


def doctor() -> int:
    """Print versions, devices, number formats, data, weights, and what is wrong; 1 if anything is, else 0."""
    problems: list[Problem] = []
    sections = {
        "Versions": versions,
        "Machine": machine,
        "Number formats (speed of a small training step; float32 contiguous = 1)": formats,
        "Data": data,
        "Weights": weights,
        "Sliders in JupyterLab": widgets,
    }
    for title, section in sections.items():
        print(title)
        try:
            for name, value in section(problems):
                print(f"  {name:<18} {value}", flush=True)
        except Exception as error:  # a doctor that falls ill reports it and goes on
            print(f"  could not be examined: {type(error).__name__}: {error}")
            problems.append((f"{title.split(' (')[0]} could not be examined", reinstall()))
        print()
    print("Problems" if problems else "No problems found.")
    for problem, mend in problems:
        print(f"  {problem}\n    mend: {mend}")
    return 1 if problems else 0


def reinstall() -> str:
    if IN_CHECKOUT and os.name != "nt":
        return "make clean setup"
    return f"{sys.executable} -m pip install --upgrade --force-reinstall minidiff"


def restore(path: str) -> str:
    return f"git checkout -- {path}" if IN_CHECKOUT else reinstall()


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def versions(problems: list[Problem]) -> Iterator[Row]:
    from packaging.requirements import Requirement

    yield "python", f"{platform.python_version()} ({sys.executable})"
    for package in PACKAGES:
        found = version(package)
        yield package, found or "missing"
        if found is None:
            problems.append((f"{package} is not installed", reinstall()))
            continue
        for line in metadata.requires(package) or []:  # finds a torch that torchvision was not built for
            need = Requirement(line)
            if need.marker and not need.marker.evaluate({"extra": ""}):
                continue
            other = version(need.name)
            if other is None or not need.specifier.contains(other, prereleases=True):
                wrong = f"{package} {found} needs {need.name}{need.specifier}, found {other}"
                problems.append((wrong, reinstall()))


def machine(problems: list[Problem]) -> Iterator[Row]:
    import psutil
    import torch

    yield "system", f"{platform.system()} {platform.release()} ({platform.machine()})"
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield "cpu", cpu_model()
    yield "cores", f"{usable} of {os.cpu_count()} usable, {torch.get_num_threads()} torch threads"
    memory = psutil.virtual_memory()
    yield "memory", f"{memory.available / 2**30:.1f} GiB free of {memory.total / 2**30:.1f}"
    yield "disk", f"{shutil.disk_usage(HERE).free / 2**30:.1f} GiB free"
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(i)
            size = f"{gpu.total_memory / 2**30:.1f} GiB"
            yield f"cuda:{i}", f"{gpu.name}, {size}, compute {gpu.major}.{gpu.minor}"
    elif gpu_listed():
        yield "cuda", f"there is an NVIDIA GPU, but torch {torch.__version__} cannot use it"
        wrong = f"the NVIDIA GPU is idle: the driver is too old for CUDA {torch.version.cuda} or does not run"
        problems.append((wrong, "update the NVIDIA driver; until then everything runs on the CPU"))
    else:
        yield "cuda", "none"
    yield "mps", "yes" if torch.backends.mps.is_available() else "none"


def cpu_model() -> str:
    if sys.platform.startswith("linux"):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        return subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True
        ).stdout.strip()
    return platform.processor() or platform.machine()


def gpu_listed() -> bool:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return False
    return subprocess.run([tool, "-L"], capture_output=True, timeout=20).stdout.startswith(b"GPU")


def formats(problems: list[Problem]) -> Iterator[Row]:
    import torch

    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    device = torch.device("cuda" if cuda else "mps" if mps else "cpu")
    dtypes = [torch.float32, torch.bfloat16] + ([] if device.type == "cpu" else [torch.float16])
    layouts = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
    yield f"on {device.type}", "  ".join(f"{name:>13}" for name in layouts)
    base = None
    for dtype in dtypes:
        cells = []
        for layout in layouts.values():
            try:
                seconds = time_conv(device, dtype, layout)
            except RuntimeError:  # a format that this device has not
                cells.append("not supported")
                continue
            base = base or seconds
            cells.append(f"{base / seconds:.2f}")
        yield str(dtype).removeprefix("torch."), "  ".join(f"{cell:>13}" for cell in cells)


def time_conv(device, dtype, layout, budget: float = 0.25) -> float:
    """Median seconds of a training step of two convolutions, measured for about `budget` seconds."""
    import torch
    from torch import nn

    net = nn.Sequential(nn.Conv2d(32, 64, 3, padding=1), nn.SiLU(), nn.Conv2d(64, 32, 3, padding=1))
    net = net.to(device, memory_format=layout)
    x = torch.randn(32, 32, 14, 14, device=device).to(memory_format=layout)

    def step() -> float:
        start = time.perf_counter()
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            y = net(x)
        y.float().square().mean().backward()
        if device.type != "cpu":
            next(net.parameters()).grad.sum().item()  # waits for the device
        return time.perf_counter() - start

    end = time.perf_counter() + budget
    step()  # the first one sets up kernels
    times = [step()]
    while time.perf_counter() < end:
        times.append(step())
    return sorted(times)[len(times) // 2]


def data(problems: list[Problem]) -> Iterator[Row]:
    from minidiff.data import DataError, data_dir, mnist

    chosen = os.environ.get("MINIDIFF_DATA")
    for name, full in (("sample", False), ("full MNIST", True)):
        try:
            train, held_out = mnist(full=full), mnist(full=full, split="held_out")
            yield name, f"{len(train):,} digits and {len(held_out):,} held out"
        except DataError as error:
            absent = full and not (data_dir() / "MNIST").exists()
            yield name, "not here; the course goes on with the sample" if absent else str(error)
            if not full:
                problems.append((str(error), restore("datasets")))
            elif not absent:
                problems.append((str(error), "minidiff.data.mnist(full=True, download=True)"))
    yield "folder", f"{data_dir()} ({'MINIDIFF_DATA' if chosen else 'MINIDIFF_DATA is not set'})"
    if chosen and not data_dir().is_dir():
        mend = f"mkdir -p '{chosen}', or unset MINIDIFF_DATA"
        problems.append((f"MINIDIFF_DATA names {chosen}, which is no folder", mend))


def weights(problems: list[Problem]) -> Iterator[Row]:
    files = sorted((HERE / "weights").glob("*.safetensors"))
    if not files:
        yield "none", ""
        problems.append(("the shipped weights are missing", restore("minidiff/weights")))
    for path in files:
        whole = is_whole(path)
        yield path.name, f"{path.stat().st_size / 1e6:.2f} MB{'' if whole else ', damaged'}"
        if not whole:
            problems.append((f"{path.name} is damaged", restore(f"minidiff/weights/{path.name}")))


def is_whole(path: Path) -> bool:
    """A safetensors file says in its header where its last tensor ends: cheap to check, without torch."""
    try:
        raw = path.read_bytes()
        (n,) = struct.unpack("<Q", raw[:8])
        header = json.loads(raw[8 : 8 + n])
        header.pop("__metadata__", None)
        return len(raw) == 8 + n + max(entry["data_offsets"][1] for entry in header.values())
    except (OSError, ValueError, KeyError, struct.error):
        return False


def widgets(problems: list[Problem]) -> Iterator[Row]:
    """A slider shows only if the Python package, its JupyterLab half and the page's files fit together."""
    from jupyter_core.paths import jupyter_path

    files = folder = None
    for place in jupyter_path("labextensions"):  # the page loads the first that it finds
        folder = Path(place) / "@jupyter-widgets/jupyterlab-manager"
        if (folder / "package.json").is_file():
            files = json.loads((folder / "package.json").read_text(encoding="utf-8"))["version"]
            break
    packages = [(name, version(name), least) for name, least in WIDGETS]
    for name, found, least in [*packages, ("labextension", files, 5)]:
        yield name, f"{found or 'missing'}{f' ({folder})' if found and name == 'labextension' else ''}"
        if found is None or int(found.split(".")[0]) < least:
            mend = f"rm -r '{folder}'" if found and not folder.is_relative_to(sys.prefix) else reinstall()
            problems.append((f"sliders will not show: {name} must be {least} or newer, not {found}", mend))
