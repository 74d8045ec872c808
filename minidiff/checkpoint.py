"""One safetensors file a model: weights, the configuration to rebuild it and its card. Never pickle.

Of the shipped ones `latent` borrows its VAE from the file of that.
"""

from __future__ import annotations

import glob
import json
import os
import zlib
from pathlib import Path
from typing import ClassVar, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from . import files

WEIGHTS = Path(__file__).parent / "weights"  # what ships with minidiff
HEADER, CHECKSUM = "minidiff", "crc32"  # keys of the file's metadata


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read, written or used; the message says what to do."""


def save(path: str | os.PathLike, tensors: dict[str, Tensor], header: dict) -> Path:
    """Write tensors and a JSON header to one file, atomically: readers see the old file or the new one.

    Raises CheckpointError (disk full, folder read-only); a file that was there stays as it was.
    """
    path = Path(path)
    tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    about = json.dumps(header)
    try:
        for stale in path.parent.glob(f".{glob.escape(path.name)}.????????.part"):  # of a run that was killed
            stale.unlink(missing_ok=True)
        # not written by safetensors, whose own unfinished files nobody would find
        data = to_bytes(tensors, metadata={HEADER: about, CHECKSUM: _checksum(tensors, about)})
        return files.write(path, data, sync=True)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot write {path}: {error}. Free some space or choose another folder; "
            f"{'the last good file is intact' if os.path.isfile(path) else 'nothing was written'}."
        ) from error


def load(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict]:
    """(tensors, header) of a file that `save` wrote. Raises CheckpointError for anything else."""
    path = Path(path)
    try:
        if not os.path.isfile(path):  # unlike Path.is_file, for any name
            raise CheckpointError(f"there is no checkpoint {path}. `minidiff train` makes one.")
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if HEADER not in metadata:
                raise CheckpointError(f"{path} is a safetensors file, but minidiff did not write it.")
            header = json.loads(metadata[HEADER])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        checksum = _checksum(tensors, metadata[HEADER])
        if metadata.get(CHECKSUM, checksum) != checksum:
            raise CheckpointError(f"{path} is damaged: its checksum does not fit. Train or fetch it again.")
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is damaged, cut off or no checkpoint ({error}). Train or fetch it again."
        ) from error
    if not isinstance(header, dict) or not isinstance(header.get("config"), dict):
        raise CheckpointError(f"{path} has no configuration in its header, so its model cannot be rebuilt.")
    return tensors, header


def save_model(
    path: str | os.PathLike,
    model: nn.Module,
    card: dict,
    dtype: torch.dtype = torch.float16,
    borrowed: dict[str, str] | None = None,
) -> Path:
    """Save a module that keeps `config`, with its card, in `dtype` for shipping.

    borrowed: {part: name of shipped weights}, for a part that is kept as it was trained, such as {"vae": "vae"}. It
    is left out here and taken from that file when the model is loaded, which fails if that file has changed since.
    """
    tensors = {k: v.to(dtype) if v.is_floating_point() else v for k, v in model.state_dict().items()}
    header: dict = {"config": model.config, "card": card}
    for part, name in (borrowed or {}).items():
        theirs = load(WEIGHTS / f"{name}.safetensors")[0]
        mine = {k.removeprefix(f"{part}."): tensors.pop(k) for k in list(tensors) if k.startswith(f"{part}.")}
        if mine.keys() != theirs.keys() or not all(torch.equal(mine[k], t) for k, t in theirs.items()):
            raise CheckpointError(f"the {part} is not that of {name}.safetensors, so it cannot be left out of {path}.")
        header.setdefault("borrowed", {})[part] = [name, _checksum(theirs, name)]
    return save(path, tensors, header)


def build(cls: type, path: str | os.PathLike, tensors: dict[str, Tensor], config: dict) -> nn.Module:
    """cls.from_config(config) with these weights in float32; the file at `path` is named in errors."""
    if config.get("class") != cls.__name__:
        raise CheckpointError(f"{path} holds a {config.get('class')}, not a {cls.__name__}.")
    try:
        model = cls.from_config(config)
    except Exception as error:  # a wrong number can fail anywhere in a constructor
        reason = " ".join(repr(error).split())[:300]
        raise CheckpointError(f"{path} has a configuration that does not fit this version: {reason}") from error
    try:
        model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in tensors.items()})
    except RuntimeError as error:
        reason = str(error).splitlines()[1 if "\n" in str(error) else 0].strip()
        raise CheckpointError(f"{path}: weights and configuration do not fit: {reason[:300]}") from error
    return model.eval()


T = TypeVar("T", bound="Stored")


class Stored(nn.Module):
    """A module that is rebuilt from its `config`, {"class": its name, ...}, and so can be kept in one file."""

    usual: ClassVar[str]  # the shipped weights that `load` takes where no others are named

    @classmethod
    def from_config(cls: type[T], config: dict) -> T:
        """An untrained module as described by the `config` of another."""
        return cls(**{k: v for k, v in config.items() if k != "class"})

    @classmethod
    def load(cls: type[T], path: str | os.PathLike | None = None) -> T:
        """The module in this file, or in the shipped weights of this name. Its card is in `.card`.

        Raises CheckpointError.
        """
        model, model.card = load_model(cls, cls.usual if path is None else path)
        return model


def load_model(cls: type, path: str | os.PathLike) -> tuple[nn.Module, dict]:
    """(model, card): a module of class `cls` rebuilt from a file, or from the shipped weights of this name.

    A file of an unfinished training gives its averaged weights. Raises CheckpointError if it cannot be.
    """
    path = shipped(path)
    tensors, header = load(path)
    tensors |= _borrowed(path, header.get("borrowed", {}))
    if any(name.startswith("ema.") for name in tensors):
        tensors = {name.removeprefix("ema."): t for name, t in tensors.items() if name.startswith("ema.")}
    return build(cls, path, tensors, header["config"]), header.get("card", {})


def _borrowed(path: Path, parts: object) -> dict[str, Tensor]:
    """The tensors that `save_model` left out, from the shipped files that hold them."""
    tensors: dict[str, Tensor] = {}
    try:
        wanted = [(part, Path(name).name, checksum) for part, (name, checksum) in parts.items()]
    except (AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} does not say clearly what it borrows: {str(parts)[:100]}.") from error
    for part, name, checksum in wanted:
        theirs = load(WEIGHTS / f"{name}.safetensors")[0]
        if _checksum(theirs, name) != checksum:
            raise CheckpointError(f"{path} goes with another {name}.safetensors than is there now. Train it again.")
        tensors |= {f"{part}.{k}": t for k, t in theirs.items()}
    return tensors


def shipped(name: str | os.PathLike) -> Path:
    """The file of shipped weights with this name, such as "mnist"; anything with a suffix or a folder is a path."""
    path = Path(name)
    if path.suffix or path.name != os.fspath(name) or path.is_file():
        return path
    names = sorted(file.stem for file in WEIGHTS.glob("*.safetensors"))
    if path.name not in names:
        raise CheckpointError(f"there are no shipped weights {path.name!r}; there are: {', '.join(names)}")
    return WEIGHTS / f"{path.name}.safetensors"


def _checksum(tensors: dict[str, Tensor], header: str) -> str:
    """CRC-32 of the header and of each tensor's name, type, shape and bytes: one flipped bit changes it."""
    crc = zlib.crc32(header.encode())
    for name, t in sorted(tensors.items()):
        crc = zlib.crc32(f"{name} {t.dtype} {tuple(t.shape)}".encode(), crc)
        crc = zlib.crc32(t.reshape(-1).view(torch.uint8).numpy(), crc)
    return f"{crc:08x}"
