"""The recipes that are compared: minidiff's own and two that a learner would pick instead.

Each trains on the same 60,000 digits with PyTorch's defaults on the CPU, and draws with the samplers that it
names. Run as a command it is one contestant in a process of its own: benchmarks.peers does that.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from minidiff import TextToImage, data, ddim, recipes
from minidiff.train import measure_format, train

from . import common


@dataclass(frozen=True)
class Sampler:
    """A way to draw. slow: judged on few pictures, as many would take hours."""

    name: str
    draw: common.Draw
    slow: bool = False


class Minidiff:
    """The `mnist` recipe of minidiff/recipes.py."""

    title, conditional = "minidiff", True

    def __init__(self):
        recipe = recipes.RECIPES["mnist"]
        self.model, self.batches = recipe.objective(), recipe.stream(True)
        self.options = {k: v for k, v in recipe.options.items() if k not in ("steps", "seconds")}

    @property
    def net(self) -> nn.Module:
        return self.model.denoiser.net

    @property
    def samplers(self) -> list[Sampler]:
        name = "DPM-Solver++(2M), 10 steps, guidance"  # what draw does by default, and without guidance
        quick = [Sampler(f"{name} {scale}", drawer(self.model, scale)) for scale in (1, 2)]
        return [Sampler("DDPM, 25 steps, guidance 1", drawer(self.model, 1, sampler=ddim, eta=1.0, steps=25)), *quick]

    def train(self, seconds: float) -> dict:
        """The seconds include the choice of the number format, for which a learner waits too."""
        start = time.monotonic()
        fmt, _ = measure_format(self.model, next(iter(self.batches)))
        left = max(1.0, seconds - (time.monotonic() - start))
        losses = []
        for state in self.steps(seconds=left, format=fmt):
            losses.append(state.loss)
        self.model = state.ema
        return training(time.monotonic() - start, losses, state.images, self.model) | {"format": str(fmt)}

    def steps(self, **options):
        """The training, one State a step."""
        return train(self.model, self.batches, progress=False, device="cpu", **(self.options | options))


def drawer(model: TextToImage, guidance: float, **settings) -> common.Draw:
    """model.draw for labels: 7 is asked for as "a seven"."""

    def draw(labels: Tensor, seed: int) -> Tensor:
        prompts = [f"a{'n' if d == 8 else ''} {data.DIGIT_WORDS[d]}" for d in labels.tolist()]
        return model.draw(prompts, seed=seed, cfg_scale=guidance, **settings)

    return draw


class DiffusionClass:
    """Unit 2 of the Hugging Face diffusion models class: a class-conditional U-Net and DDPM."""

    title, conditional = "Hugging Face diffusion class", True
    batch_size = 128

    def __init__(self):
        from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, UNet2DModel

        torch.manual_seed(0)
        self.words = nn.Embedding(10, 4)  # a label is four constant channels beside the picture
        self.net = UNet2DModel(
            sample_size=28,
            in_channels=1 + 4,
            out_channels=1,
            layers_per_block=2,
            block_out_channels=(32, 64, 64),
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        )
        self.model = nn.ModuleList([self.net, self.words])
        self.ddpm = DDPMScheduler(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2")
        self.ddpm.set_timesteps(1000)
        self.solver = DPMSolverMultistepScheduler.from_config(self.ddpm.config)
        self.samplers = [Sampler("DPM-Solver++(2M), 25 steps", self.draw_25)]
        self.samplers += [Sampler("its own: DDPM, 1,000 steps", self.draw_ddpm, slow=True)]
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        digits = data.mnist(full=True)
        pairs = TensorDataset(data.to_float(digits.pixels), digits.labels)
        self.batches = endless(DataLoader(pairs, self.batch_size, shuffle=True))

    def answer(self, xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        channels = self.words(labels)[:, :, None, None].expand(-1, -1, *xt.shape[2:])
        return self.net(torch.cat([xt, channels], dim=1), t).sample

    def step(self) -> tuple[int, float]:
        x0, labels = next(self.batches)
        eps = torch.randn_like(x0)
        t = torch.randint(0, 999, (len(x0),))
        loss = F.mse_loss(self.answer(self.ddpm.add_noise(x0, eps, t), t, labels), eps)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return len(x0), loss.item()

    def train(self, seconds: float) -> dict:
        return train_for(seconds, self.step, self.model)

    def draw_25(self, labels: Tensor, seed: int) -> Tensor:
        self.solver.set_timesteps(25)
        return self.walk(self.solver, labels, seed)

    def draw_ddpm(self, labels: Tensor, seed: int, first: int = 1000) -> Tensor:
        """Its loop of 1,000 steps, or the `first` of them to time it by."""
        return self.walk(self.ddpm, labels, seed, first)

    @torch.no_grad()
    def walk(self, scheduler, labels: Tensor, seed: int, first: int | None = None) -> Tensor:
        torch.manual_seed(seed)
        xt = torch.randn(len(labels), 1, 28, 28)
        for t in scheduler.timesteps[:first]:
            xt = scheduler.step(self.answer(xt, t, labels), t, xt).prev_sample
        return xt


class SmallDiffusion:
    """smalldiffusion's examples/fashion_mnist_unet.py, on digits and so without its mirrored pictures."""

    title, conditional = "smalldiffusion", False

    def __init__(self, batch_size: int = 1024):
        from accelerate import Accelerator
        from smalldiffusion import Scaled, ScheduleLogLinear, Unet, training_loop

        torch.manual_seed(0)
        self.cpu = Accelerator(cpu=True)
        self.schedule = ScheduleLogLinear(sigma_min=0.01, sigma_max=20, N=800)
        self.model = Scaled(Unet)(28, 1, 1, ch=64, ch_mult=(1, 1, 2), attn_resolutions=(14,))
        self.average = torch.optim.swa_utils.AveragedModel(self.model, avg_fn=ema)
        self.net = self.average.module
        self.samplers = [Sampler("its own: gam=1.6, 20 steps", self.draw)]
        loader = DataLoader(data.to_float(data.mnist(full=True).pixels), batch_size, shuffle=True)
        self.loop = training_loop(loader, self.model, self.schedule, self.cpu, epochs=10**6, lr=7e-4)
        self.state = None

    def step(self) -> tuple[int, float]:
        self.state = self.state or next(self.loop)  # it yields between the loss and the step of a batch
        n, loss = len(self.state.x0), self.state.loss.item()
        self.state = next(self.loop)
        self.average.update_parameters(self.model)
        return n, loss

    def train(self, seconds: float) -> dict:
        return train_for(seconds, self.step, self.model)

    def draw(self, labels: Tensor, seed: int) -> Tensor:
        from smalldiffusion import samples

        torch.manual_seed(seed)
        sigmas = self.schedule.sample_sigmas(20)
        *_, x0 = samples(self.net, sigmas, gam=1.6, batchsize=len(labels), accelerator=self.cpu)
        return x0


def ema(average: Tensor, new: Tensor, n: Tensor) -> Tensor:
    """The moving average of that example (torch_ema with decay 0.999)."""
    return average.lerp(new, 1 - min(0.999, (1 + int(n)) / (10 + int(n))))


CONTESTANTS = {"minidiff": Minidiff, "diffusion-class": DiffusionClass, "smalldiffusion": SmallDiffusion}


def endless(loader: DataLoader):
    while True:
        yield from loader


def train_for(seconds: float, step: Callable[[], tuple[int, float]], model: nn.Module) -> dict:
    """Step until the time is over; the last step may run over it."""
    start, images, losses = time.monotonic(), 0, []
    while time.monotonic() - start < seconds:
        n, loss = step()
        images += n
        losses.append(loss)
    return training(time.monotonic() - start, losses, images, model)


def training(seconds: float, losses: list[float], images: int, model: nn.Module) -> dict:
    return {
        "seconds": seconds,
        "steps": len(losses),
        "images": images,
        "images_per_second": images / seconds,
        "first_loss": losses[0],
        "last_loss": statistics.mean(losses[-max(1, len(losses) // 10) :]),
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def drawn(contestant, sampler: Sampler, labels: Tensor, seed: int) -> tuple[Tensor, dict]:
    """The pictures, and what it took: network calls a picture, and seconds for 64 (median of 3)."""
    start = time.monotonic()
    with common.Calls(contestant.net) as calls:
        pixels = common.draw_many(sampler.draw, labels, seed)
    seconds = time.monotonic() - start
    if sampler.slow:
        seconds_64 = seconds * 64 / len(labels)
    else:
        seconds_64 = statistics.median(seconds_for_64(sampler.draw) for _ in range(3))
    took = {"calls": calls.images / len(labels), "seconds": seconds, "seconds_64": seconds_64}
    return pixels, {"sampler": sampler.name, "slow": sampler.slow} | took


def seconds_for_64(draw: common.Draw) -> float:
    labels, start = torch.arange(64) % 10, time.monotonic()
    draw(labels, 0)
    return time.monotonic() - start


def main() -> None:
    p = argparse.ArgumentParser("python -m benchmarks.contestants", description=__doc__)
    p.add_argument("name", choices=CONTESTANTS)
    p.add_argument("folder", type=Path, help="where the pictures and the numbers go")
    p.add_argument("--seconds", type=float, required=True)
    p.add_argument("--samples", type=int, required=True)
    p.add_argument("--own-sampler-samples", type=int, required=True)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--batch", type=int, help="smalldiffusion only")
    args = p.parse_args()

    contestant = CONTESTANTS[args.name](*([args.batch] if args.batch else []))
    _, asked = recipes.held_out_prompts(args.samples)
    result = {"title": contestant.title, "conditional": contestant.conditional}
    result |= {"training": contestant.train(args.seconds), "draws": []}
    for i, sampler in enumerate(contestant.samplers):
        n = args.own_sampler_samples if sampler.slow else args.samples
        pixels, took = drawn(contestant, sampler, asked.labels[:n], args.seed)
        np.save(args.folder / f"{i}.npy", pixels.numpy())
        result["draws"].append(took)
    (args.folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    with common.clear_errors():
        main()
