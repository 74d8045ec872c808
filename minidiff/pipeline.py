"""TextToImage: words in, pictures out. The object that a learner, a widget or the command line holds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from . import checkpoint
from .denoiser import Denoiser
from .guidance import cfg
from .nets.unet import UNet
from .process import DDPM, EDM, Cosine, Flow, Process
from .samplers import Step, dpmpp_2m
from .text import TextEncoder, Tokenizer

PROCESSES = {cls.__name__: cls for cls in (Cosine, DDPM, EDM, Flow)}
NETS = {cls.__name__: cls for cls in (UNet,)}


class TextToImage(nn.Module):
    """A tokenizer, a text encoder and a denoiser. Called on a batch, it is the objective that trains all three.

    shape: (c, h, w) of its pictures.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        encoder: TextEncoder,
        denoiser: Denoiser,
        shape: Sequence[int] = (1, 28, 28),
    ):
        super().__init__()
        if encoder.config["vocabulary"] != len(tokenizer) or encoder.config["length"] != tokenizer.length:
            raise ValueError(f"an encoder of {encoder.config} does not fit {len(tokenizer)} words")
        if len(shape) != 3:
            raise ValueError(f"shape must be (c, h, w), got {tuple(shape)}")
        self.tokenizer, self.encoder, self.denoiser, self.shape = tokenizer, encoder, denoiser, tuple(shape)
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

    @classmethod
    def new(
        cls,
        captions: Iterable[str],
        shape: Sequence[int] = (1, 28, 28),
        *,
        length: int = 8,
        d_ctx: int = 64,
        process: Process | None = None,
        target: str = "v",
        sigma_data: float = 1.0,
        **net,
    ) -> TextToImage:
        """An untrained model that knows the words of `captions`; `net` goes to the U-Net."""
        tokenizer = Tokenizer.train(captions, length)
        encoder = TextEncoder(len(tokenizer), length, d_ctx)
        unet = UNet(channels=shape[0], d_ctx=d_ctx, **net)
        return cls(tokenizer, encoder, Denoiser(unet, process or Cosine(), target, sigma_data), shape)

    @classmethod
    def from_config(cls, config: dict) -> TextToImage:
        """An untrained model as described by the `config` of another."""
        encoder = TextEncoder(**config["encoder"])
        net = dict(config["net"])
        denoiser = Denoiser(
            NETS[net.pop("class")](**net),
            PROCESSES[config["process"]](),
            config["target"],
            config["sigma_data"],
        )
        return cls(Tokenizer(config["words"], config["encoder"]["length"]), encoder, denoiser, config["shape"])

    @classmethod
    def load(cls, path: str | os.PathLike | None = None) -> TextToImage:
        """The model in this file, or the shipped MNIST model. Its card is in `.card`. Raises CheckpointError."""
        model, model_card = checkpoint.load_model(cls, path or Path(__file__).parent / "weights/mnist.safetensors")
        model.card = model_card
        return model

    @property
    def device(self) -> torch.device:
        return self.encoder.word.weight.device

    def forward(self, batch) -> Float[Tensor, ""]:
        """Mean loss of a `data.Batch` with captions.

        Every process draws the whole batch's times and noise and keeps its rows, so that two processes train
        what one would.
        """
        generator = batch.generator()
        t = self.denoiser.process.sample_t(batch.total, generator)[batch.rows]
        eps = torch.randn(batch.total, *batch.x0.shape[1:], generator=generator, device=batch.x0.device)[batch.rows]
        ctx = self.encoder(self.tokenizer(batch.captions).to(batch.x0.device))
        return self.denoiser.loss(batch.x0, ctx, t=t, eps=eps).mean()

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Float[Tensor, "b l d"]:
        """ctx of these prompts; raises UnknownWord."""
        return self.encoder(self.tokenizer(prompts).to(self.device))

    def walk(
        self,
        prompt: str | Sequence[str],
        negative: str | Sequence[str] = "",
        *,
        seed: int | Sequence[int] = 0,
        steps: int = 10,
        cfg_scale: float | Tensor = 2.0,
        interval: tuple[float, float] = (0.0, 1.0),
        sampler: Callable[..., Iterator[Step]] = dpmpp_2m,
        process: Process | None = None,
        **knobs,
    ) -> Iterator[Step]:
        """Yield each Step from noise to the picture of each prompt. Errors are raised at once, before a step.

        prompt: one, or b of them. negative: what to move away from, one for all or b of them.
        seed: one a picture, or the first, from which the others count up. steps: intervals of the time grid.
        cfg_scale: 1 turns guidance off. interval: the noise levels in which it acts.
        process: another clock to walk by than that of the training. knobs: for the sampler, such as eta.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        if not prompts:
            raise ValueError("at least one prompt is needed")
        negatives = [negative] * len(prompts) if isinstance(negative, str) else list(negative)
        seeds = [seed + i for i in range(len(prompts))] if isinstance(seed, int) else list(seed)
        if len(negatives) != len(prompts):
            raise ValueError(f"{len(prompts)} prompts, but {len(negatives)} negative prompts")
        if min(seeds, default=0) < 0:
            raise ValueError(f"a seed must be at least 0, got {min(seeds)}")
        denoiser = self.denoiser
        if process is not None:
            denoiser = Denoiser(denoiser.net, process, denoiser.target, denoiser.sigma_data)
            denoiser.precision = self.denoiser.precision
        process = denoiser.process
        ctx, null = self.encode(prompts + negatives).chunk(2)
        xt = process.prior((len(prompts), *self.shape), seeds).to(self.device)
        if "eta" in knobs:
            knobs.setdefault("seeds", seeds)
        # no_grad around each call and not around the loop: a yield would leak it
        denoise = torch.no_grad()(cfg(denoiser, ctx, null, cfg_scale, interval))
        return sampler(denoise, process, xt, process.timesteps(steps), **knobs)

    def draw(self, prompt: str | Sequence[str], negative: str | Sequence[str] = "", **settings) -> Tensor:
        """The pictures (b, c, h, w) in [-1, 1] of these prompts; settings as for `walk`."""
        *_, last = self.walk(prompt, negative, **settings)
        return last.x0.clamp(-1, 1)
