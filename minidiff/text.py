"""Words to vectors: a tokenizer that knows the words of its captions, and a small transformer encoder."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from itertools import islice

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .nets.layers import Attention

PAD = 0  # the token of no word; an empty caption is nothing but these


class UnknownWord(ValueError):
    """A prompt holds words that no caption had. `.words` lists them."""

    def __init__(self, unknown: dict[str, list[str]]):
        self.words = list(unknown)
        hints = (f"{w!r} (nearest known: {', '.join(near)})" if near else repr(w) for w, near in unknown.items())
        more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
        super().__init__(f"the model never saw the word {'; '.join(islice(hints, 10))}{more}")


def split_words(caption: str) -> list[str]:
    """Lower-case words and numbers, in order; punctuation is dropped."""
    return re.findall(r"[^\W\d_]+|\d+", caption.lower())


def split_weights(prompt: str) -> tuple[str, dict[int, float]]:
    """("a bold seven", {1: 1.5}) of "a (bold:1.5) seven": the plain prompt, and the weight of each weighted word.

    Raises ValueError for a weight that is no number from -4 to 4.
    """
    plain, weights = [], {}
    for part in re.split(r"(\([^():]*:[^():]*\))", prompt):
        weighted = re.fullmatch(r"\(([^():]*):([^():]*)\)", part)
        words = split_words(weighted[1] if weighted else part)
        if weighted:
            try:
                weight = float(weighted[2])
            except ValueError:
                weight = math.nan
            if not -4 <= weight <= 4:
                raise ValueError(f"a weight is a number from -4 to 4, as in (bold:1.5); got {part[:40]}")
            weights |= {len(plain) + i: weight for i in range(len(words))}
        plain += words
    return " ".join(plain), weights


class Tokenizer:
    """Captions -> word numbers (b, length), 0 where a caption has ended.

    words: the vocabulary, whose first word gets number 1. length: words that a caption may have.
    """

    def __init__(self, words: Sequence[str], length: int = 8):
        if length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        self.words, self.length = list(words), length
        self.numbers = {word: i for i, word in enumerate(self.words, start=1)}

    @classmethod
    def train(cls, captions: Iterable[str], length: int = 8) -> Tokenizer:
        """A tokenizer that knows every word of these captions, in alphabetical order."""
        return cls(sorted({word for caption in captions for word in split_words(caption)}), length)

    def __len__(self) -> int:
        return len(self.words) + 1

    def __call__(self, captions: Sequence[str]) -> Int[Tensor, "b length"]:
        """Raises UnknownWord, naming the nearest known words, and ValueError where a caption is too long."""
        return torch.tensor([self.encode(caption) for caption in captions], dtype=torch.long).view(
            len(captions), self.length
        )

    def encode(self, caption: str) -> list[int]:
        """One caption -> `length` numbers."""
        words = split_words(caption)
        unknown = {w: self.nearest(w) for w in words if w not in self.numbers}
        if unknown:
            raise UnknownWord(unknown)
        if len(words) > self.length:
            raise ValueError(f"a prompt may have {self.length} words here, this one has {len(words)}")
        return [self.numbers[w] for w in words] + [PAD] * (self.length - len(words))

    def nearest(self, word: str, n: int = 3) -> list[str]:
        """Known words spelt most like this one."""
        return difflib.get_close_matches(word[:40], self.words, n=n, cutoff=0.5)


class TextBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)): one transformer layer (Xiong et al. 2020, figure 1b)."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(dim), Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Float[Tensor, "b l d"]) -> Float[Tensor, "b l d"]:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class TextEncoder(nn.Module):
    """Word numbers (b, l) -> ctx (b, l, dim): each word's vector after it has looked at the others.

    A transformer encoder (Vaswani et al. 2017, section 3.1) with learned positions. vocabulary: number of
    words including "no word"; length: words in a caption.
    """

    def __init__(self, vocabulary: int, length: int, dim: int = 64, layers: int = 2, heads: int = 4):
        super().__init__()
        self.config = dict(vocabulary=vocabulary, length=length, dim=dim, layers=layers, heads=heads)
        self.word = nn.Embedding(vocabulary, dim)
        self.place = nn.Embedding(length, dim)
        self.blocks = nn.ModuleList(TextBlock(dim, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, ids: Int[Tensor, "b l"]) -> Float[Tensor, "b l d"]:
        x = self.word(ids) + self.place.weight
        for block in self.blocks:
            x = block(x)
        return self.norm(x)
