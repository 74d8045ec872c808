"""kill -9 at 20 random moments of training, half of them during a write: nothing is lost, not one bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny
from killed import STEPS

from minidiff import checkpoint

HERE = Path(__file__).parent
KILLS = 20


class Script:
    """killed.py at work on these files."""

    def __init__(self, paths: list[Path]):
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
        command = [sys.executable, str(HERE / "killed.py"), *map(str, paths)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    def wait_for(self, line: str) -> None:
        for said in self.process.stdout:
            if said.strip() == line:
                return
        raise AssertionError(f"killed.py ended with {self.process.wait()} before it said {line!r}")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


def half_written(path: Path) -> list[Path]:
    return list(path.parent.glob(f".{path.name}.*.part"))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_training_that_is_killed_and_resumed_ends_with_bitwise_the_same_file(tmp_path):
    chance = random.Random(0)
    whole, *paths = [tmp_path / f"{i}.safetensors" for i in range(KILLS + 1)]
    script = Script([whole, *paths])
    script.wait_for(f"end {whole}")
    caught_writing = 0
    try:
        for i, path in enumerate(paths):
            script.wait_for(f"begin {path}")
            moment = chance.randrange(STEPS - 5)
            if moment:
                script.wait_for(f"step {moment}")
            time.sleep(chance.uniform(0, 0.03))
            if i % 2:  # then at the next sign of a write
                end = time.monotonic() + 20
                while not half_written(path) and time.monotonic() < end:
                    pass
            script.kill()
            caught_writing += bool(half_written(path))
            if path.exists():  # whole, whatever the moment was
                assert moment <= checkpoint.load(path)[1]["train"]["step"] < STEPS
            script = Script(paths[i:])
            script.wait_for(f"end {path}")
            assert not half_written(path)  # what the killed run left is cleared away
    finally:
        script.kill()

    tensors, header = checkpoint.load(whole)
    assert header["train"].pop("seconds") > 0
    for path in paths:
        others, other = checkpoint.load(path)
        tiny.assert_equal(others, tensors)
        assert other["train"].pop("seconds") > 0
        assert other == header
    assert caught_writing >= 3
    assert sorted(tmp_path.iterdir()) == sorted([whole, *paths])
