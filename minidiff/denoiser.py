"""A Denoiser guesses the data back: (xt, t, ctx) -> x0, whatever its network was trained to say."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .process import Process, per_sample

# The smallest alpha / sigma for which eps is solved for x0: where alpha = 0, eps says nothing of x0.
SMALLEST = 1e-4


def row_x0(process: Process, t: Tensor, sigma_data: float) -> tuple[Tensor, Tensor]:
    """y = x0."""
    return torch.ones_like(t), torch.zeros_like(t)


def row_eps(process: Process, t: Tensor, sigma_data: float) -> tuple[Tensor, Tensor]:
    """y = eps (Ho et al. 2020, eq. 14). Fails where alpha = 0: at t_max of Cosine and Flow."""
    return torch.zeros_like(t), torch.ones_like(t)


def row_v(process: Process, t: Tensor, sigma_data: float) -> tuple[Tensor, Tensor]:
    """y = alpha eps - sigma x0 (Salimans and Ho 2022, appendix D), of x0 / sigma_data on the unit circle.

    With alpha = 1 these are c_skip and c_out of Karras et al. 2022, table 1, up to the sign of the network.
    """
    alpha, sigma = process.alpha(t), process.sigma(t)
    scale = torch.sqrt((alpha * sigma_data) ** 2 + sigma**2)
    return -sigma / (scale * sigma_data), alpha * sigma_data / scale


def row_u(process: Process, t: Tensor, sigma_data: float) -> tuple[Tensor, Tensor]:
    """y = u = dxt/dt (Lipman et al. 2023). Unbounded at t -> 0 under DDPM: use it with Flow."""
    return process.rates(t)


TARGETS = {"x0": row_x0, "eps": row_eps, "v": row_v, "u": row_u}


class Denoiser(nn.Module):
    """x0 = Denoiser(net, process)(xt, t, ctx): the network's answer y, solved for x0.

    Every target is a row of one system, xt = alpha x0 + sigma eps and y = a x0 + b eps, so
    x0 = (sigma y - b xt) / (sigma a - alpha b). The network itself sees xt at unit variance and the noise
    `level`, and so knows no process: train under one, sample under another.

    net: (x (b c h w), level (b,), ctx (b l d) or None, **extras) -> y (b c h w). target: a key of TARGETS.
    sigma_data: standard deviation of the data. precision: number format inside the network only.
    """

    def __init__(self, net: nn.Module, process: Process, target: str = "v", sigma_data: float = 1.0):
        super().__init__()
        if target not in TARGETS:
            raise ValueError(f"target must be one of {', '.join(TARGETS)}, got {target!r}")
        if not sigma_data > 0:
            raise ValueError(f"sigma_data must be positive, got {sigma_data}")
        self.net, self.process, self.target, self.sigma_data = net, process, target, sigma_data
        self.precision = torch.float32

    def predict(self, xt: Tensor, t: Tensor, ctx: Tensor | None = None, **extras) -> Float[Tensor, "b c h w"]:
        """y, what the network says of xt (b c h w) at t (b,), in float32."""
        alpha, sigma = self.process.alpha(t), self.process.sigma(t)
        x = xt / per_sample(torch.sqrt((alpha * self.sigma_data) ** 2 + sigma**2), xt)
        with torch.autocast(xt.device.type, self.precision, enabled=self.precision != torch.float32):
            return self.net(x, self.process.level(t), ctx, **extras).float()

    def forward(
        self,
        xt: Float[Tensor, "b c h w"],
        t: Tensor | float,
        ctx: Float[Tensor, "b l d"] | None = None,
        **extras,
    ) -> Float[Tensor, "b c h w"]:
        """x0 (b c h w), the guess at the data behind xt at time t (() or (b,))."""
        t = torch.as_tensor(t).to(xt.dtype).to(xt.device).expand(len(xt))
        y = self.predict(xt, t, ctx, **extras)
        a, b = TARGETS[self.target](self.process, t, self.sigma_data)
        alpha = self.process.alpha(t)
        sigma = self.process.sigma(t).clamp(min=1e-12)  # at t = 0 the target x0 would be solved as 0 / 0
        det = sigma * a - alpha * b
        det = torch.where(det.abs() < SMALLEST * sigma, -SMALLEST * sigma, det)
        return per_sample(sigma / det, xt) * y - per_sample(b / det, xt) * xt

    def loss(
        self,
        x0: Float[Tensor, "b c h w"],
        ctx: Float[Tensor, "b l d"] | None = None,
        t: Float[Tensor, "b"] | None = None,
        eps: Float[Tensor, "b c h w"] | None = None,
        **extras,
    ) -> Float[Tensor, "b"]:
        """Mean over pixels of (y - (a x0 + b eps))^2, one value a sample; t and eps are drawn if not given."""
        t = self.process.sample_t(len(x0)).to(x0.device) if t is None else t
        eps = torch.randn_like(x0) if eps is None else eps
        a, b = TARGETS[self.target](self.process, t, self.sigma_data)
        y = self.predict(self.process.add_noise(x0, eps, t), t, ctx, **extras)
        return (y - per_sample(a, x0) * x0 - per_sample(b, x0) * eps).square().flatten(1).mean(1)
