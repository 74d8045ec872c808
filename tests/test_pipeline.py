"""TextToImage: the same words and seed give the same picture, alone, in company, and from the disk."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
import tiny
import torch

from minidiff import checkpoint
from minidiff.data import DIGIT_WORDS, to_float, to_uint8
from minidiff.denoiser import Denoiser
from minidiff.pipeline import TextToImage
from minidiff.process import DDPM, EDM, Cosine, Flow
from minidiff.samplers import ddim, dpmpp_2m, euler, heun
from minidiff.text import UnknownWord

MODEL = tiny.stirred()
WORDS = list(DIGIT_WORDS)


def pixels(x0: torch.Tensor) -> torch.Tensor:
    return to_uint8(x0).int()


def largest_step(a: torch.Tensor, b: torch.Tensor) -> int:
    """The largest difference of two sets of pictures, in 255ths."""
    assert a.shape == b.shape
    return int((pixels(a) - pixels(b)).abs().max())


# --- what is drawn ---


@pytest.mark.parametrize("sampler", [dpmpp_2m, ddim, heun])
@pytest.mark.parametrize("process", [None, EDM(), Flow()], ids=str)
def test_each_word_draws_its_picture_with_any_sampler_and_by_any_clock(sampler, process):
    """The model was trained under Cosine; a network that only knows the noise level does not mind."""
    patterns = to_float(tiny.pictures(10).pixels).flatten(1)
    settings = dict(steps=12, cfg_scale=1.5, sampler=sampler, process=process)
    drawn = tiny.trained().draw(WORDS, **settings).flatten(1)
    assert torch.cdist(drawn, patterns).argmin(1).tolist() == list(range(10))


def test_pictures_have_their_shape_and_range():
    x0 = MODEL.draw(["one", "two", "three"], steps=2)
    assert x0.shape == (3, 1, 8, 8) and x0.dtype == torch.float32
    assert x0.min() >= -1 and x0.max() <= 1
    assert MODEL.draw("one", steps=1).shape == (1, 1, 8, 8)


def test_colours_and_other_sides_are_drawn_as_well():
    torch.manual_seed(0)
    model = TextToImage.new(WORDS, (3, 8, 12), length=2, d_ctx=8, widths=(8, 16), blocks=1, heads=2)
    assert model.draw("one", steps=2).shape == (1, 3, 8, 12)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_walk_has_a_step_a_time_and_ends_with_the_picture(steps):
    walk = list(MODEL.walk("one", steps=steps))
    assert [step.i for step in walk] == list(range(steps + 1))
    assert walk[0].t == 1 and walk[-1].t == 0
    assert torch.equal(walk[-1].xt, walk[-1].x0)
    assert torch.equal(MODEL.draw("one", steps=steps), walk[-1].x0.clamp(-1, 1))


def test_the_prompt_and_the_seed_each_change_the_picture():
    one, two, other = (MODEL.draw(w, seed=s) for w, s in (("one", 0), ("two", 0), ("one", 1)))
    assert largest_step(one, two) > 8 and largest_step(one, other) > 8


# --- seeds ---


@pytest.mark.parametrize(
    "settings",
    [
        dict(),
        dict(sampler=ddim, eta=1.0),
        dict(sampler=ddim, eta=0.5, cfg_scale=1.0),
        dict(sampler=heun, process=EDM()),
        dict(sampler=euler, process=Flow(), interval=(0.2, 0.8)),
    ],
    ids=["dpmpp_2m", "ddim eta 1", "ddim eta 0.5", "heun EDM", "euler Flow"],
)
def test_a_seed_gives_the_same_picture_alone_and_in_a_batch_of_64(settings):
    prompts = [WORDS[i % 10] for i in range(64)]
    together = MODEL.draw(prompts, "two", seed=100, steps=5, **settings)
    for i in (0, 1, 17, 63):
        alone = MODEL.draw(prompts[i], "two", seed=100 + i, steps=5, **settings)
        assert largest_step(alone[0], together[i]) <= 1
    assert largest_step(together[0], together[10]) > 8  # the same word with another seed


def test_one_seed_counts_up_and_many_are_taken_as_they_are():
    up = MODEL.draw(WORDS[:3], seed=5, steps=2)
    assert torch.equal(up, MODEL.draw(WORDS[:3], seed=[5, 6, 7], steps=2))
    down = MODEL.draw(WORDS[2::-1], seed=(7, 6, 5), steps=2)
    assert largest_step(up, down.flip(0)) <= 1


def test_drawing_again_gives_the_same_bits_and_leaves_the_global_generator_alone():
    first = MODEL.draw("one", sampler=ddim, eta=1.0, steps=3)
    torch.manual_seed(123)
    before = torch.get_rng_state()
    assert torch.equal(MODEL.draw("one", sampler=ddim, eta=1.0, steps=3), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_noise_of_eta_comes_from_the_seed_of_its_picture():
    same = MODEL.draw(["one", "one"], seed=[3, 3], sampler=ddim, eta=1.0, steps=4)
    assert largest_step(same[0], same[1]) <= 1
    still = MODEL.draw("one", seed=3, sampler=ddim, eta=0.0, steps=4)
    assert largest_step(same[0], still[0]) > 8


# --- guidance ---


def test_a_negative_prompt_changes_the_picture():
    plain, away = MODEL.draw("one", steps=4), MODEL.draw("one", "two", steps=4)
    assert largest_step(plain, away) > 3


def test_guidance_at_one_ignores_the_negative_prompt_and_costs_half():
    assert torch.equal(MODEL.draw("one", "two", cfg_scale=1.0), MODEL.draw("one", cfg_scale=1.0))
    rows = []
    with MODEL.denoiser.net.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0]))):
        MODEL.draw("one", cfg_scale=1.0, steps=3)
        MODEL.draw("one", cfg_scale=2.0, steps=3)
    assert rows == [1, 1, 1, 2, 2, 2]


def test_guidance_away_from_the_prompt_itself_is_no_guidance():
    itself, off = MODEL.draw("one", "one", cfg_scale=5.0, steps=4), MODEL.draw("one", cfg_scale=1.0, steps=4)
    assert largest_step(itself, off) <= 1


def test_the_empty_negative_prompt_is_the_default():
    assert torch.equal(MODEL.draw("one", steps=2), MODEL.draw("one", "", steps=2))


def test_each_prompt_may_have_its_own_negative_and_its_own_scale():
    scales = torch.tensor([1.0, 3.0])
    together = MODEL.draw(["one", "two"], ["three", "four"], cfg_scale=scales, steps=4)
    for i, (word, negative) in enumerate([("one", "three"), ("two", "four")]):
        alone = MODEL.draw(word, negative, seed=i, cfg_scale=float(scales[i]), steps=4)
        assert largest_step(alone[0], together[i]) <= 1


def test_outside_its_interval_guidance_does_nothing():
    off = MODEL.draw("one", "two", cfg_scale=1.0, steps=4)
    assert torch.equal(MODEL.draw("one", "two", cfg_scale=9.0, steps=4, interval=(0.0, 0.0)), off)
    late = MODEL.draw("one", "two", cfg_scale=9.0, steps=4, interval=(0.0, 0.5))
    whole = MODEL.draw("one", "two", cfg_scale=9.0, steps=4)
    assert largest_step(late, off) > 1 and largest_step(late, whole) > 1


def test_clipping_holds_every_guess_but_no_known_pixel():
    known, mask = torch.ones(1, *MODEL.shape), torch.zeros(MODEL.shape[1:], dtype=torch.bool)
    mask[: len(mask) // 2] = True
    settings = dict(cfg_scale=9.0, steps=4, image=known, mask=mask)
    clipped, whole = (list(MODEL.walk("one", **settings, **more)) for more in (dict(clip=0.5), {}))
    assert all(step.x0[..., ~mask].abs().max() <= 0.5 for step in clipped)
    assert all(torch.equal(step.x0[..., mask], known[..., mask]) for step in clipped)
    assert any(step.x0[..., ~mask].abs().max() > 0.5 for step in whole)


# --- errors, at once ---


@pytest.mark.parametrize(
    "arguments, settings, error, message",
    [
        (("a hippopotamus",), {}, UnknownWord, "hippopotamus"),
        (("sevn",), {}, UnknownWord, "nearest known: seven"),
        (("one",), dict(clip=0.0), ValueError, "clip must be positive"),
        ((["one", "tvo"],), {}, UnknownWord, "'tvo' .nearest known: two"),
        (("one", "sevn"), {}, UnknownWord, "sevn"),
        (("one two three",), {}, ValueError, "may have 2 words here, this one has 3"),
        (([],), {}, ValueError, "at least one prompt"),
        ((["one", "two"], ["one"]), {}, ValueError, "2 prompts, but 1 negative"),
        (("one", ["one", "two"]), {}, ValueError, "1 prompts, but 2 negative"),
        ((["one", "two"],), dict(seed=[1]), ValueError, "1 seeds for 2"),
        (("one",), dict(seed=[1, 2]), ValueError, "2 seeds for 1"),
        (("one",), dict(seed=[]), ValueError, "0 seeds for 1"),
        (("one",), dict(seed=-1), ValueError, "at least 0, got -1"),
        ((["one", "two"],), dict(seed=[3, -7]), ValueError, "at least 0, got -7"),
        (("one",), dict(steps=0), ValueError, "at least 1, got 0"),
        (("one",), dict(steps=-5), ValueError, "at least 1, got -5"),
        (("one",), dict(eta=1.0), TypeError, "eta|seeds"),  # dpmpp_2m has none
        (("one",), dict(colour="red"), TypeError, "colour"),
        ((["one", "two"],), dict(cfg_scale=torch.ones(3)), (ValueError, TypeError), "3"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, tuple | dict) else "",
)
def test_what_cannot_be_drawn_is_refused_before_the_first_step(arguments, settings, error, message):
    with pytest.raises(error, match=message):
        MODEL.walk(*arguments, **settings)  # nothing is taken from the generator
    with pytest.raises(error, match=message):
        MODEL.draw(*arguments, **settings)


def test_a_picture_that_the_network_cannot_halve_is_refused_with_its_sides():
    with pytest.raises(ValueError, match=r"multiples of 4, got \(6, 8\)"):
        TextToImage.new(WORDS, (1, 6, 8), length=2, d_ctx=8, widths=(8, 16), heads=2).draw("one")


def test_parts_that_do_not_fit_one_another_are_refused():
    other = TextToImage.new(["a few other words"], length=4, d_ctx=16, widths=(8,), heads=2)
    with pytest.raises(ValueError, match="does not fit 11 words"):
        TextToImage(MODEL.tokenizer, other.encoder, MODEL.denoiser, (1, 8, 8))
    with pytest.raises(ValueError, match=r"must be \(c, h, w\)"):
        TextToImage(MODEL.tokenizer, MODEL.encoder, MODEL.denoiser, (8, 8))


# --- grad mode ---


@pytest.mark.parametrize("sampler", [ddim, euler, heun, dpmpp_2m])
def test_the_grad_mode_of_the_caller_is_untouched_while_walking(sampler):
    for step in MODEL.walk("one", sampler=sampler, steps=3):
        assert torch.is_grad_enabled()
        assert not step.x0.requires_grad and not step.xt.requires_grad
    with torch.no_grad():
        for _ in MODEL.walk("one", sampler=sampler, steps=3):
            assert not torch.is_grad_enabled()


def test_a_walk_that_is_left_early_leaks_nothing():
    next(MODEL.walk("one"))
    assert torch.is_grad_enabled()
    with pytest.raises(UnknownWord):
        MODEL.walk("hippopotamus")
    assert torch.is_grad_enabled()


def test_two_walks_side_by_side_do_not_disturb_each_other():
    pairs = list(zip(MODEL.walk("one", steps=3), MODEL.walk("two", seed=1, steps=3), strict=True))
    assert torch.equal(pairs[-1][0].x0, list(MODEL.walk("one", steps=3))[-1].x0)
    assert torch.equal(pairs[-1][1].x0, list(MODEL.walk("two", seed=1, steps=3))[-1].x0)


# --- on the disk ---


def test_saved_in_float32_it_draws_the_same_bits(tmp_path):
    path = checkpoint.save_model(tmp_path / "a.safetensors", MODEL, {"about": "stirred"}, torch.float32)
    loaded = TextToImage.load(path)
    assert loaded.card == {"about": "stirred"} and loaded.config == MODEL.config
    assert torch.equal(loaded.draw(WORDS, "two", steps=4), MODEL.draw(WORDS, "two", steps=4))


def test_saved_in_float16_it_draws_almost_the_same(tmp_path):
    path = checkpoint.save_model(tmp_path / "a.safetensors", tiny.trained(), {})
    drawn = (model.draw(WORDS, "two", steps=6) for model in (TextToImage.load(path), tiny.trained()))
    assert largest_step(*drawn) <= 8


@pytest.mark.parametrize("process", [Cosine(), Cosine(mean=-0.3), DDPM(), EDM(), Flow()], ids=str)
@pytest.mark.parametrize("target", ["x0", "v"])
def test_every_process_and_target_survives_the_configuration(process, target):
    model = tiny.model(process=process, target=target, sigma_data=0.6)
    again = TextToImage.from_config(json.loads(json.dumps(model.config)))
    assert again.config == model.config
    assert str(again.denoiser.process) == str(process)
    assert (again.denoiser.target, again.denoiser.sigma_data, again.shape) == (target, 0.6, (1, 8, 8))
    assert again.tokenizer.words == model.tokenizer.words and again.tokenizer.length == 2
    again.load_state_dict(model.state_dict())


# --- as an objective ---


def test_the_loss_of_a_batch_depends_on_its_seed_alone():
    batch = tiny.batch()
    loss = float(MODEL(batch).detach())
    torch.manual_seed(99)
    assert float(MODEL(batch).detach()) == loss
    assert float(MODEL(replace(batch, seed=batch.seed + 1)).detach()) != loss


@pytest.mark.parametrize("world", [2, 4])
def test_the_mean_of_the_shares_is_the_loss_of_the_whole_batch(world):
    whole = next(iter(tiny.stream(8)))
    shares = [next(iter(tiny.stream(8 // world, rank=rank, world=world))) for rank in range(world)]
    losses = [float(MODEL(share).detach()) for share in shares]
    assert sum(losses) / world == pytest.approx(float(MODEL(whole).detach()), rel=1e-5)


def test_the_words_learn_too():
    model = tiny.stirred()
    model(tiny.batch()).backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in model.encoder.parameters())


def test_a_trained_encoder_is_kept_as_it_is():
    encoder = tiny.stirred().encoder
    settings = dict(length=encoder.config["length"], encoder=encoder, widths=(8, 16), heads=2)
    model = TextToImage.new(MODEL.tokenizer.words, MODEL.shape, **settings)
    assert model.denoiser.net.config["d_ctx"] == encoder.config["dim"]
    model(tiny.batch()).backward()
    assert all(p.grad is None for p in model.encoder.parameters())
    with pytest.raises(ValueError, match="does not fit"):
        TextToImage.new(["other", "words", "and", "more", "of", "them"], MODEL.shape, **settings)


def test_precision_is_kept_when_walking_by_another_clock(monkeypatch):
    model, seen = tiny.stirred(), []
    model.denoiser.precision = torch.bfloat16
    call = Denoiser.forward
    monkeypatch.setattr(Denoiser, "forward", lambda self, *a: seen.append(self.precision) or call(self, *a))
    for process in (None, EDM()):
        list(itertools.islice(model.walk("one", process=process), 2))
    assert set(seen) == {torch.bfloat16}
