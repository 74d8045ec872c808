"""What painted digits obey: full prompts, new combinations, negative prompts, inpainting; pixels against latents.

Draws with the shipped weights, 20 network calls a picture, by the best walk known for each model, and judges every
attribute. Pixel and latent model take turns in the timing. The first prompts of the first model become a picture,
unchosen. About 5 minutes.

examples:
  python -m benchmarks.prompts
  python -m benchmarks.prompts --models painted --samples 200
"""

from __future__ import annotations

import itertools
import textwrap
import time

import torch

from minidiff import TextToImage, data, metrics, painted, recipes, viz

from . import common

NEGATIVE = "red"


def full_prompts(model: TextToImage, walk: dict, judge: metrics.Judge, liken: metrics.Likener, n: int) -> dict:
    """Adherence by attribute to prompts that say everything, in seen and in unseen combinations of digit and ink."""
    result = {}
    for inks in ("seen", "unseen"):
        prompts, asked = recipes.painted_prompts(n, inks)
        drawn = recipes.draw_many(model, prompts, **walk)
        result[inks] = metrics.adherence_by_attribute(asked, judge(drawn))
        if inks == "seen":
            result["likeness"] = vars(liken(drawn))
    return result


def negative_prompt(model: TextToImage, walk: dict, judge: metrics.Judge, n: int) -> dict:
    """How many digits are red where the prompt leaves the ink open, without and with the negative prompt "red"."""
    red = list(painted.COLOURS).index(NEGATIVE)
    papers = (paper for paper in range(len(painted.COLOURS)) if paper != red)
    rows = torch.full((n, len(painted.ATTRIBUTES)), painted.UNSAID)
    said = torch.tensor(list(itertools.product(range(10), papers)))
    rows[:, [painted.DIGIT, painted.PAPER]] = said[torch.arange(n) % len(said)]
    prompts, asked = [painted.full_caption(row) for row in rows.tolist()], rows
    result = {}
    for negative in ("", NEGATIVE):
        seen = judge(recipes.draw_many(model, prompts, negative=negative, **walk))
        share = float((seen[:, painted.INK] == red).float().mean())
        result[negative or "none"] = {"red": share} | metrics.adherence_by_attribute(asked, seen)
    return result


def inpainting(model: TextToImage, walk: dict, judge: metrics.Judge, n: int) -> dict:
    """A large digit within a known frame of paper, and the lower half of a digit whose upper half is known."""
    real = painted.painted_digits(full=True, split="held_out", variants=1, seed=3, clear=True)
    found = real.attributes(torch.arange(len(real)))
    rows = ((found[:, painted.SIZE] == 1) & (found != painted.UNSAID).all(1)).nonzero()[:n, 0]
    pictures = data.to_float(real[rows].pixels)
    prompts = [painted.full_caption(row) for row in found[rows].tolist()]
    asked = torch.tensor([painted.asked(p) for p in prompts])
    frame = torch.ones(painted.SIDE, painted.SIDE, dtype=torch.bool)
    frame[2:-2, 2:-2] = False
    upper = (torch.arange(painted.SIDE) < painted.SIDE // 2)[:, None].expand(-1, painted.SIDE)
    result = {}
    for name, mask in (("frame", frame), ("upper half", upper)):
        drawn = torch.cat(
            [
                model.inpaint(pictures[i : i + 250], mask, prompts[i : i + 250], seed=i, **walk)
                for i in range(0, len(prompts), 250)
            ]
        )
        exact = torch.equal(drawn[:, :, mask], pictures[:, :, mask])
        result[name] = {"n": len(rows), "exact": exact} | metrics.adherence_by_attribute(asked, judge(drawn))
    return result


def timing(models: dict[str, TextToImage], rounds: int) -> dict:
    """Seconds for 64 pictures of each model, taking turns, and the ratio of the first to each."""
    prompts, _ = recipes.painted_prompts(64, "seen")
    seconds: dict[str, list[float]] = {name: [] for name in models}
    walks = {name: recipes.WALKS[recipes.best_walk(model)] for name, model in models.items()}
    for i in range(rounds + 1):
        for name, model in models.items():
            start = time.perf_counter()
            model.draw(prompts, seed=i, **walks[name])
            if i:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
    first = next(iter(seconds.values()))
    ratios = {name: [a / b for a, b in zip(first, times, strict=True)] for name, times in seconds.items()}
    return {name: {"seconds": common.spread(seconds[name]), "ratio": common.spread(ratios[name])} for name in models}


def main() -> None:
    p = common.parser("benchmarks.prompts", __doc__)
    p.add_argument("--models", nargs="+", choices=["painted", "latent"], default=["painted", "latent"])
    p.add_argument("--samples", type=common.samples, default=1000, help="of each kind (default: 1000)")
    p.add_argument("--rounds", type=common.count, default=5, help="of timing (default: 5)")
    args = p.parse_args()

    here, judge, liken = common.machine(), metrics.Judge.load(), recipes.painted_likener(args.samples)
    models = {name: TextToImage.load(name) for name in args.models}
    result: dict = {"n": args.samples, "timing": timing(models, args.rounds), "models": {}}
    for name, model in models.items():
        best = recipes.best_walk(model)
        walk = recipes.WALKS[best]
        told = result["models"][name] = {"sampler": best}
        told |= full_prompts(model, walk, judge, liken, args.samples)
        told |= {"negative": negative_prompt(model, walk, judge, args.samples)}
        told |= {"inpainting": inpainting(model, walk, judge, min(args.samples, 500))}
        print(f"\n{name}: {result['timing'][name]['seconds']['median']:.2f} s for 64 pictures")
        for inks in ("seen", "unseen"):
            print(f"{inks} inks: " + ", ".join(f"{key} {share:.1%}" for key, share in told[inks].items()))
        like = told["likeness"]
        print(
            "recall {recall:.2f}, precision {precision:.2f}, Frechet {frechet_distance:.2f} ({floor:.2f})".format(
                **like
            )
        )
        for negative, found in told["negative"].items():
            print(f"negative prompt {negative}: {found['red']:.1%} red, digit {found['digit']:.1%}")
        for mask, found in told["inpainting"].items():
            print(
                f"inpainting, {mask} known: exact {found['exact']}, all {found['all']:.1%}, digit {found['digit']:.1%}"
            )
    common.save(args.out, args, here, result)
    shown, _ = recipes.painted_prompts(15, "seen")
    model = next(iter(models.values()))
    drawn = model.draw(shown, seed=0, **recipes.WALKS[recipes.best_walk(model)])
    sheet = viz.captioned(drawn, [textwrap.fill(prompt, 24) for prompt in shown], columns=5, scale=4)
    viz.save_png(sheet.quantize(viz.COLOURS), args.out.with_suffix(".png"))


if __name__ == "__main__":
    with common.clear_errors():
        main()
