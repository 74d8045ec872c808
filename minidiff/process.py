"""A Process turns data into noise: xt = alpha(t) x0 + sigma(t) eps.

t = 0 is data and t = t_max is noise, for every process. A new one is two curves, alpha and sigma;
everything else is derived from them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def unit_noise(shape: Sequence[int], seeds: Sequence[int] | None = None, stream: int = 0) -> Tensor:
    """eps ~ N(0, 1) of `shape` (b, ...) on the CPU; with `seeds`, sample i depends on seeds[i] alone.

    One generator a sample, so that a seed gives the same noise at any batch size and on any device.
    `stream` tells the noise of one step from that of another under the same seed.
    Raises ValueError if there is not one seed a sample.
    """
    if seeds is None:
        return torch.randn(*shape)
    if len(seeds) != shape[0]:
        raise ValueError(f"one seed a sample is needed: {len(seeds)} seeds for {shape[0]} samples")
    eps = torch.empty(*shape)
    for row, seed in zip(eps, seeds, strict=True):
        state = np.random.SeedSequence([int(seed), stream]).generate_state(1, np.uint64)[0]
        row.normal_(generator=torch.Generator().manual_seed(int(state >> np.uint64(1))))
    return eps


def per_sample(value: Tensor, like: Tensor) -> Tensor:
    """(b,) or () -> (b, 1, 1, 1) or (): ready to multiply a batch of images."""
    return value.view(-1, *[1] * (like.dim() - 1)) if value.dim() else value


class Process:
    """xt = alpha(t) x0 + sigma(t) eps; a subclass writes `alpha` and `sigma`.

    Times are tensors () or (b,) in [0, t_max]. `sample_t` is the clock of training, `timesteps` that of sampling.
    """

    t_max: float = 1.0

    def alpha(self, t: Tensor) -> Tensor:
        """Signal scale, shape of t; 1 at t = 0."""
        raise NotImplementedError

    def sigma(self, t: Tensor) -> Tensor:
        """Noise scale, shape of t; 0 at t = 0."""
        raise NotImplementedError

    def sample_t(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n"]:
        """Times to train at, one in each n-th of [0, t_max], shuffled by nothing: rows are already random.

        Stratified draws cover all levels in every batch (after Kingma et al. 2021, appendix I.1).
        """
        return self.quantile(_stratified(n, generator))

    def quantile(self, r: Tensor) -> Tensor:
        """The time below which the share r in [0, 1] of all training times lies. Here: even."""
        return r * self.t_max

    def timesteps(self, steps: int) -> Float[Tensor, "{steps}+1"]:
        """Falling grid from t_max to 0, float64 on the CPU. Here: even in t."""
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        return torch.linspace(self.t_max, 0, steps + 1, dtype=torch.float64)

    def add_noise(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """xt = alpha(t) x0 + sigma(t) eps, all (b, c, h, w); t (b,) or ()."""
        return per_sample(self.alpha(t), x0) * x0 + per_sample(self.sigma(t), x0) * eps

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(dalpha/dt, dsigma/dt), each of t's shape, by automatic differentiation."""
        # not torch.func.jvp: its first call imports 900 modules, which takes seconds
        with torch.inference_mode(False), torch.enable_grad():
            t = t.detach().clone().requires_grad_()
            curves = [curve(t) + 0 * t for curve in (self.alpha, self.sigma)]  # 0 t: one may be constant
            d_alpha, d_sigma = (torch.autograd.grad(curve.sum(), t)[0] for curve in curves)
        return d_alpha, d_sigma

    def velocity(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """u = dxt/dt = alpha'(t) x0 + sigma'(t) eps. For Flow this is eps - x0."""
        d_alpha, d_sigma = self.rates(t)
        return per_sample(d_alpha, x0) * x0 + per_sample(d_sigma, x0) * eps

    def level(self, t: Tensor) -> Tensor:
        """Noise angle atan2(sigma, alpha) / (pi/2) in [0, 1]: what networks, sliders and intervals see."""
        return torch.atan2(self.sigma(t), self.alpha(t)) / (math.pi / 2)

    def time(self, level: float) -> float:
        """The time whose noise level this is: the inverse of `level`, by bisection. ValueError outside [0, 1]."""
        if not 0 <= level <= 1:
            raise ValueError(f"a noise level is from 0 to 1, got {level}")
        low, high = 0.0, self.t_max
        for _ in range(60):
            middle = (low + high) / 2
            below = float(self.level(torch.tensor(middle, dtype=torch.float64))) < level
            low, high = (middle, high) if below else (low, middle)
        return high

    def logsnr(self, t: Tensor) -> Tensor:
        """log (alpha/sigma)^2; infinite at t = 0, minus infinite where alpha = 0."""
        return 2 * (self.alpha(t).log() - self.sigma(t).log())

    def prior(self, shape: Sequence[int], seeds: Sequence[int] | None = None) -> Tensor:
        """xT = sigma(t_max) eps, of `shape` (b, c, h, w), on the CPU. See `unit_noise` for `seeds`."""
        return self.sigma(torch.tensor(self.t_max)) * unit_noise(shape, seeds)

    @property
    def clock(self) -> dict[str, float]:
        """What to construct it with again, where its training times are not the usual ones."""
        return {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value:g}' for name, value in self.clock.items())})"


class Cosine(Process):
    """alpha = cos(pi t / 2), sigma = sin(pi t / 2): a quarter turn at even speed, so level = t.

    Nichol and Dhariwal 2021, eq. 17, in the continuous form of Salimans and Ho 2022. mean, std: of log(sigma/alpha)
    at the times of training.
    """

    MEAN, STD = 1.0, 1.2  # the usual ones

    def __init__(self, mean: float = MEAN, std: float = STD):
        if not (math.isfinite(mean) and 0 < std < math.inf):
            raise ValueError(f"mean must be finite and std positive, got {mean} and {std}")
        self.mean, self.std = mean, std

    @property
    def clock(self) -> dict[str, float]:
        return {} if (self.mean, self.std) == (self.MEAN, self.STD) else {"mean": self.mean, "std": self.std}

    def alpha(self, t: Tensor) -> Tensor:
        return torch.sin((1 - t) * (math.pi / 2))  # not cos: exactly 0 at t = 1

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sin(t * (math.pi / 2))

    def quantile(self, r: Tensor) -> Tensor:
        """log(sigma/alpha) is normal, as in EDM, but higher: where it is decided what the picture will be.

        Mean 1, std 1.2: of the few that were tried, the best on digits at a fixed number of images.
        """
        return torch.atan(_normal(r, self.mean, self.std).exp()) / (math.pi / 2)


class DDPM(Process):
    """The variance-preserving process of DDPM: alpha^2 = alpha_bar = exp(-integral of beta).

    beta rises linearly from 0.1 to 20 on [0, 1] (Song et al. 2021, eq. 33): the limit of the 1,000 betas
    from 1e-4 to 0.02 of Ho et al. 2020. u is unbounded at t -> 0, so do not train on it here.
    """

    beta_min, beta_max = 0.1, 20.0

    def log_alpha(self, t: Tensor) -> Tensor:
        return -0.25 * t**2 * (self.beta_max - self.beta_min) - 0.5 * t * self.beta_min

    def alpha(self, t: Tensor) -> Tensor:
        return self.log_alpha(t).exp()

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sqrt(-torch.expm1(2 * self.log_alpha(t)))


class EDM(Process):
    """The variance-exploding process of EDM: alpha = 1, sigma = t, up to 80.

    Karras et al. 2022, table 1: log-normal training times (P_mean -1.2, P_std 1.2) and the grid of eq. 5.
    """

    t_max = 80.0
    t_min, rho = 0.002, 7.0
    p_mean, p_std = -1.2, 1.2

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return t

    def quantile(self, r: Tensor) -> Tensor:
        return _normal(r, self.p_mean, self.p_std).exp().clamp(max=self.t_max)

    def timesteps(self, steps: int) -> Float[Tensor, "{steps}+1"]:
        """sigma_i = (80^(1/7) + i/(n-1) (0.002^(1/7) - 80^(1/7)))^7, then 0 (eq. 5)."""
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        ramp = torch.linspace(self.t_max ** (1 / self.rho), self.t_min ** (1 / self.rho), steps, dtype=torch.float64)
        return torch.cat([ramp**self.rho, torch.zeros(1, dtype=torch.float64)])


class Flow(Process):
    """alpha = 1 - t, sigma = t: a straight line from data to noise, with u = eps - x0.

    Rectified flow (Liu et al. 2023, eq. 1) and flow matching (Lipman et al. 2023, eq. 20), time reversed.
    """

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        return t


def _normal(r: Tensor, mean: float, std: float) -> Tensor:
    return mean + std * torch.special.ndtri(r.clamp(1e-6, 1 - 1e-6))


def _stratified(n: int, generator: torch.Generator | None) -> Tensor:
    device = generator.device if generator is not None else None
    r = torch.rand(n, generator=generator, device=device)
    return (torch.arange(n, device=device) + r) / n
