"""Guidance edits the guess on the way: each function returns a denoise function (xt, t) -> x0."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .denoiser import Denoiser
from .process import per_sample
from .samplers import Denoise


def cfg(
    denoiser: Denoiser,
    ctx: Float[Tensor, "b l d"],
    null: Float[Tensor, "b l d"],
    scale: float | Float[Tensor, "b"],
    interval: tuple[float, float] = (0.0, 1.0),
) -> Denoise:
    """x0 = x0_null + scale (x0_ctx - x0_null): classifier-free guidance.

    Ho and Salimans 2022, eq. 6, with scale = 1 + w.
    `null` encodes "" or the negative prompt, which is only another "nothing" to move away from (AUTOMATIC1111 2022).
    scale: 1 turns guidance off and saves half the work; a (b,) tensor gives each prompt its own.
    interval: the noise levels in which guidance acts (Kynkaanniemi et al. 2024).
    """
    if ctx.shape != null.shape:
        raise ValueError(f"ctx and null must have one shape, got {tuple(ctx.shape)} and {tuple(null.shape)}")
    scale = torch.as_tensor(scale, dtype=ctx.dtype, device=ctx.device)
    if scale.shape not in ((), ctx.shape[:1]):
        raise ValueError(f"scale must be one number or one a prompt, got {tuple(scale.shape)} for {len(ctx)} prompts")
    if not bool(scale.isfinite().all()):
        raise ValueError(f"scale must be finite, got {scale.tolist()}")
    both = torch.cat([ctx, null])

    def denoise(xt: Tensor, t: Tensor) -> Tensor:
        level = float(denoiser.process.level(torch.as_tensor(t)))
        if bool((scale == 1).all()) or not interval[0] <= level <= interval[1]:
            return denoiser(xt, t, ctx)
        x0, x0_null = denoiser(torch.cat([xt, xt]), t, both).chunk(2)
        return x0_null + per_sample(scale, xt) * (x0 - x0_null)

    return denoise


def autoguidance(denoiser: Denoiser, weak: Denoiser, ctx: Float[Tensor, "b l d"] | None, scale: float) -> Denoise:
    """x0 = x0_weak + scale (x0_good - x0_weak), with a smaller or less trained denoiser as the bad example.

    Karras et al. 2024, "Guiding a diffusion model with a bad version of itself", eq. 3.
    """

    def denoise(xt: Tensor, t: Tensor) -> Tensor:
        x0_weak = weak(xt, t, ctx)
        return x0_weak + scale * (denoiser(xt, t, ctx) - x0_weak)

    return denoise


def clipped(denoise: Denoise, most: float) -> Denoise:
    """x0 limited to [-most, most]: static thresholding (Saharia et al. 2022, section 2.3).

    Strong guidance pushes guesses beyond what the data hold. Pixels end at -1 and 1 when they are shown. Latents, of
    variance 1, have no such end, and what they show grows with them: strokes become bold. 2 is a good limit there; the
    lower it is, the paler the colours.
    """
    if not most > 0:
        raise ValueError(f"clip must be positive, got {most}")
    return lambda xt, t: denoise(xt, t).clamp(-most, most)


def inpaint(denoise: Denoise, known: Float[Tensor, "b c h w"], mask: Bool[Tensor, "..."]) -> Denoise:
    """x0 = known where mask is True, the guess elsewhere. mask broadcasts to known, e.g. (h, w).

    Replacing x0 is enough: `move` then keeps the known region exactly on its forward path (Wang, Yu and Zhang 2023,
    "Zero-shot image restoration using denoising diffusion null-space model", where a mask is one case of many).
    """
    if mask.dtype != torch.bool:
        raise ValueError(f"mask must be boolean, True = known; got {mask.dtype}")
    sizes = zip(reversed(mask.shape), reversed(known.shape), strict=False)
    if mask.dim() > known.dim() or any(m not in (1, k) for m, k in sizes):
        raise ValueError(f"mask {tuple(mask.shape)} does not fit known {tuple(known.shape)}")
    return lambda xt, t: torch.where(mask, known, denoise(xt, t))
