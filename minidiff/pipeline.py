"""TextToImage: words in, pictures out. The object that a learner, a widget or the command line holds."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .checkpoint import Stored
from .denoiser import Denoiser
from .guidance import cfg, clipped, inpaint
from .nets.dit import DiT
from .nets.unet import UNet
from .process import DDPM, EDM, Cosine, Flow, Process, unit_noise
from .samplers import Step, dpmpp_2m
from .text import TextEncoder, Tokenizer, split_weights
from .vae import VAE

PROCESSES = {cls.__name__: cls for cls in (Cosine, DDPM, EDM, Flow)}
NETS = {cls.__name__: cls for cls in (UNet, DiT)}
CLIP = 2.0  # how far a guess in latents may go by itself; theirs have unit variance


class TextToImage(Stored):
    """A tokenizer, a text encoder and a denoiser. Called on a batch, it is the objective that trains all three.

    shape: (c, h, w) of its pictures. vae: a trained VAE, kept as it is; shape is then that of its latents, and so
    are `xt` and `x0` of every Step, which `pictures` decodes.
    """

    usual = "mnist"

    def __init__(
        self,
        tokenizer: Tokenizer,
        encoder: TextEncoder,
        denoiser: Denoiser,
        shape: Sequence[int] = (1, 28, 28),
        vae: VAE | None = None,
    ):
        super().__init__()
        if encoder.config["vocabulary"] != len(tokenizer) or encoder.config["length"] != tokenizer.length:
            raise ValueError(f"an encoder of {encoder.config} does not fit {len(tokenizer)} words")
        if len(shape) != 3:
            raise ValueError(f"shape must be (c, h, w), got {tuple(shape)}")
        self.tokenizer, self.encoder, self.denoiser, self.shape = tokenizer, encoder, denoiser, tuple(shape)
        self.vae = vae.requires_grad_(False) if vae is not None else None
        self.config = {
            "class": "TextToImage",
            "shape": list(shape),
            "words": tokenizer.words,
            "encoder": encoder.config,
            "net": {"class": type(denoiser.net).__name__, **denoiser.net.config},
            "process": type(denoiser.process).__name__,
            "target": denoiser.target,
            "sigma_data": denoiser.sigma_data,
        }
        if denoiser.process.clock:
            self.config["clock"] = denoiser.process.clock
        if vae is not None:
            self.config["vae"] = vae.config

    @classmethod
    def new(
        cls,
        captions: Iterable[str],
        shape: Sequence[int] = (1, 28, 28),
        *,
        length: int = 8,
        d_ctx: int = 64,
        encoder: TextEncoder | None = None,
        process: Process | None = None,
        target: str = "v",
        sigma_data: float = 1.0,
        net: Callable[..., nn.Module] = UNet,
        vae: VAE | None = None,
        **settings,
    ) -> TextToImage:
        """An untrained model that knows the words of `captions`; `settings` go to the net, a UNet or a DiT.

        shape: of the pictures; with a trained `vae`, of its latents, in which the model then draws.
        encoder: a trained one of the same words and length, kept as it is, in place of a new one of width `d_ctx`.
        (Trained on after `load`, it learns too: `model.encoder.requires_grad_(False)` keeps it.)
        """
        tokenizer = Tokenizer.train(captions, length)
        if encoder is None:
            encoder = TextEncoder(len(tokenizer), length, d_ctx)
        else:
            encoder, d_ctx = encoder.requires_grad_(False), encoder.config["dim"]
        denoiser = Denoiser(net(channels=shape[0], d_ctx=d_ctx, **settings), process or Cosine(), target, sigma_data)
        return cls(tokenizer, encoder, denoiser, shape, vae)

    @classmethod
    def from_config(cls, config: dict) -> TextToImage:
        encoder = TextEncoder(**config["encoder"])
        net = dict(config["net"])
        denoiser = Denoiser(
            NETS[net.pop("class")](**net),
            PROCESSES[config["process"]](**config.get("clock", {})),
            config["target"],
            config["sigma_data"],
        )
        tokenizer = Tokenizer(config["words"], config["encoder"]["length"])
        vae = VAE.from_config(config["vae"]) if "vae" in config else None
        return cls(tokenizer, encoder, denoiser, config["shape"], vae)

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        """(c, h, w) of its pictures."""
        if self.vae is None:
            return self.shape
        return (self.vae.config["channels"], *(VAE.factor * side for side in self.shape[1:]))

    @property
    def device(self) -> torch.device:
        return self.encoder.word.weight.device

    def forward(self, batch) -> Float[Tensor, ""]:
        """Mean loss of a `data.Batch` with captions.

        Every process draws the whole batch's times and noise and keeps its rows, so that two processes train
        what one would.
        """
        if batch.captions is None:
            raise ValueError("a model of words needs captions: data.batches(..., captions=data.digit_captions)")
        generator = batch.generator()
        t = self.denoiser.process.sample_t(batch.total, generator)[batch.rows]
        x0 = self.latents(batch.x0)
        eps = torch.randn(batch.total, *x0.shape[1:], generator=generator, device=x0.device)[batch.rows]
        ctx = self.encoder(self.tokenizer(batch.captions).to(x0.device))
        return self.denoiser.loss(x0, ctx, t=t, eps=eps).mean()

    @torch.no_grad()
    def latents(self, pictures: Float[Tensor, "b c h w"]) -> Tensor:
        """What the denoiser works on: the pictures themselves or, with a vae, their latents."""
        return pictures if self.vae is None else self.vae.encode(pictures)

    @torch.no_grad()
    def pictures(self, x: Float[Tensor, "b c h w"]) -> Tensor:
        """The pictures (b c h w) in [-1, 1] of a Step's x0 or xt."""
        return (x if self.vae is None else self.vae.decode(x)).clamp(-1, 1)

    def in_pixels(self, step: Step) -> Step:
        """The Step as pictures to look at: with a vae both of its tensors are decoded, else it is as it was."""
        if self.vae is None:
            return step
        return Step(step.i, step.t, self.pictures(step.xt), self.pictures(step.x0))

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Float[Tensor, "b l d"]:
        """ctx of these prompts; raises UnknownWord.

        A weighted word, as in "a (bold:1.5) seven", stands that much farther from "no word" than others do: the
        notation of AUTOMATIC1111, the rule of ComfyUI.
        """
        plain, weights = zip(*(split_weights(prompt) for prompt in prompts), strict=True)
        ctx = self.encoder(self.tokenizer(plain).to(self.device))
        if not any(weights):
            return ctx
        nothing = self.encoder(self.tokenizer([""]).to(self.device))
        scale = torch.ones(len(prompts), self.tokenizer.length)
        for row, by_word in zip(scale, weights, strict=True):
            for word, weight in by_word.items():
                row[word] = weight
        return nothing + scale.to(ctx)[:, :, None] * (ctx - nothing)

    def walk(
        self,
        prompt: str | Sequence[str],
        negative: str | Sequence[str] = "",
        *,
        seed: int | Sequence[int] = 0,
        steps: int = 10,
        cfg_scale: float | Tensor = 2.0,
        interval: tuple[float, float] = (0.0, 1.0),
        clip: float | None = None,
        sampler: Callable[..., Iterator[Step]] = dpmpp_2m,
        process: Process | None = None,
        image: Tensor | None = None,
        strength: float = 1.0,
        mask: Tensor | None = None,
        variation: tuple[float, int] = (0.0, 0),
        **knobs,
    ) -> Iterator[Step]:
        """Yield each Step from noise to the picture of each prompt. Errors are raised at once, before a step.

        prompt: one, or b of them. negative: what to move away from, one for all or b of them.
        seed: one a picture, or the first, from which the others count up. steps: intervals of the time grid.
        cfg_scale: 1 turns guidance off. interval: the noise levels in which it acts. clip: the largest absolute value
        of a guess, by itself 2 in latents, which keeps strong guidance within what real ones hold, and no limit in
        pixels, which end when they are shown.
        process: another clock to walk by than that of the training. knobs: for the sampler, such as eta.
        image: given pictures (b or 1, c, h, w) in [-1, 1]. With `strength`, the noise level from which they are
        drawn anew (SDEdit, Meng et al. 2022), the walk takes its share of the steps; 0 changes nothing. With
        `mask` (True = known, as wide as the picture), the known pixels stay and the rest is drawn.
        variation: (amount, seed): turn the noise by amount x 90 degrees towards that of another seed, which counts up
        too (after Song et al. 2021, DDIM, section 5.3).
        """
        prompts, negatives, seeds = self._requests(prompt, negative, seed)
        denoiser = self.denoiser
        if process is not None:
            denoiser = Denoiser(denoiser.net, process, denoiser.target, denoiser.sigma_data)
            denoiser.precision = self.denoiser.precision
        process = denoiser.process
        ts = process.timesteps(steps)
        noise = self._noise(seeds, variation)
        if image is None:
            if mask is not None or strength != 1.0:
                raise ValueError("strength and mask say what to do with an image, but there is no image")
            xt = process.sigma(ts[0]).float().to(self.device) * noise
        else:
            image = self.latents(self._checked(image, len(prompts)))
            if strength == 0:
                return iter([Step(0, 0.0, image, image)])
            if strength != 1:
                start = process.time(strength)
                ts = torch.cat([ts.new_tensor([start]), ts[ts < start * (1 - 1e-9)]])  # not the same one twice
            xt = process.add_noise(image, noise, ts[0].float().to(self.device))
        ctx, null = self.encode(prompts + negatives).chunk(2)
        if "eta" in knobs:
            knobs.setdefault("seeds", seeds)
        if clip is None:
            clip = math.inf if self.vae is None else CLIP
        denoise = clipped(cfg(denoiser, ctx, null, cfg_scale, interval), clip)
        if mask is not None:
            denoise = inpaint(denoise, image, self._latent_mask(mask))
        # no_grad around each call and not around the loop: a yield would leak it
        return sampler(torch.no_grad()(denoise), process, xt, ts, **knobs)

    def draw(self, prompt: str | Sequence[str], negative: str | Sequence[str] = "", **settings) -> Tensor:
        """The pictures (b, c, h, w) in [-1, 1] of these prompts; settings as for `walk`."""
        *_, last = self.walk(prompt, negative, **settings)
        drawn, mask = self.pictures(last.x0), settings.get("mask")
        if mask is not None and self.vae is not None:  # decoding is not exact, but what is known is
            drawn = torch.where(mask.to(self.device), settings["image"].to(drawn), drawn)
        return drawn

    def img2img(self, image: Tensor, prompt: str | Sequence[str], strength: float = 0.6, **settings) -> Tensor:
        """The image drawn anew from the noise level `strength`: 0 keeps it, 1 keeps nothing. See `walk`."""
        return self.draw(prompt, image=image, strength=strength, **settings)

    def inpaint(self, image: Tensor, mask: Tensor, prompt: str | Sequence[str], **settings) -> Tensor:
        """The image with the pixels outside `mask` (True = known) drawn anew; the known ones stay as they are."""
        return self.draw(prompt, image=image, mask=mask, **settings)

    def outpaint(self, image: Tensor, prompt: str | Sequence[str], right: int = 0, down: int = 0, **settings) -> Tensor:
        """What lies beyond the edge: the view moves by so many pixels, and what comes into it is drawn."""
        height, width = self.picture_shape[1:]
        if abs(right) >= width or abs(down) >= height:
            raise ValueError(f"the view of {height} x {width} pixels cannot move by {down} down and {right} right")
        moved = image.roll((-down, -right), (-2, -1))
        rows, columns = (torch.arange(n) + by for n, by in ((height, down), (width, right)))
        inside = [(index >= 0) & (index < n) for index, n in ((rows, height), (columns, width))]
        return self.inpaint(moved, inside[0][:, None] & inside[1], prompt, **settings)

    def variations(self, prompt: str, n: int = 8, amount: float = 0.3, seed: int = 0, **settings) -> Tensor:
        """n pictures near that of `seed`: its noise, turned a little towards that of n other seeds."""
        return self.draw([prompt] * n, seed=[seed] * n, variation=(amount, seed + 1), **settings)

    @contextmanager
    def watch_words(self) -> Iterator[dict[str, list[Tensor]]]:
        """While open, every network call leaves its attention to the words: {layer: [(b, heads, pixels, words)]}.

        One entry a call; over the words each adds up to 1. With guidance the second half of b is the negative
        prompt's. Nothing is kept, and nothing costs time, while it is not open.
        """
        layers = {
            name: part.cross_attention
            for name, part in self.denoiser.net.named_modules()
            if getattr(part, "cross_attention", None) is not None
        }
        maps: dict[str, list[Tensor]] = {name: [] for name in layers}
        for name, layer in layers.items():
            layer.maps = maps[name]
        try:
            yield maps
        finally:
            for layer in layers.values():
                layer.maps = None

    def _requests(self, prompt, negative, seed) -> tuple[list[str], list[str], list[int]]:
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        if not prompts:
            raise ValueError("at least one prompt is needed")
        negatives = [negative] * len(prompts) if isinstance(negative, str) else list(negative)
        if len(negatives) != len(prompts):
            raise ValueError(f"{len(prompts)} prompts, but {len(negatives)} negative prompts")
        given = [seed + i for i in range(len(prompts))] if isinstance(seed, int | np.integer) else seed
        seeds = [operator.index(s) for s in given]  # TypeError for 1.5, which is no seed
        if len(seeds) != len(prompts):
            raise ValueError(f"one seed a sample is needed: {len(seeds)} seeds for {len(prompts)} samples")
        if min(seeds, default=0) < 0:
            raise ValueError(f"a seed must be at least 0, got {min(seeds)}")
        return prompts, negatives, seeds

    def _noise(self, seeds: list[int], variation: tuple[float, int]) -> Tensor:
        """eps of these seeds on the model's device, turned towards others: a turn keeps it unit noise."""
        amount, other = variation
        if not 0 <= amount <= 1 or other < 0:
            raise ValueError(f"variation is (amount from 0 to 1, seed from 0), got {variation}")
        shape = (len(seeds), *self.shape)
        eps = unit_noise(shape, seeds)
        if amount:
            others = [other + i for i in range(len(seeds))]
            if any(a == b for a, b in zip(seeds, others, strict=True)):
                raise ValueError(f"a variation needs other seeds than the pictures: {seeds} and {others} share a place")
            turn = amount * math.pi / 2
            eps = math.cos(turn) * eps + math.sin(turn) * unit_noise(shape, others)
        return eps.to(self.device)

    def _checked(self, image: Tensor, n: int) -> Tensor:
        """The given pictures, one for each prompt."""
        if image.dim() != 4 or image.shape[1:] != self.picture_shape or len(image) not in (1, n):
            raise ValueError(f"the image must be (1 or {n}, *{self.picture_shape}), got {tuple(image.shape)}")
        if not bool(((image >= -1) & (image <= 1)).all()):  # NaN is neither
            raise ValueError("the image must lie in [-1, 1]; data.to_float(pixels) makes it so")
        return image.float().to(self.device).expand(n, -1, -1, -1)

    def _latent_mask(self, mask: Tensor) -> Tensor:
        """The mask of pixels; with a vae, that of the latents whose pixels are all known."""
        mask = mask.to(self.device)
        if self.vae is None:
            return mask
        shape = self.picture_shape
        if mask.dim() > 4 or any(m not in (1, k) for m, k in zip(mask.shape[::-1], shape[:0:-1], strict=False)):
            raise ValueError(f"mask {tuple(mask.shape)} does not fit pictures of {shape}")
        mask = mask.reshape((1,) * (4 - mask.dim()) + mask.shape).expand(-1, -1, *shape[1:])
        return -F.max_pool2d(-mask.all(1, keepdim=True).float(), self.vae.factor) > 0.5
