"""What guidance and steps do to painted digits: adherence, Frechet distance, precision and recall of the shipped model.

The same prompts and seeds everywhere. Guidance from 1 to 8 at 10 steps; every sampler from 1 to 50 steps at guidance 3,
beside 100 steps of the same. About 25 minutes.

examples:
  python -m benchmarks.guidance
  python -m benchmarks.guidance --samples 200 --steps 5 10 --samplers dpmpp_2m
"""

from __future__ import annotations

import minidiff
from minidiff import TextToImage, metrics, recipes

from . import common
from .steps import MANY, SAMPLERS

GUIDANCE, STEPS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0), (1, 2, 5, 10, 20, 50)


def main() -> None:
    p = common.parser("benchmarks.guidance", __doc__)
    p.add_argument("--model", choices=["painted", "latent"], default="painted")
    p.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=list(SAMPLERS))
    p.add_argument("--steps", nargs="+", type=common.count, default=list(STEPS), help="default: 1 2 5 10 20 50")
    p.add_argument("--samples", type=common.samples, default=500, help="in each row (default: 500)")
    args = p.parse_args()

    here, judge, liken = common.machine(), metrics.Judge.load(), recipes.painted_likener(args.samples)
    model = TextToImage.load(args.model)
    prompts, asked = recipes.painted_prompts(args.samples, "seen")
    result: dict = {"model": args.model, "n": args.samples, "guidance": [], "steps": []}

    def row(table: str, **settings) -> None:
        sampler = settings.pop("sampler", "dpmpp_2m")
        with common.Calls(model.denoiser.net) as calls:
            drawn = recipes.draw_many(model, prompts, sampler=getattr(minidiff, sampler), **settings)
        shares, like = metrics.adherence_by_attribute(asked, judge(drawn)), vars(liken(drawn))
        told = {"sampler": sampler, "calls": calls.images / len(prompts), "shares": shares} | settings | like
        result[table].append(told)
        print(
            f"{sampler} {settings['steps']:3} steps, guidance {settings['cfg_scale']:g}: digit {shares['digit']:.1%}, "
            f"all {shares['all']:.1%}, Frechet {like['frechet_distance']:.2f} (floor {like['floor']:.2f}), "
            f"precision {like['precision']:.2f}, recall {like['recall']:.2f}",
            flush=True,
        )

    for scale in GUIDANCE:
        row("guidance", steps=10, cfg_scale=scale)
    for sampler in args.samplers:
        for steps in [*args.steps, MANY]:
            row("steps", sampler=sampler, steps=steps, cfg_scale=3.0)
    common.save(args.out, args, here, result)


if __name__ == "__main__":
    with common.clear_errors():
        main()
