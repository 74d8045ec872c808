"""LatentMap: a plane through the latents of a VAE, decoded wherever the reader points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import traitlets
from torch import Tensor

from .. import viz
from ..vae import VAE
from .live import Live, raw

REACH, LATTICE, WALK = 2.5, 9, 11  # standard deviations; decoded pictures a side; pictures on a walk


class LatentMap(Live):
    """The plane in which the latents of pictures (n c h w) differ most; each point of it decodes to a picture.

    The axes are the two main directions of the latents (PCA), in standard deviations. Beside it, a straight walk
    between the latents of two of the pictures. `latent` (1 d h w) is the last point that was decoded.
    """

    module = "latent"
    label = traitlets.Unicode("Latent map").tag(sync=True)
    start = traitlets.Dict().tag(sync=True)

    @torch.no_grad()
    def __init__(self, vae: VAE, pictures: Tensor):
        if len(pictures) < 3:
            raise ValueError(f"a plane needs at least 3 pictures, got {len(pictures)}")
        self.vae, self.pictures = vae, pictures
        self.latents = vae.encode(pictures)
        flat = self.latents.flatten(1)
        self.mean = flat.mean(0)
        _, spread, directions = torch.linalg.svd(flat - self.mean, full_matrices=False)
        self.scale = spread[:2] / (len(flat) - 1) ** 0.5
        self.directions = directions[:2]
        places = ((flat - self.mean) @ self.directions.T / self.scale).clamp(-REACH, REACH)
        self.latent = self.at(0.0, 0.0)
        super().__init__(start={"reach": REACH, "lattice": LATTICE, "places": places.tolist()})

    def at(self, right: float, up: float) -> Tensor:
        """The latent (1 d h w) at this point of the plane."""
        place = torch.tensor([right, up], dtype=self.mean.dtype, device=self.mean.device) * self.scale
        return (self.mean + place @ self.directions).reshape(1, *self.latents.shape[1:])

    def answer(self, request: dict, buffers: Sequence[bytes]) -> Iterator[tuple[dict, list[bytes]]]:
        kind = request["kind"]
        if kind == "look":
            yield self._shown("map", self._lattice())
            yield self._shown("pictures", self.pictures)
        elif kind == "point":
            self.latent = self.at(float(request["right"]), float(request["up"]))
            yield self._shown("point", self._decoded(self.latent))
        elif kind == "walk":
            a, b = (self.latents[request[key]] for key in ("from", "to"))
            share = torch.linspace(0, 1, WALK, device=a.device)[:, None, None, None]
            yield self._shown("walk", self._decoded(a + share * (b - a)))
        else:
            raise ValueError(f"there is no request of the kind {kind!r}")

    def still(self) -> str:
        text = "A plane of the latent space, as decoded pictures that change little by little."
        return viz.show(viz.grid(self._lattice(), columns=LATTICE, scale=1, gap=0), text).html

    def _lattice(self) -> Tensor:
        """Decoded pictures, row by row from the top left."""
        ticks = torch.linspace(-REACH, REACH, LATTICE).tolist()
        return self._decoded(torch.cat([self.at(right, up) for up in reversed(ticks) for right in ticks]))

    @torch.no_grad()
    def _decoded(self, latents: Tensor) -> Tensor:
        return self.vae.decode(latents).clamp(-1, 1)

    def _shown(self, kind: str, pictures: Tensor) -> tuple[dict, list[bytes]]:
        about, data = raw(pictures)
        return {"kind": kind, "picture": about}, [data]
