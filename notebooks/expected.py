"""Measure what a healthy run of a lesson reaches: python notebooks/expected.py [LESSON] [SEEDS]

Runs the cells of a lesson up to the end of its training, once for each of three seeds, and writes what it kept in
`at_milestone` to notebooks/expected/. Lesson 03, the default, gives a picture as well: the digits of the first run,
one row a milestone, with the losses of all runs in the metadata of the file.
Do it again when the network, the data or `train` change.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

import jupytext
import torch

from minidiff import viz

HERE = Path(__file__).resolve().parent
LAST = {  # a line of the last cell that is run
    "01_pixels_and_networks": "at_milestone[step] = share_wrong(reader)",
    "02_adding_noise": "at_milestone = {level",
    "03_learning_to_denoise": "mine = state.ema",
    "06_words_to_vectors": "for state in train(ear",
    "09_latent_space": "mine = state.ema",
}


def run(lesson: str, seed: int) -> dict:
    """The lesson's variables after its training with this seed."""
    cells = [c.source for c in jupytext.read(HERE / f"src/{lesson}.py").cells if c.cell_type == "code"]
    end = next(i for i, cell in enumerate(cells) if LAST[lesson] in cell)
    names: dict = {"__name__": "lesson"}
    for cell in cells[: end + 1]:
        exec(compile(cell.replace("SEED = 0", f"SEED = {seed}"), lesson, "exec"), names)
    return names


def main(lesson: str, seeds: list[int]) -> None:
    os.chdir(HERE)
    runs = []
    for seed in seeds:
        runs.append(run(lesson, seed))
        print(f"seed {seed}: {runs[-1]['at_milestone']}", flush=True)
    steps = list(runs[0]["at_milestone"])
    values = [[round(names["at_milestone"][step], 4) for names in runs] for step in steps]
    hardware = f"{platform.machine()}, {os.cpu_count()} cores"
    if "drawn" not in runs[0]:
        measured = {"at_milestone": dict(zip(steps, values, strict=True)), "seeds": seeds, "hardware": hardware}
        path = HERE / f"expected/{lesson}.json"
        path.write_text(json.dumps(measured, indent=1) + "\n")
    else:
        pictures = torch.cat([runs[0]["drawn"][step] for step in steps])
        measured = {
            "milestones": steps,
            "loss": values,
            "seeds": seeds,
            "net": runs[0]["model"].denoiser.net.config,
            "format": str(runs[0]["form"]),
            "hardware": hardware,
        }
        sheet = viz.grid(pictures, columns=10, scale=1, gap=0)
        path = viz.save_png(sheet, HERE / f"expected/{lesson}.png", measured)
    print(f"Wrote {path}: {measured}")


if __name__ == "__main__":
    given = sys.argv[1:]
    chosen = [name for name in LAST if given and name.startswith(f"{given[0]:>02}")]
    main(*chosen or ["03_learning_to_denoise"], [int(seed) for seed in given[1:]] or [0, 1, 2])
