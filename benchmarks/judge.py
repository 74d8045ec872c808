"""How far the judge can be trusted: its confusion matrices on real painted digits that nobody trained on.

Rows are what a picture shows, columns what the judge sees, of all inks. About a minute.

examples:
  python -m benchmarks.judge
  python -m benchmarks.judge --samples 2000
"""

from __future__ import annotations

import torch

from minidiff import data, metrics, painted, recipes

from . import common


def confusion(truth: torch.Tensor, seen: torch.Tensor, column: int) -> list[list[int]]:
    """counts[i][j]: pictures that show value i and are seen as j, of the attribute in this column."""
    k = len(list(painted.ATTRIBUTES.values())[column])
    counts = torch.bincount(truth[:, column] * k + seen[:, column], minlength=k * k)
    return counts.view(k, k).tolist()


def main() -> None:
    p = common.parser("benchmarks.judge", __doc__)
    p.add_argument("--samples", type=common.samples, default=10_000, help="held-out digits (default: 10000)")
    args = p.parse_args()

    here, judge = common.machine(), metrics.Judge.load()
    real = recipes.held_out_painted(args.samples)
    seen = judge(data.to_float(real.pixels))
    shares = metrics.adherence_by_attribute(real.labels, seen)
    result = {"n": len(real), "on": real.name, "shares": shares, "confusion": {}}
    for column, (name, values) in enumerate(painted.ATTRIBUTES.items()):
        counts = result["confusion"][name] = confusion(real.labels, seen, column)
        print(f"\n{name}: {shares[name]:.2%} of {len(real):,}")
        width = max(map(len, values)) + 2
        print(" " * width + "".join(f"{value:>{width}}" for value in values))
        for value, row in zip(values, counts, strict=True):
            print(f"{value:>{width}}" + "".join(f"{n:>{width},}" for n in row))
    print(f"\nall of them: {shares['all']:.2%}")
    common.save(args.out, args, here, result)


if __name__ == "__main__":
    with common.clear_errors():
        main()
