"""How each shipped file of weights is made: data, network, training, measure. `minidiff train NAME` follows one."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import data, metrics, painted
from .nets.convnet import ConvNet
from .pipeline import TextToImage

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Recipe:
    """objective(): the untrained module. batches(full): what it sees. options: for `train`. measure: its quality."""

    name: str
    about: str
    objective: Callable[[], nn.Module]
    batches: Callable[[bool], data.Batches]
    measure: Callable[[nn.Module], dict]
    options: dict = field(default_factory=dict)
    seed: int = 0


def _digit_reader() -> ConvNet:
    torch.manual_seed(0)
    return ConvNet(channels=1, classes=10, widths=(24, 48, 96))


def jitter(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Digits (b, 1, h, w) uint8 turned, stretched, slanted and shifted a little, each by its own random amount."""

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(len(pixels), generator=generator, device=pixels.device)

    angle, wide, tall, slant = (
        between(-0.2, 0.2),
        between(0.88, 1.12),
        between(0.88, 1.12),
        between(-0.2, 0.2),
    )
    right, down = between(-0.15, 0.15), between(-0.15, 0.15)
    rows = [wide * angle.cos(), slant - angle.sin(), right, angle.sin(), tall * angle.cos(), down]
    where = F.affine_grid(torch.stack(rows, dim=1).view(-1, 2, 3), list(pixels.shape), align_corners=False)
    moved = F.grid_sample(pixels.float(), where, padding_mode="border", align_corners=False)
    return moved.round().clamp(0, 255).to(torch.uint8)


def _digit_reader_quality(model: ConvNet) -> dict:
    held_out = data.mnist(full=True, split="held_out")
    logits = metrics.in_chunks(model.logits, data.to_float(held_out.pixels))
    return {
        "accuracy": round(metrics.adherence(logits, held_out.labels), 4),
        "n": len(held_out),
        "on": held_out.name,
    }


def _mnist() -> TextToImage:
    torch.manual_seed(0)
    return TextToImage.new(data.all_digit_captions(), (1, 28, 28), widths=(32, 64), blocks=1)


@dataclass(frozen=True)
class Judged:
    """What the digit reader says of pictures: each number with what is needed to compare it."""

    adherence: float
    frechet_distance: float
    floor: float
    n: int
    features: str = "digits.safetensors"
    reference: str = "60,000 training digits of MNIST"


def held_out_prompts(n: int, seed: int = 0) -> tuple[list[str], data.Images]:
    """n random held-out digits of the full MNIST, and a caption ("a seven") of each."""
    held_out = data.mnist(full=True, split="held_out")
    chosen = held_out[torch.randperm(len(held_out), generator=torch.Generator().manual_seed(seed))[:n]]
    return [f"a{'n' if d == 8 else ''} {data.DIGIT_WORDS[d]}" for d in chosen.labels.tolist()], chosen


def judge_digits(x: Tensor, real: data.Images, reader: ConvNet | None = None) -> Judged:
    """x (n 1 28 28) in [-1, 1], drawn to be what `real` shows; the floor is the distance of `real` itself."""
    reader = reader or ConvNet.load(WEIGHTS / "digits.safetensors")
    everything = metrics.in_chunks(reader.features, data.to_float(data.mnist(full=True).pixels))
    drawn = metrics.in_chunks(reader.features, data.to_float(data.to_uint8(x)))
    floor = metrics.in_chunks(reader.features, data.to_float(real.pixels))
    with torch.no_grad():
        obeyed = metrics.adherence(reader.head(drawn), real.labels)
    return Judged(
        obeyed,
        metrics.frechet_distance(everything, drawn),
        metrics.frechet_distance(everything, floor),
        len(x),
    )


def draw_many(model: TextToImage, prompts: list[str], size: int = 250, **settings) -> Tensor:
    """model.draw on any number of prompts, `size` at a time, on the CPU; seeds count up from 0."""
    parts = range(0, len(prompts), size)
    return torch.cat([model.draw(prompts[i : i + size], seed=i, **settings).cpu() for i in parts])


def _mnist_quality(model: TextToImage, n: int = 2000) -> dict:
    prompts, real = held_out_prompts(n)
    quality = {}
    for scale in (1.0, 2.0):
        judged = judge_digits(draw_many(model, prompts, steps=10, cfg_scale=scale), real)
        quality[f"guidance {scale:g}"] = {
            "adherence": round(judged.adherence, 4),
            "frechet distance": round(judged.frechet_distance, 4),
        }
    about = {
        "floor": round(judged.floor, 4),
        "n": n,
        "features": judged.features,
        "reference": judged.reference,
    }
    return quality | about | {"sampler": "dpmpp_2m, 10 steps"}


def _judge() -> ConvNet:
    torch.manual_seed(0)
    return ConvNet(channels=1, classes=10, widths=(24, 48, 96))


def ink_of(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Painted digits (b, 3, 32, 32) uint8 -> how far each pixel is covered with ink, (b, 1, 32, 32) uint8."""
    _, coverage = metrics.look(pixels.cpu())
    return (255 * coverage[:, None]).round().to(torch.uint8).to(pixels.device)


def _judge_quality(model: ConvNet, n: int = 10_000) -> dict:
    """How often the judge is right about real handwriting that nobody trained on, in all inks."""
    real = painted.painted_digits(full=True, split="held_out", variants=1, inks="all")[:n]
    seen = metrics.Judge(model)(data.to_float(real.pixels))
    shares = metrics.adherence_by_attribute(real.labels, seen)
    return {name: round(share, 4) for name, share in shares.items()} | {"n": len(real), "on": real.name}


def painted_prompts(n: int, inks: str, seed: int = 1) -> tuple[list[str], Tensor]:
    """n prompts that say everything, and the rows of attributes (n, 7) that they ask for; from held-out digits."""
    paint = painted.painted_digits(full=True, split="held_out", variants=1, seed=seed, inks=inks)
    found = paint.attributes(torch.randperm(len(paint), generator=torch.Generator().manual_seed(seed))[:n])
    prompts = [painted.full_caption(row) for row in found.tolist()]
    return prompts, torch.tensor([painted.asked(prompt) for prompt in prompts])


def _painted() -> TextToImage:
    torch.manual_seed(0)
    return TextToImage.new(painted.WORDS, (3, 32, 32), length=painted.LENGTH, widths=(48, 96), blocks=1)


def _painted_quality(model: TextToImage, n: int = 1000) -> dict:
    judge = metrics.Judge.load()
    quality: dict = {}
    for inks in ("seen", "unseen"):
        prompts, asked = painted_prompts(n, inks)
        seen = judge(draw_many(model, prompts, steps=10, cfg_scale=2.0))
        shares = metrics.adherence_by_attribute(asked, seen)
        quality[f"{inks} inks"] = {name: round(share, 4) for name, share in shares.items()}
    return quality | {"n": n, "judge": "judge.safetensors", "sampler": "dpmpp_2m, 10 steps, guidance 2"}


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "digits",
            "the digit reader: judges drawn digits and gives the features of the Frechet distance",
            _digit_reader,
            lambda full: data.batches(data.mnist(full=full), 128, augment=jitter),
            _digit_reader_quality,
            dict(steps=2000, lr=3e-3),
        ),
        Recipe(
            "mnist",
            "text to image on MNIST: draws a digit from a prompt such as 'a seven'",
            _mnist,
            lambda full: data.batches(data.mnist(full=full), 64, captions=data.digit_captions),
            _mnist_quality,
            dict(steps=5000),
        ),
        Recipe(
            "judge",
            "reads the digit of a painted picture, for the judge of painted digits",
            _judge,
            lambda full: data.batches(painted.painted_digits(full), 128, augment=ink_of),
            _judge_quality,
            dict(steps=3000, lr=3e-3),
        ),
        Recipe(
            "painted",
            "text to image on painted digits: draws what 'a small bold red seven on yellow paper' says",
            _painted,
            lambda full: data.batches(painted.painted_digits(full), 64, captions=painted.painted_captions),
            _painted_quality,
            dict(steps=8000),
        ),
    )
}


def card(recipe: Recipe, state, full: bool, quality: dict) -> dict:
    """What stands in the header of finished weights: how they came to be and how good they are."""
    return {
        "name": recipe.name,
        "about": recipe.about,
        "recipe": f"minidiff train {recipe.name}" + ("" if full else " --data sample"),
        "data": "MNIST, 60,000 training digits" if full else "9,000 of the 10,000 embedded MNIST digits",
        "licence": "weights and code MIT; trained on MNIST (LeCun, Cortes, Burges), CC BY-SA 3.0",
        "seed": recipe.seed,
        "steps": state.step,
        "images": state.images,
        "seconds": round(state.seconds),
        "format": str(state.format),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores"
        + (f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""),
        "torch": torch.__version__,
        "quality": quality,
    }
