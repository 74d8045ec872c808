"""Quality per minute: train minidiff's `mnist` recipe from nothing for some seconds and judge what it draws.

Trains on the full MNIST (MINIDIFF_DATA), draws the labels of held-out digits as prompts ("a seven") at
guidance 1 and 2, and prints how many are read as what was asked for, and their Frechet distance to the
training digits beside that of the held-out digits themselves. About 10 minutes.

examples:
  python -m benchmarks.quality
  python -m benchmarks.quality --seconds 600 --out /tmp/quality.json
"""

from __future__ import annotations

from minidiff import data, viz

from . import common
from .contestants import Minidiff, drawn


def main() -> None:
    p = common.parser("benchmarks.quality", __doc__)
    p.add_argument("--seconds", type=float, default=300, help="of training (default: 300)")
    p.add_argument("--samples", type=common.samples, default=5000, help="at each guidance (default: 5000)")
    p.add_argument("--seed", type=int, default=0, help="of the drawn noise; the recipe fixes its own (default: 0)")
    args = p.parse_args()

    here = common.machine()
    judge = common.Judge(args.samples)  # first, so that a missing file is told before the training
    print(f"Training minidiff for {args.seconds:g} s ...", flush=True)
    model = Minidiff()
    trained = model.train(args.seconds)
    print("{images:,} images in {seconds:.0f} s: {images_per_second:,.0f} a second.".format(**trained))
    result = {"training": trained} | judge.about(args.samples) | {"draws": []}
    floor = result["floor"]
    print(f"n = {floor['n']:,}, features: {result['features']}, reference: {result['reference']}")
    print(f"floor: real held-out digits have Frechet distance {floor['frechet']:.4f}", flush=True)
    for sampler in model.samplers:
        pixels, took = drawn(model, sampler, judge.asked, args.seed)
        score = judge.score(pixels)
        result["draws"].append(took | {"score": score})
        print(
            f"{sampler.name}: adherence {score['adherence']:.2%}, Frechet distance {score['frechet']:.4f} "
            f"({score['ratio']:.2f} times the floor), {took['calls']:g} network calls a picture",
            flush=True,
        )
    common.save(args.out, args, here, result)
    by_digit = [(judge.asked == digit).nonzero().flatten().tolist()[:12] for digit in range(10)]
    shown = [i for row in zip(*by_digit, strict=False) for i in row]
    if shown:  # the digits 0 to 9 from left to right, at guidance 2
        sheet = viz.grid(data.to_float(pixels[shown]), columns=10, scale=1)
        viz.save_png(sheet, args.out.with_suffix(".png"))


if __name__ == "__main__":
    with common.clear_errors():
        main()
