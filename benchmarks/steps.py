"""What a step is worth: quality of the shipped weights by sampler and number of steps, beside 100 steps.

Adherence at guidance 2 and Frechet distance at guidance 1, from the same prompts and seeds everywhere, so
that rows differ by the solver's error alone. About 15 minutes.

examples:
  python -m benchmarks.steps
  python -m benchmarks.steps --samplers dpmpp_2m --steps 4 6 8 10 12 --samples 5000
"""

from __future__ import annotations

import time

import minidiff
from minidiff import TextToImage

from . import common
from .contestants import drawer

MANY = 100
SAMPLERS = ("dpmpp_2m", "ddim", "euler", "heun")


def measure(model: TextToImage, judge: common.Judge, sampler: str, steps: int, seed: int) -> dict:
    settings = {"sampler": getattr(minidiff, sampler), "steps": steps}
    start = time.monotonic()
    with common.Calls(model.denoiser.net) as calls:
        pixels = common.draw_many(drawer(model, 1, **settings), judge.asked, seed)
    per_64 = (time.monotonic() - start) * 64 / len(pixels)
    plain = judge.score(pixels)
    guided = judge.score(common.draw_many(drawer(model, 2, **settings), judge.asked, seed))
    return {
        "sampler": sampler,
        "steps": steps,
        "calls": calls.images / len(pixels),
        "seconds_64": per_64,
        "adherence": guided["adherence"],
        "frechet": plain["frechet"],
        "ratio": plain["ratio"],
    }


def main() -> None:
    p = common.parser("benchmarks.steps", __doc__)
    p.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=["dpmpp_2m", "ddim", "heun"])
    p.add_argument("--steps", nargs="+", type=common.count, default=[5, 10, 20], help="default: 5 10 20")
    p.add_argument("--many", type=common.count, default=MANY, help=f"to compare with (default: {MANY})")
    p.add_argument("--samples", type=common.samples, default=1000, help="at each guidance (default: 1000)")
    p.add_argument("--seed", type=int, default=0, help="of the drawn noise (default: 0)")
    args = p.parse_args()

    here = common.machine()
    model, judge = TextToImage.load(), common.Judge(args.samples)
    result = judge.about(args.samples) | {"many": args.many, "rows": []}
    print(f"floor: Frechet distance {result['floor']['frechet']:.4f} of {args.samples:,} real digits")
    for sampler in args.samplers:
        most = measure(model, judge, sampler, args.many, args.seed)
        rows = [measure(model, judge, sampler, n, args.seed) for n in args.steps if n != args.many]
        for row in [*rows, most]:
            row["adherence_change"] = row["adherence"] / most["adherence"] - 1
            row["frechet_change"] = row["frechet"] / most["frechet"] - 1
            result["rows"].append(row)
            print(
                "{sampler} {steps:3}: adherence {adherence:.2%} ({adherence_change:+.1%}), Frechet distance "
                "{frechet:.4f} ({frechet_change:+.1%})".format(**row),
                flush=True,
            )
    common.save(args.out, args, here, result)


if __name__ == "__main__":
    with common.clear_errors():
        main()
