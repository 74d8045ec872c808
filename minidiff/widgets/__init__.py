"""Controls for the lessons, in plain ipywidgets that load when used. The library never imports them.

`prompt_box(model)` draws what is asked for; `step_slider(steps)` turns the pages of a walk to a picture.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

import torch

from .. import viz
from ..samplers import Step

WIDTH = 480  # of the pictures, in pixels of the page


def step_slider(steps: Iterable[Step]):
    """A slider over the steps of a walk: xt, and x0, the guess there. All frames are drawn here, once."""
    pages = _Pages()
    pages.show(list(steps))
    return pages.box


def prompt_box(model, prompt: str = "a seven", negative: str = "", seed: int = 0, **settings):
    """A form that draws one picture with `model`, and a slider over its steps. `settings` go to `model.walk`.

    A prompt that cannot be drawn is answered in the form, with the nearest words that the model knows.
    """
    import ipywidgets as w

    def field(kind, description: str, value, **more):
        style, layout = {"description_width": "9em"}, w.Layout(width="24em")
        return kind(description=description, value=value, continuous_update=False, style=style, layout=layout, **more)

    words = field(w.Text, "Prompt", prompt)
    without = field(w.Text, "Negative prompt", negative)
    number = field(w.BoundedIntText, "Seed", seed, min=0, max=2**31 - 1)
    button = w.Button(description="Draw", button_style="primary", layout=w.Layout(margin="2px 2px 2px 9.4em"))
    message, pages = w.HTML(), _Pages()
    drawn = None

    def draw(_=None):
        nonlocal drawn
        wanted = (words.value, without.value, number.value)
        if wanted == drawn:  # Enter in a field, and then the button
            return
        try:
            pages.show(list(model.walk(words.value, without.value, seed=number.value, **settings)))
            message.value, drawn = "", wanted
        except ValueError as error:  # UnknownWord is one
            message.value, drawn = f'<span role="alert">Not drawn: {html.escape(str(error))}.</span>', None

    button.on_click(draw)
    for control in (words, without, number):
        control.observe(draw, "value")
    draw()
    return w.VBox([words, without, number, button, message, pages.box])


class _Pages:
    """A slider, a picture and a line of text; `show` gives them new steps."""

    def __init__(self):
        import ipywidgets as w

        self.slider = w.IntSlider(description="Step", layout=w.Layout(width=f"{WIDTH}px"))
        self.picture, self.text, self.frames = w.HTML(), w.HTML(), []  # not w.Image, which has no alternative text
        self.box = w.VBox([self.slider, self.picture, self.text])
        self.slider.observe(self._turn, "value")

    def show(self, steps: list[Step]) -> None:
        if not steps:
            raise ValueError("a slider needs at least one step")
        last = len(steps) - 1
        first, second = ("Left", "Right") if len(steps[0].xt) == 1 else ("Above", "Below")
        where = f"{first}: xt, what the sampler holds. {second}: x0, the network's guess."
        self.frames = [_frame(step, f"Step {step.i} of {last}, t = {step.t:.2f}. {where}") for step in steps]
        self.slider.max = last
        self.slider.value = last
        self._turn()

    def _turn(self, _=None) -> None:
        self.picture.value, self.text.value = self.frames[self.slider.value]


def _frame(step: Step, text: str) -> tuple[str, str]:
    """HTML of xt beside x0 for one picture, of xt above x0 for several; and the text, which is its alternative."""
    columns = max(2, len(step.xt))
    scale = max(1, min(8, WIDTH // (columns * step.xt.shape[-1])))
    picture = viz.grid(torch.cat([viz.visible(step.xt), step.x0]), columns=columns, scale=scale)
    return viz.show(picture, text).html, text
