"""Quality over time: train painted digits from nothing on the processor and judge what is drawn on the way.

Everything counts: first the text encoder by the `words` recipe, then for latents a VAE by the `vae` recipe, for a fifth
of the time, then the denoiser by the `painted` or the `latent` recipe, in small batches. In pixels its training times
lie lower than in the recipe, which suits a short training.

The learning rate falls by the clock towards the end, as in any training by `seconds`; what is judged on the way is
the average of the weights at that moment. The pictures are drawn afterwards, so that drawing costs no training time.
About 45 minutes.

examples:
  python -m benchmarks.painted
  python -m benchmarks.painted --models latent --seconds 300 --samples 200
"""

from __future__ import annotations

import copy
import time

from torch import nn

from minidiff import Cosine, TextToImage, metrics, recipes
from minidiff.train import train

from . import common

SHARES = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)  # of the time, at which the weights are kept
OF_VAE = 0.2  # of the time
BATCHES = {"painted": 64, "latent": 128}  # what two cores get through; the recipes' own batches are for a GPU


def options(name: str, seconds: float | None) -> dict:
    """What a recipe hands to `train`: its own length, or so many seconds."""
    length = {} if seconds is None else {"steps": None, "seconds": seconds}
    return recipes.RECIPES[name].options | length | {"device": "cpu"}


def trained(name: str, seconds: float | None = None) -> nn.Module:
    """What this recipe trains from nothing."""
    recipe = recipes.RECIPES[name]
    for state in train(recipe.objective(), recipe.stream(True), **options(name, seconds)):
        pass
    recipe.finish(state.ema, True)
    return state.ema


def curve(name: str, total: float) -> tuple[list[tuple[float, int, TextToImage]], str]:
    """(seconds, images, model) on the way, and the format of the training."""
    start = time.monotonic()
    encoder = trained("words").encoder
    if name == "latent":
        model = recipes.latent_model(trained("vae", OF_VAE * total), encoder=encoder)
    else:
        model = recipes.painted_model((3, 32, 32), encoder=encoder, process=Cosine(mean=0.3, std=1.4))
    before = time.monotonic() - start
    times = [share * total for share in SHARES if share * total > before]
    stream, kept = recipes.RECIPES[name].stream(True, BATCHES[name]), []
    for state in train(model, stream, **options(name, total - before)):
        if before + state.seconds >= times[len(kept)] and len(kept) < len(times) - 1:
            kept.append((before + state.seconds, state.images, copy.deepcopy(state.ema)))
    return [*kept, (before + state.seconds, state.images, state.ema)], str(state.format)


def main() -> None:
    p = common.parser("benchmarks.painted", __doc__)
    p.add_argument("--models", nargs="+", choices=list(BATCHES), default=list(BATCHES))
    p.add_argument("--seconds", type=float, default=1200, help="of training, words and VAE included (default: 1200)")
    p.add_argument("--samples", type=common.samples, default=500, help="at each time (default: 500)")
    args = p.parse_args()

    here, judge = common.machine(), metrics.Judge.load()
    prompts, asked = recipes.painted_prompts(args.samples, "seen")
    result: dict = {"n": args.samples, "models": {}}
    for name in args.models:
        print(f"\n{name}")
        kept, fmt = curve(name, args.seconds)
        rows: list[dict] = []
        for seconds, images, model in kept:
            drawn = recipes.draw_many(model, prompts, **recipes.WALKS[recipes.best_walk(model)])
            shares = metrics.adherence_by_attribute(asked, judge(drawn))
            rows.append({"seconds": seconds, "images": images, "shares": shares})
            line = ", ".join(f"{attribute} {share:.1%}" for attribute, share in shares.items())
            print(f"{seconds:5.0f} s, {images:,} images: {line}", flush=True)
        told = {"sampler": recipes.best_walk(model), "batch": BATCHES[name], "format": fmt}
        result["models"][name] = told | {"rows": rows}
    common.save(args.out, args, here, result)


if __name__ == "__main__":
    with common.clear_errors():
        main()
