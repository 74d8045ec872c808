"""The command line: each command does what its help says, and a mistake is answered in one line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tiny
from PIL import Image

from minidiff import checkpoint, cli, data, recipes, viz
from minidiff.recipes import Recipe

COMMANDS = ("lab", "playground", "export", "demo", "train", "sample", "doctor")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small model that draws a pattern for each of ten words."""
    return checkpoint.save_model(tmp_path_factory.mktemp("weights") / "tiny.safetensors", tiny.trained(), {})


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sample(weights, *arguments) -> int:
    return cli.main(["sample", *arguments, "--weights", str(weights)])


def error(capsys) -> str:
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and said[0].startswith("minidiff: error: "), said
    return said[0]


# --- help ---


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_shows_examples_that_the_command_line_understands(command, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([*command.split(), "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    examples = re.findall(r"^  (minidiff .+?)(?:  +.*)?$", shown.partition("examples:")[2], re.MULTILINE)
    assert examples and all(command in example for example in examples)
    import shlex

    for example in examples:
        assert cli.parser().parse_args(shlex.split(example)[1:]).run


def test_without_a_command_it_says_which_there_are(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([])
    assert end.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_help_needs_no_torch():
    """It is asked for often, and torch takes seconds to load."""
    code = (
        "import sys, runpy\nsys.argv = ['minidiff', 'sample', '--help']\n"
        "try: runpy.run_module('minidiff.cli', run_name='__main__')\n"
        "except SystemExit: pass\nsys.exit('minidiff.train' in sys.modules and 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120).returncode == 0


# --- sample ---


def test_sample_writes_the_picture_that_the_model_draws(weights, here):
    assert sample(weights, "seven", "--seed", "3", "--steps", "4", "--scale", "2", "--out", "seven.png") == 0
    model = tiny.trained()
    drawn = viz.picture(model.draw("seven", seed=3, steps=4)[0], scale=2)
    written = np.asarray(Image.open("seven.png")).astype(int)
    assert written.shape == (16, 16)
    assert abs(written - np.asarray(drawn).astype(int)).max() <= 3  # the file holds float16 weights


def test_the_picture_says_how_it_was_drawn_and_can_be_drawn_again(weights, here):
    asked = ["--negative", "one", "--seed", "3", "--steps", "5", "--guidance", "1.5", "--sampler", "ddim", "--eta", "1"]
    assert sample(weights, "seven", "two", *asked, "--out", "a.png") == 0
    settings = viz.read_settings("a.png")
    expected = dict(prompt=["seven", "two"], negative="one", seed=3, steps=5, cfg_scale=1.5, sampler="ddim", eta=1.0)
    assert expected.items() <= settings.items()
    assert sample(weights, "--like", "a.png", "--out", "b.png") == 0
    assert (here / "a.png").read_bytes() == (here / "b.png").read_bytes()


def test_a_strip_has_a_column_for_every_step(weights, here):
    assert sample(weights, "seven", "--steps", "6", "--strip", "strip.png", "--out", "a.png") == 0
    strip = Image.open("strip.png")
    assert strip.width == 2 * (7 * (tiny.SIDE + 1) + 1) and strip.height == 2 * (2 * (tiny.SIDE + 1) + 1)


def test_an_unknown_word_is_named_with_the_nearest_known_ones(weights, here, capsys):
    assert sample(weights, "sevn") == 2
    assert "'sevn'" in (said := error(capsys)) and "seven" in said
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    "arguments, says",
    [
        ([], "what shall be drawn"),
        (["seven", "--like", "a.png"], "leave out the prompt"),
        (["--like", "a.png", "--seed", "5", "--steps", "3"], "leave out --seed, --steps"),
        (["seven", "--eta", "1"], "--eta is for --sampler ddim"),
        (["seven", "--eta", "2", "--sampler", "ddim"], "eta must be from 0 to 1"),
        (["seven", "--guidance", "nan"], "scale must be finite"),
        (["--like", "absent.png"], "absent.png"),
        (["seven " * 5000], "words"),
    ],
    ids=["no-prompt", "both", "settings", "no-ddim", "eta", "guidance", "no-picture", "long"],
)
def test_a_mistake_is_one_line(weights, here, capsys, arguments, says):
    assert sample(weights, *arguments) == 2
    assert says in error(capsys)


def test_another_picture_cannot_be_drawn_again(weights, here, capsys):
    Image.new("L", (8, 8)).save("foreign.png")
    assert sample(weights, "--like", "foreign.png") == 2
    assert "does not say how it was drawn" in error(capsys)


@pytest.mark.parametrize(
    "change",
    [
        {"weights": None},
        {"sampler": "Step"},
        {"sampler": "nope"},
        {"steps": "x"},
        {"steps": 2.5},
        {"cfg_scale": "x"},
        {"prompt": "seven"},
        {"prompt": [7]},
        {"scale": True},
    ],
    ids=str,
)
def test_a_picture_that_says_it_unclearly_cannot_be_drawn_again(weights, here, capsys, change):
    assert sample(weights, "seven", "--steps", "1", "--out", "a.png") == 0
    viz.save_png(Image.open("a.png"), "b.png", viz.read_settings("a.png") | change)
    assert sample(weights, "--like", "b.png") == 2
    assert "does not say clearly how it was drawn" in error(capsys)


def test_other_weights_cannot_draw_it_again(weights, here, capsys):
    assert sample(weights, "seven", "--steps", "1", "--out", "a.png") == 0
    other = checkpoint.save_model(here / "other.safetensors", tiny.stirred(), {})
    assert sample(other, "--like", "a.png") == 2
    assert "drawn by other weights" in error(capsys)


@pytest.mark.parametrize("argument", ["--steps=0", "--seed=-1", "--steps=many", "--sampler=best", "--scale=0"])
def test_impossible_arguments_are_refused_by_name(weights, here, capsys, argument):
    with pytest.raises(SystemExit) as end:
        sample(weights, "seven", argument)
    assert end.value.code == 2
    assert argument.split("=")[0] in capsys.readouterr().err


def test_a_file_that_is_no_checkpoint(here, capsys):
    (here / "bad.safetensors").write_bytes(b"no")
    assert sample("bad.safetensors", "seven") == 2
    assert "bad.safetensors" in error(capsys)
    assert sample("absent.safetensors", "seven") == 2
    assert "absent.safetensors" in error(capsys)


# --- train ---


@pytest.fixture
def recipe(monkeypatch):
    def objective():
        return tiny.model()

    options = dict(steps=3, warmup=1)
    made = Recipe(
        "tiny", "ten patterns", objective, lambda full, size: tiny.stream(size), lambda m: {"n": 10}, options, 8
    )
    monkeypatch.setitem(recipes.RECIPES, "tiny", made)
    return ["train", "tiny", "--data", "sample"]


def test_train_follows_a_recipe_and_writes_weights_with_their_card(recipe, here, capsys):
    assert cli.main(recipe) == 0
    said = capsys.readouterr().out
    assert "takes about" in said.partition("{")[0]  # how long, before it begins
    model = tiny.TextToImage.load("runs/tiny/tiny.safetensors")
    expected = {"name": "tiny", "steps": 3, "images": 24, "seed": 0, "quality": {"n": 10}}
    assert expected.items() <= model.card.items()
    assert {"recipe", "data", "licence", "seconds", "format", "hardware", "torch"} <= set(model.card)
    assert json.dumps(model.card, indent=2) in said


def test_train_by_the_clock_with_another_batch_size(recipe, here, capsys):
    assert cli.main([*recipe, "--seconds", "1", "--batch-size", "12"]) == 0
    assert "1 s of 12 images a step" in capsys.readouterr().out
    card = tiny.TextToImage.load("runs/tiny/tiny.safetensors").card
    assert card["images"] == 12 * card["steps"] and card["seconds"] == 1
    assert card["recipe"] == "minidiff train tiny --data sample --seconds 1 --batch-size 12"


def test_train_does_not_overwrite_and_goes_on_when_told(recipe, here, capsys):
    assert cli.main([*recipe, "--steps", "2"]) == 0
    card = tiny.TextToImage.load("runs/tiny/tiny.safetensors").card
    assert card["recipe"] == "minidiff train tiny --data sample --steps 2"
    capsys.readouterr()
    assert cli.main(recipe) == 2
    assert "--resume" in error(capsys)
    assert cli.main([*recipe, "--resume", "--batch-size", "4"]) == 2
    assert "trained on other batches" in error(capsys)
    assert cli.main([*recipe, "--resume"]) == 0
    assert "The 1 that are left take about" in capsys.readouterr().out
    assert tiny.TextToImage.load("runs/tiny/tiny.safetensors").card["steps"] == 3


def test_a_finished_training_can_be_resumed(recipe, here):
    """As after a crash between the last step and the end of measuring."""
    assert cli.main(recipe) == 0
    (here / "runs/tiny/tiny.safetensors").unlink()
    assert cli.main([*recipe, "--resume"]) == 0
    assert tiny.TextToImage.load("runs/tiny/tiny.safetensors").card["steps"] == 3


def test_a_training_on_the_sample_is_written_where_the_full_set_to_measure_by_is_not(recipe, here, monkeypatch):
    def measure(model):
        raise data.DataError("the full MNIST is not here")

    monkeypatch.setitem(recipes.RECIPES, "tiny", replace(recipes.RECIPES["tiny"], measure=measure))
    assert cli.main(recipe) == 0
    card = tiny.TextToImage.load("runs/tiny/tiny.safetensors").card
    assert card["quality"] == {"not measured": "the full MNIST is not here"}


def test_a_state_that_is_no_training_cannot_be_resumed(recipe, here, capsys):
    checkpoint.save_model(here / "runs/tiny/state.safetensors", tiny.model(), {})
    assert cli.main([*recipe, "--resume"]) == 2
    assert "is no training checkpoint" in error(capsys)


def test_an_unknown_recipe_is_answered_with_those_that_there_are(here, capsys):
    assert cli.main(["train", "nothing"]) == 2
    assert "mnist" in error(capsys)


def test_full_data_that_is_not_there(here, capsys, monkeypatch):
    monkeypatch.setenv("MINIDIFF_DATA", str(here / "empty"))
    assert cli.main(["train", "mnist"]) == 2
    assert "MINIDIFF_DATA" in error(capsys)


# --- demo ---


def test_demo_learns_from_nothing_and_writes_a_strip(here, capsys):
    assert cli.main(["demo", "--seconds", "1", "--out", "strip.png"]) == 0
    assert "Saw" in capsys.readouterr().out
    strip = Image.open("strip.png")
    assert strip.width == 2 * (11 * 29 + 1) and strip.height == 2 * (10 * 29 + 1)


@pytest.mark.parametrize("seconds", ["0", "-1", "nan"])
def test_demo_needs_time(here, capsys, seconds):
    assert cli.main(["demo", f"--seconds={seconds}"]) == 2
    assert "--seconds" in error(capsys)


def test_an_interrupt_ends_it_without_a_traceback(monkeypatch, capsys):
    def stop(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "run_doctor", stop)
    assert cli.main(["doctor"]) == 130
    assert "stopped" in capsys.readouterr().err
