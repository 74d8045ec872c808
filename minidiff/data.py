"""MNIST and CIFAR-10 with captions, endless batches, and 2-D toys. Pictures stay uint8; networks see [-1, 1]."""

import functools
import gzip
import itertools
import math
import os
import socket
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .process import Process


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
_DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    NotImplementedError,
    zlib.error,
    zipfile.BadZipFile,
    tarfile.TarError,
)


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

    advice = (
        "and call mnist(full=True, download=True) again, or set MINIDIFF_DATA to the folder that holds "
        "MNIST/raw; the course goes on with the sample, mnist()"
    )
    for name, shape in (_files("train") | _files("held_out")).items():
        try:
            _read_idx(folder / name, shape)
        except DataError:
            _fetch(folder / f"{name}.gz", dict(MNIST.resources)[f"{name}.gz"], MNIST.mirrors, advice)
            (folder / name).unlink(missing_ok=True)  # a damaged unpacked file would hide the .gz


def _fetch(path: Path, md5: str, mirrors: Sequence[str], advice: str) -> None:
    """The file path.name of the first mirror that has it with this md5 sum; DataError if there is none."""
    from torchvision.datasets.utils import download_url

    name, reasons, timeout = path.name, [], socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)  # torchvision sets none: a silent host would hang the lesson
    try:
        for mirror in mirrors:
            try:
                return download_url(mirror + name, path.parent, name, md5)
            except (OSError, RuntimeError, HTTPException) as error:
                reasons.append(_line(error))
    finally:
        socket.setdefaulttimeout(timeout)
    raise DataError(
        f"{name} could not be fetched into {path.parent} ({'; '.join(reasons)}): check connection and folder {advice}"
    )


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


# --- CIFAR-10 -------------------------------------------------------------------------------------

PHOTO_WORDS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_PHOTOS = ("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", ["https://www.cs.toronto.edu/~kriz/"])
_PHOTO_FILES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "held_out": ["test_batch.bin"]}
_PER_FILE = 10_000


def cifar10(split: str = "train", download: bool = False) -> Images:
    """CIFAR-10 photographs (n, 3, 32, 32) of ten classes, PHOTO_WORDS (Krizhevsky 2009).

    50,000 in split "train" and 10,000 in "held_out", from data_dir()/cifar-10-batches-bin, the binary files of
    its author (the Python ones are pickles, which could run code), or from data_dir()/cifar10.npz with
    train_images (n, 32, 32, 3), train_labels, test_images and test_labels. cifar10(download=True) fetches them
    if they are not there. ValueError for another split; DataError for files missing, damaged or out of reach.
    """
    if split not in _PHOTO_FILES:
        raise ValueError(f"split must be one of {list(_PHOTO_FILES)}, got {split!r}")
    folder, packed = data_dir() / "cifar-10-batches-bin", data_dir() / "cifar10.npz"
    files = [folder / name for name in _PHOTO_FILES[split]]
    if download and not packed.is_file() and not all(path.is_file() for path in files):
        _download_photos()
    if packed.is_file():
        part = "train" if split == "train" else "test"
        with _readable(packed, "replace it"), np.load(packed, allow_pickle=False) as file:
            pixels, labels = file[f"{part}_images"].transpose(0, 3, 1, 2), file[f"{part}_labels"]
            if pixels.shape != (len(files) * _PER_FILE, 3, 32, 32) or labels.shape != pixels.shape[:1]:
                raise ValueError(f"arrays of the shapes {pixels.shape} and {labels.shape}")
    else:
        rows = np.concatenate([_read_photos(path) for path in files])
        pixels, labels = rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]
    pixels = torch.from_numpy(np.ascontiguousarray(pixels))
    return Images(pixels, torch.from_numpy(labels.astype(np.int64)), f"cifar10/{split}")


def _read_photos(path: Path) -> np.ndarray:
    """The rows of one binary file: a label and 3 x 32 x 32 bytes each."""
    if not path.is_file():
        raise DataError(
            f"CIFAR-10 is not in {path.parent} (no {path.name}): set MINIDIFF_DATA to the folder that holds "
            "cifar-10-batches-bin or cifar10.npz, or call cifar10(download=True)"
        )
    with _readable(path, "delete it and call cifar10(download=True)"):
        raw = np.frombuffer(path.read_bytes(), np.uint8)
        if len(raw) != _PER_FILE * 3073 or raw[::3073].max() > 9:
            raise ValueError(f"{len(raw)} bytes" if len(raw) != _PER_FILE * 3073 else "labels above 9")
    return raw.reshape(-1, 3073)


def _download_photos() -> None:
    """Fetch the archive against its md5 sum and take the six files out of it."""
    (name, md5, mirrors), folder = _PHOTOS, data_dir()
    advice = "and call cifar10(download=True) again, or set MINIDIFF_DATA to the folder that holds cifar-10-batches-bin"
    _fetch(folder / name, md5, mirrors, advice)
    with _readable(folder / name, "delete it and call cifar10(download=True)"), tarfile.open(folder / name) as archive:
        for file in (file for files in _PHOTO_FILES.values() for file in files):
            archive.extract(f"cifar-10-batches-bin/{file}", folder, filter="data")
    (folder / name).unlink()


def flip(pixels: UInt8[Tensor, "b c h w"], generator: torch.Generator) -> UInt8[Tensor, "b c h w"]:
    """Each picture as it is or as in a mirror, by chance: an augmentation for photographs, not for digits."""
    turned = torch.rand(len(pixels), generator=generator, device=pixels.device) < 0.5
    return torch.where(turned[:, None, None, None], pixels.flip(3), pixels)


# --- Captions -------------------------------------------------------------------------------------

DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CAPTION_FORMS = ("{it}", "{a} {it}", "the digit {it}", "the number {it}", "a handwritten {it}")
PHOTO_FORMS = ("{it}", "{a} {it}", "a photo of {a} {it}", "a picture of {a} {it}", "a small photo of {a} {it}")


def _ways(forms: Sequence[str], *names: str) -> list[str]:
    article = "an" if names[0][0] in "aeiou" and names[0] != "one" else "a"
    return [form.format(a=article, it=name) for form in forms for name in names]


_CAPTIONS = [_ways(CAPTION_FORMS, word, str(digit)) for digit, word in enumerate(DIGIT_WORDS)]
_PHOTO_CAPTIONS = [_ways(PHOTO_FORMS, word) for word in PHOTO_WORDS]


def digit_captions(labels: Int[Tensor, "b"], generator: np.random.Generator) -> list[str]:
    """A random true caption per label: "a seven", "the digit 7" ... ValueError for a label outside 0..9."""
    return _say(_CAPTIONS, labels, generator)


def photo_captions(labels: Int[Tensor, "b"], generator: np.random.Generator) -> list[str]:
    """A random true caption per label of CIFAR-10: "a frog", "a photo of a frog" ... ValueError as above."""
    return _say(_PHOTO_CAPTIONS, labels, generator)


def _say(captions: list[list[str]], labels: Tensor, generator: np.random.Generator) -> list[str]:
    classes = labels.tolist()
    if wrong := set(classes) - set(range(len(captions))):
        raise ValueError(f"labels must be from 0 to {len(captions) - 1}, got {sorted(wrong)}")
    forms = generator.integers(len(captions[0]), size=len(classes)).tolist()
    return [captions[k][form] for k, form in zip(classes, forms, strict=True)]


def all_digit_captions() -> list[str]:
    """Every caption that digit_captions can draw, to train a tokenizer on."""
    return [caption for captions in _CAPTIONS for caption in captions]


def all_photo_captions() -> list[str]:
    """Every caption that photo_captions can draw, to train a tokenizer on."""
    return [caption for captions in _PHOTO_CAPTIONS for caption in captions]


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


@dataclass(frozen=True)
class _Numbered(Dataset):
    """Batches as a torch Dataset: item i is batch i."""

    batch: Callable[[int], Batch]

    def __getitem__(self, i: int) -> Batch:
        return self.batch(i)


@dataclass(frozen=True, eq=False)
class Batches:
    """An endless stream that can be entered anywhere: iter() starts at batch `start`, at(k) at batch k.

    workers: processes that make the same batches ahead of need, for a GPU that would wait for them; 0 makes each
    batch when it is asked for. They are forked, so the batches must be made on the CPU, and not on Windows.
    """

    batch: Callable[[int], Batch]
    start: int = 0
    workers: int = 0
    about: dict = field(default_factory=dict)  # what they are made of; a training that goes on wants the same

    def at(self, k: int) -> Iterator[Batch]:
        """Batch k and those after it; it costs the same for any k."""
        if not self.workers:
            return map(self.batch, itertools.count(k))
        settings = dict(num_workers=self.workers, prefetch_factor=4, multiprocessing_context="fork")
        numbers = range(k, sys.maxsize)
        own = torch.Generator()  # so that the global one is left as it was
        return iter(DataLoader(_Numbered(self.batch), batch_size=None, sampler=numbers, generator=own, **settings))

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

    return Batches(batch, start, about={"data": images.name, "images a step": total, "seed": seed})


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


def mixture_denoiser(process: Process, weights: Float[Tensor, "8"] | None = None) -> Callable[[Tensor, Tensor], Tensor]:
    """(xt (n 2 1 1), t ()) -> x0 = E[x0 | xt] of `mixture`, in closed form: the best guess that there can be.

    Given xt, island k has the share softmax_k(log w_k - |xt - alpha m_k|^2 / (2 var)) with var = alpha^2 s^2 + sigma^2,
    and there the mean is m_k + (alpha s^2 / var) (xt - alpha m_k): Bayes' rule for Gaussians (Bishop 2006, eq. 2.116).
    weights (8,): of the islands, which need not add up to 1; all alike by default.
    """

    def denoise(xt: Float[Tensor, "n 2 1 1"], t: Tensor) -> Float[Tensor, "n 2 1 1"]:
        means, alpha, sigma = MIXTURE_MEANS.to(xt), process.alpha(t), process.sigma(t)
        var = alpha**2 * MIXTURE_STD**2 + sigma**2
        stray = xt.flatten(1)[:, None] - alpha * means  # (n, 8, 2)
        prior = 0 if weights is None else weights.to(xt).log()
        share = (prior - stray.square().sum(2) / (2 * var)).softmax(1)
        guess = means + alpha * MIXTURE_STD**2 / var * stray
        return (share[..., None] * guess).sum(1)[..., None, None]

    return denoise


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
