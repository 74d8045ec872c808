"""What test_train.py runs under torchrun: train() and batches() as anyone would call them.

torchrun --standalone --nproc-per-node 2 tests/two_processes.py FOLDER
"""

from __future__ import annotations

import math
import os
import sys
from dataclasses import replace
from pathlib import Path

import tiny
import torch

from minidiff import cli
from minidiff.recipes import RECIPES, Recipe
from minidiff.train import FORMATS, Format, TrainingError, train

BATCH, STEPS = 6, 12  # of each process
RATE = dict(lr=5e-3, warmup=3)  # fast enough that a wrong step would be seen


def main(folder: Path) -> None:
    rank = os.environ["RANK"]
    for accumulate in (1, 2):
        path = folder / f"steps{accumulate}.safetensors"
        settings = RATE | dict(accumulate=accumulate, format=Format(), progress=False)
        for _ in train(tiny.model(), tiny.stream(BATCH), STEPS, path=path, **settings):
            pass

    for state in train(tiny.model(int(rank)), tiny.stream(BATCH), seconds=2.0, format=Format(), progress=False):
        pass
    torch.save(tiny.weights(state.objective) | {"step": state.step}, folder / f"seconds{rank}.pt")

    spoilt = (
        replace(batch, x0=batch.x0 * math.nan) if i == 2 and rank == "1" else batch
        for i, batch in enumerate(tiny.stream(BATCH))
    )
    try:
        for _ in train(tiny.model(), spoilt, 5, format=Format(), progress=False):
            pass
    except TrainingError as error:
        (folder / f"error{rank}.txt").write_text(str(error))

    # each process finds another format to be the fastest, and the command line must settle on one
    mine = FORMATS[int(rank)]
    sys.modules["minidiff.train"].measure_format = lambda *_: (mine, {mine: 1.0})
    options = dict(steps=4, progress=False)
    made = Recipe(
        "tiny", "", tiny.model, lambda full, size: tiny.stream(size), lambda model: {"n": 1}, options, 2 * BATCH
    )
    RECIPES["tiny"] = made
    assert cli.main(["train", "tiny", "--data", "sample", "--out", str(folder / "recipe")]) == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    torch.distributed.destroy_process_group()
