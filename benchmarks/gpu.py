"""What a GPU does: the `mnist` recipe by the clock, and training speed against a network of diffusers.

The digits are judged as the card of the shipped weights is. The two networks have about as many parameters, the same
pictures, number format, batch size and optimizer (PyTorch's fused AdamW), and take turns in one process, so that
each round gives one ratio. About 1 minute; --compile compares them translated by torch.compile as well.

examples:
  python -m benchmarks.gpu
  python -m benchmarks.gpu --seconds 25 --batch-size 512 --rounds 5
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from minidiff import data, recipes
from minidiff.train import Format, best_device, train

from . import common
from .speed import images_per_second, spreads, take_turns, told

FORMAT = Format("bfloat16", channels_last=True)


def mnist(seconds: float, batch_size: int) -> dict:
    """The recipe from nothing for so long, the start of its workers included, and its quality."""
    recipe = recipes.RECIPES["mnist"]
    start = time.monotonic()
    torch.manual_seed(recipe.seed)
    stream = replace(recipe.stream(True, batch_size), workers=4)
    options = recipe.options | {"steps": None, "seconds": seconds}
    for state in train(recipe.objective(), stream, format=FORMAT, progress=False, **options):
        pass
    took = time.monotonic() - start
    about = {"seconds": took, "steps": state.step, "images": state.images, "batch": batch_size, "format": str(FORMAT)}
    return about | {"quality": recipe.measure(state.ema.eval())}


def theirs() -> nn.Module:
    """UNet2DModel of diffusers, about as large as the network of the `mnist` recipe."""
    from diffusers import UNet2DModel

    return UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(32, 56),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        attention_head_dim=8,
    )


def stepper(net: nn.Module, answer: Callable[[nn.Module, Tensor, Tensor], Tensor], x: Tensor) -> Callable[[], int]:
    """Ten training steps of this network on pictures x (b c h w): forward, backward, AdamW. Returns 10 b, once done."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, fused=True)
    t = torch.rand(len(x), device=x.device)

    def steps() -> int:
        for _ in range(10):
            with torch.autocast(x.device.type, torch.bfloat16):
                loss = (answer(net, x, t).float() - x).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        torch.cuda.synchronize()  # only then is the clock to be read
        return 10 * len(x)

    return steps


def speed(rounds: int, seconds: float, batch_size: int, ways: list[str]) -> dict:
    device = best_device()
    model = recipes.RECIPES["mnist"].objective().to(device)
    pixels = data.mnist().pixels[:batch_size]
    x = data.to_float(pixels).to(device).contiguous(memory_format=torch.channels_last)
    ctx = model.encode(["a seven"]).detach().expand(len(x), -1, -1)
    nets = [model.denoiser.net, theirs().to(device)]
    answers = [lambda net, x, t: net(x, t, ctx), lambda net, x, t: net(x, 999 * t).sample]
    result: dict = {"parameters": [sum(p.numel() for p in net.parameters()) for net in nets], "batch": batch_size}
    for how in ways:
        steps = []
        for net, answer in zip(nets, answers, strict=True):
            own = copy.deepcopy(net).to(memory_format=torch.channels_last)
            if how == "compiled":
                own.compile()
            steps.append(stepper(own, answer, x))
            images_per_second(steps[-1], 1.0)
        pairs = take_turns(rounds, *(lambda step=step: images_per_second(step, seconds) for step in steps))
        result[how] = spreads(pairs, lambda a, b: a / b)
        mine, peer, ratio = map(told, result[how].values())
        print(f"{how}: {mine} images/s against {peer}, ratio {ratio}", flush=True)
    return result


def main() -> None:
    p = common.parser("benchmarks.gpu", __doc__)
    p.add_argument("--seconds", type=float, default=25, help="of the mnist recipe (default: 25)")
    p.add_argument("--batch-size", type=common.count, default=512, help="default: 512")
    p.add_argument("--rounds", type=common.count, default=3, help="of the comparison, after one (default: 3)")
    p.add_argument("--round-seconds", type=float, default=2, help="of training by each (default: 2)")
    p.add_argument("--compile", action="store_true", help="compare them compiled as well: two minutes more")
    args = p.parse_args()
    if best_device().type != "cuda":
        p.error("there is no NVIDIA GPU here that PyTorch can use")

    here = common.machine()
    result: dict = {"gpu": torch.cuda.get_device_name(), "mnist": mnist(args.seconds, args.batch_size)}
    print(result["mnist"], flush=True)
    result["training"] = speed(
        args.rounds, args.round_seconds, args.batch_size, ["eager"] + ["compiled"] * args.compile
    )
    common.save(args.out, args, here, result)


if __name__ == "__main__":
    with common.clear_errors():
        main()
