"""MNIST with captions, endless batches of it, and 2-D toys. Pictures stay uint8; networks see [-1, 1]."""

import functools
import gzip
import itertools
import math
import os
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Int64, UInt8
from torch import Tensor


class DataError(RuntimeError):
    """Data is absent, damaged or out of reach. The message is one line and says what to do."""


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled pictures: pixels (n, c, h, w) uint8, labels int64, one (n,) or several (n, k), a name for reports."""

    pixels: UInt8[Tensor, "n c h w"]
    labels: Int64[Tensor, "n *k"]
    name: str

    def __post_init__(self):
        if self.pixels.ndim != 4 or self.labels.shape[:1] != self.pixels.shape[:1]:
            shapes = f"{tuple(self.pixels.shape)} and {tuple(self.labels.shape)}"
            raise ValueError(f"pixels must be (n, c, h, w) and labels (n, ...), got {shapes}")

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, rows: slice | Int[Tensor, "k"] | Bool[Tensor, "n"]) -> "Images":
        return replace(self, pixels=self.pixels[rows], labels=self.labels[rows])

    def to(self, device: torch.device | str) -> "Images":
        return replace(self, pixels=self.pixels.to(device), labels=self.labels.to(device))


@runtime_checkable
class Pictures(Protocol):
    """What batches are cut from: a length, rows as Images, and the tensor that they are made of."""

    pixels: Tensor

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Tensor) -> Images: ...


def to_float(pixels: UInt8[Tensor, "*shape"]) -> Float32[Tensor, "*shape"]:
    """x0 = pixels / 127.5 - 1, in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def to_uint8(x0: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """pixels = round(127.5 (x0 + 1)), clamped to 0..255. Undoes to_float exactly."""
    return ((x0.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


# --- MNIST ----------------------------------------------------------------------------------------

_HERE = Path(__file__).parent
_SPLITS = {"train": ("train", 60_000), "held_out": ("t10k", 10_000)}  # prefix and size of the full files
_DAMAGE = (OSError, ValueError, KeyError, EOFError, NotImplementedError, zlib.error, zipfile.BadZipFile)


def data_dir() -> Path:
    """The folder of large data: $MINIDIFF_DATA, else data/ in a checkout, else ~/.cache/minidiff."""
    if chosen := os.environ.get("MINIDIFF_DATA"):
        return Path(chosen).expanduser()
    checkout = (_HERE.parent / "datasets" / "MNIST.md").is_file()
    return _HERE.parent / "data" if checkout else Path.home() / ".cache" / "minidiff"


def sample_path() -> Path:
    """The 10,000 digits that ship with minidiff, in a wheel or a checkout; DataError if they are missing."""
    places = [folder / "datasets" / "mnist_10k.npz" for folder in (_HERE, _HERE.parent)]
    for place in places:
        if place.is_file():
            return place
    raise DataError(f"{places[-1]} is missing: install minidiff again, or run datasets/make_mnist_sample.py")


def mnist(full: bool = False, split: str = "train", download: bool = False) -> Images:
    """MNIST digits (n, 1, 28, 28), ink bright on black (LeCun et al. 1998; CC BY-SA 3.0; datasets/MNIST.md).

    The shipped sample has 9,000 digits in split "train" and 1,000 in "held_out". full=True reads the 60,000
    and 10,000 of data_dir()/MNIST/raw. The whole sample is among the 60,000: judge what was trained on the
    full set by the full "held_out" only. mnist(full=True, download=True) fetches what is missing; nothing is
    fetched unasked. ValueError for another split; DataError for files missing, damaged or out of reach.
    """
    if split not in _SPLITS:
        raise ValueError(f"split must be one of {list(_SPLITS)}, got {split!r}")
    if full:
        raw = data_dir() / "MNIST" / "raw"
        if download:
            _download(raw)
        pixels, labels = (_read_idx(raw / name, shape) for name, shape in _files(split).items())
    else:
        path = sample_path()
        with _readable(path, "run datasets/make_mnist_sample.py"), np.load(path, allow_pickle=False) as file:
            pixels, labels = file[f"{split}_pixels"], file[f"{split}_labels"]
    labels = torch.from_numpy(labels.astype(np.int64))
    return Images(torch.from_numpy(pixels)[:, None], labels, f"{'mnist' if full else 'mnist_10k'}/{split}")


def _files(split: str) -> dict[str, tuple[int, ...]]:
    prefix, n = _SPLITS[split]
    return {f"{prefix}-images-idx3-ubyte": (n, 28, 28), f"{prefix}-labels-idx1-ubyte": (n,)}


@contextmanager
def _readable(path: Path, mend: str) -> Iterator[None]:
    """Turn what a damaged file may raise into one line that names the file."""
    try:
        yield
    except _DAMAGE as error:
        raise DataError(f"{path} cannot be read ({_line(error)}): {mend} to get it again") from error


def _read_idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The bytes of an idx file, unpacked or .gz, that must have this shape."""
    found = next((p for p in (path, Path(f"{path}.gz")) if p.is_file()), None)
    if found is None:
        raise DataError(
            f"the full MNIST is not in {path.parent} (no {path.name}): set MINIDIFF_DATA to the folder that "
            "holds MNIST/raw, or call mnist(full=True, download=True), or go on with the sample, mnist()"
        )
    header = struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)  # 8: bytes; sizes are big-endian
    size = len(header) + math.prod(shape)
    with _readable(found, "call mnist(full=True, download=True)"):
        raw = found.read_bytes() if found == path else gzip.decompress(found.read_bytes())
        if len(raw) != size or not raw.startswith(header):
            raise ValueError(f"{len(raw)} of {size} bytes" if len(raw) != size else "not the header of MNIST")
    return np.frombuffer(raw, np.uint8, offset=len(header)).reshape(shape).copy()  # writable


def _download(folder: Path) -> None:
    """Fetch what is missing or damaged, of both splits, from torchvision's mirrors against its md5 sums."""
    from torchvision.datasets import MNIST  # here, because torchvision takes long to import

    for name, shape in (_files("train") | _files("held_out")).items():
        try:
            _read_idx(folder / name, shape)
        except DataError:
            _fetch(folder / name, dict(MNIST.resources)[f"{name}.gz"], MNIST.mirrors)


def _fetch(path: Path, md5: str, mirrors: list[str]) -> None:
    from torchvision.datasets.utils import download_url

    name, reasons, timeout = f"{path.name}.gz", [], socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)  # torchvision sets none: a silent host would hang the lesson
    try:
        for mirror in mirrors:
            try:
                download_url(mirror + name, path.parent, name, md5)
                return path.unlink(missing_ok=True)  # a damaged unpacked file would hide the .gz
            except (OSError, RuntimeError, HTTPException) as error:
                reasons.append(_line(error))
    finally:
        socket.setdefaulttimeout(timeout)
    raise DataError(
        f"{name} could not be fetched into {path.parent} ({'; '.join(reasons)}): check connection and folder "
        "and call mnist(full=True, download=True) again, or set MINIDIFF_DATA to the folder that holds "
        "MNIST/raw; the course goes on with the sample, mnist()"
    )


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


# --- Captions -------------------------------------------------------------------------------------

DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CAPTION_FORMS = ("{it}", "{a} {it}", "the digit {it}", "the number {it}", "a handwritten {it}")
_CAPTIONS = [
    [form.format(a="an" if word == "eight" else "a", it=it) for form in CAPTION_FORMS for it in (word, str(digit))]
    for digit, word in enumerate(DIGIT_WORDS)
]


def digit_captions(labels: Int[Tensor, "b"], generator: np.random.Generator) -> list[str]:
    """A random true caption per label: "a seven", "the digit 7" ... ValueError for a label outside 0..9."""
    digits = labels.tolist()
    if wrong := set(digits) - set(range(10)):
        raise ValueError(f"labels must be from 0 to 9, got {sorted(wrong)}")
    forms = generator.integers(len(_CAPTIONS[0]), size=len(digits)).tolist()
    return [_CAPTIONS[digit][form] for digit, form in zip(digits, forms, strict=True)]


def all_digit_captions() -> list[str]:
    """Every caption that digit_captions can draw, to train a tokenizer on."""
    return [caption for captions in _CAPTIONS for caption in captions]


# --- Batches --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Batch:
    """This process's `rows` of a global batch of `total`: x0 (b, c, h, w) in [-1, 1], labels (b, ...), captions.

    An objective draws its noise for `total` rows from generator() and keeps `rows`: what a row gets does not
    depend on the number of processes.
    """

    x0: Float32[Tensor, "b c h w"]
    labels: Int64[Tensor, "b *k"]
    captions: list[str] | None
    seed: int
    rows: slice
    total: int

    def to(self, device: torch.device | str) -> "Batch":
        return replace(self, x0=self.x0.to(device), labels=self.labels.to(device))

    def generator(self) -> torch.Generator:
        """A fresh generator on x0's device, seeded with self.seed: the same on every process."""
        return torch.Generator(self.x0.device).manual_seed(self.seed)


@dataclass(frozen=True, eq=False)
class Batches:
    """An endless stream that can be entered anywhere: iter() starts at batch `start`, at(k) at batch k."""

    batch: Callable[[int], Batch]
    start: int = 0

    def at(self, k: int) -> Iterator[Batch]:
        """Batch k and those after it; it costs the same for any k."""
        return map(self.batch, itertools.count(k))

    def __iter__(self) -> Iterator[Batch]:
        return self.at(self.start)


def batches(
    images: Pictures,  # Images, or what is painted when it is asked for
    batch_size: int,  # of this process; the global batch has batch_size * world rows
    *,
    captions: Callable[[Int64[Tensor, "b *k"], np.random.Generator], list[str]] | None = None,
    drop: float = 0.1,  # share of captions replaced by "", which is what guidance needs
    augment: Callable[[UInt8[Tensor, "b c h w"], torch.Generator], UInt8[Tensor, "b c h w"]] | None = None,
    seed: int = 0,
    start: int = 0,  # number of the first batch; it costs the same to start anywhere
    rank: int | None = None,  # of world processes; by default $RANK and $WORLD_SIZE, else 0 of 1
    world: int | None = None,
    device: torch.device | str | None = None,  # by default where the pixels are
) -> Batches:
    """Endless batches: the set in one random order after another, cut into pieces; batch i is piece i.

    Everything random in batch i follows from (seed, i), is drawn for the global batch and then cut to this
    process's rows. So n processes with batch b see together what one process with batch n b sees, and start=k
    gives bitwise what skipping k batches gives. The pixels stay uint8, on the device where they take at most
    a quarter of its free memory. ValueError for impossible arguments.
    """
    rank = int(os.environ.get("RANK", 0)) if rank is None else rank
    world = int(os.environ.get("WORLD_SIZE", 1)) if world is None else world
    _check(images, batch_size, drop, seed, start, rank, world)
    n, total, rows = len(images), batch_size * world, slice(rank * batch_size, (rank + 1) * batch_size)
    device = images.pixels.device if device is None else torch.device(device)
    if isinstance(images, Images):  # labels stay here, where captions are made of them
        pixels = images.pixels.to(device) if _fits(images.pixels, device) else images.pixels
        images = replace(images, pixels=pixels, labels=images.labels.cpu())
    order = functools.lru_cache(maxsize=2)(lambda epoch: _rng(seed, "order", epoch).permutation(n))

    def piece(first: int, last: int) -> Tensor:  # rows of the set at these positions of the endless stream
        epochs = range(first // n, (last - 1) // n + 1)
        parts = [order(epoch)[max(first - epoch * n, 0) : last - epoch * n] for epoch in epochs]
        return torch.from_numpy(np.concatenate(parts))

    def batch(i: int) -> Batch:
        part = images[piece(i * total, (i + 1) * total)]  # global: a row's fate does not depend on `world`
        words = None
        if captions is not None:
            rng = _rng(seed, "words", i)
            words = captions(part.labels, rng)
            words = ["" if u < drop else w for w, u in zip(words, rng.random(total), strict=True)][rows]
        x = part.pixels.to(device)
        if augment is not None:
            x = augment(x, torch.Generator(device).manual_seed(_seed(seed, "augment", i)))
        y = part.labels[rows].to(device)
        return Batch(to_float(x[rows]), y, words, _seed(seed, "noise", i), rows, total)

    return Batches(batch, start)


def _stream(seed: int, purpose: str, i: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(zlib.crc32(purpose.encode()), i))


def _rng(seed: int, purpose: str, i: int) -> np.random.Generator:
    return np.random.default_rng(_stream(seed, purpose, i))


def _seed(seed: int, purpose: str, i: int) -> int:
    return int(_stream(seed, purpose, i).generate_state(1, np.uint64)[0] >> 1)  # 63 bits, which torch accepts


def _fits(pixels: Tensor, device: torch.device) -> bool:
    return device.type != "cuda" or 4 * pixels.nbytes <= torch.cuda.mem_get_info(device)[0]


def _check(images: Pictures, batch_size: int, drop: float, seed: int, start: int, rank: int, world: int) -> None:
    if len(images) < 1 or batch_size < 1:
        raise ValueError(f"need at least 1 picture and a batch_size of 1, got {len(images)} and {batch_size}")
    if not 0 <= drop <= 1:
        raise ValueError(f"drop must be from 0 to 1, got {drop}")
    if seed < 0 or start < 0:
        raise ValueError(f"seed and start must not be negative, got {seed} and {start}")
    if not 0 <= rank < world:
        raise ValueError(f"rank must be from 0 to world - 1, got rank {rank} of world {world}")


# --- 2-D toys: pictures of one pixel with two channels; mean 0 and variance about 1 ---------------

MIXTURE_STD = 0.2
_TURN = torch.arange(8) * (math.pi / 4)
# On the circle whose radius makes the variance of each coordinate radius^2 / 2 + std^2 = 1.
MIXTURE_MEANS = math.sqrt(2 - 2 * MIXTURE_STD**2) * torch.stack([_TURN.cos(), _TURN.sin()], dim=1)


def mixture(n: int, seed: int = 0) -> Float32[Tensor, "n 2 1 1"]:
    """p(x0) = 1/8 sum_k N(x0; MIXTURE_MEANS[k], MIXTURE_STD^2 I), whose exact denoiser has a closed form."""
    rng = np.random.default_rng(seed)
    return _points(MIXTURE_MEANS.numpy()[rng.integers(8, size=n)], MIXTURE_STD, rng)


def moons(n: int, seed: int = 0) -> Float32[Tensor, "n 2 1 1"]:
    """Two half circles, each with its end in the other's hollow."""
    rng = np.random.default_rng(seed)
    angle, side = rng.uniform(0, math.pi, n), rng.choice([-1, 1], n)
    xy = side * np.stack([np.cos(angle) - 0.5, np.sin(angle) - 0.25])
    return _points(xy.T / (0.866, 0.494), 0.1, rng)  # the standard deviations of the two coordinates


def spiral(n: int, seed: int = 0) -> Float32[Tensor, "n 2 1 1"]:
    """Two arms, each one and a half turns from the centre outwards."""
    rng = np.random.default_rng(seed)
    radius, side = np.sqrt(rng.uniform(0, 1, n)), rng.choice([-1, 1], n)
    angle = 3 * math.pi * radius
    return _points(2 * (side * radius * np.stack([np.cos(angle), np.sin(angle)])).T, 0.05, rng)


def _points(centres: np.ndarray, std: float, rng: np.random.Generator) -> Float32[Tensor, "n 2 1 1"]:
    noisy = centres + std * rng.standard_normal(centres.shape)
    return torch.from_numpy(noisy.astype(np.float32))[:, :, None, None]
