"""train(): one loop for every objective. A generator that yields after each optimizer step."""

from __future__ import annotations

import copy
import json
import math
import os
import platform
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm.auto import tqdm

from . import checkpoint
from .data import Batches
from .denoiser import Denoiser
from .optim import MuonAdamW


class TrainingError(RuntimeError):
    """Training cannot go on; the message says where it stopped and what to try."""


@dataclass(frozen=True)
class Format:
    """How numbers are kept while training: the precision inside the network and the layout of its weights."""

    precision: str = "float32"
    channels_last: bool = False

    def apply(self, module: nn.Module) -> None:
        for part in module.modules():
            if hasattr(part, "precision"):
                part.precision = getattr(torch, self.precision)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        for p in module.parameters():
            if p.dim() == 4:
                p.data = p.data.contiguous(memory_format=layout)

    def __str__(self) -> str:
        return f"{self.precision}, {'channels last' if self.channels_last else 'channels first'}"


FORMATS = [Format(precision, last) for precision in ("float32", "bfloat16") for last in (True, False)]
ALIKE = 1.2  # times the fastest: a layout this near is no slower, as far as a busy machine can tell
HOPELESS = 3.0  # times the fastest: a processor without bfloat16 imitates it, ten times slower


@dataclass
class State:
    """Where training stands after a step. `ema` is the averaged objective: draw and save with that one."""

    step: int
    steps: int | None
    loss: float
    images: int
    seconds: float
    images_per_second: float
    format: Format
    hardware: str
    objective: nn.Module
    ema: nn.Module


def best_device() -> torch.device:
    """The accelerator that PyTorch finds, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _hardware(device: torch.device, world: int) -> str:
    """What trains, in words, as a card tells it."""
    threads = torch.get_num_threads()
    told = f"{platform.machine()}, {os.cpu_count()} cores, {world} process{'es' if world > 1 else ''}"
    told += f" of {threads} thread{'s' if threads > 1 else ''}"
    return told + (f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else "")


def measure_format(objective: nn.Module, batch, tries: int = 5) -> tuple[Format, dict[Format, float]]:
    """The fastest Format for forward and backward of this batch here, and the seconds that each one took.

    Of two layouts that are about as fast it is channels last, so that two runs train alike.

    The formats take turns, so that what else the machine does strikes all of them; one that takes over a second
    and is hopeless gets no second try. Weights and random state are left as they were, the format of the
    objective as Format() has it.
    """
    device = batch.x0.device
    formats = [fmt for fmt in FORMATS if device.type != "mps" or fmt.precision == "float32"]
    seconds: dict[Format, float] = {}
    for turn in range(tries + 1):  # the first of all is slow by itself, and is improved upon
        for fmt in formats:
            best = min(seconds.values(), default=math.inf)
            if turn and seconds[fmt] > max(1.0, HOPELESS * best):
                continue
            fmt.apply(objective)
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                _synchronize(device)
                start = time.perf_counter()
                objective(batch).backward()
                _synchronize(device)
                seconds[fmt] = min(time.perf_counter() - start, seconds.get(fmt, math.inf))
            objective.zero_grad(set_to_none=True)  # gradients keep the layout they were made in
    Format().apply(objective)
    return _best(seconds), seconds


def _best(seconds: dict[Format, float]) -> Format:
    """The fastest; channels last, if that is about as fast in the same precision."""
    fastest = min(seconds, key=seconds.get)
    usual = replace(fastest, channels_last=True)
    return usual if seconds[usual] <= ALIKE * seconds[fastest] else fastest


def choose_format(objective: nn.Module, batch) -> tuple[Format, float]:
    """The fastest Format for this batch, and its seconds, as the first process measures them: the same in all."""
    rank, _ = _join()
    device = batch.x0.device
    fastest, seconds = measure_format(objective, batch) if rank == 0 else (Format(), {Format(): 0.0})
    place = int(_agree(float(FORMATS.index(fastest)), device))
    return FORMATS[place], _agree(seconds[fastest], device)


def learning_rate(progress: float, step: int, lr: float, warmup: int) -> float:
    """Linear warm-up over `warmup` steps, flat, then a half cosine from 40 % of the way down to 0."""
    decay = max(0.0, min(1.0, (progress - 0.4) / 0.6))
    return lr * min(1.0, (step + 1) / max(1, warmup)) * 0.5 * (1 + math.cos(math.pi * decay))


def train(
    objective: nn.Module,
    batches: Iterable,
    steps: int | None = None,
    *,
    seconds: float | None = None,
    lr: float = 8e-3,
    warmup: int = 100,
    weight_decay: float = 0.01,
    betas: tuple[float, float] = (0.9, 0.99),
    clip: float = 1.0,
    accumulate: int = 1,
    ema: float = 0.999,
    format: Format | None = None,
    compile: bool = False,
    path: str | os.PathLike | None = None,
    save_every: float = 30.0,
    resume: bool = False,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> Iterator[State]:
    """Train `objective` (a module: batch -> scalar loss) by Muon and AdamW; yields a State after each step.

    batches: `data.batches(...)`, or any iterable of as many `data.Batch` as are needed. Give `steps`, or `seconds` of
    wall clock, by which the learning rate then falls. clip: largest gradient norm. accumulate: batches a step.
    ema: weight of the past in the averaged weights (Ho et al. 2020, appendix B). format: None measures which is
    fastest here. compile: translate the denoiser's network by torch.compile, which takes a minute and makes each step
    faster. path: a checkpoint, written every `save_every` seconds and at the end; with `resume`, training goes on from
    it if it is there, on the CPU to bitwise the weights of an undisturbed run of `steps` in the same format; if it was
    finished already, its last State is all there is. Under torchrun, each process takes its share of every batch.

    Raises TrainingError when a loss, gradient or weight is not finite or the batches end too early, and
    CheckpointError from reading or writing `path`.
    """
    if (steps is None) == (seconds is None):
        raise ValueError("give either steps or seconds")
    if not (steps or seconds or 0) > 0 or accumulate < 1:
        raise ValueError(f"steps, seconds and accumulate must be positive: {steps}, {seconds}, {accumulate}")
    if path is not None and not hasattr(objective, "config"):
        raise ValueError(f"a {type(objective).__name__} has no `config` to store, so it cannot be saved to {path}")
    if path is not None and isinstance(objective, checkpoint.Stored):
        _rebuilds(objective, path)  # now, not after hours
    if resume and path is None:
        raise ValueError("resume needs the path of a checkpoint")
    rank, world = _join()
    device = torch.device(device) if device is not None else best_device()
    if device.type == "cuda" and world > 1:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    objective = objective.to(device).train()
    average = copy.deepcopy(objective).eval().requires_grad_(False)

    about = batches.about if isinstance(batches, Batches) else {}
    start = last_save = time.monotonic()
    done, images, before = 0, 0, 0.0
    saved, hardware = None, _hardware(device, world)
    if resume and path is not None and Path(path).is_file():
        saved = checkpoint.load(path)
        done, images, before, format, trained_on = _restore(saved, objective, average, about, path)
    skip = done * accumulate
    stream = batches.at(batches.start + skip) if isinstance(batches, Batches) else islice(batches, skip, None)
    if format is None:
        first = next(stream, None)
        if first is None:
            raise ValueError("there are no batches to train on")
        stream = chain([first], stream)
        format, _ = choose_format(objective, first.to(device))
    format.apply(objective)
    if compile:
        for part in objective.modules():
            if isinstance(part, Denoiser):
                part.net.compile()
    optimizer = MuonAdamW(objective, lr, weight_decay, betas)  # after the format, whose memory it shares
    if saved is not None:
        with _fits(path):
            optimizer.load(_under("optimizer.", saved[0]))
        saved = None
    model = DistributedDataParallel(objective) if world > 1 else objective

    params, averaged = list(objective.parameters()), list(average.parameters())
    began, now = time.monotonic(), before
    bar = tqdm(total=steps, initial=done, unit="step", disable=not progress or rank > 0, mininterval=0.5)
    drawn = 0
    finished = done >= steps if steps else before >= seconds
    if finished:  # by the run that is resumed
        yield State(done, steps, math.nan, images, before, 0.0, format, trained_on, objective, average)
    while not finished:
        total, seeds = 0.0, []
        for _ in range(accumulate):
            batch = next(stream, None)
            if batch is None:
                bar.close()
                raise TrainingError(f"the batches ended at step {done}; data.batches(...) never ends")
            batch = batch.to(device)
            loss = model(batch) / accumulate
            loss.backward()
            total += float(loss.detach())
            drawn += len(batch.x0) * world
            seeds.append(str(batch.seed))
        norm = float(nn.utils.clip_grad_norm_(params, clip))  # in every process the same, unlike the loss
        if not (math.isfinite(total) and math.isfinite(norm)):
            bar.close()
            raise TrainingError(
                f"the loss is {total} and the norm of its gradient {norm} at step {done} (batch seed "
                f"{', '.join(seeds)}). Try a lower learning rate (lr={lr / 4:g}), a longer warm-up "
                f"(warmup={4 * warmup or 100}) or format=Format('float32')." + _last_good(path)
            )
        optimizer.step(learning_rate(done / steps if steps else now / seconds, done, lr, warmup))
        with torch.no_grad():  # here and not around the loop: a yield would leak it
            torch._foreach_lerp_(averaged, params, 1 - min(ema, (done + 1) / (done + 10)))
            for kept, buffer in zip(average.buffers(), objective.buffers(), strict=True):
                kept.copy_(buffer)
        done += 1
        now = _agree(before + time.monotonic() - start, device)
        rate = drawn / (time.monotonic() - began)
        bar.update()
        bar.set_postfix_str(f"loss {total:.4f}, {rate:,.0f} images/s" + _left(seconds, now), refresh=False)
        state = State(done, steps, total, images + drawn, now, rate, format, hardware, objective, average)
        finished = done >= steps if steps else now >= seconds
        if path is not None and rank == 0 and (finished or time.monotonic() - last_save >= save_every):
            _save(path, state, optimizer, about)
            last_save = time.monotonic()
        yield state
    bar.close()


def _left(seconds: float | None, elapsed: float) -> str:
    return "" if seconds is None else f", {max(0, seconds - elapsed):.0f} s left"


def _last_good(path: str | os.PathLike | None) -> str:
    return f" The last good weights are in {path}." if path is not None and Path(path).is_file() else ""


def _join() -> tuple[int, int]:
    """(rank, world) of this process; joins the group that torchrun announces in the environment."""
    world = int(os.environ.get("WORLD_SIZE", 1))
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def _agree(number: float, device: torch.device) -> float:
    """The first process's number, in all of them: of its format or its clock, which must not differ."""
    if not dist.is_initialized():
        return number
    shared = torch.tensor(number, dtype=torch.float64, device=device)
    dist.broadcast(shared, 0)
    return float(shared)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _rebuilds(objective: checkpoint.Stored, path: str | os.PathLike) -> None:
    """ValueError if what is saved of this module could not be loaded again, as with a network class of one's own."""
    with torch.random.fork_rng(devices=[]):
        try:
            type(objective).from_config(json.loads(json.dumps(objective.config)))
        except (TypeError, ValueError, KeyError) as error:
            raise ValueError(
                f"this {type(objective).__name__} cannot be saved to {path}: its config does not build it again "
                f"({error!r}). Train it without a path, or register its parts."
            ) from error


def _save(path: str | os.PathLike, state: State, optimizer: MuonAdamW, about: dict) -> None:
    tensors: dict[str, Tensor] = {}
    tensors |= {f"model.{k}": v for k, v in state.objective.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in state.ema.state_dict().items()}
    tensors |= {f"optimizer.{k}": v for k, v in optimizer.state().items()}
    if not all(bool(t.isfinite().all()) for t in tensors.values()):
        raise TrainingError(
            f"the weights are not finite after step {state.step}, so they were not saved. "
            "Try a lower learning rate." + _last_good(path)
        )
    header = {
        "config": state.objective.config,
        "train": {
            "step": state.step,
            "images": state.images,
            "seconds": state.seconds,
            "precision": state.format.precision,
            "channels_last": state.format.channels_last,
            "hardware": state.hardware,
            "batches": about,
        },
    }
    checkpoint.save(path, tensors, header)


def _restore(saved, objective, average, about, path) -> tuple[int, int, float, Format, str]:
    tensors, header = saved
    if header["config"] != json.loads(json.dumps(objective.config)) or "train" not in header:
        raise checkpoint.CheckpointError(
            f"{path} belongs to another model or is no training checkpoint. Move it away, or train without --resume."
        )
    with _fits(path):
        if header["train"]["batches"] != about:
            raise checkpoint.CheckpointError(
                f"{path} was trained on other batches: {header['train']['batches']}, and these are {about}. "
                "Train on the same, or without --resume into another folder."
            )
        for module, prefix in ((objective, "model."), (average, "ema.")):
            module.load_state_dict(_under(prefix, tensors))
        at = header["train"]
        return at["step"], at["images"], at["seconds"], Format(at["precision"], at["channels_last"]), at["hardware"]


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


@contextmanager
def _fits(path: str | os.PathLike) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise checkpoint.CheckpointError(f"{path} does not fit this training: {reason}") from error
