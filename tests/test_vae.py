"""The VAE: its loss against torch's own distributions, latents of variance 1, and drawing in them."""

from __future__ import annotations

import copy
import math

import pytest
import tiny
import torch
from torch.distributions import Normal, kl_divergence

from minidiff import checkpoint, data
from minidiff.pipeline import TextToImage
from minidiff.train import Format, train
from minidiff.vae import VAE, kl

WIDTHS = (8, 16)


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return data.to_float(tiny.pictures(10).pixels)


@pytest.fixture(scope="module")
def vae(pictures) -> VAE:
    """One that has learned the ten patterns. Shared: leave it as it is."""
    torch.manual_seed(0)
    made = VAE(channels=1, latents=4, widths=WIDTHS)
    quick = dict(lr=2e-2, warmup=10, ema=0.9, format=Format(), progress=False)
    *_, state = train(made, tiny.stream(10), 150, **quick)
    state.ema.calibrate(pictures)
    return state.ema


def test_kl_is_that_of_torch():
    mean, logvar = torch.randn(50), torch.randn(50)
    expected = kl_divergence(Normal(mean, (0.5 * logvar).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(kl(mean, logvar), expected)


def test_the_loss_is_the_squared_error_plus_the_weighted_kl():
    torch.manual_seed(0)
    made, batch = VAE(channels=1, widths=WIDTHS, beta=0.3), tiny.batch()
    mean, logvar = made.moments(batch.x0)
    eps = torch.randn(mean.shape, generator=batch.generator())
    error = (made.reconstruct(mean + (logvar / 2).exp() * eps) - batch.x0).square().mean()
    torch.testing.assert_close(made(batch), error + 0.3 * kl(mean, logvar).mean())


def test_shapes():
    made = VAE(channels=3, latents=5, widths=WIDTHS)
    latent = made.encode(torch.zeros(2, 3, 16, 32))
    assert latent.shape == (2, 5, 4, 8) and made.decode(latent).shape == (2, 3, 16, 32)


@pytest.mark.parametrize("shape", [(2, 1, 16, 16), (2, 3, 18, 16)])
def test_pictures_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match="multiples of 4"):
        VAE(channels=3, widths=WIDTHS).encode(torch.zeros(shape))


def test_it_learns_to_give_back_what_it_was_shown(vae, pictures):
    error = (vae.decode(vae.encode(pictures)) - pictures).square().mean()
    assert error < 0.05 * pictures.var()


def test_latents_have_unit_variance_after_calibration(vae, pictures):
    latent = vae.encode(pictures)
    torch.testing.assert_close(latent.mean((0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(latent.std((0, 2, 3)), torch.ones(4), atol=1e-3, rtol=0)


def test_it_is_saved_with_its_shift_and_scale(vae, pictures, tmp_path):
    again, _ = checkpoint.load_model(VAE, checkpoint.save_model(tmp_path / "vae.safetensors", vae, {}, torch.float32))
    assert torch.equal(again.encode(pictures), vae.encode(pictures))


@pytest.fixture(scope="module")
def latent_model(vae) -> TextToImage:
    torch.manual_seed(0)
    made = TextToImage.new(
        data.DIGIT_WORDS, (4, 2, 2), length=2, d_ctx=16, widths=(32,), blocks=1, patch=1, vae=copy.deepcopy(vae)
    )
    quick = dict(lr=2e-2, warmup=10, ema=0.9, format=Format(), progress=False)
    *_, state = train(made, tiny.stream(24), 200, **quick)
    return state.ema


def test_each_word_draws_its_picture_in_the_latents(latent_model, pictures):
    drawn = latent_model.draw(list(data.DIGIT_WORDS), cfg_scale=1.0)
    assert drawn.shape == pictures.shape
    far = torch.cdist(drawn.flatten(1), pictures.flatten(1))
    assert (far.argmin(1) == torch.arange(10)).float().mean() >= 0.9


def test_training_leaves_the_vae_as_it_is(latent_model, vae):
    tiny.assert_equal(tiny.weights(latent_model.vae), tiny.weights(vae))


def test_one_file_holds_all_of_it(latent_model, tmp_path):
    path = checkpoint.save_model(tmp_path / "latent.safetensors", latent_model, {}, torch.float32)
    again = TextToImage.load(path)
    assert torch.equal(again.draw("seven", seed=2), latent_model.draw("seven", seed=2))


def test_a_guess_in_latents_ends_at_two_unless_told_otherwise(latent_model):
    settings = dict(steps=3, cfg_scale=30.0)
    usual, whole = (list(latent_model.walk("seven", **settings, **more)) for more in ({}, dict(clip=math.inf)))
    assert all(step.x0.abs().max() <= 2 for step in usual)
    assert max(step.x0.abs().max() for step in whole) > 2


def test_known_pixels_stay_exactly_in_latents_too(latent_model, pictures):
    mask = torch.zeros(tiny.SIDE, tiny.SIDE, dtype=torch.bool)
    mask[:, :5] = True
    drawn = latent_model.inpaint(pictures[:2], mask, ["seven", "one"])
    assert torch.equal(drawn[:, :, mask], pictures[:2][:, :, mask])


def test_a_mask_of_the_wrong_size_is_refused_in_latents_too(latent_model, pictures):
    with pytest.raises(ValueError, match="does not fit"):
        latent_model.inpaint(pictures[:1], torch.ones(3, 5, dtype=torch.bool), "seven")


def test_steps_are_latents_that_become_pictures(latent_model):
    *_, last = latent_model.walk("seven", steps=2)
    assert last.x0.shape == (1, 4, 2, 2)
    assert torch.equal(latent_model.pictures(last.x0), latent_model.draw("seven", steps=2))
