"""How each shipped file of weights is made: data, network, training, measure. `minidiff train NAME` follows one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import data, metrics, painted
from .nets.convnet import ConvNet
from .pipeline import TextToImage
from .process import Cosine, Flow
from .text import TextEncoder
from .vae import VAE

# How pictures in colour are drawn to be measured: as `draw` does it by itself, and as well as the same 20 network calls
# can. Even steps of Flow's clock spend fewer of them where little noise is left. In latents, where guesses are clipped,
# stronger guidance pays: 3 to 8 were tried on other prompts.
WALKS = {
    "dpmpp_2m, 10 steps, guidance 2": {"steps": 10, "cfg_scale": 2.0},
    "dpmpp_2m, 10 steps by the clock of Flow, guidance 3": {"steps": 10, "cfg_scale": 3.0, "process": Flow()},
    "dpmpp_2m, 10 steps by the clock of Flow, guidance 5": {"steps": 10, "cfg_scale": 5.0, "process": Flow()},
}
USUAL, BEST, BEST_IN_LATENTS = WALKS


def best_walk(model: TextToImage) -> str:
    """The key in WALKS of the walk by which this model obeys best."""
    return BEST if model.vae is None else BEST_IN_LATENTS


@dataclass(frozen=True)
class Recipe:
    """objective(): the untrained module. batches(full, size): what it sees, this process's part of a batch at a time.

    options: for `train`. measure: its quality. finish(model, full): what is done once, after the last step.
    """

    name: str
    about: str
    objective: Callable[[], nn.Module]
    batches: Callable[[bool, int], data.Batches]
    measure: Callable[[nn.Module], dict]
    options: dict = field(default_factory=dict)
    batch_size: int = 64  # of all processes together
    borrowed: dict = field(default_factory=dict)  # parts of the model that stand in other shipped files
    seed: int = 0
    finish: Callable[[nn.Module, bool], None] = lambda model, full: None
    photos: bool = False  # made from CIFAR-10 instead of MNIST

    def stream(self, full: bool, batch_size: int | None = None) -> data.Batches:
        """Its batches; under torchrun a recipe sees as many pictures a step as without."""
        total, world = batch_size or self.batch_size, int(os.environ.get("WORLD_SIZE", 1))
        if total % world:
            raise ValueError(f"a batch of {total} cannot be shared by {world} processes")
        return self.batches(full, total // world)


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
    reader = reader or ConvNet.load("digits")
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


def ink_of(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Painted digits (b, 3, 32, 32) uint8 -> how far each pixel is covered with ink, (b, 1, 32, 32) uint8."""
    _, coverage = metrics.look(pixels.cpu())
    return (255 * coverage[:, None]).round().to(torch.uint8).to(pixels.device)


def _ink_jittered(pixels: Tensor, generator: torch.Generator) -> Tensor:
    return jitter(ink_of(pixels, generator), generator)


def held_out_painted(n: int) -> data.Images:
    """n painted digits in all inks, of handwriting that nobody trains on, to measure judge, reader and VAE by."""
    return painted.painted_digits(full=True, split="held_out", variants=1, inks="all")[:n]


def _judge_quality(model: ConvNet, n: int = 10_000) -> dict:
    """How often the judge is right about real handwriting that nobody trained on, in all inks."""
    real = held_out_painted(n)
    seen = metrics.Judge(model)(data.to_float(real.pixels))
    shares = metrics.adherence_by_attribute(real.labels, seen)
    return {name: round(share, 4) for name, share in shares.items()} | {"n": len(real), "on": real.name}


def painted_prompts(n: int, inks: str, seed: int = 1) -> tuple[list[str], Tensor]:
    """n prompts that say everything, and the rows of attributes (n, 7) that they ask for; from held-out digits."""
    paint = painted.painted_digits(full=True, split="held_out", variants=1, seed=seed, inks=inks, clear=True)
    found = paint.attributes(torch.randperm(len(paint), generator=torch.Generator().manual_seed(seed)))
    found = found[(found != painted.UNSAID).all(1)][:n]
    prompts = [painted.full_caption(row) for row in found.tolist()]
    return prompts, torch.tensor([painted.asked(prompt) for prompt in prompts])


def _captioned(full: bool, size: int) -> data.Batches:
    paint = painted.painted_digits(full, clear=True)
    return data.batches(paint, size, captions=painted.painted_captions)


def _words() -> painted.CaptionReader:
    torch.manual_seed(0)
    return painted.CaptionReader()


def _words_quality(model: painted.CaptionReader, n: int = 10_000) -> dict:
    """How often the reader finds what a caption says, and that it says nothing of the rest."""
    held_out = painted.painted_digits(full=True, split="held_out", variants=1, inks="all", clear=True)
    captions = painted.painted_captions(held_out.attributes(torch.arange(n)), np.random.default_rng(0))
    said = torch.tensor([painted.asked(caption) for caption in captions])
    right = model.read(captions) == said
    shares = dict(zip(painted.ATTRIBUTES, right.float().mean(0).tolist(), strict=True))
    shares["all"] = float(right.all(1).float().mean())
    return {name: round(share, 4) for name, share in shares.items()} | {"n": n, "on": f"captions of {held_out.name}"}


def painted_model(shape: tuple[int, int, int], encoder: TextEncoder | None = None, **settings) -> TextToImage:
    """An untrained model of painted digits, which hears by the shipped text encoder where no other is given."""
    encoder = encoder or painted.CaptionReader.load("words").encoder
    torch.manual_seed(0)
    usual = dict(length=painted.LENGTH, encoder=encoder, widths=(48, 96), blocks=1, peak=True, side=shape[1])
    return TextToImage.new(painted.WORDS, shape, **(usual | settings))


def _painted() -> TextToImage:
    return painted_model((3, 32, 32))


def _by_both_walks(measure: Callable[..., dict]) -> Callable[..., dict]:
    """measure(model, walk) by the usual walk, with that by the best one as an entry of its own."""

    def quality(model: TextToImage, **more) -> dict:
        usual, best = (measure(model, walk, **more) | {"sampler": walk} for walk in (USUAL, best_walk(model)))
        return usual | {"at its best": best}

    return quality


@_by_both_walks
def _painted_quality(model: TextToImage, walk: str, n: int = 1000) -> dict:
    judge, liken = metrics.Judge.load(), painted_likener(n)
    quality: dict = {}
    for inks in ("seen", "unseen"):
        prompts, asked = painted_prompts(n, inks)
        drawn = draw_many(model, prompts, **WALKS[walk])
        shares = metrics.adherence_by_attribute(asked, judge(drawn))
        quality[f"{inks} inks"] = {name: round(share, 4) for name, share in shares.items()}
        if inks == "seen":
            like = liken(drawn)
    quality |= {"frechet distance": round(like.frechet_distance, 3), "floor": round(like.floor, 3)}
    quality |= {"precision": round(like.precision, 3), "recall": round(like.recall, 3)}
    quality |= {"features": like.features, "reference": like.reference}
    return quality | {"n": n, "judge": "judge.safetensors"}


def painted_likener(n: int) -> metrics.Likener:
    """Compares drawn painted digits, up to n, with real ones."""
    reference = painted.PaintedDigits(data.mnist(full=True)[:20_000], variants=1)[:].pixels
    held_out = painted.painted_digits(full=True, split="held_out", variants=1, seed=2)
    chosen = held_out[torch.randperm(len(held_out), generator=torch.Generator().manual_seed(0))[:n]]
    network = ConvNet.load("attributes")
    of = "20,000 painted training digits"
    return metrics.Likener(network, reference, chosen.pixels, "attributes.safetensors", of)


def _attributes() -> ConvNet:
    torch.manual_seed(0)
    return ConvNet(channels=3, classes=[len(values) for values in painted.ATTRIBUTES.values()], widths=(24, 48, 96))


def _attributes_quality(model: ConvNet, n: int = 10_000) -> dict:
    real = held_out_painted(n)
    seen = metrics.in_chunks(model.answers, data.to_float(real.pixels))
    shares = metrics.adherence_by_attribute(real.labels, seen)
    return {name: round(share, 4) for name, share in shares.items()} | {"n": len(real), "on": real.name}


def _vae() -> VAE:
    torch.manual_seed(0)
    return VAE(channels=3, latents=4)


def _vae_finish(model: VAE, full: bool, n: int = 10_000) -> None:
    model.calibrate(data.to_float(painted.painted_digits(full)[:n].pixels))


def _vae_quality(model: VAE, n: int = 10_000) -> dict:
    """How near the decoded pictures of held-out digits are, and how often the judge sees in them what was there."""
    real = held_out_painted(n)
    x = data.to_float(real.pixels)
    latents = metrics.in_chunks(model.encode, x)
    decoded = metrics.in_chunks(model.decode, latents)
    shares = metrics.adherence_by_attribute(real.labels, metrics.Judge.load()(decoded))
    return {
        "psnr in dB": round(metrics.psnr(x, decoded), 2),
        "mean of the latents": [round(m, 3) for m in latents.mean((0, 2, 3)).tolist()],
        "standard deviation of the latents": [round(m, 3) for m in latents.std((0, 2, 3)).tolist()],
        "attributes kept": {name: round(share, 4) for name, share in shares.items()},
        "n": len(real),
        "on": real.name,
        "judge": "judge.safetensors",
    }


def latent_model(vae: VAE, **settings) -> TextToImage:
    """As `painted_model`, in the latents of this VAE. Trained at times of mean -0.3: the best of a few tried."""
    return painted_model((4, 8, 8), vae=vae, patch=1, process=Cosine(mean=-0.3), **settings)


def _latent() -> TextToImage:
    return latent_model(VAE.load("vae"))


def _photos() -> ConvNet:
    torch.manual_seed(0)
    return ConvNet(channels=3, classes=10, widths=(32, 64, 128))


def _photo_batches(full: bool, size: int, **settings) -> data.Batches:
    if not full:
        raise ValueError("no photographs are embedded: this recipe needs CIFAR-10 (--data full)")
    return data.batches(data.cifar10(), size, **settings)


def shift_and_flip(pixels: Tensor, generator: torch.Generator, most: int = 4) -> Tensor:
    """Photographs (b, c, h, w) uint8 moved by up to `most` pixels, the edge mirrored in, and half of them flipped."""
    b, _, h, w = pixels.shape
    padded = F.pad(pixels.float(), (most,) * 4, mode="reflect").to(torch.uint8)
    down, right = torch.randint(2 * most + 1, (2, b, 1), generator=generator, device=pixels.device)
    rows, columns = (by + torch.arange(n, device=pixels.device) for by, n in ((down, h), (right, w)))
    picture = torch.arange(b, device=pixels.device)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[picture, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return data.flip(moved, generator)


def _photos_quality(model: ConvNet) -> dict:
    held_out = data.cifar10("held_out")
    logits = metrics.in_chunks(model.logits, data.to_float(held_out.pixels))
    accuracy = round(metrics.adherence(logits, held_out.labels), 4)
    return {"accuracy": accuracy, "n": len(held_out), "on": held_out.name}


def _cifar10() -> TextToImage:
    torch.manual_seed(0)
    settings = dict(length=8, widths=(48, 96), blocks=2, sigma_data=0.5, peak=True, side=32)
    return TextToImage.new(data.all_photo_captions(), (3, 32, 32), **settings)


@_by_both_walks
def _cifar10_quality(model: TextToImage, walk: str, n: int = 2000) -> dict:
    reader, held_out = ConvNet.load("photos"), data.cifar10("held_out")
    real = held_out[torch.randperm(len(held_out), generator=torch.Generator().manual_seed(0))[:n]]
    forms = data.all_photo_captions()[2 :: len(data.PHOTO_FORMS)]  # "a photo of an airplane" and so on
    prompts = [forms[label] for label in real.labels.tolist()]
    drawn = draw_many(model, prompts, **WALKS[walk])
    liken = metrics.Likener(
        reader, data.cifar10().pixels, real.pixels, "photos.safetensors", "50,000 training photographs of CIFAR-10"
    )
    like, obeyed = liken(drawn), metrics.adherence(metrics.in_chunks(reader.logits, drawn), real.labels)
    told = {key: round(value, 4) if isinstance(value, float) else value for key, value in vars(like).items()}
    return {"adherence": round(obeyed, 4)} | told


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "digits",
            "the digit reader: judges drawn digits and gives the features of the Frechet distance",
            _digit_reader,
            lambda full, size: data.batches(data.mnist(full=full), size, augment=jitter),
            _digit_reader_quality,
            dict(steps=2000, lr=3e-3),
            batch_size=128,
        ),
        Recipe(
            "mnist",
            "text to image on MNIST: draws a digit from a prompt such as 'a seven'",
            _mnist,
            lambda full, size: data.batches(data.mnist(full=full), size, captions=data.digit_captions),
            _mnist_quality,
            dict(steps=5000),
        ),
        Recipe(
            "judge",
            "reads the digit of a painted picture, for the judge of painted digits",
            _digit_reader,
            lambda full, size: data.batches(painted.painted_digits(full), size, augment=_ink_jittered),
            _judge_quality,
            dict(steps=2000, lr=3e-3),
            batch_size=128,
        ),
        Recipe(
            "attributes",
            "reads the attributes of a painted picture: gives the features of its Frechet distance",
            _attributes,
            lambda full, size: data.batches(painted.painted_digits(full, inks="all"), size),
            _attributes_quality,
            dict(steps=1500, lr=3e-3),
            batch_size=128,
        ),
        Recipe(
            "words",
            "reads the captions of painted digits: its text encoder is what the painted models hear by",
            _words,
            _captioned,
            _words_quality,
            dict(steps=400),
            batch_size=128,
        ),
        Recipe(
            "painted",
            "text to image on painted digits: draws what 'a small bold red seven on yellow paper' says",
            _painted,
            _captioned,
            _painted_quality,
            dict(steps=13_000),
            batch_size=512,
        ),
        Recipe(
            "vae",
            "the VAE of painted digits: 32 x 32 pixels in three colours to 8 x 8 latents of four numbers and back",
            _vae,
            lambda full, size: data.batches(painted.painted_digits(full, inks="all"), size),
            _vae_quality,
            dict(steps=5000, lr=4e-3),
            finish=_vae_finish,
        ),
        Recipe(
            "latent",
            "text to image on painted digits in the latents of the VAE: as `painted`, with less work a step",
            _latent,
            _captioned,
            _painted_quality,
            dict(steps=15_000),
            batch_size=512,
            borrowed={"vae": "vae"},
        ),
        Recipe(
            "photos",
            "reads what a photograph shows: judges drawn photographs and gives the features of their Frechet distance",
            _photos,
            lambda full, size: _photo_batches(full, size, augment=shift_and_flip),
            _photos_quality,
            dict(steps=4000, lr=3e-3),
            batch_size=128,
            photos=True,
        ),
        Recipe(
            "cifar10",
            "text to image on photographs of CIFAR-10: draws 'a photo of a frog'",
            _cifar10,
            lambda full, size: _photo_batches(full, size, captions=data.photo_captions, augment=data.flip),
            _cifar10_quality,
            dict(steps=9000),
            batch_size=512,
            photos=True,
        ),
    )
}
SOURCES = {  # of photos or not, with the full set or not
    (False, True): "MNIST, 60,000 training digits",
    (False, False): "9,000 of the 10,000 embedded MNIST digits",
    (True, True): "CIFAR-10, 50,000 training photographs",
}
LICENCES = {
    False: "weights and code MIT; trained on MNIST (LeCun, Cortes, Burges), CC BY-SA 3.0",
    True: "weights and code MIT; trained on CIFAR-10 (Krizhevsky 2009), published without a licence",
}


def card(recipe: Recipe, state, full: bool, quality: dict) -> dict:
    """What stands in the header of finished weights: how they came to be and how good they are."""
    given = "" if full else " --data sample"
    if state.steps is None:
        given += f" --seconds {state.seconds:.0f}"
    elif state.steps != recipe.options["steps"]:
        given += f" --steps {state.steps}"
    if (size := state.images // state.step) != recipe.batch_size:
        given += f" --batch-size {size}"
    return {
        "name": recipe.name,
        "about": recipe.about,
        "recipe": f"minidiff train {recipe.name}{given}",
        "data": SOURCES[recipe.photos, full],
        "licence": LICENCES[recipe.photos],
        "seed": recipe.seed,
        "steps": state.step,
        "images": state.images,
        "seconds": round(state.seconds),
        "format": str(state.format),
        "hardware": state.hardware,
        "torch": torch.__version__,
        "quality": quality,
    }
