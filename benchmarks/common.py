"""What the benchmarks share: the judge, drawing many digits, the machine, and files of results."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from minidiff import ConvNet, checkpoint, data, metrics, recipes
from minidiff.doctor import cpu_model

HERE = Path(__file__).parent
RESULTS = HERE / "results"
JUDGE = "digits"
REFERENCE = "all 60,000 training digits of MNIST"
HELD_OUT = 10_000  # digits, from which the prompts and the floor are taken
Draw = Callable[[Tensor, int], Tensor]  # (labels (b,), seed) -> x0 (b c h w)


class Judge:
    """Scores digits by what was asked for and by real digits, beside the floor that real ones reach.

    `asked` are the labels of n held-out digits, always the same; those digits themselves give the floor.
    """

    def __init__(self, n: int):
        self.net = ConvNet.load(JUDGE)
        self.reference = self.features(data.mnist(full=True).pixels)
        _, self.real = recipes.held_out_prompts(n)
        self.asked = self.real.labels

    def features(self, pixels: Tensor) -> Tensor:
        return metrics.in_chunks(self.net.features, data.to_float(pixels))

    @torch.no_grad()
    def score(self, pixels: Tensor, conditional: bool = True) -> dict:
        """Of pixels (n 1 28 28) uint8, the k-th drawn to be asked[k] unless they are unconditional."""
        features, asked = self.features(pixels), self.asked[: len(pixels)]
        distance = metrics.frechet_distance(self.reference, features)
        return {
            "n": len(pixels),
            "adherence": metrics.adherence(self.net.head(features), asked) if conditional else None,
            "frechet": distance,
            "ratio": distance / self.floor(len(pixels))["frechet"],
            "ink": float(pixels.float().mean() / 255),
        }

    def floor(self, n: int) -> dict:
        """What the first n of the held-out digits themselves reach."""
        pixels = self.real.pixels[:n]
        distance = metrics.frechet_distance(self.reference, self.features(pixels))
        return {"n": n, "frechet": distance, "ink": float(pixels.float().mean() / 255)}

    def about(self, n: int) -> dict:
        return {"features": f"{JUDGE}.safetensors", "reference": REFERENCE, "floor": self.floor(n)}


def draw_many(draw: Draw, labels: Tensor, seed: int = 0, size: int = 250) -> Tensor:
    """draw(labels, seed) `size` at a time, rounded to pixels (n 1 28 28) uint8 as in a file."""
    parts = [draw(part, 100_000 * seed + i * size) for i, part in enumerate(labels.split(size))]
    return data.to_uint8(torch.cat(parts))


class Calls:
    """with Calls(net) as calls: counts the pictures that go through a network, calls.images."""

    def __init__(self, net: nn.Module):
        self.net, self.images = net, 0

    def __enter__(self) -> Calls:
        self.hook = self.net.register_forward_pre_hook(self.count)
        return self

    def count(self, net: nn.Module, args: tuple) -> None:
        self.images += len(args[0])

    def __exit__(self, *error) -> None:
        self.hook.remove()


def spread(values: list[float]) -> dict:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def machine() -> dict:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": cpu_model(),
        "cores": usable,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "torch": torch.__version__,
    }


def save(path: Path, args: argparse.Namespace, here: dict, result: dict) -> None:
    """Write a result with all that it takes to get it again. here: machine(), taken before the work began."""
    command = shlex.join(["python", "-m", args.module, *args.given])
    told = {"command": command, "date": datetime.date.today().isoformat(), "machine": here}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told | result, indent=1) + "\n")
    print(f"\nWrote {path}. `python -m benchmarks.report` puts it into the tables of the README.")


def parser(module: str, doc: str) -> argparse.ArgumentParser:
    """With --out and, for the record, the command as it was given. module: such as "benchmarks.speed"."""
    p = argparse.ArgumentParser(
        f"python -m {module}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    name = module.rpartition(".")[2]
    p.add_argument(
        "--out", type=Path, default=RESULTS / f"{name}.json", help=f"default: benchmarks/results/{name}.json"
    )
    p.set_defaults(module=module, given=sys.argv[1:])
    return p


def count(text: str) -> int:
    """An argument that must be 1 or more."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def samples(text: str) -> int:
    """An argument that says how many pictures to judge."""
    if not 2 <= (value := int(text)) <= HELD_OUT:
        raise argparse.ArgumentTypeError(f"must be from 2 to {HELD_OUT:,}, got {text}")
    return value


@contextmanager
def clear_errors() -> Iterator[None]:
    """End with one line, and no traceback, where the data, the weights or the peers are missing."""
    try:
        yield
    except (data.DataError, checkpoint.CheckpointError) as error:
        sys.exit(f"error: {error}")
    except ModuleNotFoundError as error:
        if error.name not in ("diffusers", "smalldiffusion"):
            raise
        sys.exit(f"error: {error.name} is not installed: run `make setup` or `pip install -e .[bench]`")
