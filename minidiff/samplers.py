"""A sampler walks from noise to data. Each is a generator: it yields a Step before every move.

A denoise function is (xt, t) -> x0. `ts` is a falling grid of steps + 1 times; see `Process.timesteps`. It ends at 0,
or earlier for a walk that stops half way. Samplers never touch the grad mode: wrap a loop in torch.no_grad() yourself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from .process import Process, unit_noise

Denoise = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Step:
    """One place on the walk: xt (b c h w) at time t, and x0, the guess made there.

    `i` counts from 0. The last Step has xt = x0 = the result, with noise in it if `ts` ends above 0.
    """

    i: int
    t: float
    xt: Tensor
    x0: Tensor


def move(process: Process, xt: Tensor, x0: Tensor, t: Tensor, s: Tensor, eta: float = 0.0) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of xs given xt and x0, for s < t; shapes (b c h w) and ().

    std = eta sigma_s sqrt(1 - (alpha_t sigma_s / alpha_s sigma_t)^2)
    mean = alpha_s x0 + sqrt(sigma_s^2 - std^2) eps, with eps = (xt - alpha_t x0) / sigma_t.
    eta: Song et al. 2021 (DDIM), eq. 12 and 16. eta = 1: the posterior of Ho et al. 2020, eq. 7, for any
    alpha and sigma (Kingma et al. 2021, appendix A.2).
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must be from 0 to 1, got {eta}")
    alpha_t, sigma_t = process.alpha(t), process.sigma(t)
    alpha_s, sigma_s = process.alpha(s), process.sigma(s)
    eps = (xt - alpha_t * x0) / sigma_t
    std = eta * sigma_s * torch.sqrt((1 - (alpha_t * sigma_s / (alpha_s * sigma_t)) ** 2).clamp(min=0))
    return alpha_s * x0 + torch.sqrt(sigma_s**2 - std**2) * eps, std


def ddim(
    denoise: Denoise,
    process: Process,
    xt: Tensor,
    ts: Tensor,
    eta: float = 0.0,
    seeds: Sequence[int] | None = None,
) -> Iterator[Step]:
    """eta = 0: DDIM (Song et al. 2021). eta = 1: ancestral sampling, DDPM (Ho et al. 2020, algorithm 2).

    `seeds` (one a sample) make the noise of eta > 0 repeatable at any batch size.
    """
    _check(process, ts)
    for i, (t, s) in enumerate(pairwise(ts)):
        x0 = denoise(xt, t)
        yield Step(i, float(t), xt, x0)
        xt, std = move(process, xt, x0, t, s, eta)
        if std > 0:
            xt = xt + std * unit_noise(xt.shape, seeds, stream=i + 1).to(xt)
    yield Step(len(ts) - 1, float(ts[-1]), xt, xt)


def euler(denoise: Denoise, process: Process, xt: Tensor, ts: Tensor) -> Iterator[Step]:
    """xs = xt + (s - t) u: Euler's rule on dx/dt = u in the process's own clock.

    The probability flow of Song et al. 2021 (score SDE), eq. 13; with EDM, Karras et al. 2022, eq. 1 and 3.
    """
    _check(process, ts)
    for i, (t, s) in enumerate(pairwise(ts)):
        x0 = denoise(xt, t)
        yield Step(i, float(t), xt, x0)
        xt = xt + (s - t) * _slope(process, xt, x0, t)
    yield Step(len(ts) - 1, float(ts[-1]), xt, xt)


def heun(denoise: Denoise, process: Process, xt: Tensor, ts: Tensor) -> Iterator[Step]:
    """Euler, then again with the mean slope of both ends; two network calls a step, one in the last.

    Karras et al. 2022, algorithm 1, which with EDM's clock is their algorithm 2 without churn.
    """
    _check(process, ts)
    for i, (t, s) in enumerate(pairwise(ts)):
        x0 = denoise(xt, t)
        yield Step(i, float(t), xt, x0)
        u = _slope(process, xt, x0, t)
        xs = xt + (s - t) * u
        if s > 0:  # at s = 0 there is no noise left to divide by
            u = (u + _slope(process, xs, denoise(xs, s), s)) / 2
            xs = xt + (s - t) * u
        xt = xs
    yield Step(len(ts) - 1, float(ts[-1]), xt, xt)


def dpmpp_2m(denoise: Denoise, process: Process, xt: Tensor, ts: Tensor) -> Iterator[Step]:
    """DPM-Solver++(2M): `move`, with x0 extrapolated along lambda = log(alpha/sigma).

    D = (1 + 1/2r) x0 - (1/2r) x0_last, with r = h_last / h and h = lambda_s - lambda_t (Lu et al. 2022,
    algorithm 2). First order: the first step, the last, and the second where alpha(t_max) = 0, as in Cosine and Flow.
    Clean second order on EDM's grid only.
    """
    _check(process, ts)
    last = None
    lambdas = process.logsnr(ts) / 2
    for i, (t, s) in enumerate(pairwise(ts)):
        x0 = denoise(xt, t)
        yield Step(i, float(t), xt, x0)
        guess = x0
        if last is not None and s > 0:
            r = (lambdas[i] - lambdas[i - 1]) / (lambdas[i + 1] - lambdas[i])
            guess = x0 + (x0 - last) / (2 * r)
        xt, _ = move(process, xt, guess, t, s)
        last = x0
    yield Step(len(ts) - 1, float(ts[-1]), xt, xt)


def _slope(process: Process, xt: Tensor, x0: Tensor, t: Tensor) -> Tensor:
    eps = (xt - process.alpha(t) * x0) / process.sigma(t)
    return process.velocity(x0, eps, t)


def _check(process: Process, ts: Tensor) -> None:
    falls = ts.dim() == 1 and len(ts) > 1 and bool((ts[:-1] > ts[1:]).all())
    if not falls or ts[-1] < 0 or ts[0] > process.t_max * (1 + 1e-6):
        raise ValueError(f"ts must fall from at most {process.t_max:g} to at least 0 in {process}; got {ts.tolist()}")
