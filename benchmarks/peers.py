"""Against peers in one run: minidiff, the Hugging Face diffusion class and smalldiffusion, judged alike.

Each recipe trains from nothing for the same seconds on the same 60,000 digits and cores, one after the other,
each in a process of its own, and draws the same number of digits. The diffusion class draws with a modern
solver of 25 steps; its own loop of 1,000 takes too long on a CPU, so all are compared once more on the few
digits that it draws. smalldiffusion knows no labels, so nothing is asked of it. About an hour; the first
example takes half of that.

examples:
  python -m benchmarks.peers --samples 500 --own-sampler-samples 16
  python -m benchmarks.peers
  python -m benchmarks.peers --samples 2000 --own-sampler-samples 200       (an hour or more)
  python -m benchmarks.peers --smalldiffusion-batch 128                     (not its recipe, but more steps)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from . import common
from .contestants import CONTESTANTS


def contest(name: str, judge: common.Judge, few: int, options: list[str]) -> dict:
    """Run one contestant in a fresh process and judge its pictures."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.contestants", name, folder, *options]
        if subprocess.run(command, env=os.environ | {"TQDM_DISABLE": "1"}).returncode:
            sys.exit(1)  # the contestant has said why
        result = json.loads(Path(folder, "result.json").read_text())
        for i, draw in enumerate(result["draws"]):
            pixels = torch.from_numpy(np.load(Path(folder, f"{i}.npy")))
            draw["few"] = judge.score(pixels[:few], result["conditional"])
            draw["score"] = None if draw["slow"] else judge.score(pixels, result["conditional"])
    return result


def tell(result: dict) -> None:
    print(
        "{images:,} images, {steps:,} steps, {images_per_second:.0f} images/s, loss {first_loss:.3f} to "
        "{last_loss:.3f}, {parameters:,} parameters".format(**result["training"])
    )
    for draw in result["draws"]:
        score = draw["score"] or draw["few"]
        asked = "nothing was asked" if score["adherence"] is None else f"adherence {score['adherence']:.2%}"
        print(
            f"  {draw['sampler']}: {asked}, Frechet distance {score['frechet']:.3f} ({score['ratio']:.1f} "
            f"times the floor) of {score['n']:,}, ink {score['ink']:.3f}, 64 digits in "
            f"{draw['seconds_64']:.2f} s, {draw['calls']:g} network calls"
        )


def main() -> None:
    p = common.parser("benchmarks.peers", __doc__)
    p.add_argument("--seconds", type=float, default=300, help="of training, each (default: 300)")
    p.add_argument("--samples", type=common.samples, default=1000, help="of each sampler (default: 1000)")
    p.add_argument(
        "--own-sampler-samples", type=common.samples, default=64, help="of the 1,000-step loop (default: 64)"
    )
    p.add_argument("--smalldiffusion-batch", type=common.count, default=1024, help="default: 1024, as in its recipe")
    p.add_argument("--seed", type=int, default=0, help="of the drawn noise (default: 0)")
    args = p.parse_args()
    few = args.own_sampler_samples
    if few > args.samples:
        p.error(f"--own-sampler-samples must be at most --samples, got {few} and {args.samples}")

    here = common.machine()
    judge = common.Judge(args.samples)
    result = judge.about(args.samples) | {
        "few_floor": judge.floor(few),
        "seconds": args.seconds,
        "recipes": [],
    }
    real = result["floor"]
    print(f"floor: {real['n']:,} real digits: Frechet distance {real['frechet']:.3f}, ink {real['ink']:.3f}")
    options = [f"--seconds={args.seconds}", f"--samples={args.samples}", f"--seed={args.seed}"]
    options += [f"--own-sampler-samples={few}"]
    for name in CONTESTANTS:
        print(f"\n{name} ...", flush=True)
        batch = [f"--batch={args.smalldiffusion_batch}"] if name == "smalldiffusion" else []
        result["recipes"].append(contest(name, judge, few, options + batch))
        tell(result["recipes"][-1])
    common.save(args.out, args, here, result)


if __name__ == "__main__":
    with common.clear_errors():
        main()
