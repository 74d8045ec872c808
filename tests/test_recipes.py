"""Shipped weights are what their recipes say they are."""

from __future__ import annotations

import pytest
import torch

from minidiff import checkpoint, cli, data, metrics, painted, recipes
from minidiff.checkpoint import WEIGHTS
from minidiff.recipes import RECIPES

SHIPPED = sorted(WEIGHTS.glob("*.safetensors"))


@pytest.fixture(autouse=True)
def few_photos(monkeypatch):
    """Stands in for CIFAR-10, of which nothing is embedded."""
    pixels = torch.randint(256, (300, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    monkeypatch.setattr(data, "cifar10", lambda *args, **more: data.Images(pixels, torch.arange(300) % 10, "photos"))


every_file = pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)


def test_there_are_weights_for_the_lessons():
    assert {"digits", "mnist"} <= {path.stem for path in SHIPPED}


@every_file
def test_weights_have_a_recipe_and_a_card(path):
    recipe, (tensors, header) = RECIPES[path.stem], checkpoint.load(path)
    card = header["card"]
    assert card["name"] == recipe.name and card["about"] == recipe.about
    assert card["recipe"] == f"minidiff train {recipe.name}"
    assert card["steps"] == recipe.options["steps"] and card["seed"] == recipe.seed
    assert card["images"] == card["steps"] * next(iter(recipe.stream(recipe.photos))).total
    assert card["seconds"] > 0 and card["hardware"] and card["data"] and card["licence"] and card["quality"]["n"]
    assert {t.dtype for t in tensors.values()} == {torch.float16}


@every_file
def test_weights_are_of_the_network_that_the_recipe_builds(path):
    assert checkpoint.load(path)[1]["config"] == RECIPES[path.stem].objective().config


def test_weights_are_small():
    sizes = {path.name: path.stat().st_size for path in SHIPPED}
    assert max(sizes.values()) <= 8e6 and sum(sizes.values()) <= 40e6, sizes


def test_the_command_line_names_every_recipe():
    assert list(RECIPES) == list(cli.RECIPE_NAMES)


def test_the_digit_reader_reads():
    quality = checkpoint.load(WEIGHTS / "digits.safetensors")[1]["card"]["quality"]
    assert quality["accuracy"] >= 0.993 and quality["n"] == 10_000
    held_out = data.mnist(split="held_out")
    reader = metrics.ConvNet.load("digits")
    logits = metrics.in_chunks(reader.logits, data.to_float(held_out.pixels))
    assert metrics.adherence(logits, held_out.labels) > 0.99


def test_the_shipped_model_draws_what_is_asked():
    quality = checkpoint.load(WEIGHTS / "mnist.safetensors")[1]["card"]["quality"]
    assert quality["guidance 2"]["adherence"] >= 0.99
    asked = torch.arange(40) % 10
    drawn = recipes.TextToImage.load().draw([f"the digit {d}" for d in asked.tolist()], seed=0)
    reader = metrics.ConvNet.load("digits")
    with torch.no_grad():
        assert metrics.adherence(reader.logits(drawn), asked) > 0.9


def test_jitter_moves_a_digit_a_little():
    pixels = data.mnist(split="held_out").pixels[:64]
    moved = recipes.jitter(pixels, torch.Generator().manual_seed(0))
    assert moved.shape == pixels.shape and moved.dtype == torch.uint8
    assert torch.equal(moved, recipes.jitter(pixels, torch.Generator().manual_seed(0)))
    ink = moved.float().mean((1, 2, 3)) / pixels.float().mean((1, 2, 3))
    assert ink.min() > 0.6 and ink.max() < 1.6 and not torch.equal(moved, pixels)


def test_photographs_are_shifted_and_flipped_and_stay_photographs():
    pixels = data.cifar10().pixels[:40]
    moved = recipes.shift_and_flip(pixels, torch.Generator().manual_seed(0))
    assert moved.shape == pixels.shape and moved.dtype == torch.uint8
    inner = pixels[:, :, 8:24, 8:24]
    for a, b in zip(inner, moved, strict=True):  # the middle of each is found somewhere, maybe mirrored
        windows = b.unfold(1, 16, 1).unfold(2, 16, 1)
        assert any((windows == c[:, None, None]).all(0).flatten(2).all(2).any() for c in (a, a.flip(2)))


def test_no_photographs_are_embedded():
    with pytest.raises(ValueError, match="CIFAR-10"):
        RECIPES["photos"].stream(False)


def test_the_ink_of_a_painted_digit_is_its_handwriting():
    paint = painted.painted_digits(split="held_out", variants=1)
    first = paint[:20]
    coverage = recipes.ink_of(first.pixels, torch.Generator())
    assert coverage.shape == (20, 1, 32, 32) and coverage.dtype == torch.uint8
    assert (coverage.flatten(1).amax(1) == 255).all() and (coverage[:, :, 0, 0] == 0).all()


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_every_recipe_takes_a_step(recipe):
    batch = next(iter(recipe.stream(recipe.photos)))
    objective = recipe.objective()
    objective(batch).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in objective.parameters())
    assert torch.equal(next(iter(recipe.objective().parameters())), next(iter(objective.parameters())))
