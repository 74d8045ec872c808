"""TrainingBoard: a training that runs in the background, seen while it learns, and stopped in time."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
import traitlets
from torch import Tensor

from .. import viz
from ..train import State
from .live import Live, raw, sentence
from .player import Player, axis, panel, together

TELL = 0.25  # seconds between two messages to the page
POINTS, MOMENTS = 200, 24  # of the curve; of pictures kept, so that a long training does not fill the memory


class TrainingBoard(Live):
    """Loss, speed, time left, and what fixed seeds draw, while `states` are trained in a thread.

    states: `train(..., progress=False)`. prompts: drawn every so many seconds; or `draw`, from a State to pictures.
    `wait()` gives the last State; `film()` is a player of the pictures, which needs no kernel.
    """

    module = "training"
    label = traitlets.Unicode("Training").tag(sync=True)

    def __init__(
        self,
        states: Iterable[State],
        prompts: Sequence[str] = (),
        every: float = 5.0,
        draw: Callable[[State], Tensor] | None = None,
        seed: int = 0,
        **settings,
    ):
        self.state: State | None = None
        self.losses: list[float] = []
        self.moments: list[tuple[int, Tensor]] = []
        self.error: Exception | None = None
        self._states, self._every = states, every
        self._draw = draw or (lambda state: state.ema.draw(list(prompts), seed=seed, **settings))
        self._draws = draw is not None or bool(prompts)
        self._ended, self._stopped, self._may_go = False, False, threading.Event()
        self._may_go.set()
        super().__init__()
        self._thread = threading.Thread(target=self._train, daemon=True)
        self._thread.start()

    def answer(self, request: dict, buffers: Sequence[bytes]) -> Iterator[tuple[dict, list[bytes]]]:
        getattr(self, {"pause": "pause", "go": "go", "stop": "stop", "look": "told"}[request["kind"]])()
        yield self.told(), []
        if self.moments:
            yield self._pictures()

    def pause(self) -> None:
        """Hold the training after the step that runs."""
        self._may_go.clear()

    def go(self) -> None:
        """Go on after `pause`."""
        self._may_go.set()

    def stop(self) -> None:
        """End the training after the step that runs."""
        self._stopped = True
        self._may_go.set()

    def wait(self) -> State:
        """The last State, once the training has ended; Ctrl-C or the stop button of the notebook ends it now.

        Raises what the training raised.
        """
        try:
            while self._thread.is_alive():
                self._thread.join(0.1)  # a join without a limit would not hear the Ctrl-C
        except KeyboardInterrupt:
            self.stop()
            self._thread.join()
        if self.error is not None:
            raise self.error
        if self.state is None:
            raise ValueError("the training ended before its first step")
        return self.state

    def film(self) -> Player:
        """The pictures that were drawn meanwhile, as a player."""
        if not self.moments:
            raise ValueError("no pictures were drawn: give the board prompts, or `draw`")
        names = [f"{step:,}" for step, _ in self.moments]
        n = len(self.moments[0][1])
        return Player(
            "What the network drew while it learned",
            [axis("Training step", names, at=len(names) - 1)],
            [panel("the same seeds every time", 0, n)],
            [together([pictures for _, pictures in self.moments])],
            viz.grid(self.moments[-1][1], columns=n, scale=1),
            f"What the network drew from {n} fixed seeds after {names[-1]} steps of training.",
            [f"after {name} steps" for name in names],
        )

    def told(self) -> dict:
        """Where the training stands, in what the page shows."""
        state, stage = self.state, "running" if self._may_go.is_set() else "paused"
        if self._ended:
            stage = "failed" if self.error else "stopped" if self._stopped else "finished"
        told = {"kind": "state", "stage": stage, "curve": _thinned(self.losses, POINTS)}
        if state is not None:
            left = None if state.steps is None else (state.steps - state.step) * state.seconds / state.step
            recent = self.losses[-20:]
            told |= {
                "step": state.step,
                "steps": state.steps,
                "loss": sum(recent) / len(recent),
                "rate": state.images_per_second,
                "left": left,
            }
        return told

    def still(self) -> str:
        """What has been drawn so far, as `film`; the loss if nothing is drawn."""
        if self.moments:
            return self.film().html
        if not self.losses:
            return "<p>The training has begun. What it learns is shown here while it runs.</p>"
        curve = _thinned(self.losses, POINTS)
        steps = [(k + 1) * self.state.step / len(curve) for k in range(len(curve))]
        alt = f"The loss over {self.state.step:,} steps, from {curve[0]:.3g} to {curve[-1]:.3g}."
        return viz.show(viz.plot({"loss": (steps, curve)}, "training step", "loss", log="y"), alt).html

    def _train(self) -> None:
        try:
            self._learn()
            self._ended = True
            self.send(self.told())  # before the last pictures, which take a moment
            if self._draws and self.state is not None:
                self._look()
        except Exception as error:  # `wait` raises it; the page tells it
            self.error = error
            self.send({"error": sentence(error), "more": "The cell that calls `wait()` shows where it happened."})
        if hasattr(self._states, "close"):
            self._states.close()
        self._ended = True
        self.send(self.told())
        self.freeze()

    def _learn(self) -> None:
        last_told = last_drawn = -math.inf
        for state in self._states:
            self.state = state
            self.losses.append(state.loss)
            now = time.monotonic()
            if self._draws and now - last_drawn >= self._every and not self._stopped:
                self._look()
                last_drawn = time.monotonic()
            if now - last_told >= TELL:
                self.send(self.told())
                last_told = now
            if not self._may_go.is_set():
                self.send(self.told())
                self._may_go.wait()
            if self._stopped:
                break

    def _look(self) -> None:
        with torch.no_grad():
            self.moments.append((self.state.step, self._draw(self.state).cpu()))
        if len(self.moments) > MOMENTS:  # every other of the older ones
            self.moments[:] = self.moments[:-1:2] + self.moments[-1:]
        self.send(*self._pictures())
        if len(self.moments) == 1:
            self.freeze()  # if the kernel dies, this stays

    def _pictures(self) -> tuple[dict, list[bytes]]:
        moments = list(self.moments)
        about, data = raw(torch.cat([pictures for _, pictures in moments]))
        return {"kind": "pictures", "picture": about, "steps": [step for step, _ in moments]}, [data]


def _thinned(losses: Sequence[float], most: int) -> list[float]:
    """At most so many means of neighbours."""
    losses = list(losses)
    size = max(1, math.ceil(len(losses) / most))
    parts = [losses[i : i + size] for i in range(0, len(losses), size)]
    return [round(sum(part) / len(part), 5) for part in parts]
