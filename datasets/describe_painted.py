"""Rewrite the facts and the pictures of PAINTED.md from the painted digits themselves.

examples:
  python datasets/describe_painted.py            # the facts in PAINTED.md, and the two pictures beside it
  python datasets/describe_painted.py --print    # the facts only, on the screen
"""

from __future__ import annotations

import argparse
import re
import textwrap
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from minidiff import data, painted, viz

HERE = Path(__file__).parent
SHEET = HERE / "PAINTED.md"
N = 9000  # rows that are counted: each digit of the training sample once


def counts(found: torch.Tensor) -> str:
    """How often each value of each attribute occurs."""
    lines = ["| attribute | values and their share |", "| --- | --- |"]
    for column, (name, values) in enumerate(painted.ATTRIBUTES.items()):
        shares = torch.bincount(found[:, column], minlength=len(values)) / len(found)
        lines.append(f"| {name} | {', '.join(f'{v} {s:.1%}' for v, s in zip(values, shares, strict=True))} |")
    return "\n".join(lines)


def unseen() -> str:
    lines = ["| digit | the ink it is never trained in |", "| --- | --- |"]
    lines += [f"| {word} | {ink} |" for word, ink in zip(data.DIGIT_WORDS, painted.UNSEEN_INK, strict=True)]
    return "\n".join(lines)


def spread_of_details(n: int = 2000) -> str:
    """How much captions say."""
    found = painted.painted_digits().attributes(torch.arange(n))
    said = [painted.asked(c) for c in painted.painted_captions(found, np.random.default_rng(0))]
    mentioned = (torch.tensor(said) != painted.UNSAID).sum(1).float()
    few, many = float((mentioned <= 2).float().mean()), float((mentioned >= 6).float().mean())
    mean = f"Captions mention {float(mentioned.mean()):.1f} attributes on average"
    return f"{mean}; {few:.0%} of them at most two, {many:.0%} six or seven."


def facts() -> str:
    found = painted.painted_digits(variants=1).attributes(torch.arange(N))
    colours = ", ".join(f"{name} {rgb}" for name, rgb in painted.COLOURS.items())
    borders = "; ".join(f"{size}: {a} and {b}" for size, (a, b) in painted.STROKE_BORDERS.items())
    doubt = ", ".join(f"{size}: {least}" for size, least in painted.STROKE_DOUBT.items())
    clear = painted.painted_digits(variants=1, clear=True).attributes(torch.arange(N)) != painted.UNSAID
    named = clear.float().mean(0)
    return "\n\n".join(
        [
            f"Of {N:,} painted digits, each of the training sample once:",
            counts(found),
            spread_of_details(),
            unseen(),
            f"Colours, in RGB: {colours}. Each channel of each picture strays by up to {painted.SHADE} from them.",
            f"Borders between thin, medium and bold, in pixels of stroke width: {borders}. Borders between left, "
            f"upright and right, in pixels to the right for each pixel up: {painted.LEAN_BORDERS[0]} and "
            f"{painted.LEAN_BORDERS[1]}.",
            f"With `clear=True` nothing is said of a stroke nearer than so many pixels to a border ({doubt}), nor of a "
            f"lean nearer than {painted.LEAN_DOUBT}: the stroke of {named[painted.STROKE]:.0%} of the digits can be "
            f"named and the lean of {named[painted.LEAN]:.0%}.",
        ]
    )


def with_captions() -> Image.Image:
    """Twenty pictures with a caption each."""
    paint = painted.painted_digits(split="held_out", variants=1)
    rows = torch.arange(20)
    x, captions = data.to_float(paint[rows].pixels), []
    for row, detail in zip(paint.attributes(rows), np.linspace(0, 1, len(rows)), strict=True):
        captions += painted.painted_captions(row[None], np.random.default_rng(int(row.sum())), float(detail))
    return viz.captioned(x, [textwrap.fill(caption, 26) for caption in captions], columns=5, scale=5)


def atlas():
    """A row of pictures for each value of each attribute that is not a digit."""
    paint = painted.painted_digits(split="held_out", variants=4)
    found, rows = paint.attributes(torch.arange(len(paint))), {}
    for column, (name, values) in list(enumerate(painted.ATTRIBUTES.items()))[1:]:
        for value, word in enumerate(values):
            shown = (found[:, column] == value) & ((column != painted.PLACE) | (found[:, painted.SIZE] == 0))
            rows[f"{name}: {word}"] = data.to_float(paint[shown.nonzero()[:12, 0]].pixels)
    return viz.table(rows, scale=1)


def main(argv: list[str] | None = None) -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--print", action="store_true", help="print the facts; write nothing")
    if parser.parse_args(argv).print:
        return print(facts())
    text = SHEET.read_text(encoding="utf-8")
    new, n = re.subn("<!-- begin -->.*<!-- end -->", f"<!-- begin -->\n{facts()}\n<!-- end -->", text, flags=re.DOTALL)
    if n != 1:
        raise ValueError(f"{SHEET} needs the markers <!-- begin --> and <!-- end -->, once each")
    SHEET.write_text(new, encoding="utf-8")
    viz.save_png(with_captions().quantize(viz.COLOURS), HERE / "painted_captions.png")
    viz.save_png(atlas().quantize(viz.COLOURS).convert("RGB"), HERE / "painted_attributes.png")
    print(f"Wrote {SHEET}, painted_captions.png and painted_attributes.png.")


if __name__ == "__main__":
    main()
