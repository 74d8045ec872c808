"""Metrics against their textbook formulas: the Frechet distance by scipy's matrix root and in closed form."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff.metrics import adherence, frechet_distance, in_chunks


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


@settings(max_examples=30, deadline=None)
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


@settings(deadline=None)
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
