"""Values as bytes: a JSON header, then the raw bytes of the tensors. Nothing here can run code that it reads.

This file stands alone: the worker, which holds learner code, imports it without the rest of minidiff.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass

import torch
from torch import Tensor

_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
DTYPES = {str(dtype)[6:]: dtype for dtype in (*_FLOATS, *_WHOLE)}
HEADER_LIMIT = 2**20  # bytes
DEPTH_LIMIT = 12


class WireError(ValueError):
    """The bytes are not what `pack` writes."""


@dataclass(frozen=True)
class Other:
    """Stands for a value that cannot be sent; `name` is its type."""

    name: str


def unusual(x: Tensor) -> str | None:
    """What a tensor is that can neither be sent nor compared; None of a plain one."""
    if str(x.dtype)[6:] in DTYPES and x.layout == torch.strided and not x.is_meta:
        return None
    return f"a tensor of {str(x.dtype)[6:]}, {str(x.layout)[6:]}, on {x.device}"


# --- What a case may hand to an answer besides tensors, numbers and text -------------------------------


@dataclass(frozen=True)
class Schedule:
    """alpha(t), sigma(t) and t_max of "cosine", "ddpm", "flow" or "edm", as in minidiff.process."""

    name: str

    @property
    def t_max(self) -> float:
        return 80.0 if self.name == "edm" else 1.0

    def alpha(self, t: Tensor) -> Tensor:
        if self.name == "cosine":
            return torch.sin((1 - t) * (math.pi / 2))
        if self.name == "ddpm":
            return torch.exp(-0.25 * t**2 * 19.9 - 0.05 * t)
        return 1 - t if self.name == "flow" else torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        if self.name == "cosine":
            return torch.sin(t * (math.pi / 2))
        if self.name == "ddpm":
            return torch.sqrt(-torch.expm1(-0.5 * t**2 * 19.9 - 0.1 * t))
        return t


@dataclass(frozen=True)
class Belief:
    """A denoise function for tests: x0 = shift + gain xt / (1 + t)."""

    gain: Tensor
    shift: Tensor

    def __call__(self, xt: Tensor, t: Tensor) -> Tensor:
        return self.shift + self.gain * xt / (1 + t)


@dataclass(frozen=True)
class WordBelief:
    """A denoiser with words for tests: x0 = gain xt / (1 + t) + mean of ctx times shift. Its rows do not mix."""

    gain: Tensor
    shift: Tensor

    def __call__(self, xt: Tensor, t: Tensor, ctx: Tensor) -> Tensor:
        return self.gain * xt / (1 + t) + ctx.mean((1, 2)).view(-1, 1, 1, 1) * self.shift


PROBES = {probe.__name__: probe for probe in (Schedule, Belief, WordBelief)}


# --- Packing ------------------------------------------------------------------------------------------


def pack(value: object) -> bytes:
    """The value as bytes: its JSON's length (8 bytes, little-endian), the JSON, the tensors' bytes."""
    blobs: list[bytes] = []
    header = json.dumps(_encode(value, blobs, 0), separators=(",", ":")).encode()
    return struct.pack("<Q", len(header)) + header + b"".join(blobs)


def _encode(value: object, blobs: list[bytes], depth: int) -> object:
    if depth > DEPTH_LIMIT:
        return {"other": "a value nested too deeply"}
    kind = type(value)
    if value is None or kind in (bool, str):
        return value if kind is not str else {"str": value.encode("utf-8", "replace").decode()}
    if kind is int:
        return value if abs(value) < 2**63 else {"other": "int of more than 64 bits"}
    if kind is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if kind in (list, tuple):
        return {kind.__name__: [_encode(v, blobs, depth + 1) for v in value]}
    if kind is dict:
        return {"dict": [[_encode(k, blobs, depth + 1), _encode(v, blobs, depth + 1)] for k, v in value.items()]}
    if isinstance(value, Tensor) and (odd := unusual(value)):
        return {"other": odd}
    if isinstance(value, Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        raw = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
        start = sum(map(len, blobs))
        blobs.append(raw)
        return {"tensor": [str(value.dtype)[6:], list(value.shape), start]}
    if kind.__name__ in PROBES and kind is PROBES[kind.__name__]:
        fields = {name: _encode(v, blobs, depth + 1) for name, v in vars(value).items()}
        return {"probe": [kind.__name__, fields]}
    return {"other": f"{kind.__module__}.{kind.__qualname__}"[:80]}


def unpack(data: bytes) -> object:
    """The value of these bytes. Raises WireError for anything that `pack` does not write."""
    try:
        (length,) = struct.unpack_from("<Q", data)
        if length > max(HEADER_LIMIT, len(data) // 2) or 8 + length > len(data):
            raise WireError(f"a header of {length} bytes in {len(data)} bytes")
        return _decode(json.loads(data[8 : 8 + length]), memoryview(data)[8 + length :], 0)
    except WireError:
        raise
    except (struct.error, ValueError, TypeError, KeyError, RecursionError, RuntimeError, OverflowError) as error:
        raise WireError(f"not a frame ({type(error).__name__})") from error


def _decode(node: object, blob: memoryview, depth: int) -> object:
    if depth > DEPTH_LIMIT + 1:
        raise WireError("nested too deeply")
    if node is None or type(node) in (bool, int, float):
        return node
    if type(node) is not dict or len(node) != 1:
        raise WireError("an unknown node")
    ((kind, body),) = node.items()
    if kind in ("list", "tuple"):
        return (list if kind == "list" else tuple)(_decode(v, blob, depth + 1) for v in body)
    if kind == "dict":
        return {_key(_decode(k, blob, depth + 1)): _decode(v, blob, depth + 1) for k, v in body}
    if kind in ("str", "other"):
        if type(body) is not str:
            raise WireError("text that is none")
        return body if kind == "str" else Other(body[:80])
    if kind == "float":
        if body not in ("nan", "inf", "-inf"):
            raise WireError("a number that is none")
        return float(body)
    if kind == "tensor":
        return _tensor(*body, blob)
    if kind == "probe":
        return PROBES[body[0]](**{name: _decode(v, blob, depth + 1) for name, v in body[1].items()})
    raise WireError("an unknown node")


def _key(value: object) -> object:
    if not isinstance(value, (str, int, float, bool, type(None))):
        raise WireError("a key that is no text and no number")
    return value


def _tensor(dtype: str, shape: list, start: int, blob: memoryview) -> Tensor:
    if type(shape) is not list or len(shape) > 8 or any(type(n) is not int or not 0 <= n < 2**31 for n in shape):
        raise WireError("a shape that is none")
    if type(start) is not int or dtype not in DTYPES:
        raise WireError("a tensor that is none")
    size = math.prod(shape) * DTYPES[dtype].itemsize
    if start < 0 or start + size > len(blob):
        raise WireError(f"a tensor of {size} bytes in {len(blob)} bytes")
    raw = blob[start : start + size]
    if dtype == "bool" and size and max(raw) > 1:
        raise WireError("a truth value that is none")
    if not size:
        return torch.empty(shape, dtype=DTYPES[dtype])
    return torch.frombuffer(bytearray(raw), dtype=DTYPES[dtype]).reshape(shape)
