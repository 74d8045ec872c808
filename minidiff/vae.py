"""A small VAE: pictures to latents of a sixteenth of the pixels and back, so that drawing costs less."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .checkpoint import Stored
from .nets.layers import zero
from .nets.unet import Upsample


class VAE(Stored):
    """x (b c h w) <-> latent (b d h/4 w/4). Called on a batch, it is the objective that trains it.

    encoder: x -> mean and log variance of q(z | x); decoder: z -> x (Kingma and Welling 2014, section 3, with
    convolutions after Rombach et al. 2022, section 3.1, much reduced). beta weighs the KL term per latent number
    against the squared error per pixel (Higgins et al. 2017).
    `encode` and `decode` speak of latents at mean 0 and variance 1: the VAE owns its shift and scale, which
    `calibrate` measures (Rombach et al., appendix G, there one scale for all channels). Height and width must be
    multiples of 4.
    """

    usual = "vae"
    factor = 4  # pixels a side for each latent

    def __init__(self, channels: int = 3, latents: int = 4, widths: Sequence[int] = (48, 96), beta: float = 1e-4):
        super().__init__()
        self.config = dict(channels=channels, latents=latents, widths=list(widths), beta=beta)
        self.config["class"] = "VAE"
        self.beta, self.precision = beta, torch.float32
        first, second = widths
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * channels, first, 3, padding=1),
            Residual(first),
            nn.Conv2d(first, second, 3, stride=2, padding=1),
            Residual(second),
            Residual(second),
            nn.GroupNorm(8, second),
            nn.SiLU(),
            nn.Conv2d(second, 2 * latents, 3, padding=1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(latents, second, 3, padding=1),
            Residual(second),
            Residual(second),
            Upsample(second, first),
            Residual(first),
            nn.GroupNorm(8, first),
            nn.SiLU(),
            nn.Conv2d(first, 4 * channels, 3, padding=1),
            nn.PixelShuffle(2),
        )
        self.register_buffer("shift", torch.zeros(latents, 1, 1))
        self.register_buffer("scale", torch.ones(latents, 1, 1))

    def moments(self, x: Float[Tensor, "b c h w"]) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z | x), each (b d h/4 w/4), before shift and scale."""
        if x.shape[1] != self.config["channels"] or x.shape[2] % 4 or x.shape[3] % 4:
            wanted = f"(b, {self.config['channels']}, h, w) with sides that are multiples of 4"
            raise ValueError(f"pictures must be {wanted}, got {tuple(x.shape)}")
        with torch.autocast(x.device.type, self.precision, enabled=self.precision != torch.float32):
            mean, logvar = self.encoder(x).float().chunk(2, dim=1)
        return mean, logvar.clamp(-20, 10)

    def reconstruct(self, z: Float[Tensor, "b d h w"]) -> Tensor:
        """x of z, before shift and scale."""
        with torch.autocast(z.device.type, self.precision, enabled=self.precision != torch.float32):
            return self.decoder(z).float()

    def encode(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """The latent at mean 0 and variance 1: (E[z | x] - shift) / scale."""
        return (self.moments(x)[0] - self.shift) / self.scale

    def decode(self, latent: Float[Tensor, "b d h w"]) -> Float[Tensor, "b c h2 w2"]:
        """The picture of a latent that `encode` made or a denoiser drew."""
        return self.reconstruct(latent * self.scale + self.shift)

    @torch.no_grad()
    def calibrate(self, x: Float[Tensor, "n c h w"]) -> None:
        """Measure shift and scale on these pictures, so that the latents of such pictures have variance 1."""
        means = torch.cat([self.moments(part)[0] for part in x.split(500)])
        self.shift.copy_(means.mean((0, 2, 3))[:, None, None])
        self.scale.copy_(means.std((0, 2, 3))[:, None, None])

    def forward(self, batch) -> Float[Tensor, ""]:
        """mean (x - decoder(z))^2 + beta mean KL(q(z | x) || N(0, 1)), over pixels and over latent numbers.

        Kingma and Welling 2014, eq. 10, with the sign turned, for a Gaussian decoder and up to a constant and a factor.
        """
        mean, logvar = self.moments(batch.x0)
        shape = (batch.total, *mean.shape[1:])
        eps = torch.randn(shape, generator=batch.generator(), device=mean.device)[batch.rows]
        x = self.reconstruct(mean + (0.5 * logvar).exp() * eps)
        return F.mse_loss(x, batch.x0) + self.beta * kl(mean, logvar).mean()


def kl(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, exp(logvar)) || N(0, 1)) of each number: (mean^2 + exp(logvar) - 1 - logvar) / 2."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar)


class Residual(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))): the block of the U-Net, without a noise level to listen to."""

    def __init__(self, width: int):
        super().__init__()
        parts = [nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)]
        parts += [nn.GroupNorm(8, width), nn.SiLU(), zero(nn.Conv2d(width, width, 3, padding=1))]
        self.body = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)
