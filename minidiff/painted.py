"""Painted digits: real handwriting in coloured ink on coloured paper, with captions that are true of it.

Seven attributes say all that a caption can: digit, ink, paper, stroke, lean, size and place. Digit, ink, paper,
size and place are chosen; stroke and lean are measured on the handwriting.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from .checkpoint import Stored
from .data import DIGIT_WORDS, Images, mnist
from .text import TextEncoder, Tokenizer

SIDE = 32  # pixels of a painted digit
SMALL = 20  # pixels of the square that holds a small digit; a large one has MNIST's 28
COLOURS = {
    "black": (20, 20, 20),
    "white": (240, 240, 240),
    "red": (210, 30, 40),
    "orange": (250, 140, 20),
    "yellow": (245, 225, 60),
    "green": (30, 150, 60),
    "blue": (40, 80, 215),
    "purple": (140, 50, 165),
}
SHADE = 10  # how far a channel of a colour may stray, in 0..255
ATTRIBUTES = {
    "digit": DIGIT_WORDS,
    "ink": tuple(COLOURS),
    "paper": tuple(COLOURS),
    "stroke": ("thin", "medium", "bold"),
    "lean": ("left", "upright", "right"),
    "size": ("small", "large"),
    "place": ("centre", "top left", "top right", "bottom left", "bottom right"),
}
DIGIT, INK, PAPER, STROKE, LEAN, SIZE, PLACE = range(7)  # columns of a row of attributes
UNSAID = -1  # in a column that a caption says nothing about
# Pixels. Medium is about half of the training digits: a narrow class is hit or missed by a tenth of a pixel.
STROKE_BORDERS = {"large": (2.0, 2.9), "small": (1.66, 2.22)}
LEAN_BORDERS = (-0.05, 0.2)  # pixels to the right for each pixel up
# Nearer than this to a border a digit is not clearly the one or the other.
STROKE_DOUBT = {"large": 0.12, "small": 0.08}
LEAN_DOUBT = 0.05
# Each digit has one ink that it is never trained in, so that putting together what was learned can be measured.
UNSEEN_INK = ("red", "green", "blue", "black", "yellow", "white", "orange", "purple", "red", "blue")
_UNSEEN = torch.tensor([ATTRIBUTES["ink"].index(ink) for ink in UNSEEN_INK])
RGB = torch.tensor(list(COLOURS.values()), dtype=torch.float32)
_CENTRE, _FAR = (SIDE - SMALL) // 2, SIDE - SMALL - 1  # of the left or top edge, before it strays by up to a pixel
# Top and left of the small square, by place.
CORNER = torch.tensor([(_CENTRE, _CENTRE), (0, 0), (0, _FAR), (_FAR, 0), (_FAR, _FAR)])


# --- Measured on the handwriting --------------------------------------------------------------------


def stroke_width(ink: Float[Tensor, "n h w"]) -> Float[Tensor, "n"]:
    """2 area / outline, in pixels, of ink in [0, 1]: a band of width w and length l has area w l and outline 2 l."""
    ink = F.pad(without_haze(ink), (1, 1, 1, 1))
    across, down = ink[:, :-1, 1:] - ink[:, :-1, :-1], ink[:, 1:, :-1] - ink[:, :-1, :-1]
    outline = (across**2 + down**2).sqrt().sum((1, 2))
    return 2 * ink.sum((1, 2)) / outline.clamp(min=1e-6)


def lean(ink: Float[Tensor, "n h w"]) -> Float[Tensor, "n"]:
    """Pixels to the right for each pixel up: -cov(x, y) / var(y) of ink in [0, 1], with y downwards."""
    ink = without_haze(ink)
    y, x = torch.arange(ink.shape[1]).to(ink)[:, None], torch.arange(ink.shape[2]).to(ink)
    mass = ink.sum((1, 2), keepdim=True).clamp(min=1e-6)
    y = y - (ink * y).sum((1, 2), keepdim=True) / mass
    x = x - (ink * x).sum((1, 2), keepdim=True) / mass
    return -(ink * x * y).sum((1, 2)) / (ink * y * y).sum((1, 2)).clamp(min=1e-6)


def stroke_class(width: Float[Tensor, "n"], size: Int[Tensor, "n"], clear: bool = False) -> Int[Tensor, "n"]:
    """0 thin, 1 medium, 2 bold, for digits of these sizes; with `clear`, UNSAID for those near a border."""
    borders, doubt = (
        torch.tensor([table[name] for name in ATTRIBUTES["size"]]).to(width)[size]
        for table in (STROKE_BORDERS, STROKE_DOUBT)
    )
    return _between(width, borders, clear * doubt)


def lean_class(slope: Float[Tensor, "n"], clear: bool = False) -> Int[Tensor, "n"]:
    """0 left, 1 upright, 2 right; with `clear`, UNSAID for those near a border."""
    borders = torch.tensor(LEAN_BORDERS).to(slope).expand(len(slope), 2)
    return _between(slope, borders, torch.full_like(slope, clear * LEAN_DOUBT))


def _between(x: Float[Tensor, "n"], borders: Float[Tensor, "n k"], doubt: Float[Tensor, "n"]) -> Int[Tensor, "n"]:
    """How many borders lie below each x; UNSAID where one lies nearer than `doubt`."""
    beyond = x[:, None] - borders
    return torch.where((beyond.abs() < doubt[:, None]).any(1), UNSAID, (beyond > 0).sum(1))


def without_haze(ink: Tensor) -> Tensor:
    """Nearly nothing becomes nothing and nearly all becomes all, so that faint noise does not count as an outline."""
    return ((ink - 0.1) / 0.8).clamp(0, 1)


# --- Painting ---------------------------------------------------------------------------------------


class PaintedDigits:
    """A long list of painted digits, each painted when it is asked for: `painted[rows]` gives `Images`.

    Row i is digit i % len(digits), and everything chosen about it follows from (seed, i): the same row is the
    same picture in any batch. Its labels are rows of attributes, the columns as in ATTRIBUTES.
    inks: "seen" leaves out the ink that a digit is never trained in, "unseen" uses nothing else, "all" both.
    clear: labels are UNSAID for a stroke or lean so near a border that nobody would name it; captions then leave
    it out, and a model learns each word from digits that show it.
    """

    def __init__(self, digits: Images, variants: int = 16, seed: int = 0, inks: str = "seen", clear: bool = False):
        if inks not in ("seen", "unseen", "all"):
            raise ValueError(f'inks must be "seen", "unseen" or "all", got {inks!r}')
        if tuple(digits.pixels.shape[1:]) != (1, 28, 28):
            raise ValueError(f"digits must be (n, 1, 28, 28), got {tuple(digits.pixels.shape)}")
        if variants < 1 or seed < 0:
            raise ValueError(f"variants must be at least 1 and seed at least 0, got {variants} and {seed}")
        self.pixels, self.labels, self.n = digits.pixels.cpu(), digits.labels.cpu(), len(digits)
        self.rows = torch.arange(self.n * variants)
        self.large = self.pixels[:, 0]
        self.variants, self.seed, self.inks, self.clear = variants, seed, inks, clear
        self.name = f"painted {digits.name}, {inks} inks"
        parts = [_shrink(part) for part in self.large.split(10_000)]
        self.small = torch.cat(parts)
        self.shape = torch.stack([self._classes(self.small, 0), self._classes(self.large, 1)], dim=1)

    def _classes(self, ink: UInt8[Tensor, "n h w"], size: int) -> Int[Tensor, "n 2"]:
        """(stroke, lean) of every digit at this size."""
        found = []
        for part in ink.split(5000):
            part = part.float() / 255
            stroke = stroke_class(stroke_width(part), torch.full((len(part),), size), self.clear)
            found.append(torch.stack([stroke, lean_class(lean(part), self.clear)], dim=1))
        return torch.cat(found)

    def __len__(self) -> int:
        return self.n * self.variants

    def attributes(self, rows: Int[Tensor, "k"]) -> Int[Tensor, "k 7"]:
        """What these rows show."""
        which = rows % self.n
        digit = self.labels[which]
        others = self._choose(rows, 0, 7)
        ink = others + (others >= _UNSEEN[digit]).long()  # any but the unseen one
        if self.inks == "unseen":
            ink = _UNSEEN[digit]
        elif self.inks == "all":
            ink = self._choose(rows, 0, 8)
        paper = (ink + 1 + self._choose(rows, 1, 7)) % 8  # any but the ink's
        size = self._choose(rows, 2, 2)
        place = torch.where(size == 0, self._choose(rows, 3, 5), 0)
        stroke, slope = self.shape[which, size].unbind(1)
        return torch.stack([digit, ink, paper, stroke, slope, size, place], dim=1)

    def __getitem__(self, rows: slice | Sequence[int] | Int[Tensor, "k"] | Bool[Tensor, "n"]) -> Images:
        """Paint these rows: pixels (k, 3, 32, 32) uint8, labels (k, 7)."""
        rows = self.rows[rows]
        found = self.attributes(rows)
        ink = torch.zeros(len(rows), SIDE, SIDE)
        for size, (bank, side, jitter) in enumerate(((self.small, SMALL, 2), (self.large, 28, 3))):
            here = (found[:, SIZE] == size).nonzero()[:, 0]
            shift = torch.stack([self._choose(rows[here], 4 + axis, jitter) for axis in (0, 1)], dim=1)
            corner = (CORNER[found[here, PLACE]] if size == 0 else 1) + shift
            y, x = (corner[:, axis, None] + torch.arange(side) for axis in (0, 1))
            ink[here[:, None, None], y[:, :, None], x[:, None, :]] = bank[rows[here] % self.n].float() / 255
        colour, paper = (self._shade(rows, found[:, column], column)[..., None, None] for column in (INK, PAPER))
        pixels = torch.addcmul(paper, ink[:, None], colour - paper).round_().clamp_(0, 255)
        return Images(pixels.to(torch.uint8), found, self.name)

    def _shade(self, rows: Tensor, colour: Tensor, column: int) -> Float[Tensor, "k 3"]:
        stray = [self._choose(rows, 10 * column + channel, 2 * SHADE + 1) - SHADE for channel in range(3)]
        return (RGB[colour] + torch.stack(stray, dim=1)).clamp(0, 255)

    def _choose(self, rows: Tensor, purpose: int, n: int) -> Int[Tensor, "k"]:
        """A number from 0 to n - 1 for each row, by the hash of Steele et al. 2014 (SplitMix64)."""
        with np.errstate(over="ignore"):
            z = rows.numpy().astype(np.uint64) * np.uint64(1000) + np.uint64(purpose)
            z = (z + np.uint64(self.seed) * np.uint64(0xD1342543DE82EF95) + np.uint64(1)) * np.uint64(
                0x9E3779B97F4A7C15
            )
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z = z ^ (z >> np.uint64(31))
        return torch.from_numpy((z % np.uint64(n)).astype(np.int64))


def _shrink(pixels: UInt8[Tensor, "n 28 28"]) -> UInt8[Tensor, "n s s"]:
    """To SMALL pixels a side, with the darkest place of the ink as dark as before: a stroke keeps its colour."""
    small = F.interpolate(pixels[:, None].float(), size=(SMALL, SMALL), mode="bilinear", antialias=True)[:, 0]
    return (small * (255 / small.amax((1, 2), keepdim=True).clamp(min=1))).round().clamp(0, 255).to(torch.uint8)


def painted_digits(
    full: bool = False,
    split: str = "train",
    variants: int = 16,
    seed: int = 0,
    inks: str = "seen",
    clear: bool = False,
) -> PaintedDigits:
    """Painted digits of the shipped sample or of the full MNIST; see `data.mnist` and `PaintedDigits`."""
    return PaintedDigits(mnist(full=full, split=split), variants, seed, inks, clear)


# --- Captions ---------------------------------------------------------------------------------------

_SAY = {
    "stroke": (("thin", "fine"), ("medium",), ("bold", "thick")),
    "size": (("small", "little"), ("large", "big")),
    "lean": (("leaning left", "slanting left"), ("upright", "straight"), ("leaning right", "slanting right")),
}
_MIDDLE = ("centre", "middle")
_GLUE = ("a", "an", "digit", "in", "the", "corner", "on", "paper", "background", "top", "bottom")
WORDS = sorted(
    {*_GLUE, *_MIDDLE, *DIGIT_WORDS, *map(str, range(10)), *COLOURS}
    | {word for forms in _SAY.values() for synonyms in forms for phrase in synonyms for word in phrase.split()}
)
LENGTH = 18  # words of the longest caption


def painted_captions(
    attributes: Int[Tensor, "b 7"], chance: np.random.Generator, detail: float | None = None
) -> list[str]:
    """A true caption of each row, from "a seven" to all that can be said, in a random order and in random words.

    UNSAID attributes are left out. A few captions name no digit, and a few of these are bare: "red", "thin small".
    detail: share of the attributes that are mentioned; None draws it anew for every caption.
    """
    return [_caption(row, chance, chance.random() if detail is None else detail) for row in attributes.tolist()]


def full_caption(row: Sequence[int]) -> str:
    """All that is said of a picture, in the plainest words; UNSAID attributes are left out."""
    digit, ink, paper, stroke, slope, size, place = row
    words = [
        ATTRIBUTES[name][value] for name, value in (("size", size), ("stroke", stroke), ("ink", ink)) if value >= 0
    ]
    words += ["digit" if digit < 0 else DIGIT_WORDS[digit]]
    after = [] if slope < 0 else [_SAY["lean"][slope][0]]
    after += [] if place < 0 or size == 1 else [_where(place, "centre")]
    after += [] if paper < 0 else [f"on {ATTRIBUTES['paper'][paper]} paper"]
    return " ".join([_article(words), *after])


def _caption(row: list[int], chance: np.random.Generator, detail: float) -> str:
    def pick(options: Sequence[str]) -> str:
        return options[int(chance.random() * len(options))]

    digit, ink, paper, stroke, slope, size, place = row
    said = (chance.random(7) < detail) & (np.array(row) != UNSAID)
    noun, bare = pick((DIGIT_WORDS[digit], str(digit))), False
    if detail > 0 and chance.random() < 0.08:
        noun, bare = "digit", chance.random() < 0.5  # any of the ten
    before = [ATTRIBUTES["ink"][ink]] * bool(said[INK])
    before += [pick(_SAY["stroke"][stroke])] * bool(said[STROKE]) + [pick(_SAY["size"][size])] * bool(said[SIZE])
    after = [pick(_SAY["lean"][slope])] * bool(said[LEAN])
    if said[PAPER]:
        colour = ATTRIBUTES["paper"][paper]
        after.append(pick((f"on {colour} paper", f"on {_article([colour])} background")))
    if said[PLACE] and size == 0:
        after.append(_where(place, pick(_MIDDLE)))
    before, after = ([parts[i] for i in chance.permutation(len(parts))] for parts in (before, after))
    if bare and before + after:
        return " ".join(before + after)
    return " ".join([_article([*before, noun]), *after])


def _where(place: int, middle: str) -> str:
    return f"in the {middle}" if place == 0 else f"in the {ATTRIBUTES['place'][place]} corner"


def _article(words: list[str]) -> str:
    return f"a{'n' if words[0] in ('orange', 'upright', 'eight', '8') else ''} {' '.join(words)}"


def asked(caption: str) -> list[int]:
    """The row of attributes that a caption asks for, UNSAID where it says nothing; unknown words are passed over."""
    words = re.findall(r"[a-z]+|\d+", caption.lower())
    row = [UNSAID] * len(ATTRIBUTES)
    for i, word in enumerate(words):
        before, after = words[i - 1] if i else "", words[i + 1] if i + 1 < len(words) else ""
        if word in DIGIT_WORDS or word in map(str, range(10)):
            row[DIGIT] = DIGIT_WORDS.index(word) if word in DIGIT_WORDS else int(word)
        elif word in COLOURS:
            row[PAPER if after in ("paper", "background") else INK] = ATTRIBUTES["ink"].index(word)
        elif word in ("left", "right") and before in ("leaning", "slanting"):
            row[LEAN] = ATTRIBUTES["lean"].index(word)
        elif word in ("upright", "straight"):
            row[LEAN] = ATTRIBUTES["lean"].index("upright")
        elif word in ("top", "bottom") and after in ("left", "right"):
            row[PLACE] = ATTRIBUTES["place"].index(f"{word} {after}")
        elif word in _MIDDLE:
            row[PLACE] = ATTRIBUTES["place"].index("centre")
        else:
            for column, name in ((STROKE, "stroke"), (SIZE, "size")):
                for value, synonyms in enumerate(_SAY[name]):
                    if word in synonyms:
                        row[column] = value
    return row


# --- Reading captions -------------------------------------------------------------------------------


class CaptionReader(Stored):
    """Reads the attributes back from the words alone: the objective that trains a text encoder before any picture.

    A model that learns words and pictures together needs many pictures to find out what its words are about. This
    one needs none, and the painted models hear by its encoder, as Stable Diffusion hears by that of CLIP (Radford et
    al. 2021). Each question has its attribute's answers and one more, "not said".
    """

    usual = "words"

    def __init__(self, dim: int = 64, layers: int = 2, heads: int = 4):
        super().__init__()
        self.tokenizer = Tokenizer.train(WORDS, LENGTH)
        self.encoder = TextEncoder(len(self.tokenizer), LENGTH, dim, layers, heads)
        self.answers = [len(values) + 1 for values in ATTRIBUTES.values()]
        self.head = nn.Linear(dim, sum(self.answers))
        self.config = {"class": "CaptionReader", "dim": dim, "layers": layers, "heads": heads}

    def logits(self, captions: Sequence[str]) -> list[Float[Tensor, "b answers"]]:
        """The scores of the answers to each question; from the peak over the words, as a U-Net hears them."""
        ctx = self.encoder(self.tokenizer(captions).to(self.head.weight.device))
        return list(self.head(ctx.amax(1)).split(self.answers, dim=1))

    @torch.no_grad()
    def read(self, captions: Sequence[str]) -> Int[Tensor, "b 7"]:
        """The rows of attributes that these captions ask for, UNSAID where they say nothing."""
        found = torch.stack([part.argmax(1) for part in self.logits(captions)], dim=1)
        return torch.where(found == found.new_tensor(self.answers) - 1, UNSAID, found)

    def forward(self, batch) -> Float[Tensor, ""]:
        """Cross-entropy of a `data.Batch` with captions, summed over the questions."""
        rows = torch.tensor([asked(caption) for caption in batch.captions], device=self.head.weight.device)
        rows = torch.where(rows == UNSAID, rows.new_tensor(self.answers) - 1, rows)
        losses = [F.cross_entropy(part, rows[:, i]) for i, part in enumerate(self.logits(batch.captions))]
        return torch.stack(losses).sum()
