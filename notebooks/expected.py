"""Measure what a healthy training in lesson 03 reaches: python notebooks/expected.py [SEEDS]

Runs the lesson's own cells up to the end of its training, once for each of three seeds, and writes
notebooks/expected/03_learning_to_denoise.png: the digits of the first run, one row a milestone, and
the losses of all runs in the metadata of the file. Do it again when the network, the data or `train` change.
"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import jupytext
import torch

from minidiff import viz

HERE = Path(__file__).resolve().parent
LESSON = "03_learning_to_denoise"
LAST = "mine = state.ema"  # the cell that trains holds this line


def run(seed: int) -> dict:
    """The lesson's variables after its training with this seed."""
    cells = [c.source for c in jupytext.read(HERE / f"src/{LESSON}.py").cells if c.cell_type == "code"]
    end = next(i for i, cell in enumerate(cells) if LAST in cell)
    names: dict = {"__name__": "lesson"}
    for cell in cells[: end + 1]:
        exec(compile(cell.replace("SEED = 0", f"SEED = {seed}"), LESSON, "exec"), names)
    return names


def main(seeds: list[int]) -> None:
    os.chdir(HERE)
    runs = []
    for seed in seeds:
        runs.append(run(seed))
        print(f"seed {seed}: {runs[-1]['at_milestone']}", flush=True)
    steps = runs[0]["MILESTONES"]
    pictures = torch.cat([runs[0]["drawn"][step] for step in steps])
    measured = {
        "milestones": steps,
        "loss": [[round(names["at_milestone"][step], 4) for names in runs] for step in steps],
        "seeds": seeds,
        "net": runs[0]["model"].denoiser.net.config,
        "format": str(runs[0]["form"]),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    path = viz.save_png(viz.grid(pictures, columns=10, scale=1, gap=0), HERE / f"expected/{LESSON}.png", measured)
    print(f"Wrote {path}: {measured}")


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or [0, 1, 2])
