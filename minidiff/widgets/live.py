"""Live: the side of a widget that runs in the kernel. It answers requests of the page, the newest one first.

A request is a dict with buffers. `answer` yields the answers to it, better and better ones; as soon as a newer
request is there, the rest of the older one is dropped. It runs in a thread, so cells can run meanwhile.
"""

from __future__ import annotations

import json
import threading
import traceback
import zlib
from collections.abc import Iterator, Sequence

import anywidget
import numpy as np
import traitlets
from IPython import get_ipython
from IPython.display import HTML, display, update_display
from torch import Tensor

from .player import javascript, pixels, style

# A widget that is shown after its kernel has gone would be a line of error text beside its still picture.
NO_ERROR = """<style>.jp-OutputArea-child:has([class^="minidiff-still"]) ~
.jp-OutputArea-child > .lm-Panel:not(:has(*)) { display: none; }</style>"""


class Live(anywidget.AnyWidget):
    """A widget with a kernel. A subclass names its module in js/ and writes `answer`.

    Its still picture, an output of its own, stands where there is no kernel; it is hidden when the kernel answers.
    """

    module: str
    still_name = traitlets.Unicode().tag(sync=True)

    def __init__(self, **traits):
        self._lock, self._wanted, self._busy = threading.Lock(), None, False
        self._idle = threading.Event()
        self._idle.set()
        script = f"{javascript('core', 'live', self.module)}\nconst CSS = {json.dumps(style())};\n"
        super().__init__(_esm=script + "export default { render: (here) => renderLive(here, CSS, render) };", **traits)
        self.on_msg(lambda _, content, buffers: self.ask(content, buffers))

    def answer(self, request: dict, buffers: Sequence[bytes]) -> Iterator[tuple[dict, list[bytes]]]:
        """Yield (content, buffers), each a better answer than the one before."""
        raise NotImplementedError

    def still(self) -> str:
        """The HTML that stands here without a kernel."""
        raise NotImplementedError

    def freeze(self) -> None:
        """Put what `still` gives now in the place of the still picture, wherever the widget is shown."""
        if self.still_name:
            update_display(self._framed(), display_id=self.model_id)

    def ask(self, request: dict, buffers: Sequence[bytes] = ()) -> None:
        """What a message from the page does: this request takes the place of those that wait.

        One with `tell` is a command: it is carried out at once, whatever else goes on.
        """
        if request.get("tell"):
            return self._reply(request, buffers)
        with self._lock:
            self._wanted = (request, [bytes(part) for part in buffers])
            if self._busy:
                return
            self._busy = True
            self._idle.clear()
        threading.Thread(target=self._work, daemon=True).start()

    def settle(self, timeout: float | None = None) -> bool:
        """Wait until every request is answered; False if that takes longer than `timeout` seconds."""
        return self._idle.wait(timeout)

    def _work(self) -> None:
        while True:
            with self._lock:
                wanted, self._wanted = self._wanted, None
                if wanted is None:
                    self._busy = False
                    self._idle.set()
                    return
            self._reply(*wanted)

    def _reply(self, request: dict, buffers: Sequence[bytes]) -> None:
        here = {key: request[key] for key in ("id", "view", "tell") if key in request}
        try:
            for content, parts in self.answer(request, buffers):
                self.send({**content, **here}, parts)
                if self._wanted is not None:  # a newer request is there
                    break
        except Exception as error:  # of the learner's function or model: the widget tells it and goes on
            self.send({**here, "error": sentence(error), "more": traceback.format_exc()})

    def _repr_mimebundle_(self, **options):
        if not self.still_name:
            self.still_name = f"minidiff-still-{zlib.crc32(self.still().encode(), _cell()):08x}"
        display(self._framed(), display_id=self.model_id)
        data, about = super()._repr_mimebundle_(**options)
        return data | {"text/plain": f"[{self.label}: run this cell to use it.]"}, about

    def _framed(self) -> HTML:
        return HTML(f'<div class="{self.still_name}">{NO_ERROR}{self.still()}</div>')


def _cell() -> int:
    """The number of the cell that runs: the same still picture in two cells has two names."""
    shell = get_ipython()
    return shell.execution_count if shell else 0


def sentence(error: Exception) -> str:
    """An error in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"


def raw(x: Tensor) -> tuple[dict, bytes]:
    """Pictures (n c h w) in [-1, 1] as the shape and the bytes that `rawAtlas` reads."""
    return raw_bytes(pixels(x))


def raw_bytes(array: np.ndarray) -> tuple[dict, bytes]:
    n, height, width, channels = array.shape
    return {"n": n, "height": height, "width": width, "channels": channels}, array.tobytes()
