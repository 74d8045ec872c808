"""Editing on the one loop: img2img, inpainting, outpainting, variations, weighted words, and where the model looks."""

from __future__ import annotations

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

from minidiff import data
from minidiff.nets.dit import DiT
from minidiff.pipeline import TextToImage
from minidiff.process import DDPM, EDM, Cosine, Flow
from minidiff.samplers import ddim, dpmpp_2m, euler, heun
from minidiff.text import split_weights

SIDE = tiny.SIDE
WORDS = list(data.DIGIT_WORDS)
every_process = pytest.mark.parametrize("process", [Cosine(), DDPM(), EDM(), Flow()], ids=repr)


@pytest.fixture(scope="module")
def model() -> TextToImage:
    return tiny.trained()


@pytest.fixture(scope="module")
def patterns() -> torch.Tensor:
    """The ten pictures that the model has learned, one a word."""
    return data.to_float(tiny.pictures(10).pixels)


def half() -> torch.Tensor:
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[:, : SIDE // 2] = True
    return mask


# --- the time of a level ---


@every_process
@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_the_time_of_a_level_has_that_level(process, level):
    t = process.time(level)
    assert float(process.level(torch.tensor(t, dtype=torch.float64))) == pytest.approx(level, abs=1e-9)


@every_process
def test_the_ends_and_what_lies_beyond(process):
    assert process.time(0.0) == pytest.approx(0, abs=1e-9)
    assert process.time(1.0) == pytest.approx(process.t_max)
    for level in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="from 0 to 1"):
            process.time(level)


# --- img2img ---


def test_no_strength_keeps_the_image_and_full_strength_keeps_nothing(model, patterns):
    assert torch.equal(model.img2img(patterns[3:4], "seven", strength=0.0), patterns[3:4])
    anew = model.img2img(patterns[3:4], "seven", strength=1.0, seed=5)
    torch.testing.assert_close(anew, model.draw("seven", seed=5), atol=1e-5, rtol=0)


def test_more_strength_moves_farther_from_the_image(model, patterns):
    far = [
        float((model.img2img(patterns, WORDS, strength=s, seed=1) - patterns).square().mean())
        for s in (0.0, 0.2, 0.5, 0.9)
    ]
    assert far[0] == 0 and far[1] < 0.2
    other = [(model.img2img(patterns[:1], "seven", strength=s) - patterns[:1]).abs().mean() for s in (0.1, 0.9)]
    assert other[0] < other[1]


def test_the_steps_begin_at_the_strength(model, patterns):
    steps = list(model.walk("seven", image=patterns[:1], strength=0.5, steps=10))
    process = model.denoiser.process
    assert float(process.level(torch.tensor(steps[0].t))) == pytest.approx(0.5)
    assert len(steps) == 6 and steps[-1].t == 0


@pytest.mark.parametrize("process", [Cosine(), EDM()])
def test_no_level_is_met_twice_when_the_strength_is_one_of_the_grid(model, patterns, process):
    grid = process.timesteps(10)
    for i in range(1, 10):
        strength = float(process.level(grid[i]))
        steps = list(model.walk("seven", image=patterns[:1], strength=strength, steps=10, process=process))
        assert len(steps) == 11 - i, i


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_outside_0_to_1_is_refused(model, patterns, strength):
    with pytest.raises(ValueError, match="from 0 to 1"):
        model.img2img(patterns[:1], "seven", strength=strength)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda x: x * 2, r"\[-1, 1\]"),
        (lambda x: x * float("nan"), r"\[-1, 1\]"),
        (lambda x: x[..., 1:], "must be"),
        (lambda x: x[0], "must be"),
        (lambda x: x.expand(3, -1, -1, -1), "must be"),
    ],
    ids=["range", "nan", "size", "no batch", "count"],
)
def test_an_image_that_does_not_fit_is_refused(model, patterns, spoil, message):
    with pytest.raises(ValueError, match=message):
        model.walk(["seven", "one"], image=spoil(patterns[:1]), strength=0.5)


def test_strength_and_mask_need_an_image(model):
    for settings in (dict(strength=0.5), dict(mask=half())):
        with pytest.raises(ValueError, match="no image"):
            model.walk("seven", **settings)


# --- inpainting and outpainting ---


@every_process
@pytest.mark.parametrize("sampler", [ddim, dpmpp_2m])
def test_known_pixels_stay_exactly(model, patterns, process, sampler):
    drawn = model.inpaint(patterns[:4], half(), ["seven", "two", "one", "three"], process=process, sampler=sampler)
    assert torch.equal(drawn[:, :, half()], patterns[:4][:, :, half()])


def test_what_is_drawn_fits_its_prompt(model, patterns):
    """From the left half of each pattern, the right half follows."""
    drawn = model.inpaint(patterns, half(), WORDS, seed=3)
    far = torch.cdist(drawn[:, :, ~half()].flatten(1), patterns[:, :, ~half()].flatten(1))
    assert (far.argmin(1) == torch.arange(10)).float().mean() >= 0.9


def test_a_mask_of_the_wrong_size_is_refused(model, patterns):
    with pytest.raises(ValueError, match="does not fit"):
        model.inpaint(patterns[:1], torch.ones(3, 5, dtype=torch.bool), "seven")


@pytest.mark.parametrize("right, down", [(3, 0), (-2, 0), (0, 4), (2, -3)])
def test_outpainting_moves_the_view_and_keeps_what_stays_in_it(model, patterns, right, down):
    drawn = model.outpaint(patterns[:1], "seven", right=right, down=down)
    for y in range(SIDE):
        for x in range(SIDE):
            if 0 <= y + down < SIDE and 0 <= x + right < SIDE:
                assert drawn[0, 0, y, x] == patterns[0, 0, y + down, x + right]


def test_the_view_cannot_leave_the_image(model, patterns):
    with pytest.raises(ValueError, match="cannot move"):
        model.outpaint(patterns[:1], "seven", right=SIDE)


# --- variations ---


def test_variations_go_from_the_picture_to_others(model):
    one = model.draw("seven", seed=4)
    unmoved = model.variations("seven", 2, amount=0.0, seed=4)
    torch.testing.assert_close(unmoved, one.expand(2, -1, -1, -1), atol=1e-5, rtol=0)
    noise = [next(iter(model.walk("seven", seed=4, variation=(a, 9)))).xt for a in (0.0, 0.2, 0.5, 1.0)]
    far = [float((x - noise[0]).square().mean()) for x in noise]
    assert far == sorted(far) and far[0] == 0
    assert all(0.7 < float(x.std()) < 1.3 for x in noise)
    torch.testing.assert_close(noise[-1], next(iter(model.walk("seven", seed=9))).xt)  # a full turn


@pytest.mark.parametrize("variation", [(-0.1, 0), (1.1, 0), (0.5, -1), (float("nan"), 0), (0.5, 3)])
def test_an_impossible_variation_is_refused(model, variation):
    with pytest.raises(ValueError, match="variation"):
        model.walk("seven", seed=3, variation=variation)


# --- weighted words ---


@pytest.mark.parametrize(
    "prompt, plain, weights",
    [
        ("a seven", "a seven", {}),
        ("a (bold:1.5) seven", "a bold seven", {1: 1.5}),
        ("(bold red:2) seven (left:-1)", "bold red seven left", {0: 2.0, 1: 2.0, 3: -1.0}),
        ("", "", {}),
        ("(a) seven: (one", "a seven one", {}),
        ("(:2)", "", {}),
    ],
)
def test_weights_are_taken_out_of_the_prompt(prompt, plain, weights):
    assert split_weights(prompt) == (plain, weights)


@pytest.mark.parametrize("prompt", ["(bold:)", "(bold:much)", "(bold:9)", "(bold:nan)"])
def test_a_weight_that_is_none_is_refused(prompt):
    with pytest.raises(ValueError, match="weight"):
        split_weights(prompt)


@given(st.text(alphabet="()a:1. ", max_size=60))
def test_any_prompt_is_split_or_refused(prompt):
    try:
        plain, weights = split_weights(prompt)
    except ValueError:
        return
    assert all(0 <= word < len(plain.split()) for word in weights)


def test_long_prompts_are_split_at_once():
    for prompt in ("(" * 10_000, "(" + ":" * 10_000, "(a:1)" * 2000, "(a" * 5000):
        split_weights(prompt)


def test_a_weight_of_one_changes_nothing_and_of_zero_removes_the_word(model):
    plain = model.encode(["seven"])
    torch.testing.assert_close(model.encode(["(seven:1)"]), plain)
    torch.testing.assert_close(model.encode(["(seven:0)"])[:, 0], model.encode([""])[:, 0])
    stronger = model.encode(["(seven:2)"])
    torch.testing.assert_close(stronger[:, 0] - plain[:, 0], plain[:, 0] - model.encode([""])[:, 0])
    torch.testing.assert_close(stronger[:, 1], plain[:, 1])


# --- where it looks ---


def test_attention_to_the_words_is_kept_for_every_call_and_adds_up_to_one(model):
    quiet = model.draw(["seven", "one"], steps=4)
    with model.watch_words() as maps:
        watched = model.draw(["seven", "one"], steps=4)
    assert torch.equal(watched, quiet)
    (layer,) = maps.values()
    assert len(layer) == 4 and layer[0].shape[0] == 4 and layer[0].shape[-1] == 2
    for weights in layer:
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
    model.draw("seven", steps=4)
    assert len(layer) == 4  # nothing is kept afterwards


# --- another network in the same place ---


@pytest.mark.parametrize("sampler", [ddim, euler, heun, dpmpp_2m])
def test_a_transformer_takes_the_place_of_the_u_net(sampler, tmp_path):
    from minidiff import checkpoint

    made = TextToImage.new(WORDS, (1, SIDE, SIDE), length=2, d_ctx=16, net=DiT, width=32, depth=2, patch=2).eval()
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.1 * torch.randn_like(p))
    drawn = made.draw(["seven", "one"], steps=3, sampler=sampler)
    assert drawn.shape == (2, 1, SIDE, SIDE)
    with made.watch_words() as maps:
        made.draw("seven", steps=1, cfg_scale=1.0)
    assert len(maps) == 2 and all(w[0].shape == (1, 4, 16, 2) for w in maps.values())
    again = TextToImage.load(checkpoint.save_model(tmp_path / "dit.safetensors", made, {}, torch.float32))
    assert torch.equal(again.draw(["seven", "one"], steps=3, sampler=sampler), drawn)
