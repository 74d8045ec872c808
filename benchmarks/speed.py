"""Speed, as ratios within one run: training, drawing 64 digits, and `import minidiff`.

minidiff and the Hugging Face diffusion class take turns (A B A B ...) in one process, so that what else the
machine does strikes both; each round gives one ratio. The class's 1,000-step loop is timed by 10 of its
steps. About 4 minutes.

examples:
  python -m benchmarks.speed
  python -m benchmarks.speed --rounds 9 --round-seconds 10
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

from minidiff import TextToImage
from minidiff.train import measure_format

from . import common
from .contestants import DiffusionClass, Minidiff, drawer, seconds_for_64

TIMED_STEPS = 10  # of the 1,000
IMPORT = """import time
start = time.perf_counter(); import torch
between = time.perf_counter(); import minidiff
print(between - start, time.perf_counter() - between)"""


def images_per_second(step: Callable[[], int], seconds: float) -> float:
    images, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        images += step()
    return images / elapsed


def take_turns(rounds: int, a: Callable[[], float], b: Callable[[], float]) -> list[tuple[float, float]]:
    return [(a(), b()) for _ in range(rounds + 1)][1:]  # the first round warms up


def spreads(pairs: list[tuple[float, float]], ratio: Callable[[float, float], float]) -> dict:
    mine, peers = zip(*pairs, strict=True)
    ratios = [ratio(a, b) for a, b in pairs]
    return {"minidiff": common.spread(mine), "peer": common.spread(peers), "ratio": common.spread(ratios)}


def training(mine: Minidiff, peer: DiffusionClass, rounds: int, seconds: float) -> dict:
    """Images a second of forward, backward and optimizer step, each on its own batches."""
    first = next(iter(mine.batches))
    fmt, _ = measure_format(mine.model, first)
    states = mine.steps(steps=10**9, format=fmt)
    seen = 0

    def step() -> int:
        nonlocal seen
        before, seen = seen, next(states).images
        return seen - before

    pairs = take_turns(
        rounds,
        lambda: images_per_second(step, seconds),
        lambda: images_per_second(lambda: peer.step()[0], seconds),
    )
    sizes = [sum(p.numel() for p in model.parameters()) for model in (mine.model, peer.model)]
    about = {"format": str(fmt), "parameters": sizes, "batches": [len(first.x0), peer.batch_size]}
    return spreads(pairs, lambda a, b: a / b) | about


def drawing(peer: DiffusionClass, rounds: int) -> dict:
    """Seconds for 64 digits: the shipped weights as they draw by default, and the class's 1,000 steps."""
    draw = drawer(TextToImage.load(), 2)
    pairs = take_turns(
        rounds,
        lambda: seconds_for_64(draw),
        lambda: seconds_for_64(lambda y, seed: peer.draw_ddpm(y, seed, TIMED_STEPS)) * 1000 / TIMED_STEPS,
    )
    return spreads(pairs, lambda a, b: b / a)


def importing(rounds: int) -> dict:
    """Seconds that `import minidiff` takes after `import torch`, in fresh processes with warm caches."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    times = []
    for _ in range(rounds + 1):
        out = subprocess.check_output([sys.executable, "-c", IMPORT], env=env, text=True)
        times.append([float(seconds) for seconds in out.split()])
    torch_alone, beyond = zip(*times[1:], strict=True)
    return {"torch": common.spread(torch_alone), "minidiff": common.spread(beyond)}


def main() -> None:
    p = common.parser("benchmarks.speed", __doc__)
    p.add_argument("--rounds", type=common.count, default=5, help="after one to warm up (default: 5)")
    p.add_argument("--round-seconds", type=float, default=8, help="of training by each (default: 8)")
    args = p.parse_args()

    here = common.machine()
    TextToImage.load()  # now, so that missing weights are told before anything is timed
    result = {"rounds": args.rounds, "import": importing(args.rounds)}
    print(f"import minidiff after import torch: {told(result['import']['minidiff'])} s", flush=True)
    peer = DiffusionClass()
    result["training"] = t = training(Minidiff(), peer, args.rounds, args.round_seconds)
    print(f"training: {told(t['minidiff'])} images/s against {told(t['peer'])}, ratio {told(t['ratio'])}")
    result["drawing"] = d = drawing(peer, args.rounds)
    print(f"64 digits: {told(d['minidiff'])} s against {told(d['peer'])}, ratio {told(d['ratio'])}")
    print(f"(the peer's 1,000 steps from {TIMED_STEPS} of them)")
    common.save(args.out, args, here, result)


def told(spread: dict) -> str:
    return "{median:.3g} ({min:.3g} to {max:.3g})".format(**spread)


if __name__ == "__main__":
    with common.clear_errors():
        main()
