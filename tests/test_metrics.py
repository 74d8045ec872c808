"""Metrics against their textbook formulas, by scipy, torchmetrics and pair by pair, and in closed form."""

from __future__ import annotations

import importlib.util
import inspect

import numpy as np
import pytest
import scipy.linalg
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from minidiff import data
from minidiff.metrics import (
    Likener,
    adherence,
    frechet_distance,
    in_chunks,
    inception_distance,
    kernel_distance,
    precision_recall,
    psnr,
)
from minidiff.nets.convnet import ConvNet


def features(n: int, d: int, seed: int = 0, rank: int | None = None) -> torch.Tensor:
    """n rows of correlated numbers, of at most this rank."""
    chance = torch.Generator().manual_seed(seed)
    mix = torch.randn(rank or d, d, generator=chance, dtype=torch.float64)
    return torch.randn(n, rank or d, generator=chance, dtype=torch.float64) @ mix + mix[0]


def by_scipy(real: torch.Tensor, fake: torch.Tensor) -> float:
    """Heusel et al. 2017, eq. 6, word for word."""
    real, fake = real.numpy(), fake.numpy()
    covs = [np.atleast_2d(np.cov(x, rowvar=False)) for x in (real, fake)]
    root = scipy.linalg.sqrtm(covs[0] @ covs[1])
    means = ((real.mean(0) - fake.mean(0)) ** 2).sum()
    return float(means + np.trace(covs[0] + covs[1] - 2 * root.real))


def unchecked(function):
    """As outside pytest, where no shape is checked before the function's own check."""
    return inspect.unwrap(function)


# --- Frechet distance ---


@pytest.mark.parametrize("n, m, d", [(200, 300, 8), (50, 40, 20), (1000, 500, 64), (5, 5, 1), (2, 3, 1)])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_frechet_distance_is_that_of_the_formula(n, m, d, seed):
    real, fake = features(n, d, seed), features(m, d, seed + 10)
    assert frechet_distance(real, fake) == pytest.approx(by_scipy(real, fake), rel=1e-6)


@pytest.mark.parametrize("shift", [0.0, 0.5, 3.0])
def test_a_shift_costs_its_square(shift):
    """Same covariance, so the distance is |mu_r - mu_f|^2."""
    real = features(300, 6)
    direction = torch.nn.functional.normalize(torch.ones(6, dtype=torch.float64), dim=0)
    assert frechet_distance(real, real + shift * direction) == pytest.approx(shift**2, abs=1e-9)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_a_scale_costs_the_square_of_the_difference_of_the_deviations(scale):
    """(1 - s)^2 tr C, where C_f = s^2 C_r and the means agree."""
    real = features(300, 6)
    real = real - real.mean(0)
    assert frechet_distance(real, scale * real) == pytest.approx((1 - scale) ** 2 * float(real.var(0).sum()))


def test_one_dimension_is_the_difference_of_means_and_of_deviations():
    real, fake = features(100, 1), 3 * features(80, 1, seed=1)
    exact = (real.mean() - fake.mean()) ** 2 + (real.std() - fake.std()) ** 2
    assert frechet_distance(real, fake) == pytest.approx(float(exact))


def test_known_gaussians_are_found_from_many_samples():
    """N(0, I) and N((1, 0), diag(4, 9)): 1 + (1 - 2)^2 + (1 - 3)^2 = 6."""
    normal = torch.randn(2, 400_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fake = normal[1] * torch.tensor([2.0, 3.0]) + torch.tensor([1.0, 0.0])
    assert frechet_distance(normal[0], fake) == pytest.approx(6, rel=0.01)


@settings(max_examples=30)
@given(n=st.integers(2, 40), m=st.integers(2, 40), d=st.integers(1, 12), seed=st.integers(0, 99))
def test_it_is_symmetric_never_negative_and_zero_for_the_same(n, m, d, seed):
    """Also with fewer rows than columns, where covariances have no inverse."""
    real, fake = features(n, d, seed), features(m, d, seed + 100)
    there, back = frechet_distance(real, fake), frechet_distance(fake, real)
    size = float(real.var(0).sum() + fake.var(0).sum())
    assert there == pytest.approx(back, abs=1e-6 * size)  # roots of zero are known to 1e-8 only
    assert there > -1e-6 * size
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-6 * size)


def test_features_without_full_rank_are_compared_as_well():
    real, fake = features(500, 16, rank=3), features(500, 16, seed=1, rank=3)
    exact = by_scipy(real, fake)
    assert frechet_distance(real, fake) == pytest.approx(exact, rel=1e-4)


def test_turning_both_sets_changes_nothing():
    real, fake = features(200, 8), features(200, 8, seed=1)
    turn = torch.linalg.qr(features(8, 8, seed=2)).Q
    assert frechet_distance(real @ turn, fake @ turn) == pytest.approx(frechet_distance(real, fake), rel=1e-9)


def test_single_precision_is_computed_in_double():
    real, fake = features(200, 8).float(), features(200, 8, seed=1).float() + 100
    assert frechet_distance(real, fake) == pytest.approx(by_scipy(real.double(), fake.double()), rel=1e-6)


@pytest.mark.parametrize(
    "real, fake", [((1, 4), (9, 4)), ((9, 4), (1, 4)), ((9, 4), (9, 5)), ((0, 4), (9, 4))], ids=str
)
def test_what_has_no_covariance_or_another_width_is_refused_with_both_shapes(real, fake):
    with pytest.raises(ValueError) as caught:
        unchecked(frechet_distance)(torch.zeros(real), torch.zeros(fake))
    assert str(real) in str(caught.value) and str(fake) in str(caught.value)


# --- adherence ---


def test_adherence_is_the_share_that_is_what_was_asked_for():
    logits = torch.eye(4)[[0, 1, 2, 2]]
    assert adherence(logits, torch.tensor([0, 1, 2, 3])) == 0.75
    assert adherence(logits, torch.tensor([0, 1, 2, 2])) == 1.0
    assert adherence(logits, torch.tensor([3, 3, 3, 3])) == 0.0


def test_adherence_needs_a_prompt_a_picture():
    with pytest.raises(ValueError, match="4 pictures, but 3 prompts"):
        unchecked(adherence)(torch.zeros(4, 2), torch.zeros(3, dtype=torch.long))


# --- chunks ---


@given(n=st.integers(1, 30), size=st.integers(1, 40))
def test_chunks_give_what_one_call_gives_with_no_more_rows_at_once(n, size):
    seen = []

    def square(x):
        seen.append(len(x))
        return x**2

    x = torch.arange(2 * n).view(n, 2).float()
    assert in_chunks(square, x, size).equal(x**2)
    assert max(seen) <= size and sum(seen) == n


def test_chunks_keep_no_graph_and_leave_grad_mode_alone():
    w = torch.ones(2, requires_grad=True)
    assert not in_chunks(lambda x: x * w, torch.ones(5, 2), 2).requires_grad
    assert torch.is_grad_enabled()


# --- kernel distance ---


def by_pairs(real: torch.Tensor, fake: torch.Tensor) -> float:
    """Gretton et al. 2012, eq. 3, word for word, with the kernel of Binkowski et al. 2018."""

    def mean(x: torch.Tensor, y: torch.Tensor) -> float:
        values = [
            (float(a @ b) / len(a) + 1) ** 3 for i, a in enumerate(x) for j, b in enumerate(y) if x is not y or i != j
        ]
        return sum(values) / len(values)

    return mean(real, real) + mean(fake, fake) - 2 * mean(real, fake)


@pytest.mark.parametrize("n, m, d", [(2, 2, 1), (20, 13, 5), (30, 30, 8)])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_kernel_distance_is_that_of_all_pairs(n, m, d, size):
    real, fake = features(n, d), features(m, d, seed=1)
    assert kernel_distance(real, fake, size) == pytest.approx(by_pairs(real, fake), rel=1e-9)


def test_the_kernel_distance_is_that_of_torchmetrics():
    from torchmetrics.image.kid import poly_mmd

    real, fake = features(200, 16), features(200, 16, seed=1)
    assert kernel_distance(real, fake) == pytest.approx(float(poly_mmd(real, fake)), rel=1e-6)


def test_the_kernel_distance_of_two_halves_is_around_zero():
    halves = [kernel_distance(*features(200, 4, seed=s).view(2, 100, 4)) for s in range(20)]
    between = kernel_distance(features(100, 4), features(100, 4) + 2)
    assert min(halves) < 0 < max(halves) and abs(np.mean(halves)) < 0.02 * between


# --- precision and recall ---


def by_balls(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float]:
    """Kynkaanniemi et al. 2019, eq. 1 and 2, by scipy's distances."""
    across = cdist(real, fake)

    def radius(x: np.ndarray) -> np.ndarray:
        return np.sort(cdist(x, x), axis=1)[:, k]

    precision = (across <= radius(real)[:, None]).any(0).mean()
    return float(precision), float((across <= radius(fake)[None]).any(1).mean())


@pytest.mark.parametrize("n, m, d, k", [(60, 40, 3, 3), (100, 100, 10, 5), (5, 9, 2, 1)])
@pytest.mark.parametrize("size", [1, 17, 1000])
def test_precision_and_recall_are_those_of_the_formula(n, m, d, k, size):
    real, fake = features(n, d), features(m, d, seed=1) * 0.7
    assert precision_recall(real, fake, k, size) == pytest.approx(by_balls(real.numpy(), fake.numpy(), k), abs=1e-9)


def test_the_same_set_has_both_and_a_far_one_neither():
    real = features(100, 5)
    assert precision_recall(real, real) == (1.0, 1.0)
    assert precision_recall(real, real + 1000) == (0.0, 0.0)


def test_drawing_one_picture_only_is_precise_and_recalls_nothing():
    real = features(200, 5)
    centre = real[:1] + 1e-6 * features(200, 5, seed=1)
    precision, recall = precision_recall(real, centre)
    assert precision == 1.0 and recall < 0.05


@pytest.mark.parametrize("function, least", [(kernel_distance, 2), (precision_recall, 4)])
@pytest.mark.parametrize("real, fake", [((1, 4), (9, 4)), ((9, 4), (1, 4)), ((9, 4), (9, 5))], ids=str)
def test_sets_that_cannot_be_compared_are_refused_with_both_shapes(function, least, real, fake):
    with pytest.raises(ValueError, match=f"at least {least} rows") as caught:
        unchecked(function)(torch.zeros(real), torch.zeros(fake))
    assert str(real) in str(caught.value) and str(fake) in str(caught.value)


# --- all of them, with what is needed to compare ---


@pytest.fixture(scope="module")
def liken() -> Likener:
    pixels = tiny.pictures(300).pixels
    torch.manual_seed(0)
    return Likener(ConvNet(widths=(8, 16)), pixels[:150], pixels[150:250], "random.safetensors", "150 patterns")


def test_a_likeness_says_what_it_was_measured_with(liken):
    like = liken(data.to_float(tiny.pictures(300).pixels[250:]))
    assert like.n == 50 and like.features == "random.safetensors" and like.reference == "150 patterns"
    real = liken.held_out[:50]
    assert like.floor == frechet_distance(liken.reference, real)
    assert like.times_the_floor == like.frechet_distance / like.floor
    assert 0.5 < like.precision <= 1 and 0.5 < like.recall <= 1 and abs(like.kernel_distance) < 1


def test_one_grey_picture_is_unlike(liken):
    like = liken(torch.zeros(100, 1, 8, 8))
    assert like.times_the_floor > 30 and like.recall < 0.1 and like.kernel_distance > 0


def test_more_drawn_than_held_out_pictures_cannot_be_compared(liken):
    with pytest.raises(ValueError, match="101 pictures cannot be compared with 100"):
        liken(torch.zeros(101, 1, 8, 8))


def test_the_inception_distance_says_what_to_install():
    pytest.importorskip("torchmetrics")
    if importlib.util.find_spec("torch_fidelity"):
        pytest.skip("it is installed")
    with pytest.raises(ValueError, match="minidiff\\[fid\\]"):
        inception_distance(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(2, 3, 8, 8, dtype=torch.uint8))


# --- PSNR ---


def test_psnr():
    x = torch.zeros(2, 3)
    assert psnr(x, x + 0.2) == pytest.approx(20)  # a tenth of the range of 2
    assert psnr(x, x + 0.02) == pytest.approx(40)
    assert psnr(x, x) == np.inf
