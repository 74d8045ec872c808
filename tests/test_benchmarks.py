"""The tables of benchmarks/README.md are what benchmarks.report makes of the results."""

import json

import pytest

from benchmarks import common, report
from minidiff import painted

MACHINE = {"cpu": "a CPU", "cores": 2, "threads": 3, "load": 0.1, "torch": "2.6"}
ABOUT = {"command": "python -m benchmarks.x", "date": "2025-01-31", "machine": MACHINE}
FLOOR = {"n": 1000, "frechet": 0.5, "ink": 0.1}
JUDGED = {"features": "digits.safetensors", "reference": "real digits", "floor": FLOOR}
SCORE = {"n": 1000, "adherence": 0.9876, "frechet": 1.0, "ratio": 2.0, "ink": 0.1}
DRAW = {"sampler": "quick", "slow": False, "calls": 10.0, "seconds_64": 1.0, "score": SCORE, "few": SCORE}
SLOW = DRAW | {"slow": True, "score": None}
UNASKED = DRAW | {"score": SCORE | {"adherence": None}, "few": SCORE | {"adherence": None}}
TRAINING = {"seconds": 300.0, "steps": 1000, "images": 128_000, "images_per_second": 426.7}
TRAINING |= {"first_loss": 1.0, "last_loss": 0.1, "parameters": 450_000, "format": "float32"}
MINE = {"title": "mine", "conditional": True, "training": TRAINING, "draws": [DRAW, SLOW]}
SPREAD = {"median": 12.3, "min": 11.0, "max": 1300.0}
SPEED = {"minidiff": SPREAD, "peer": SPREAD, "ratio": SPREAD}
STEPS = {"sampler": "ddim", "steps": 10, "calls": 10.0, "seconds_64": 1.0, "adherence": 0.99, "frechet": 1.0}
STEPS |= {"ratio": 2.0, "adherence_change": 0.0, "frechet_change": 0.03}
SHARES = {name: 0.5 for name in (*painted.ATTRIBUTES, "all")}
CONFUSION = {name: [[9, 1] + [0] * (len(v) - 2)] * len(v) for name, v in painted.ATTRIBUTES.items()}
LIKE = {"frechet_distance": 2.0, "kernel_distance": 0.1, "precision": 0.9, "recall": 0.8, "floor": 1.0, "n": 10}
LIKE |= {"features": "attributes.safetensors", "reference": "real"}
OBEYED = {"seen": SHARES, "unseen": SHARES, "likeness": LIKE}
OBEYED |= {"negative": {"none": SHARES | {"red": 0.1}, "red": SHARES | {"red": 0.0}}}
OBEYED |= {"inpainting": {mask: SHARES | {"n": 5, "exact": True} for mask in ("frame", "upper half")}}
GUIDED = {"sampler": "ddim", "steps": 10, "calls": 20.0, "cfg_scale": 2.0, "shares": SHARES} | LIKE
DIGITS = {"adherence": 0.99, "frechet distance": 0.1}
RESULTS = {
    "quality": ABOUT | JUDGED | {"training": TRAINING, "draws": [DRAW, DRAW]},
    "peers": ABOUT | JUDGED | {"few_floor": FLOOR, "recipes": [MINE, MINE | {"draws": [UNASKED]}]},
    "speed": ABOUT
    | {
        "rounds": 5,
        "import": {"torch": SPREAD, "minidiff": SPREAD},
        "training": SPEED | {"format": "float32", "parameters": [1, 2], "batches": [64, 128]},
        "drawing": SPEED,
    },
    "widgets": ABOUT
    | {
        "rounds": 5,
        "kernel": {"seconds": SPREAD, "bytes": 987654},
        "page": {"p50": 20.0, "p95": 30.0, "shown": 40, "keys": 40, "blank": 0},
        "playground": {kind: {"first": SPREAD, "full": SPREAD} for kind in ("guidance", "prompt", "burst")},
        "stop": SPREAD,
    },
    "steps": ABOUT | JUDGED | {"many": 100, "rows": [STEPS]},
    "judge": ABOUT | {"n": 10, "on": "painted", "shares": SHARES, "confusion": CONFUSION},
    "painted": ABOUT
    | {
        "n": 10,
        "models": {
            "painted": {
                "sampler": "a walk",
                "batch": 64,
                "format": "float32",
                "rows": [{"seconds": 60.0, "images": 9000, "shares": SHARES}],
            }
        },
    },
    "prompts": ABOUT
    | {
        "n": 10,
        "timing": {"painted": {"seconds": SPREAD, "ratio": SPREAD}},
        "models": {"painted": OBEYED | {"sampler": "a walk"}},
    },
    "gpu": ABOUT
    | {
        "gpu": "a GPU",
        "mnist": TRAINING
        | {"batch": 512, "quality": {"n": 10, "floor": 1.0, "guidance 1": DIGITS, "guidance 2": DIGITS}},
        "training": {"parameters": [1, 2], "batch": 512, "eager": SPEED},
    },
    "guidance": ABOUT | {"model": "painted", "n": 10, "guidance": [GUIDED], "steps": [GUIDED]},
}


def test_the_readme_shows_the_results_as_they_are():
    text = report.README.read_text()
    assert report.render(text) == text, "run python -m benchmarks.report"


@pytest.mark.parametrize("name", RESULTS)
def test_a_table_says_how_it_was_measured(name, tmp_path):
    text = "\n".join(f"<!-- table: {n} -->\nstale\n<!-- end: {n} -->" for n in report.TABLES)
    (tmp_path / f"{name}.json").write_text(json.dumps(RESULTS[name]))
    made = report.render(text, tmp_path)
    assert report.render(made, tmp_path) == made
    assert "stale" not in made and made.count("Not measured yet") == len(RESULTS) - 1
    for told in (*MACHINE.values(), ABOUT["command"], ABOUT["date"]):
        assert str(told) in made
    if "floor" in RESULTS[name]:
        assert "n = 1,000" in made and "0.5" in made and JUDGED["features"] in made
    widths = [line.count(" | ") for line in made.splitlines() if line.startswith("| ")]
    assert widths and all(line.endswith(" |") for line in made.splitlines() if line.startswith("|"))


def test_a_readme_without_markers_is_refused(tmp_path):
    with pytest.raises(ValueError, match="table: quality"):
        report.render("no markers", tmp_path)


def test_a_network_call_is_counted_for_each_picture():
    import torch

    net = torch.nn.Linear(3, 3)
    with common.Calls(net) as calls:
        net(torch.zeros(5, 3))
        net(torch.zeros(2, 3))
    net(torch.zeros(9, 3))
    assert calls.images == 7
