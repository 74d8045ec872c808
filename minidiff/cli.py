"""The command line: minidiff lab | playground | export | demo | train | sample | progress | grade | doctor."""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

EPILOG = """examples:
  minidiff lab                                    open the course
  minidiff playground                             one page to draw with, for a projector
  minidiff demo --seconds 60                      train from nothing, watch noise become digits
  minidiff sample "a seven" --out seven.png       draw with the shipped model
  minidiff train mnist                            make the shipped weights again
  minidiff progress                               which exercises are solved
  minidiff grade submissions/ --jobs 2            grade a class
  minidiff doctor                                 what a bug report needs

`minidiff COMMAND --help` shows more of each."""
SAMPLERS = ("dpmpp_2m", "ddim", "euler", "heun")
DRAWING = {  # the usual settings of `sample`
    "negative": "",
    "seed": 0,
    "steps": 10,
    "guidance": 2.0,
    "sampler": "dpmpp_2m",
    "eta": 0.0,
    "scale": 8,
}
# As in recipes.py, which would import torch before the help is shown.
RECIPE_NAMES = ("digits", "mnist", "judge", "attributes", "words", "painted", "vae", "latent", "photos", "cifar10")


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, got {text}")
    return value


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="minidiff",
        description="How AI generates images, by building every part.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, about: str, examples: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=about,
            description=about[0].upper() + about[1:] + ".",
            epilog=f"examples:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    p = add("lab", "open the course in JupyterLab", "  minidiff lab\n  minidiff lab --no-browser --port 8899")
    p.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    p.add_argument("--port", type=positive, help="default: a free one")
    p.add_argument("notebook", nargs="?", help="file in notebooks/, or playground; default: the map of the course")
    p.set_defaults(run=run_lab)

    p = add(
        "playground",
        "draw in one page without code, for a classroom projector",
        "  minidiff playground\n  minidiff lab playground                  the same as a notebook",
    )
    p.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    p.add_argument("--port", type=positive, help="default: a free one")
    p.set_defaults(run=run_playground)

    p = add(
        "export",
        "write a notebook as one page that needs no kernel and no network",
        "  minidiff export notebooks/00_start_here.ipynb\n"
        "  minidiff export notebooks/00_start_here.ipynb --out lesson.html",
    )
    p.add_argument("notebook", type=Path, help="a notebook that was run and saved")
    p.add_argument("--out", type=Path, help="page to write (default: the notebook's name with .html, here)")
    p.set_defaults(run=run_export)

    p = add(
        "demo",
        "train a small model from nothing on the embedded digits, then draw with it",
        "  minidiff demo\n  minidiff demo --seconds 300 --out strip.png",
    )
    p.add_argument("--seconds", type=float, default=60.0, help="of training (default: 60)")
    p.add_argument("--seed", type=natural, default=0)
    p.add_argument("--out", type=Path, default=Path("demo.png"), help="film strip (default: demo.png)")
    p.set_defaults(run=run_demo)

    p = add(
        "train",
        "follow a recipe: train, measure, and write weights with their card",
        "  minidiff train mnist                     into runs/mnist/\n"
        "  minidiff train mnist --resume            go on after an interruption\n"
        "  minidiff train mnist --data sample       on the embedded digits\n"
        "  torchrun --nproc-per-node 2 -m minidiff.cli train mnist\n"
        "  minidiff train mnist --batch-size 512 --seconds 25 --compile    on a GPU",
    )
    p.add_argument("recipe", help=f"one of {', '.join(RECIPE_NAMES)}")
    p.add_argument("--data", choices=["full", "sample"], default="full", help="all of MNIST, or the embedded digits")
    p.add_argument("--download", action="store_true", help="fetch MNIST or CIFAR-10 if it is not there")
    length = p.add_mutually_exclusive_group()
    length.add_argument("--steps", type=positive, help="other than the recipe's")
    length.add_argument("--seconds", type=positive, help="train by the clock, in place of steps")
    p.add_argument("--batch-size", type=positive, help="pictures a step, other than the recipe's")
    p.add_argument("--compile", action="store_true", help="by torch.compile: a minute at first, then faster")
    p.add_argument("--out", type=Path, help="folder (default: runs/RECIPE)")
    p.add_argument("--resume", action="store_true", help="go on from the checkpoint in the folder")
    p.set_defaults(run=run_train)

    p = add(
        "sample",
        "draw pictures from prompts",
        '  minidiff sample "a seven" --out seven.png\n'
        '  minidiff sample "a seven" --negative "a one" --seed 3 --steps 10 --strip steps.png\n'
        '  minidiff sample "a one" "a two" "a three" --out three.png\n'
        "  minidiff sample --like seven.png --out again.png        the same picture once more",
    )
    p.add_argument("prompt", nargs="*", help="what to draw; several give a grid")
    p.add_argument("--negative", help="what to move away from")
    p.add_argument("--seed", type=natural, help="of the first picture; the others count up (default: 0)")
    p.add_argument("--steps", type=positive, help="of the sampler (default: 10)")
    p.add_argument("--guidance", type=float, help="1 turns it off (default: 2)")
    p.add_argument("--sampler", choices=SAMPLERS, help="default: dpmpp_2m")
    p.add_argument("--eta", type=float, help="ddim only: 1 is DDPM (default: 0)")
    p.add_argument("--weights", default="mnist", help="a shipped model, or a file (default: mnist)")
    p.add_argument("--out", type=Path, default=Path("sample.png"), help="picture to write (default: sample.png)")
    p.add_argument("--strip", type=Path, help="also write all steps as a film strip")
    p.add_argument("--scale", type=positive, help="pixels a pixel (default: 8)")
    p.add_argument("--like", type=Path, help="draw this picture again: prompt, seed and settings come from it")
    p.set_defaults(run=run_sample)

    p = add("progress", "show which exercises are solved", "  minidiff progress")
    p.set_defaults(run=run_progress)

    p = add(
        "grade",
        "grade the exercises of a class",
        "  minidiff grade submissions/ --jobs 2                one notebook or folder a learner, into grades/\n"
        "  minidiff grade submissions/ --only 2 3.1             lesson 2, and exercise 3.1\n"
        '  minidiff grade --override ann 2.1 3 --by "A. Teacher" --because "shown at the board"\n'
        "Run it again to go on after an interruption: what is graded stays. See exercises/TEACHING.md.",
    )
    p.add_argument("submissions", type=Path, nargs="?", help="folder with one notebook or one folder a learner")
    p.add_argument("--jobs", type=positive, default=1, help="workers at a time (default: 1)")
    p.add_argument("--only", nargs="+", metavar="ID", help="lessons or exercises (default: all)")
    p.add_argument("--out", type=Path, default=Path("grades"), help="folder of the gradebook (default: grades)")
    p.add_argument("--seed", type=positive, help="of the cases (default: drawn once, kept in the gradebook)")
    p.add_argument("--bank", type=Path, help="folder of the exercises' sources (default: exercises/src)")
    p.add_argument("--trust-submissions", action="store_true", help="grade where there is no sandbox")
    p.add_argument("--quiet", action="store_true", help="no progress bars")
    p.add_argument("--override", nargs=3, metavar=("LEARNER", "ID", "POINTS"), help="a grade by hand")
    p.add_argument("--by", default="", help="who overrides")
    p.add_argument("--because", default="", help="why")
    p.set_defaults(run=run_grade)

    p = add("doctor", "print what a bug report needs, and what to mend", "  minidiff doctor")
    p.set_defaults(run=run_doctor)
    return top


def run_lab(args) -> int:
    from .lab import lab

    return lab(browser=not args.no_browser, port=args.port, notebook=args.notebook)


def run_playground(args) -> int:
    from .lab import playground

    return playground(browser=not args.no_browser, port=args.port)


def run_export(args) -> int:
    from .export import export

    out = export(args.notebook, args.out or Path(f"{args.notebook.stem}.html"))
    print(f"Wrote {out} ({out.stat().st_size / 1e6:.2f} MB). It opens in any browser, without a network.")
    return 0


def run_doctor(args) -> int:
    from .doctor import doctor

    return doctor()


def run_progress(args) -> int:
    from .grading.checking import table

    print(table())
    return 0


def run_grade(args) -> int:
    from .grading import reports
    from .grading.checking import tasks
    from .grading.grade import grade
    from .grading.gradebook import Gradebook

    if args.override:
        learner, exercise, points = args.override
        book = Gradebook(args.out / "gradebook.sqlite")
        book.override(learner, exercise, float(points), args.by, args.because)
    elif args.submissions is None:
        raise ValueError("whose work? For example: minidiff grade submissions/")
    else:
        chosen = (args.jobs, args.only, args.seed, args.bank, args.trust_submissions, not args.quiet)
        book = grade(args.submissions, args.out, *chosen)
    titles = {id: task["title"] for id, task in tasks().items()}
    states = reports.write_all(book, args.out, titles, not args.quiet)
    book.close()
    print(", ".join(f"{n} {state}" for state, n in states.most_common()) + ".")
    print(f"Wrote {args.out}/gradebook.csv, and a report for each learner in {args.out}/learners.")
    if states["infra"]:
        print(f"{states['infra']} answers are ungraded: run the same command again.", file=sys.stderr)
    return 2 if states["infra"] else 0


def run_demo(args) -> int:
    import torch

    from . import data, viz
    from .pipeline import TextToImage
    from .train import best_device, train

    if not args.seconds > 0:
        raise ValueError(f"--seconds must be positive, got {args.seconds}")
    torch.manual_seed(args.seed)
    model = TextToImage.new(data.all_digit_captions(), widths=(32, 64), blocks=1)
    digits = data.mnist().to(best_device())
    print(f"Training from nothing for {args.seconds:g} s on {len(digits):,} digits, on {best_device()}.")
    stream = data.batches(digits, 64, captions=data.digit_captions, seed=args.seed)
    for state in train(model, stream, seconds=args.seconds):
        pass
    print(f"Saw {state.images:,} images, {state.images_per_second:,.0f} a second ({state.format}).")
    steps = list(state.ema.walk([f"the digit {d}" for d in range(10)], seed=args.seed, steps=10))
    viz.save_png(viz.film_strip(steps, beliefs=False), args.out)
    print(f"Wrote {args.out}: the digits 0 to 9, each from noise on the left to a picture on the right.")
    return 0


def run_train(args) -> int:
    import torch

    from . import checkpoint, data
    from .recipes import RECIPES, card
    from .train import best_device, choose_format, train

    recipe = RECIPES.get(args.recipe)
    if recipe is None:
        raise ValueError(f"there is no recipe {args.recipe!r}; there are: {', '.join(RECIPES)}")
    full = args.data == "full"
    if recipe.photos:
        data.cifar10(download=args.download)
    elif full:
        data.mnist(full=True, download=args.download)
    out = args.out or Path("runs") / recipe.name
    state_file, weights_file = out / "state.safetensors", out / f"{recipe.name}.safetensors"
    if state_file.exists() and not args.resume:
        raise ValueError(f"{state_file} is there already. Go on with --resume, or choose another --out.")
    options = recipe.options | ({"steps": args.steps} if args.steps else {})
    if args.seconds:
        options |= {"steps": None, "seconds": float(args.seconds)}
    torch.manual_seed(recipe.seed)
    model, stream = recipe.objective().to(best_device()), recipe.stream(full, args.batch_size)

    first = next(iter(stream)).to(best_device())
    if best_device().type == "cuda" and "fork" in multiprocessing.get_all_start_methods():
        stream = replace(stream, workers=min(8, max(1, (os.cpu_count() or 2) // 2)))
    fmt, seconds = choose_format(model, first)
    leads = int(os.environ.get("RANK", 0)) == 0
    if leads:
        print(f"{recipe.name}: {recipe.about}")
        amount = f"{options['steps']:,} steps" if options["steps"] else f"{args.seconds:,} s"
        print(f"{amount} of {first.total} images a step on {best_device()}, in {fmt}.")
        if options["steps"]:
            done = checkpoint.load(state_file)[1].get("train", {}).get("step", 0) if state_file.exists() else 0
            left = max(0, options["steps"] - done)
            rest = f"The {left:,} that are left take" if done else "That takes"
            print(f"{rest} about {_time(left * seconds * 1.15)} here.")
            print("Ctrl-C stops; --resume goes on from the last half minute.")
    options |= {"format": fmt, "compile": args.compile, "path": state_file, "resume": args.resume}
    for state in train(model, stream, **options):
        pass
    if not leads:
        return 0
    print("Measuring its quality ...")
    ema = state.ema.cpu().eval()
    recipe.finish(ema, full)
    try:
        quality = recipe.measure(ema)
    except data.DataError as error:  # trained on the sample, and the full set is not here
        quality = {"not measured": str(error)}
    made = card(recipe, state, full, quality)
    checkpoint.save_model(weights_file, ema, made, borrowed=recipe.borrowed)
    print(json.dumps(made, indent=2))
    print(f"Wrote {weights_file}.")
    return 0


def run_sample(args) -> int:
    import torch

    from . import checkpoint, samplers, viz
    from .pipeline import TextToImage
    from .train import best_device

    path = checkpoint.shipped(args.weights)
    model = TextToImage.load(path).to(best_device())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    given = {flag: getattr(args, flag) for flag in DRAWING if getattr(args, flag) is not None}
    if args.like:
        if args.prompt or given:
            raise ValueError(
                "--like takes prompt and settings from the picture; leave out "
                + ", ".join(["the prompt"] * bool(args.prompt) + [f"--{flag}" for flag in given])
            )
        settings = viz.read_settings(args.like)
        if not _drawable(settings):
            raise ValueError(f"{args.like} does not say clearly how it was drawn: {str(settings)[:300]}")
        if settings["weights"] != digest:
            raise ValueError(
                f"{args.like} was drawn by other weights ({settings['weights']}, these are {digest}). "
                "Name the right ones with --weights."
            )
    else:
        if not args.prompt:
            raise ValueError('what shall be drawn? For example: minidiff sample "a seven"')
        settings = {"prompt": args.prompt, **DRAWING, **given, "weights": digest, "torch": torch.__version__}
        settings["cfg_scale"] = settings.pop("guidance")
        if settings["eta"] and settings["sampler"] != "ddim":
            raise ValueError("--eta is for --sampler ddim")
    knobs = {"eta": settings["eta"]} if settings["sampler"] == "ddim" else {}
    start = time.perf_counter()
    walk = model.walk(
        settings["prompt"],
        settings["negative"],
        seed=settings["seed"],
        steps=settings["steps"],
        cfg_scale=settings["cfg_scale"],
        sampler=getattr(samplers, settings["sampler"]),
        **knobs,
    )
    steps = [model.in_pixels(step) for step in walk]
    image = viz.grid(steps[-1].x0, scale=settings["scale"], gap=0 if len(settings["prompt"]) == 1 else 1)
    viz.save_png(image, args.out, settings)
    print(f"Wrote {args.out} in {time.perf_counter() - start:.2f} s.")
    if args.strip:
        viz.save_png(viz.film_strip(steps), args.strip, settings)
        print(f"Wrote {args.strip}: above what the sampler holds, below what the network believes, step by step.")
    return 0


def _drawable(settings: dict) -> bool:
    """Whether these settings, read from a picture, say all that `sample` needs to know."""
    words = settings.get("prompt")
    return (
        isinstance(words, list)
        and all(isinstance(word, str) for word in words)
        and all(isinstance(settings.get(name), str) for name in ("negative", "weights"))
        and all(type(settings.get(name)) is int for name in ("seed", "steps", "scale"))
        and all(type(settings.get(name)) in (int, float) for name in ("cfg_scale", "eta"))
        and settings.get("sampler") in SAMPLERS
    )


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        return args.run(args)
    except KeyboardInterrupt:
        print("\nminidiff: stopped", file=sys.stderr)
        return 130
    except (ValueError, OSError, RuntimeError) as error:
        if type(error) is RuntimeError:  # not one of ours, which say what to do: show where it happened
            raise
        print(f"minidiff: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
