"""Painted digits: deterministic, true to their captions, and measured back from their pixels."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff import data, metrics, painted
from minidiff.painted import ATTRIBUTES, DIGIT, INK, LEAN, PAPER, PLACE, SIZE, STROKE, UNSAID, PaintedDigits
from minidiff.train import train

DATASETS = Path(__file__).parents[1] / "datasets"
SIZES = [len(values) for values in ATTRIBUTES.values()]
rows_of_attributes = st.tuples(*(st.integers(0, n - 1) for n in SIZES)).map(list)


@pytest.fixture(scope="module")
def digits():
    return painted.painted_digits(split="held_out", variants=4)


def unseen(found: torch.Tensor) -> torch.Tensor:
    """Which rows have the ink that their digit is never trained in."""
    ink = torch.tensor([ATTRIBUTES["ink"].index(name) for name in painted.UNSEEN_INK])
    return found[:, INK] == ink[found[:, DIGIT]]


# --- painting ---


def test_a_row_is_the_same_picture_in_any_batch(digits):
    rows = torch.tensor([7, 3999, 0, 512, 7])
    together = digits[rows]
    assert together.pixels.shape == (5, 3, 32, 32) and together.labels.shape == (5, 7)
    for i, row in enumerate(rows.tolist()):
        alone = digits[torch.tensor([row])]
        assert torch.equal(alone.pixels[0], together.pixels[i]) and torch.equal(alone.labels[0], together.labels[i])
    assert torch.equal(digits[:3].pixels, digits[torch.arange(3)].pixels)


def test_rows_are_taken_as_from_a_tensor(digits):
    mask = torch.zeros(len(digits), dtype=torch.bool)
    mask[[1, len(digits) - 1]] = True
    expected = digits[torch.tensor([1, len(digits) - 1])]
    for rows in (mask, [1, -1], slice(1, None, len(digits) - 2)):
        assert torch.equal(digits[rows].pixels, expected.pixels) and torch.equal(digits[rows].labels, expected.labels)
    with pytest.raises(IndexError):
        digits[[len(digits)]]


def test_seeds_and_variants_differ(digits):
    n = digits.n
    assert not torch.equal(digits[:50].labels, digits[n : n + 50].labels)
    other = PaintedDigits(data.mnist(split="held_out"), variants=4, seed=1)
    assert not torch.equal(digits[:50].labels, other[:50].labels)
    assert len(digits) == 4 * n == 4000


def test_every_class_is_common_enough_to_be_learned(digits):
    found = digits.attributes(torch.arange(len(digits)))
    for column, (name, values) in enumerate(ATTRIBUTES.items()):
        kept = found[found[:, SIZE] == 0] if name == "place" else found
        counts = kept[:, column].bincount(minlength=len(values)).double() / len(kept)
        least, most = (0.5, 1.7) if name == "stroke" else (0.7, 1.35)  # medium strokes are half of all
        assert counts.min() > least / len(values), (name, counts)
        assert counts.max() < most / len(values), (name, counts)


def test_paper_never_has_the_colour_of_the_ink_and_a_large_digit_stands_in_the_centre(digits):
    found = digits.attributes(torch.arange(len(digits)))
    assert (found[:, INK] != found[:, PAPER]).all()
    assert (found[found[:, SIZE] == 1, PLACE] == 0).all()


def test_an_unseen_ink_is_never_painted_unless_it_is_asked_for():
    images = data.mnist(split="held_out")
    rows = torch.arange(4000)
    found = {inks: PaintedDigits(images, 4, inks=inks).attributes(rows) for inks in ("seen", "unseen", "all")}
    assert not unseen(found["seen"]).any() and unseen(found["unseen"]).all()
    assert 0.09 < unseen(found["all"]).float().mean() < 0.16  # one ink in eight
    assert (found["unseen"][:, INK] != found["unseen"][:, PAPER]).all()


def test_ink_and_paper_have_their_colours_and_the_handwriting_lies_between(digits):
    painted_ones = digits[torch.arange(500)]
    x, found = painted_ones.pixels.double(), painted_ones.labels
    paper = x[:, :, 0, 0]
    assert (paper - painted.RGB[found[:, PAPER]]).abs().max() <= painted.SHADE + 0.5
    ink = painted.RGB[found[:, INK]]
    nearest = (x - ink[..., None, None]).abs().amax(1).flatten(1).amin(1)
    assert nearest.max() <= painted.SHADE + 1  # somewhere the ink covers the paper fully


def test_the_handwriting_itself_is_painted():
    """White on black, large: the painted digit is the digit, moved by at most one pixel."""
    digits = painted.painted_digits(split="held_out", variants=8)
    rows = torch.arange(len(digits))
    found = digits.attributes(rows)
    white, black = ATTRIBUTES["ink"].index("white"), ATTRIBUTES["ink"].index("black")
    chosen = rows[(found[:, INK] == white) & (found[:, PAPER] == black) & (found[:, SIZE] == 1)][:20]
    assert len(chosen) == 20
    for row, x in zip(chosen.tolist(), digits[chosen].pixels.float(), strict=True):
        _, coverage = metrics.look(x[None].to(torch.uint8))
        real = digits.large[row % digits.n].float() / 255
        shifts = [coverage[0, y : y + 28, x0 : x0 + 28] for y in (1, 2, 3) for x0 in (1, 2, 3)]
        assert min(float((s - real).abs().max()) for s in shifts) < 0.08


@pytest.mark.parametrize(
    "arguments, message",
    [(dict(inks="new"), "inks"), (dict(variants=0), "variants"), (dict(seed=-1), "seed")],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PaintedDigits(data.mnist(split="held_out")[:10], **arguments)


def test_batches_paint_what_they_need(digits):
    first = next(iter(data.batches(digits, 16, captions=painted.painted_captions)))
    assert first.x0.shape == (16, 3, 32, 32) and first.labels.shape == (16, 7) and len(first.captions) == 16
    halves = [next(iter(data.batches(digits, 8, captions=painted.painted_captions, rank=r, world=2))) for r in (0, 1)]
    assert torch.equal(torch.cat([half.x0 for half in halves]), first.x0)
    assert halves[0].captions + halves[1].captions == first.captions


# --- measured on the handwriting ---


@pytest.mark.parametrize("width", [2, 3, 5])
def test_the_width_of_a_band_is_measured(width):
    ink = torch.zeros(1, 40, 40)
    ink[0, 4:36, 10 : 10 + width] = 1
    expected = 2 * width * 32 / (2 * (width + 32))  # area over half the outline
    assert float(painted.stroke_width(ink)[0]) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("slope", [-0.5, 0.0, 0.25, 0.5])
def test_the_lean_of_a_slanting_band_is_measured(slope):
    ink = torch.zeros(1, 32, 32)
    for y in range(6, 26):
        x = 16 - slope * (y - 15.5)
        whole = int(x)
        ink[0, y, whole], ink[0, y, whole + 1] = 1 - (x - whole), x - whole
    soft = 0.1 * ink + 0.9 * ink  # in [0, 1]
    assert float(painted.lean(soft)[0]) == pytest.approx(slope, abs=0.03)


@given(dx=st.integers(-3, 3), dy=st.integers(-3, 3))
@settings(max_examples=20)
def test_stroke_and_lean_do_not_depend_on_the_place(dx, dy):
    ink = torch.zeros(1, 36, 36)
    ink[0, 4:32, 4:32] = data.mnist(split="held_out").pixels[3, 0] / 255
    moved = ink.roll((dy, dx), (1, 2))
    torch.testing.assert_close(painted.stroke_width(moved), painted.stroke_width(ink))
    torch.testing.assert_close(painted.lean(moved), painted.lean(ink), atol=1e-5, rtol=1e-4)


def test_what_is_near_a_border_is_not_named():
    every, clear = (painted.painted_digits(split="held_out", variants=1, clear=c) for c in (False, True))
    rows = torch.arange(len(every))
    found, said = every.attributes(rows), clear.attributes(rows)
    kept = said != UNSAID
    assert torch.equal(found[kept], said[kept]) and kept[:, [DIGIT, INK, PAPER, SIZE, PLACE]].all()
    assert torch.equal(every[:9].pixels, clear[:9].pixels)
    for column in (STROKE, LEAN):
        assert 0.65 < kept[:, column].float().mean() < 0.9
    width, slope = torch.tensor([1.87, 1.89, 2.11, 2.13]), torch.tensor([0.14, 0.16, 0.24, 0.26])
    assert painted.stroke_class(width, torch.ones(4).long(), clear=True).tolist() == [0, UNSAID, UNSAID, 1]
    assert painted.lean_class(slope, clear=True).tolist() == [1, UNSAID, UNSAID, 2]


# --- captions ---


@given(row=rows_of_attributes, seed=st.integers(0, 1000), detail=st.sampled_from([None, 0.0, 0.5, 1.0]))
def test_a_caption_says_nothing_that_is_not_true(row, seed, detail):
    row[PLACE] = row[PLACE] if row[SIZE] == 0 else 0
    (caption,) = painted.painted_captions(torch.tensor([row]), np.random.default_rng(seed), detail)
    said = painted.asked(caption)
    assert all(s in (UNSAID, true) for s, true in zip(said, row, strict=True)), caption
    assert set(caption.split()) <= set(painted.WORDS) and 1 <= len(caption.split()) <= painted.LENGTH
    if detail == 0:
        assert len(caption.split()) == 2


@given(row=rows_of_attributes, unsaid=st.sets(st.sampled_from([STROKE, LEAN])), seed=st.integers(0, 100))
def test_a_caption_leaves_out_what_is_unsaid(row, unsaid, seed):
    for column in unsaid:
        row[column] = UNSAID
    (caption,) = painted.painted_captions(torch.tensor([row]), np.random.default_rng(seed), 1.0)
    assert all(
        painted.asked(words)[column] == UNSAID for column in unsaid for words in (caption, painted.full_caption(row))
    )


def test_a_few_captions_are_bare(digits):
    captions = painted.painted_captions(digits[torch.arange(2000)].labels, np.random.default_rng(0))
    bare = [caption for caption in captions if painted.asked(caption)[DIGIT] == UNSAID and "digit" not in caption]
    assert 0.01 < len(bare) / 2000 < 0.07 and any(len(caption.split()) == 1 for caption in bare)


@given(row=rows_of_attributes)
def test_the_full_caption_says_everything(row):
    row[PLACE] = row[PLACE] if row[SIZE] == 0 else 0
    said = painted.asked(painted.full_caption(row))
    assert said == [UNSAID if i == PLACE and row[SIZE] == 1 else value for i, value in enumerate(row)]


@pytest.mark.parametrize(
    "caption, expected",
    [
        ("a seven", {DIGIT: 7}),
        ("A bold red 7 leaning left, on yellow paper!", {DIGIT: 7, STROKE: 2, INK: 2, LEAN: 0, PAPER: 4}),
        ("a tiny zebra", {}),
        ("", {}),
        ("a blue digit in the top right corner on a white background", {INK: 6, PLACE: 2, PAPER: 1}),
    ],
)
def test_what_a_caption_asks_for(caption, expected):
    assert painted.asked(caption) == [expected.get(i, UNSAID) for i in range(len(ATTRIBUTES))]


def test_captions_come_in_every_degree_of_detail(digits):
    found = digits[torch.arange(2000)].labels
    captions = painted.painted_captions(found, np.random.default_rng(0))
    said = torch.tensor([painted.asked(caption) for caption in captions]) != UNSAID
    shares = said.float().mean(0)
    assert (shares[[INK, PAPER, STROKE, LEAN, SIZE]] - 0.5).abs().max() < 0.06 and shares[DIGIT] > 0.9
    assert len({int(n) for n in said.sum(1)}) == 8
    assert len(set(captions)) > 1500


# --- the judge ---


def test_the_judge_measures_back_what_was_painted(digits):
    seen = digits[torch.arange(len(digits))]
    found, coverage = metrics.look(seen.pixels)
    right = (found == seen.labels).float().mean(0)
    assert right[[INK, PAPER, SIZE, PLACE]].min() > 0.99 and right[[STROKE, LEAN]].min() > 0.97, right
    assert coverage.min() >= 0 and coverage.max() <= 1 and (found[:, DIGIT] == UNSAID).all()


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_empty_picture_is_judged_without_an_error(value):
    found, coverage = metrics.look(torch.full((2, 3, 32, 32), value, dtype=torch.uint8))
    assert coverage.isfinite().all() and found.shape == (2, 7)


def test_adherence_counts_only_what_was_asked():
    asked = torch.tensor([[7, 2, -1, -1, -1, -1, -1], [3, -1, -1, -1, -1, -1, -1]])
    seen = torch.tensor([[7, 1, 4, 0, 0, 0, 0], [3, 5, 4, 2, 1, 1, 0]])
    shares = metrics.adherence_by_attribute(asked, seen)
    assert shares["digit"] == 1.0 and shares["ink"] == 0.0 and shares["all"] == 0.5
    assert np.isnan(shares["paper"])


def test_the_datasheet_says_what_its_script_prints(capsys):
    spec = importlib.util.spec_from_file_location("describe_painted", DATASETS / "describe_painted.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.main(["--print"])
    sheet = (DATASETS / "PAINTED.md").read_text(encoding="utf-8")
    assert f"<!-- begin -->\n{capsys.readouterr().out.strip()}\n<!-- end -->" in sheet, (
        "run datasets/describe_painted.py"
    )
    for link in re.findall(r"\]\((?!http)([^)]+)\)", sheet):
        assert (DATASETS / link).is_file(), link


# --- the reader of captions ---


def test_the_shipped_reader_understands_what_was_said():
    reader = painted.CaptionReader.load()
    prompts = [
        "a seven",
        "",
        "a red digit on blue paper",
        "a blue digit on red paper",
        "a 9 in the top left corner",
        "red",
    ]
    assert reader.read(prompts).tolist() == [painted.asked(prompt) for prompt in prompts]


def test_a_reader_learns_from_captions_alone(digits):
    torch.manual_seed(0)
    reader = painted.CaptionReader(dim=16, layers=1, heads=2)
    stream = data.batches(digits, 64, captions=painted.painted_captions)
    losses = [state.loss for state in train(reader, stream, steps=60, warmup=5, progress=False)]
    assert losses[-1] < 0.7 * losses[0]


def test_a_reader_has_an_answer_for_what_is_not_said():
    reader = painted.CaptionReader(dim=16, layers=1, heads=2)
    assert [part.shape for part in reader.logits(["a seven"])] == [(1, len(v) + 1) for v in painted.ATTRIBUTES.values()]
    again = painted.CaptionReader.from_config(reader.config)
    again.load_state_dict(reader.state_dict())
    assert torch.equal(again.read(["a thin 2", "a digit"]), reader.read(["a thin 2", "a digit"]))
