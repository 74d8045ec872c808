"""Exact answers to compare with, in float64: curves, denoisers and paths in closed form, none by a network.

A denoiser here is a function (xt, t) -> x0, as the samplers call it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from scipy.integrate import solve_ivp
from torch import Tensor, nn

from minidiff.data import MIXTURE_MEANS, MIXTURE_STD
from minidiff.process import DDPM, EDM, Cosine, Flow, Process
from minidiff.samplers import Denoise

PROCESSES = [Cosine(), DDPM(), EDM(), Flow()]


# --- The four processes, differentiated and inverted by hand ---------------------------------------


class Curves(NamedTuple):
    """alpha, sigma and their derivatives, of t; and the time t of a noise level in [0, 1]."""

    alpha: Callable[[Tensor], Tensor]
    sigma: Callable[[Tensor], Tensor]
    d_alpha: Callable[[Tensor], Tensor]
    d_sigma: Callable[[Tensor], Tensor]
    time: Callable[[Tensor], Tensor]


def _vp_alpha(t: Tensor) -> Tensor:
    return torch.exp(-(0.1 * t + 19.9 * t**2 / 2) / 2)  # minus half the integral of beta = 0.1 + 19.9 t


def _vp_sigma(t: Tensor) -> Tensor:
    return torch.sqrt(-torch.expm1(-(0.1 * t + 19.9 * t**2 / 2)))


def _vp_time(level: Tensor) -> Tensor:
    log_alpha = torch.log(torch.cos(level * math.pi / 2))  # 19.9/4 t^2 + 0.1/2 t + log_alpha = 0
    return (-0.05 + torch.sqrt(0.05**2 - 19.9 * log_alpha)) / (19.9 / 2)


CURVES = {
    "Cosine": Curves(
        lambda t: torch.cos(t * math.pi / 2),
        lambda t: torch.sin(t * math.pi / 2),
        lambda t: -math.pi / 2 * torch.sin(t * math.pi / 2),
        lambda t: math.pi / 2 * torch.cos(t * math.pi / 2),
        lambda level: level,
    ),
    "DDPM": Curves(
        _vp_alpha,
        _vp_sigma,
        lambda t: -(0.1 + 19.9 * t) / 2 * _vp_alpha(t),
        lambda t: (0.1 + 19.9 * t) / 2 * _vp_alpha(t) ** 2 / _vp_sigma(t),
        _vp_time,
    ),
    "EDM": Curves(
        torch.ones_like,
        lambda t: t,
        torch.zeros_like,
        torch.ones_like,
        lambda level: torch.tan(level * math.pi / 2),
    ),
    "Flow": Curves(
        lambda t: 1 - t,
        lambda t: t,
        lambda t: -torch.ones_like(t),
        torch.ones_like,
        lambda level: 1 / (1 + 1 / torch.tan(level * math.pi / 2)),
    ),
}


def curves(process: Process) -> Curves:
    return CURVES[type(process).__name__]


def row(process: Process, target: str, t: Tensor, sigma_data: float) -> tuple[Tensor, Tensor]:
    """(a, b) of y = a x0 + b eps, of each target."""
    c = curves(process)
    alpha, sigma = c.alpha(t), c.sigma(t)
    norm = torch.sqrt(alpha**2 * sigma_data**2 + sigma**2)
    return {
        "x0": (torch.ones_like(t), torch.zeros_like(t)),
        "eps": (torch.zeros_like(t), torch.ones_like(t)),
        "v": (-sigma / norm / sigma_data, alpha * sigma_data / norm),
        "u": (c.d_alpha(t), c.d_sigma(t)),
    }[target]


class Betas(Process):
    """A discrete schedule of diffusers: t = 0 is data, and t = n + 1 is its timestep n."""

    def __init__(self, alphas_cumprod: Tensor):
        self.alpha_bar = torch.cat([torch.ones(1), alphas_cumprod]).double()
        self.t_max = float(len(alphas_cumprod))

    def alpha(self, t: Tensor) -> Tensor:
        return self.alpha_bar[t.long()].sqrt()

    def sigma(self, t: Tensor) -> Tensor:
        return (1 - self.alpha_bar[t.long()]).sqrt()


# --- Denoisers ------------------------------------------------------------------------------------


def gaussian(process: Process, mean: float, std: float) -> Denoise:
    """E[x0 | xt] = m + alpha s^2 / (alpha^2 s^2 + sigma^2) (xt - alpha m), for x0 ~ N(m, s^2)."""

    def denoise(xt: Tensor, t: Tensor) -> Tensor:
        return gaussian_guess(xt, process.alpha(t), process.sigma(t), mean, std)

    return denoise


def gaussian_guess(xt: Tensor, alpha: Tensor, sigma: Tensor, mean: float, std: float) -> Tensor:
    return mean + alpha * std**2 / (alpha**2 * std**2 + sigma**2) * (xt - alpha * mean)


def mixture(process: Process, means: Tensor = MIXTURE_MEANS, std: float = MIXTURE_STD) -> Denoise:
    """E[x0 | xt] for x0 ~ 1/k sum_i N(means[i], std^2 I), means (k, c), at xt (b, c, 1, 1).

    Each centre gives the answer of its own Gaussian; they are averaged with weights p(i | xt).
    """
    means = means.double()

    def denoise(xt: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = process.alpha(t), process.sigma(t)
        variance = alpha**2 * std**2 + sigma**2
        away = xt.flatten(1)[:, None] - alpha * means  # (b, k, c)
        weights = (-away.square().sum(2) / (2 * variance)).softmax(1)
        answers = means + alpha * std**2 / variance * away
        return (weights[:, :, None] * answers).sum(1)[:, :, None, None]

    return denoise


class ExactNet(nn.Module):
    """A network without weights that says exactly what one trained on x0 ~ N(mean, std^2) should say.

    Like any network here it gets x at unit variance and the level, and knows neither xt nor t. For u it needs
    the clock of the process; the other targets have none.
    """

    def __init__(self, target: str, mean: float, std: float, sigma_data: float, process: Process | None = None):
        super().__init__()
        self.target, self.mean, self.std, self.sigma_data = target, mean, std, sigma_data
        self.process = process or Cosine()

    def forward(self, x: Tensor, level: Tensor, ctx: Tensor | None = None) -> Tensor:
        level = level.double()[:, None, None, None]
        alpha, sigma = torch.cos(level * math.pi / 2), torch.sin(level * math.pi / 2)
        xt = x * torch.sqrt(alpha**2 * self.sigma_data**2 + sigma**2)
        x0 = gaussian_guess(xt, alpha, sigma, self.mean, self.std)
        eps = (xt - alpha * x0) / sigma
        a, b = row(self.process, self.target, curves(self.process).time(level), self.sigma_data)
        return (a * x0 + b * eps).to(x.dtype)


# --- Exact paths of the probability-flow ODE -------------------------------------------------------


def gaussian_path(process: Process, mean: float, std: float, xt: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """xs on the path of dx/dt = u through xt, for x0 ~ N(m, s^2).

    The flow of a Gaussian only shifts and stretches: (xt - alpha m) / sqrt(alpha^2 s^2 + sigma^2) stays.
    """

    def spread(t: Tensor) -> Tensor:
        return torch.sqrt(process.alpha(t) ** 2 * std**2 + process.sigma(t) ** 2)

    return process.alpha(s) * mean + spread(s) / spread(t) * (xt - process.alpha(t) * mean)


def path(process: Process, denoise: Denoise, xt: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """The same for any denoiser, by scipy's 8th-order Runge-Kutta rule to 1e-9, from t down to s.

    Its slope is u = alpha' x0 + sigma' eps with the derivatives written out above. Where s = 0 it stops at
    level 1e-5, because eps = (xt - alpha x0) / sigma is 0 / 0 below, and returns x0: an error of order
    sigma^2 = 2e-10.
    """
    c = curves(process)

    def slope(time: float, flat) -> Tensor:
        t, x = torch.tensor(time, dtype=torch.float64), torch.from_numpy(flat.copy()).view(xt.shape)
        x0 = denoise(x, t)
        eps = (x - c.alpha(t) * x0) / c.sigma(t)
        return (c.d_alpha(t) * x0 + c.d_sigma(t) * eps).flatten()

    end = max(float(s), float(c.time(torch.tensor(1e-5, dtype=torch.float64))))
    start = xt.double().flatten().numpy()
    answer = solve_ivp(slope, (float(t), end), start, method="DOP853", rtol=1e-9, atol=1e-9)
    xs = torch.from_numpy(answer.y[:, -1]).view(xt.shape)
    return denoise(xs, torch.tensor(end, dtype=torch.float64)) if s == 0 else xs
