"""Checkpoints: old file or new file, never half of one; and whatever else lies there is one clear line."""

from __future__ import annotations

import ast
import json
import os
import pickle
import resource
import shutil
import stat
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from minidiff import checkpoint
from minidiff.checkpoint import CheckpointError
from minidiff.nets.convnet import ConvNet
from minidiff.pipeline import TextToImage
from minidiff.process import Cosine
from minidiff.train import Format, train

LIBRARY = Path(checkpoint.__file__).parent
HEADER = {"config": {"class": "Something", "width": 3}, "card": {"about": "ein Stück Käse"}}


def some_tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    chance = torch.Generator().manual_seed(seed)
    return {
        "a.weight": torch.randn(3, 4, generator=chance),
        "a.half": torch.randn(5, generator=chance).half(),
        "b.brain": torch.randn(2, 2, generator=chance).bfloat16(),
        "step": torch.tensor(7.0),
        "count": torch.arange(4),
        "flags": torch.tensor([True, False]),
        "nothing": torch.zeros(0, 3),
    }


def refused(path: Path, *parts: str) -> str:
    """The one readable line of the CheckpointError that loading this raises."""
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    return readable(caught.value, path, *parts)


def readable(error: BaseException, *parts: object) -> str:
    message = str(error)
    assert "\n" not in message and 20 < len(message) < 1000, message
    for part in parts:
        assert str(part) in message, (part, message)
    return message


@pytest.fixture
def good(tmp_path) -> Path:
    return checkpoint.save(tmp_path / "good.safetensors", some_tensors(), HEADER)


# --- what is written is what is read ---


def test_a_file_gives_back_bitwise_what_was_saved(good):
    tensors, header = checkpoint.load(good)
    tiny.assert_equal(tensors, some_tensors())
    assert header == HEADER
    assert stat.S_IMODE(good.stat().st_mode) == 0o644


def test_weights_in_another_layout_are_stored_in_the_usual_one(tmp_path):
    picture = torch.randn(2, 3, 4, 5)
    tensors = {"last": picture.to(memory_format=torch.channels_last), "part": picture[:, 1]}
    tensors["turned"] = picture[0, 0].T
    checkpoint.save(tmp_path / "a", tensors, HEADER)
    tiny.assert_equal(checkpoint.load(tmp_path / "a")[0], tensors)


def test_missing_folders_are_made(tmp_path):
    path = tmp_path / "not" / "there" / "a.safetensors"
    assert checkpoint.save(str(path), some_tensors(), HEADER) == path and path.is_file()


def test_what_was_read_stays_when_the_file_is_written_again(good):
    """Training resumes from a file and soon replaces it."""
    tensors, _ = checkpoint.load(good)
    checkpoint.save(good, some_tensors(seed=1), HEADER)
    tiny.assert_equal(tensors, some_tensors())


def test_leftovers_of_a_killed_run_are_cleared_away_by_the_next_save(good):
    folder = good.parent
    leftovers = [folder / f".good.safetensors.abc_{i}xyz.part" for i in range(3)]
    others = [folder / name for name in (".good.safetensors.part", ".bad.safetensors.abcdefgh.part", "a.part")]
    for path in leftovers + others:
        path.write_bytes(b"half a file")
    checkpoint.save(good, some_tensors(), HEADER)
    assert not any(path.exists() for path in leftovers)
    assert all(path.exists() for path in others)


def test_no_reader_ever_sees_half_a_file(good, monkeypatch):
    """At the last moment before the new file takes its place, the old one is whole."""
    seen, replace = [], os.replace

    def watch(part, path):
        seen.append(checkpoint.load(path)[0]["step"].item())
        tiny.assert_equal(checkpoint.load(part)[0], some_tensors(seed=1) | {"step": torch.tensor(8.0)})
        replace(part, path)

    monkeypatch.setattr(os, "replace", watch)
    checkpoint.save(good, some_tensors(seed=1) | {"step": torch.tensor(8.0)}, HEADER)
    assert seen == [7.0] and checkpoint.load(good)[0]["step"] == 8


# --- damage ---


def test_each_flipped_bit_is_an_error_or_harmless(tmp_path):
    """Every bit of length, header and numbers. Harmless is a blank turned into another kind of blank."""
    path = checkpoint.save(tmp_path / "a", {"w": torch.arange(6.0), "v": torch.ones(2).half()}, HEADER)
    original = path.read_bytes()
    right, passed = checkpoint.load(path), 0
    for place in range(len(original)):
        for bit in range(8):
            damaged = bytearray(original)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                tensors, header = checkpoint.load(path)
            except CheckpointError as error:
                readable(error, path)
            else:
                passed += 1
                tiny.assert_equal(tensors, right[0])
                assert header == right[1]
    assert passed < 50


def test_a_flipped_bit_among_the_numbers_of_a_real_model_is_found(tmp_path):
    path = checkpoint.save_model(tmp_path / "a", tiny.model(), {})
    original = path.read_bytes()
    for place in range(2000, len(original), 997):
        damaged = bytearray(original)
        damaged[place] ^= 64
        path.write_bytes(damaged)
        refused(path, "damaged")


def test_a_file_cut_off_anywhere_is_an_error(good):
    original = good.read_bytes()
    for length in range(len(original)):
        good.write_bytes(original[:length])
        refused(good, good)


def test_a_file_with_something_behind_it_is_an_error(good):
    good.write_bytes(good.read_bytes() + b"\0")
    refused(good, good)


@settings(max_examples=200)
@given(noise=st.binary(max_size=300), length=st.none() | st.integers(0, 400))
def test_random_bytes_are_an_error(tmp_path_factory, noise, length):
    """Also behind a length that a header could have."""
    path = tmp_path_factory.getbasetemp() / "noise"
    path.write_bytes(noise if length is None else struct.pack("<Q", length) + noise)
    refused(path, path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=200)
@given(about=JSON | st.fixed_dictionaries({"config": JSON}))
def test_any_header_is_an_error_or_has_a_configuration(tmp_path_factory, about):
    path = tmp_path_factory.getbasetemp() / "header"
    save_file({"w": torch.zeros(1)}, path, metadata={"minidiff": json.dumps(about)})
    try:
        _, header = checkpoint.load(path)
    except CheckpointError as error:
        readable(error, path)
    else:
        assert isinstance(header["config"], dict)


@pytest.mark.parametrize("about", ["", "{", "[" * 100_000, "\ud83d", "nan", "{}", '{"config": 3}'])
def test_a_header_that_is_not_ours_is_an_error(tmp_path, about):
    path = tmp_path / "a"
    save_file({"w": torch.zeros(1)}, path, metadata={"minidiff": about.encode(errors="replace").decode()})
    refused(path, path)


# --- what is not ours ---


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_pickle_is_refused_and_never_run(tmp_path):
    bait, path = tmp_path / "bait", tmp_path / "model.pt"
    pickle.loads(pickle.dumps(Trap(bait)))
    assert bait.exists(), "the trap does not work"
    bait.unlink()
    for write in (lambda trap: path.write_bytes(pickle.dumps(trap)), lambda trap: torch.save([trap], path)):
        write(Trap(bait))
        refused(path, path)
        with pytest.raises(CheckpointError):
            TextToImage.load(path)
    assert not bait.exists()


def test_nothing_in_the_library_unpickles():
    """No import of a module that does, no torch.load, and numpy only with allow_pickle=False."""
    banned = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    calls = {("torch", "load"), ("torch", "save"), ("torch", "hub"), ("dist", "broadcast_object_list")}
    files = sorted(LIBRARY.rglob("*.py"))
    assert len(files) > 15
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""] + [alias.name for alias in node.names]
            assert not banned & {part for name in names for part in name.split(".")}, file
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in calls, f"{file}:{node.lineno}"
                assert not node.attr.endswith("_object_list"), f"{file}:{node.lineno}"
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("np.load", "numpy.load"):
                assert "allow_pickle=False" in map(ast.unparse, node.keywords), file


def test_a_safetensors_file_of_others_is_named_as_such(tmp_path):
    path = tmp_path / "theirs.safetensors"
    for metadata in (None, {}, {"format": "pt"}):
        save_file(some_tensors(), path, metadata=metadata)
        refused(path, path, "minidiff did not write it")


def test_a_missing_file_tells_how_to_make_one(tmp_path):
    refused(tmp_path / "none.safetensors", "there is no checkpoint", "minidiff train")


@pytest.mark.parametrize("place", ["", "good.safetensors/below", "x" * 300, "a\0b"])
def test_what_is_no_file_at_all_is_an_error(good, place):
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(good.parent / place)
    assert "\n" not in str(caught.value)


# --- a disk that does not take it ---


def mount(folder: Path, *options: str) -> bool:
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)]
    return shutil.which("mount") is not None and subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 64 kB of its own, where the machine lets us make one."""
    folder = tmp_path / "disk"
    if not mount(folder, "-o", "size=64k"):
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: the same error path, without a disk of its own.

    Not a fixture: pytest writes its report, maybe to a long log, before a fixture is taken down.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def assert_cannot_write(path: Path, old: dict | None) -> None:
    """Saving 400 kB here fails in one line, and leaves what was there and nothing else."""
    before = set(path.parent.iterdir())
    with pytest.raises(CheckpointError) as caught:
        checkpoint.save(path, {"big": torch.zeros(100_000)}, HEADER)
    told = "the last good file is intact" if old else "nothing was written"
    readable(caught.value, f"cannot write {path}", told)
    assert set(path.parent.iterdir()) == before
    if old:
        tiny.assert_equal(checkpoint.load(path)[0], old)


def test_a_full_disk_is_one_line_and_the_last_good_file_is_intact(small_disk):
    path = small_disk / "a.safetensors"
    assert_cannot_write(path, None)
    checkpoint.save(path, some_tensors(), HEADER)
    assert_cannot_write(path, some_tensors())
    (small_disk / "filler").write_bytes(bytes(56 * 1024))  # and with next to no room at all
    assert_cannot_write(path, some_tensors())
    (small_disk / "filler").unlink()
    checkpoint.save(path, some_tensors(seed=1), HEADER)  # and once there is room, it goes on
    tiny.assert_equal(checkpoint.load(path)[0], some_tensors(seed=1))


def test_a_file_that_may_not_grow_is_one_line_and_the_last_good_file_is_intact(good):
    with no_file_beyond(8192):
        assert_cannot_write(good, some_tensors())
        assert_cannot_write(good.parent / "new.safetensors", None)


def test_a_training_on_a_full_disk_stops_with_the_last_good_file_intact(tmp_path):
    path = tmp_path / "a.safetensors"
    objective = ConvNet(widths=(8,))
    states = train(objective, tiny.stream(), 5, path=path, save_every=0.0, format=Format(), progress=False)
    next(states)
    size = path.stat().st_size
    with no_file_beyond(size - 100), pytest.raises(CheckpointError, match="intact"):
        next(states)
    assert checkpoint.load(path)[1]["train"]["step"] == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def read_only(tmp_path) -> Iterator[Path]:
    """A folder with a good file in which nothing can be written; for root, that takes a file system."""
    folder = tmp_path / "fixed"
    mounted = mount(folder)
    if not mounted and os.geteuid() == 0:
        pytest.skip("root writes into any folder, and no file system can be mounted here")
    checkpoint.save(folder / "a.safetensors", some_tensors(), HEADER)
    if mounted:
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    else:
        folder.chmod(0o555)
    yield folder
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)
    else:
        folder.chmod(0o755)


def test_a_read_only_folder_is_one_line_and_the_last_good_file_is_intact(read_only):
    assert_cannot_write(read_only / "a.safetensors", some_tensors())
    assert_cannot_write(read_only / "new.safetensors", None)
    with pytest.raises(CheckpointError, match="cannot write"):
        checkpoint.save(read_only / "folder" / "new.safetensors", some_tensors(), HEADER)


def test_a_path_that_cannot_be_is_one_line(good):
    below, folder = good / "below.safetensors", good.parent / "folder"
    (folder / "inside").mkdir(parents=True)
    others = (good.parent / ("x" * 300), Path("/proc/nobody/a.safetensors"), Path("/dev/full/a"))
    for path in (below, folder, *others):
        with pytest.raises(CheckpointError) as caught:
            checkpoint.save(path, some_tensors(), HEADER)
        readable(caught.value, "cannot write", "nothing was written")
    tiny.assert_equal(checkpoint.load(good)[0], some_tensors())
    assert sorted(p.name for p in good.parent.iterdir()) == ["folder", "good.safetensors"]


@pytest.mark.parametrize("moment", ["to_bytes", "fsync", "chmod", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=repr)
def test_a_write_that_fails_at_any_moment_leaves_the_old_file_and_no_other(good, monkeypatch, moment, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(checkpoint if moment == "to_bytes" else os, moment, fail)
    with pytest.raises(CheckpointError if isinstance(error, OSError) else KeyboardInterrupt):
        checkpoint.save(good, some_tensors(seed=1), HEADER)
    monkeypatch.undo()
    assert list(good.parent.iterdir()) == [good]
    tiny.assert_equal(checkpoint.load(good)[0], some_tensors())


# --- models ---


@pytest.mark.parametrize("make", [tiny.stirred, partial(ConvNet, widths=(8, 16))], ids=["drawer", "reader"])
def test_a_model_comes_back_with_its_weights_configuration_and_card(tmp_path, make):
    model = make()
    for dtype, tolerance in ((torch.float32, 0.0), (torch.float16, 2e-3)):
        path = checkpoint.save_model(tmp_path / "a", model, {"about": "tiny"}, dtype)
        loaded, card = checkpoint.load_model(type(model), path)
        assert tiny.largest_difference(tiny.weights(loaded), tiny.weights(model)) <= tolerance
        assert loaded.config == model.config and card == {"about": "tiny"} and not loaded.training
        assert all(t.dtype == torch.float32 for t in loaded.state_dict().values() if t.is_floating_point())
    assert path.stat().st_size < 2.5 * sum(p.numel() for p in model.parameters()) + 20_000  # half of float32


class Small(nn.Module):
    """A module whose configuration the tests can spoil."""

    def __init__(self, width: int = 3, bias: bool = True):
        super().__init__()
        self.config = {"class": "Small", "width": width, "bias": bias}
        self.layer = nn.Linear(width, 8 // width, bias=bias)

    @classmethod
    def from_config(cls, config: dict) -> Small:
        return cls(config["width"], **{k: v for k, v in config.items() if k not in ("class", "width")})


@pytest.mark.parametrize(
    "change, told",
    [
        ({"class": "TextToImage"}, "holds a TextToImage, not a Small"),
        ({"class": None}, "holds a None, not a Small"),
        ({"unknown": 1}, "configuration that does not fit"),
        ({"width": None}, "configuration that does not fit"),
        ({"width": "three"}, "configuration that does not fit"),
        ({"width": -1}, "configuration that does not fit"),
        ({"width": 0}, "configuration that does not fit"),
        ({"width": 4}, "weights and configuration do not fit"),
        ({"bias": False}, "weights and configuration do not fit"),
    ],
    ids=str,
)
def test_a_configuration_that_is_wrong_is_one_line(tmp_path, change, told):
    small = Small()
    config = small.config | change
    path = checkpoint.save(tmp_path / "a", small.state_dict(), {"config": config})
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load_model(Small, path)
    readable(caught.value, path, told)


def test_a_configuration_without_a_key_is_one_line(tmp_path):
    path = checkpoint.save(tmp_path / "a", Small().state_dict(), {"config": {"class": "Small"}})
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load_model(Small, path)
    readable(caught.value, path, "does not fit this version", "width")


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.pop("layer.weight"),
        lambda t: t.update({"layer.weight": torch.zeros(7)}),
        lambda t: t.update(more=torch.zeros(1)),
        lambda t: t.clear(),
    ],
    ids=["missing", "shape", "too many", "none"],
)
def test_weights_that_do_not_fit_are_one_line(tmp_path, change):
    tensors = {k: v.clone() for k, v in Small().state_dict().items()}
    change(tensors)
    path = checkpoint.save(tmp_path / "a", tensors, {"config": Small().config})
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load_model(Small, path)
    readable(caught.value, path, "weights and configuration do not fit")


def leaves(config: dict, at: tuple = ()) -> Iterator[tuple]:
    for key, value in config.items():
        yield (*at, key)
        if isinstance(value, dict):
            yield from leaves(value, (*at, key))


@pytest.mark.parametrize("value", [None, -1, 0, "x", [], {}, 2.5, "remove"], ids=repr)
@pytest.mark.parametrize("place", list(leaves(tiny.model(process=Cosine(mean=-0.3)).config)), ids=".".join)
def test_any_wrong_value_in_the_configuration_of_a_model_is_one_line(tmp_path, place, value):
    """Or harmless: the same by default, or of no consequence for the shape of any weight."""
    model = tiny.model(process=Cosine(mean=-0.3))
    config = json.loads(json.dumps(model.config))
    inner = config
    for key in place[:-1]:
        inner = inner[key]
    inner.pop(place[-1]) if value == "remove" else inner.update({place[-1]: value})
    path = checkpoint.save(tmp_path / "a", tiny.weights(model), {"config": config})
    try:
        loaded = TextToImage.load(path)
    except CheckpointError as error:
        readable(error, path)
    else:
        assert loaded.config == model.config or place[-1] in ("sigma_data", "heads", "clock", "mean", "std")


def test_a_classifier_is_not_mistaken_for_a_model_that_draws(tmp_path):
    path = checkpoint.save_model(tmp_path / "a", ConvNet(widths=(8,)), {})
    with pytest.raises(CheckpointError, match="holds a ConvNet, not a TextToImage"):
        TextToImage.load(path)


# --- shipped weights, by name ---


def test_shipped_weights_are_found_by_name(tmp_path, monkeypatch):
    assert checkpoint.shipped("mnist") == checkpoint.WEIGHTS / "mnist.safetensors"
    model = TextToImage.load("mnist")
    assert model.card["name"] == "mnist"
    for path in ("a/mnist", "mnist.safetensors", tmp_path / "mnist"):
        assert checkpoint.shipped(path) == Path(path)
    monkeypatch.chdir(tmp_path)
    Path("mnist").write_bytes(b"")  # a file of one's own comes first
    assert checkpoint.shipped("mnist") == Path("mnist")


def test_a_folder_does_not_hide_shipped_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    assert checkpoint.shipped("mnist") == checkpoint.WEIGHTS / "mnist.safetensors"


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(CheckpointError) as caught:
        TextToImage.load("minst")
    readable(caught.value, "'minst'", "mnist", "digits")


class Pair(nn.Module):
    """A module with a part that stands in a shipped file."""

    def __init__(self):
        super().__init__()
        self.config = {"class": "Pair"}
        self.own, self.part = nn.Linear(2, 2), Small()

    @classmethod
    def from_config(cls, config: dict) -> Pair:
        return cls()


def test_a_borrowed_part_is_left_out_and_comes_back_from_its_own_file(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "WEIGHTS", tmp_path)
    checkpoint.save_model(tmp_path / "small.safetensors", Small(), {})
    pair = Pair()
    pair.part.load_state_dict(checkpoint.load_model(Small, "small")[0].state_dict())
    path = checkpoint.save_model(tmp_path / "pair.safetensors", pair, {}, torch.float16, {"part": "small"})
    assert set(checkpoint.load(path)[0]) == {"own.weight", "own.bias"}
    loaded, _ = checkpoint.load_model(Pair, path)
    tiny.assert_equal(tiny.weights(loaded.part), tiny.weights(pair.part))

    checkpoint.save_model(tmp_path / "small.safetensors", Small(), {})  # another one
    with pytest.raises(CheckpointError, match=r"goes with another small\.safetensors"):
        checkpoint.load_model(Pair, path)
    with pytest.raises(CheckpointError, match="cannot be left out"):
        checkpoint.save_model(path, pair, {}, torch.float16, {"part": "small"})
    (tmp_path / "small.safetensors").unlink()
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        checkpoint.load_model(Pair, path)


@pytest.mark.parametrize("said", [3, ["part"], {"part": 3}, {"part": ["small"]}, {"part": [3, "x"]}, {"part": None}])
def test_a_header_that_borrows_nonsense_is_one_line(tmp_path, said):
    path = checkpoint.save(tmp_path / "a", Pair().state_dict(), {"config": {"class": "Pair"}, "borrowed": said})
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load_model(Pair, path)
    readable(caught.value, "borrows")
