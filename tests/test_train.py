"""train(): learns, resumes to the same bits, ends on time, and never lets a bad number into a checkpoint."""

from __future__ import annotations

import copy
import itertools
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from minidiff import checkpoint, data
from minidiff.checkpoint import CheckpointError
from minidiff.data import Batch
from minidiff.denoiser import Denoiser
from minidiff.nets.convnet import ConvNet
from minidiff.nets.mlp import MLP
from minidiff.nets.unet import UNet
from minidiff.pipeline import TextToImage
from minidiff.process import DDPM, EDM, Cosine, Flow
from minidiff.train import FORMATS, Format, TrainingError, learning_rate, measure_format, train

HERE = Path(__file__).parent
QUIET = dict(format=Format(), progress=False)  # no measuring, no bar


class Line(nn.Module):
    """The squared error of x0 . w as a guess at the label: an objective whose steps can be done by hand."""

    def __init__(self, precision: torch.dtype = torch.float32):
        super().__init__()
        self.config, self.precision = {"class": "Line"}, precision
        self.w = nn.Parameter(torch.zeros(tiny.SIDE**2))
        self.idle = nn.Parameter(torch.ones(2))  # no gradient ever reaches it

    def forward(self, batch: Batch):
        return (batch.x0.flatten(1) @ self.w - batch.labels).square().mean()


class Points(nn.Module):
    """A Denoiser of 2-D points as an objective, its noise from the batch's generator."""

    def __init__(self, denoiser: Denoiser):
        super().__init__()
        self.denoiser = denoiser

    def forward(self, batch: Batch):
        chance = batch.generator()
        t = self.denoiser.process.sample_t(batch.total, chance)
        eps = torch.randn(batch.x0.shape, generator=chance)
        return self.denoiser.loss(batch.x0, t=t, eps=eps).mean()


def last(states):
    *_, state = states
    return state


def numbered(x0: torch.Tensor, seed: int = 0) -> Batch:
    n = len(x0)
    return Batch(x0, torch.zeros(n, dtype=torch.long), None, seed, slice(0, n), n)


# --- learning ---


def fall(objective: nn.Module, batch: Batch, steps: int = 80, **settings) -> float:
    """The last loss as a share of the first, on one batch over and over."""
    settings = dict(lr=2e-2, warmup=10) | QUIET | settings
    losses = [state.loss for state in train(objective, itertools.repeat(batch), steps, **settings)]
    assert len(losses) == steps and all(map(math.isfinite, losses))
    return losses[-1] / losses[0]


@pytest.mark.parametrize(
    "process, target",
    [(Cosine(), "x0"), (DDPM(), "eps"), (Cosine(), "v"), (EDM(), "v"), (Flow(), "u")],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_text_to_image_overfits_one_batch_with_every_target(process, target):
    assert fall(tiny.model(process=process, target=target), tiny.batch()) < 0.01


@pytest.mark.parametrize("toy", [data.mixture, data.moons, data.spiral])
@pytest.mark.parametrize("target", ["x0", "v"])
def test_a_denoiser_of_points_overfits_one_batch(toy, target):
    torch.manual_seed(0)
    points = Points(Denoiser(MLP(width=64), Cosine(), target))
    assert fall(points, numbered(toy(32)), 150) < 0.05


def test_the_classifier_overfits_one_batch():
    torch.manual_seed(0)
    reader, batch = ConvNet(widths=(8, 16)), tiny.batch(10)
    assert fall(reader, batch) < 0.2
    assert torch.equal(reader.logits(batch.x0).argmax(1), batch.labels)


@pytest.mark.slow
def test_a_compiled_network_learns_as_well():
    assert fall(tiny.model(), tiny.batch(), compile=True) < 0.01


def test_bfloat16_learns_as_well():
    assert fall(tiny.model(), tiny.batch(), format=Format("bfloat16", channels_last=True)) < 0.01


# --- the rule of a step ---


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("clip", [1.0, 1e6])
def test_a_step_is_adamw_on_clipped_gradients_with_this_learning_rate_and_average(accumulate, clip):
    steps, lr, warmup, decay, ema = 15, 0.05, 4, 0.02, 0.6
    settings = dict(lr=lr, warmup=warmup, weight_decay=decay, clip=clip, accumulate=accumulate, ema=ema)
    state = last(train(Line(), tiny.stream(4), steps, **settings, **QUIET))

    hand, batches = Line(), iter(tiny.stream(4))
    w = hand.w
    mean, square, average = (torch.zeros_like(w) for _ in range(3))
    norms = []
    for i in range(steps):
        losses = [hand(next(batches)) for _ in range(accumulate)]
        (g,) = torch.autograd.grad(sum(losses) / accumulate, [w])
        norms.append(float(g.norm()))
        g = g * min(1.0, clip / (norms[-1] + 1e-6))
        rate = learning_rate(i / steps, i, lr, warmup)
        mean, square = 0.9 * mean + 0.1 * g, 0.99 * square + 0.01 * g**2
        with torch.no_grad():  # Loshchilov and Hutter 2019, algorithm 2
            step = (mean / (1 - 0.9 ** (i + 1))) / ((square / (1 - 0.99 ** (i + 1))).sqrt() + 1e-8)
            w.copy_(w - rate * decay * w - rate * step)
        weight = min(ema, (i + 1) / (i + 10))  # of the past: small at first, so that the start is forgotten
        average = weight * average + (1 - weight) * w.detach()
    assert max(norms) > 5 and (clip > 1 or min(norms) > clip)  # so that clipping did or did not act
    torch.testing.assert_close(state.objective.w, w, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(state.ema.w, average, rtol=1e-4, atol=1e-6)
    assert torch.equal(state.objective.idle, torch.ones(2))


def test_clipping_tames_one_wild_batch():
    """Ten calm batches, then one a million times as steep: what is clipped hardly notices."""
    calm = list(itertools.islice(tiny.stream(), 12))
    wild = [replace(b, x0=b.x0 * 1e3) if i == 6 else b for i, b in enumerate(calm)]

    def path(batches, clip):
        return last(train(Line(), batches, 12, lr=0.01, warmup=0, clip=clip, **QUIET)).objective.w.detach()

    def shift(clip):
        return float((path(wild, clip) - path(calm, clip)).norm() / path(calm, clip).norm())

    assert shift(1.0) < 0.3 < shift(1e9)


def test_accumulating_two_batches_is_one_batch_of_both():
    """Promised where the loss depends on the rows alone; what an objective draws per batch is drawn twice."""
    n = 6
    single = list(itertools.islice(tiny.stream(), 2 * n))
    double = [
        replace(a, x0=torch.cat([a.x0, b.x0]), labels=torch.cat([a.labels, b.labels]))
        for a, b in zip(single[::2], single[1::2], strict=True)
    ]
    ends = []
    for batches, accumulate in ((single, 2), (double, 1)):
        torch.manual_seed(0)
        ends.append(last(train(ConvNet(widths=(16, 32)), batches, n, accumulate=accumulate, **QUIET)))
    assert tiny.largest_difference(*(tiny.weights(end.objective) for end in ends)) < 1e-5
    assert ends[0].loss == pytest.approx(ends[1].loss, rel=1e-4)
    assert ends[0].images == ends[1].images == 2 * n * 8


def test_the_learning_rate_warms_up_stays_and_falls_to_zero():
    flat = [learning_rate(p, 1000, 2.0, 100) for p in (0.0, 0.2, 0.4)]
    assert flat == [2.0] * 3
    assert learning_rate(0.7, 1000, 2.0, 100) == pytest.approx(1.0)
    assert learning_rate(1.0, 1000, 2.0, 100) == pytest.approx(0.0, abs=1e-12)
    assert [learning_rate(0.0, i, 2.0, 4) for i in range(6)] == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]
    assert learning_rate(0.0, 0, 2.0, 0) == 2.0  # no warm-up


@given(
    progress=st.lists(st.floats(0, 1), min_size=2, max_size=2),
    step=st.integers(0, 10**6),
    warmup=st.integers(0, 1000),
)
def test_the_learning_rate_only_falls_with_progress_and_stays_in_its_range(progress, step, warmup):
    early, late = (learning_rate(p, step, 1.0, warmup) for p in sorted(progress))
    assert 0 <= late <= early <= 1


def test_the_first_step_uses_the_first_batch_even_if_the_format_was_measured():
    seen = []

    class Watching(Line):
        def forward(self, batch):
            seen.append(batch.seed)
            return super().forward(batch)

    expected = [b.seed for b in itertools.islice(tiny.stream(start=5), 3)]
    for batches in (tiny.stream(start=5), iter(tiny.stream(start=5))):
        seen.clear()
        last(train(Watching(), batches, 3, progress=False))
        assert seen[-3:] == expected


def test_the_state_tells_where_training_stands():
    states = [replace(s) for s in train(Line(), tiny.stream(8), 4, accumulate=2, **QUIET)]
    assert [s.step for s in states] == [1, 2, 3, 4] and {s.steps for s in states} == {4}
    assert [s.images for s in states] == [16, 32, 48, 64]
    assert all(s.images_per_second > 0 and s.format == Format() for s in states)
    assert [s.seconds for s in states] == sorted(s.seconds for s in states)


def test_the_average_is_a_module_of_its_own_without_a_graph_behind_it():
    """A graph would grow with every step until memory is full; and what was learned could not be copied."""
    state = last(train(tiny.model(), tiny.stream(), 3, **QUIET))
    assert not any(p.requires_grad or p.grad_fn for p in state.ema.parameters())
    assert not state.ema.training and state.objective.training
    copied = copy.deepcopy(state.ema)
    tiny.assert_equal(tiny.weights(copied), tiny.weights(state.ema))


def test_grad_mode_is_untouched_between_steps():
    for _ in train(Line(), tiny.stream(), 2, **QUIET):
        assert torch.is_grad_enabled()
    with torch.no_grad():
        walk = train(Line(), tiny.stream(), 2, **QUIET)
    assert next(walk).step == 1


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(), "either steps or seconds"),
        (dict(steps=1, seconds=1.0), "either steps or seconds"),
        (dict(steps=0), "must be positive"),
        (dict(steps=-3), "must be positive"),
        (dict(seconds=0.0), "must be positive"),
        (dict(steps=1, accumulate=0), "must be positive"),
    ],
)
def test_impossible_arguments_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        next(train(Line(), tiny.stream(), **settings))


def test_an_objective_that_could_not_be_saved_is_refused_before_it_trains(tmp_path):
    points = Points(Denoiser(MLP(), Cosine()))
    with pytest.raises(ValueError, match="Points has no `config`"):
        next(train(points, itertools.repeat(numbered(data.moons(8))), 1, path=tmp_path / "a.safetensors"))


# --- resume ---


def interrupted(tmp_path: Path, stop: int, steps: int, fresh, batches=tiny.stream, **settings):
    """(undisturbed, resumed): the files of one training of `steps`, and of one cut off after `stop`."""
    settings = dict(progress=False, save_every=0.0) | settings
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    last(train(fresh(0), batches(), steps, path=whole, **settings))
    for state in train(fresh(0), batches(), steps, path=cut, **settings):
        if state.step == stop:
            break
    assert checkpoint.load(cut)[1]["train"]["step"] == stop
    settings.pop("format", None)  # the file knows it
    resumed = list(train(fresh(1), batches(), steps, path=cut, resume=True, **settings))
    assert [state.step for state in resumed] == list(range(stop + 1, steps + 1))
    return checkpoint.load(whole), checkpoint.load(cut)


def assert_same_file(a, b) -> None:
    tiny.assert_equal(a[0], b[0])
    for header in (a[1], b[1]):
        header["train"].pop("seconds")
    assert a[1] == b[1]


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_a_resumed_training_has_bitwise_the_weights_of_an_undisturbed_one(tmp_path, format, accumulate):
    a, b = interrupted(tmp_path, 2, 5, tiny.model, format=format, accumulate=accumulate, warmup=2)
    assert {name.split(".")[0] for name in a[0]} == {"model", "ema", "optimizer"}
    assert a[1]["train"]["images"] == 5 * 8 * accumulate
    assert_same_file(a, b)


@pytest.mark.parametrize("stop", [1, 4, 6])
def test_a_training_resumes_after_any_step(tmp_path, stop):
    assert_same_file(*interrupted(tmp_path, stop, 7, tiny.model, format=Format()))


def test_a_training_resumes_on_a_list_of_batches_and_with_weights_that_never_got_a_gradient(tmp_path):
    batches = list(itertools.islice(tiny.stream(), 12))
    fresh = lambda seed: Line()  # noqa: E731
    assert_same_file(*interrupted(tmp_path, 3, 6, fresh, lambda: batches, format=Format(), accumulate=2))


def test_a_training_resumes_on_a_stream_that_starts_late(tmp_path):
    late = lambda: tiny.stream(start=9)  # noqa: E731
    assert_same_file(*interrupted(tmp_path, 2, 4, tiny.model, late, format=Format()))


def test_a_training_resumes_in_the_format_that_was_measured_at_its_start(tmp_path, monkeypatch):
    fixed = Format("bfloat16", channels_last=True)
    monkeypatch.setattr(sys.modules["minidiff.train"], "measure_format", lambda *_: (fixed, {fixed: 1.0}))
    a, b = interrupted(tmp_path, 2, 4, tiny.model)
    assert a[1]["train"]["precision"] == "bfloat16" and a[1]["train"]["channels_last"] is True
    assert_same_file(a, b)


def test_resume_without_a_file_starts_from_the_beginning(tmp_path):
    path = tmp_path / "new" / "a.safetensors"
    assert last(train(Line(), tiny.stream(), 2, path=path, resume=True, **QUIET)).step == 2
    assert path.is_file()


def test_a_finished_training_resumed_yields_its_last_state_and_writes_nothing(tmp_path):
    path = tmp_path / "a.safetensors"
    end = last(train(Line(), tiny.stream(), 2, path=path, **QUIET))
    before = path.read_bytes()
    (state,) = train(Line(), tiny.stream(), 2, path=path, resume=True, **QUIET)
    assert (state.step, state.images) == (end.step, end.images)
    tiny.assert_equal(tiny.weights(state.ema), tiny.weights(end.ema))
    assert path.read_bytes() == before


def test_a_finished_training_keeps_the_name_of_the_hardware_that_did_it(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    end = last(train(Line(), tiny.stream(), 2, path=path, **QUIET))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    assert "77 threads" in last(train(Line(), tiny.stream(), 1, **QUIET)).hardware
    (state,) = train(Line(), tiny.stream(), 2, path=path, resume=True, **QUIET)
    assert state.hardware == end.hardware and "77" not in state.hardware


def test_a_training_on_other_batches_is_not_resumed(tmp_path):
    path = tmp_path / "line.safetensors"
    last(train(Line(), tiny.stream(), 2, path=path, **QUIET))
    for other in (tiny.stream(4), tiny.stream(seed=1), data.batches(replace(tiny.pictures(), name="others"), 8)):
        with pytest.raises(CheckpointError, match="trained on other batches"):
            next(train(Line(), other, 4, path=path, resume=True, **QUIET))


def test_resume_needs_a_path():
    with pytest.raises(ValueError, match="resume needs the path"):
        next(train(Line(), tiny.stream(), 2, resume=True, **QUIET))


def test_what_could_not_be_loaded_again_is_refused_before_the_training(tmp_path):
    class Own(UNet):
        pass

    path = tmp_path / "own.safetensors"
    with pytest.raises(ValueError, match=r"cannot be saved to .*'Own'"):
        next(train(tiny.model(net=Own), tiny.stream(), 2, path=path, **QUIET))
    assert not path.exists()
    next(train(tiny.model(net=Own), tiny.stream(), 2, **QUIET))  # without a path it may


def test_a_model_of_words_says_when_there_are_no_captions():
    with pytest.raises(ValueError, match="needs captions"):
        next(train(tiny.model(), data.batches(tiny.pictures(), 8), 2, **QUIET))


def test_the_average_has_the_statistics_of_a_batch_norm():
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(1)

        def forward(self, batch: Batch):
            return self.norm(batch.x0 + 3).square().mean()

    state = last(train(Normed(), tiny.stream(), 5, **QUIET))
    assert state.objective.norm.running_mean > 0.5
    assert torch.equal(state.ema.norm.running_mean, state.objective.norm.running_mean)


def test_without_resume_the_file_is_begun_anew(tmp_path):
    path = tmp_path / "a.safetensors"
    last(train(tiny.model(), tiny.stream(), 2, path=path, **QUIET))
    assert last(train(Line(), tiny.stream(), 1, path=path, **QUIET)).step == 1
    assert checkpoint.load(path)[1]["config"] == {"class": "Line"}


def test_a_file_of_a_training_is_a_model_with_the_averaged_weights(tmp_path):
    path = tmp_path / "a.safetensors"
    state = last(train(tiny.model(), tiny.stream(), 3, path=path, **QUIET))
    tiny.assert_equal(tiny.weights(TextToImage.load(path)), tiny.weights(state.ema))


def spoil(path: Path, change) -> None:
    """Rewrite a checkpoint, in order, after change(tensors, header)."""
    tensors, header = checkpoint.load(path)
    tensors = {name: t.clone() for name, t in tensors.items()}
    change(tensors, header)
    checkpoint.save(path, tensors, header)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, header: header.pop("train"),
        lambda tensors, header: header["train"].pop("step"),
        lambda tensors, header: header.update(config={"class": "Line", "more": 1}),
        lambda tensors, header: tensors.pop("model.w"),
        lambda tensors, header: tensors.pop("ema.w"),
        lambda tensors, header: tensors.pop("optimizer.w/exp_avg"),
        lambda tensors, header: tensors.update({"model.w": torch.zeros(3)}),
        lambda tensors, header: tensors.update({"optimizer.w/exp_avg_sq": torch.zeros(3)}),
    ],
    ids=["not-training", "step", "config", "weight", "average", "adam", "shape", "adam-shape"],
)
def test_what_does_not_fit_this_training_is_a_clear_error_and_stays_untouched(tmp_path, change):
    path = tmp_path / "a.safetensors"
    last(train(Line(), tiny.stream(), 2, path=path, **QUIET))
    spoil(path, change)
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"a\.safetensors (belongs to another|does not fit)") as caught:
        next(train(Line(), tiny.stream(), 4, path=path, resume=True, **QUIET))
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


# --- two processes ---


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Path:
    """The folder in which two processes under torchrun left what two_processes.py writes."""
    folder = tmp_path_factory.mktemp("pair")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, str(HERE / "two_processes.py"), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (folder / "output.txt").write_text(done.stdout)
    return folder


@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_give_the_weights_of_one_with_the_doubled_batch(pair, tmp_path, accumulate):
    from two_processes import BATCH, RATE, STEPS

    path = tmp_path / f"steps{accumulate}.safetensors"
    settings = RATE | QUIET | dict(path=path, accumulate=accumulate)
    last(train(tiny.model(), tiny.stream(2 * BATCH), STEPS, **settings))
    one, header = checkpoint.load(path)
    two, other = checkpoint.load(pair / path.name)
    started = tiny.weights(tiny.model())
    moved = max(float((one[f"model.{k}"] - started[k]).abs().max()) for k in started)
    assert moved > 0.01
    assert tiny.largest_difference(one, two) < 1e-5
    assert header["train"]["images"] == other["train"]["images"] == STEPS * 2 * BATCH * accumulate


def test_two_processes_agree_on_the_clock(pair):
    """Each has a clock of its own; with two ends of training, one of them would wait forever."""
    first, second = (torch.load(pair / f"seconds{rank}.pt", weights_only=True) for rank in range(2))
    assert first.pop("step") == second.pop("step") > 1
    tiny.assert_equal(first, second)


def test_a_bad_batch_of_one_process_stops_both(pair):
    assert [(pair / f"error{rank}.txt").read_text()[:11] for rank in range(2)] == ["the loss is"] * 2


def test_a_recipe_under_torchrun_is_the_recipe(pair):
    """As many pictures a step as in one process, in the format that the first process found."""
    from two_processes import BATCH

    _, header = checkpoint.load(pair / "recipe/tiny.safetensors")
    assert header["card"]["images"] == 4 * 2 * BATCH and header["card"]["format"] == str(FORMATS[0])
    assert (pair / "output.txt").read_text().count("4 steps of 12 images") == 1


# --- time ---


class Clock:
    """A clock that only moves when told."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic


class Slow(Line):
    """An objective of which every call takes one second on this clock."""

    def __init__(self, clock: Clock):
        super().__init__()
        self.clock, self.calls = clock, 0

    def forward(self, batch):
        self.clock.now += 1
        self.calls += 1
        return super().forward(batch)


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(sys.modules["minidiff.train"], "time", clock)
    return clock


def test_seconds_are_kept_to_the_step(clock):
    states = list(train(Slow(clock), tiny.stream(), seconds=10.0, **QUIET))
    assert [s.seconds for s in states] == list(range(1, 11))
    assert states[-1].steps is None


def test_measuring_the_format_takes_its_time_from_the_seconds(clock):
    objective = Slow(clock)
    states = list(train(objective, tiny.stream(), seconds=30.0, progress=False))
    assert objective.calls == 30 and len(states) == 6  # 4 formats, 6 calls each
    assert states[-1].seconds == 30


def test_a_step_takes_at_least_one_step_however_little_time_there_is(clock):
    assert len(list(train(Slow(clock), tiny.stream(), seconds=0.01, **QUIET))) == 1


def test_the_learning_rate_falls_by_the_clock():
    """Half the time is over after the first of two steps: the second is taken at less than half the rate."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["minidiff.train"], "time", clock)
        path = [
            s.objective.w.detach().clone()
            for s in train(Slow(clock), itertools.repeat(tiny.batch()), seconds=10.0, warmup=0, **QUIET)
        ]
    moves = [float((b - a).norm()) for a, b in itertools.pairwise([torch.zeros_like(path[0]), *path])]
    assert moves[-1] < 0.1 * moves[0]


def test_the_last_step_is_saved_even_if_the_reader_dawdles(clock, tmp_path):
    path = tmp_path / "a.safetensors"
    for _ in train(Slow(clock), tiny.stream(), seconds=10.0, path=path, save_every=1e9, **QUIET):
        clock.now += 3  # a learner draws a picture after each step
    header = checkpoint.load(path)[1]["train"]
    assert header["seconds"] >= 10 and header["step"] == 4  # at 1, 5, 9 and 13 s


def test_the_file_is_written_every_save_every_seconds_and_at_the_end(clock, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(checkpoint, "save", lambda _, tensors, header: written.append(header["train"]["step"]))
    last(train(Slow(clock), tiny.stream(), 10, path=tmp_path / "a.safetensors", save_every=4.0, **QUIET))
    assert written == [4, 8, 10]


def test_a_resumed_training_counts_the_seconds_of_before(clock, tmp_path):
    path = tmp_path / "a.safetensors"
    settings = dict(seconds=10.0, path=path, save_every=0.0, **QUIET)
    for state in train(Slow(clock), tiny.stream(), **settings):
        if state.step == 6:
            break
    clock.now += 1e6
    resumed = list(train(Slow(clock), tiny.stream(), resume=True, **settings))
    assert [s.step for s in resumed] == [7, 8, 9, 10] and resumed[-1].seconds == 10


def test_real_seconds_end_on_time():
    import time

    begin = time.monotonic()
    state = last(train(tiny.model(), tiny.stream(), seconds=1.0, **QUIET))
    assert 1.0 <= state.seconds < 2.5 and time.monotonic() - begin < 4


# --- numbers that are not finite ---


class Breaks(Line):
    """Line, until the batch of this seed makes it break in one of several ways."""

    def __init__(self, seed: int, how: str):
        super().__init__()
        self.seed, self.how = seed, how

    def forward(self, batch):
        loss = super().forward(batch)
        if batch.seed != self.seed:
            return loss
        zero = (self.w - self.w.detach()).sum()
        return {
            "nan loss": loss * math.nan,
            "inf loss": loss + math.inf,
            "nan gradient": loss + zero.abs().sqrt(),  # 0, whose derivative is 0 * inf
            "inf gradient": loss + 3e38 * (100 * zero),
        }[self.how]


@pytest.mark.parametrize("how", ["nan loss", "inf loss", "nan gradient", "inf gradient"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_what_is_not_finite_stops_with_the_step_the_seed_and_what_to_try(tmp_path, how, accumulate):
    path = tmp_path / "a.safetensors"
    bad = next(tiny.stream().at(4 * accumulate)).seed  # in the fifth step
    states = train(
        Breaks(bad, how), tiny.stream(), 9, path=path, save_every=0.0, accumulate=accumulate, lr=0.02, **QUIET
    )
    good = [tiny.weights(next(states).objective) for _ in range(4)]
    with pytest.raises(TrainingError) as caught:
        next(states)
    message = str(caught.value)
    for part in ("step 4", str(bad), "lr=0.005", "warmup=400", "float32", str(path)):
        assert part in message, (part, message)
    kept, header = checkpoint.load(path)
    assert header["train"]["step"] == 4
    assert all(bool(t.isfinite().all()) for t in kept.values())
    tiny.assert_equal({"w": kept["model.w"]}, {"w": good[-1]["w"]})


def test_a_break_before_the_first_save_names_no_file(tmp_path):
    states = train(Breaks(tiny.batch().seed, "nan loss"), tiny.stream(), 9, path=tmp_path / "a", **QUIET)
    with pytest.raises(TrainingError, match="step 0") as caught:
        next(states)
    assert "last good" not in str(caught.value) and list(tmp_path.iterdir()) == []


def test_weights_that_a_step_has_blown_up_are_not_saved(tmp_path):
    """Loss and gradient are finite, but the learning rate throws the weights out of the range of numbers."""
    path = tmp_path / "a.safetensors"
    last(train(Line(), tiny.stream(), 1, path=path, **QUIET))
    before = path.read_bytes()
    with pytest.raises(TrainingError, match=r"not finite after step 1.* last good weights are in .*a\.saf"):
        list(train(Line(), tiny.stream(), 3, lr=1e39, warmup=0, path=path, save_every=0.0, **QUIET))
    assert path.read_bytes() == before


@pytest.mark.parametrize("n, message", [(0, "no batches"), (3, "ended at step 1")])
def test_batches_that_end_too_early_are_an_error_and_not_steps_of_nothing(n, message):
    batches = list(itertools.islice(tiny.stream(), n))
    with pytest.raises((ValueError, TrainingError), match=message):
        list(train(Line(), batches, 5, accumulate=2, progress=False))


# --- formats ---


class Drawing(ConvNet):
    """A classifier that, like a careless objective, draws from the global generator."""

    def forward(self, batch):
        return super().forward(replace(batch, x0=batch.x0 + 0.1 * torch.randn_like(batch.x0)))


def test_measuring_leaves_weights_gradients_random_state_and_format_as_they_were():
    torch.manual_seed(0)
    reader = Drawing(widths=(8, 16))
    before, chance = tiny.weights(reader), torch.get_rng_state()
    best, seconds = measure_format(reader, tiny.batch(), tries=1)
    tiny.assert_equal(tiny.weights(reader), before)
    assert torch.equal(torch.get_rng_state(), chance)
    assert all(p.grad is None for p in reader.parameters())
    assert reader.precision == torch.float32
    assert all(p.is_contiguous() for p in reader.parameters())
    assert set(seconds) == set(FORMATS) and best == sys.modules["minidiff.train"]._best(seconds)
    assert all(s > 0 for s in seconds.values())


def test_of_two_layouts_about_as_fast_it_is_always_channels_last():
    choose = sys.modules["minidiff.train"]._best
    last, first, half_last, half_first = FORMATS
    for seconds, best in (
        ((1.15, 1.0, 3.0, 3.0), last),
        ((1.3, 1.0, 3.0, 3.0), first),
        ((1.0, 1.15, 3.0, 3.0), last),
        ((1.0, 1.0, 0.9, 0.8), half_last),
        ((1.0, 1.0, 1.0, 0.8), half_first),
    ):
        assert choose(dict(zip(FORMATS, seconds, strict=True))) == best


def test_the_measured_format_is_the_one_that_is_used():
    state = next(train(tiny.model(), tiny.stream(), 1, progress=False))
    assert state.format in FORMATS
    assert state.objective.denoiser.precision == getattr(torch, state.format.precision)


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_a_format_sets_precision_and_layout_and_changes_no_weight(format):
    model = tiny.stirred()
    before = tiny.weights(model)
    format.apply(model)
    tiny.assert_equal(tiny.weights(model), before)
    assert model.denoiser.precision == getattr(torch, format.precision)
    layout = torch.channels_last if format.channels_last else torch.contiguous_format
    assert all(p.is_contiguous(memory_format=layout) for p in model.parameters() if p.dim() == 4)
    Format().apply(model)
    assert model.denoiser.precision == torch.float32
    assert all(p.is_contiguous() for p in model.parameters())


# --- what is printed ---


def test_progress_off_prints_nothing(capfd):
    last(train(tiny.model(), tiny.stream(), 3, progress=False))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("length", [dict(steps=3), dict(seconds=0.2)])
def test_the_bar_tells_loss_and_images_a_second(capfd, length):
    last(train(Line(), tiny.stream(), **length, format=Format()))
    out, err = capfd.readouterr()
    assert out == "" and "loss" in err and "images/s" in err
    assert ("s left" in err) == ("seconds" in length)
