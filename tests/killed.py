"""What test_kill.py kills: trainings one after another, each saved after every step and resumed.

python tests/killed.py A.safetensors B.safetensors ...
"""

from __future__ import annotations

import sys
import time

import tiny

from minidiff.train import Format, train

STEPS = 30


def main(paths: list[str]) -> None:
    for path in paths:
        print("begin", path, flush=True)
        settings = dict(path=path, resume=True, save_every=0.0, format=Format(), progress=False)
        for state in train(tiny.model(), tiny.stream(), STEPS, warmup=5, **settings):
            print("step", state.step, flush=True)
            time.sleep(0.005)
        print("end", path, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
