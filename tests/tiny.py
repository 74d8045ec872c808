"""The smallest things that can be trained: pictures of 8x8, batches of them, and a model that draws them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from minidiff import checkpoint, data
from minidiff.data import DIGIT_WORDS, Batch, Batches, Images
from minidiff.pipeline import TextToImage
from minidiff.train import Format, train

SIDE = 8


def pictures(n: int = 48) -> Images:
    """Ten patterns of 8x8, with a little noise; the label says which."""
    chance = torch.Generator().manual_seed(0)
    patterns = torch.randint(20, 236, (10, 1, SIDE, SIDE), generator=chance)
    labels = torch.arange(n) % 10
    noise = torch.randint(-20, 20, (n, 1, SIDE, SIDE), generator=chance)
    return Images((patterns[labels] + noise).to(torch.uint8), labels, "tiny")


def caption(labels, generator) -> list[str]:
    return [DIGIT_WORDS[label] for label in labels.tolist()]


def stream(batch_size: int = 8, **settings) -> Batches:
    """Endless batches of the pictures, with captions."""
    return data.batches(pictures(), batch_size, captions=caption, **settings)


def batch(size: int = 8) -> Batch:
    return next(iter(stream(size)))


def model(seed: int = 0, **settings) -> TextToImage:
    """An untrained model that knows the ten words. Its last layer is zero: all prompts draw the same."""
    torch.manual_seed(seed)
    net = dict(widths=(16,), blocks=1, heads=2, patch=2)
    return TextToImage.new(DIGIT_WORDS, (1, SIDE, SIDE), length=2, d_ctx=16, **(net | settings))


def stirred(seed: int = 0, **settings) -> TextToImage:
    """The same with random weights everywhere, so that every word matters."""
    made = model(seed, **settings).eval()
    with torch.no_grad():
        for p in made.parameters():
            p.add_(torch.randn_like(p), alpha=0.15)
    return made


@cache
def trained() -> TextToImage:
    """A model that has learned which word goes with which pattern. Shared: leave it as it is."""
    quick = dict(lr=2e-2, warmup=10, ema=0.9, format=Format(), progress=False)
    *_, state = train(model(), stream(24), 120, **quick)
    return state.ema


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: t.detach().clone() for name, t in module.state_dict().items()}


def stored(path: Path | str) -> dict[str, Tensor]:
    return checkpoint.load(path)[0]


def assert_equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    """The same names with bitwise the same tensors."""
    assert a.keys() == b.keys()
    different = [name for name in a if a[name].dtype != b[name].dtype or not torch.equal(a[name], b[name])]
    assert not different, different


def largest_difference(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a)
