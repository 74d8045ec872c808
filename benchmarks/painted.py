"""Quality over time: train minidiff's `painted` recipe from nothing and judge what it draws on the way.

The time begins with the `words` recipe, which trains the text encoder.

The learning rate falls by the clock towards the end, as in any training by `seconds`; what is judged on the way is
the average of the weights at that moment. The pictures are drawn afterwards, so that drawing costs no training time.
About 25 minutes.

examples:
  python -m benchmarks.painted
  python -m benchmarks.painted --seconds 300 --samples 200
"""

from __future__ import annotations

import copy

from minidiff import metrics, recipes, viz
from minidiff.train import train

from . import common

SHARES = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)  # of the time, at which the weights are kept


def main() -> None:
    p = common.parser("benchmarks.painted", __doc__)
    p.add_argument("--seconds", type=float, default=1200, help="of training, words included (default: 1200)")
    p.add_argument("--samples", type=common.samples, default=500, help="at each time (default: 500)")
    args = p.parse_args()

    here, judge = common.machine(), metrics.Judge.load()
    words, recipe = recipes.RECIPES["words"], recipes.RECIPES["painted"]
    prompts, asked = recipes.painted_prompts(args.samples, "seen")
    options = {k: v for k, v in recipe.options.items() if k != "steps"}
    times, kept = [share * args.seconds for share in SHARES], []
    for state in train(words.objective(), words.stream(True), device="cpu", **words.options):
        pass
    before, model = state.seconds, recipes.painted_model((3, 32, 32), encoder=state.ema.encoder)
    stream = recipe.stream(True, 64)  # what two cores get through; the recipe's own batch is for a GPU
    for state in train(model, stream, seconds=args.seconds - before, device="cpu", **options):
        if before + state.seconds >= times[len(kept)] and len(kept) < len(times) - 1:
            kept.append((before + state.seconds, state.images, copy.deepcopy(state.ema)))
    kept.append((before + state.seconds, state.images, state.ema))

    result: dict = {"n": args.samples, "format": str(state.format), "rows": []}
    for seconds, images, model in kept:
        drawn = recipes.draw_many(model, prompts)
        shares = metrics.adherence_by_attribute(asked, judge(drawn))
        result["rows"].append({"seconds": seconds, "images": images, "shares": shares})
        told = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
        print(f"{seconds:5.0f} s, {images:,} images: {told}", flush=True)
    common.save(args.out, args, here, result)
    viz.save_png(viz.grid(drawn[:60], columns=12), args.out.with_suffix(".png"))


if __name__ == "__main__":
    with common.clear_errors():
        main()
