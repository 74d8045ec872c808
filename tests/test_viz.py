"""Still pictures: every pixel where it belongs, and files that are whole or not there."""

from __future__ import annotations

import io
import re
from base64 import b64decode

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minidiff import viz
from minidiff.data import to_float
from minidiff.samplers import Step

RAMP = to_float(torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16))


def steps(n: int = 3, b: int = 2, c: int = 1, size: int = 4) -> list[Step]:
    """n Steps whose xt is black and whose x0 is white."""
    xt = torch.full((b, c, size, size), -1.0)
    return [Step(i, 1 - i / max(1, n - 1), xt, -xt) for i in range(n)]


def test_a_picture_keeps_every_grey_value():
    assert np.array_equal(np.asarray(viz.picture(RAMP[0])), np.arange(256, dtype=np.uint8).reshape(16, 16))


def test_a_colour_picture_keeps_the_order_of_its_channels():
    x = torch.tensor([1.0, -1.0, 0.0]).view(3, 1, 1).expand(3, 2, 2)
    assert viz.picture(x).getpixel((0, 0)) == (255, 0, 128)


@given(b=st.integers(1, 9), c=st.sampled_from([1, 3]), h=st.integers(1, 6), w=st.integers(1, 6), gap=st.integers(0, 2))
def test_a_grid_holds_every_picture_in_its_cell(b, c, h, w, gap):
    x = to_float(torch.randint(256, (b, c, h, w), dtype=torch.uint8))
    columns = max(1, b // 2)
    sheet = np.asarray(viz.grid(x, columns=columns, scale=1, gap=gap)).reshape(-1, columns * (w + gap) + gap, c)
    for i in range(b):
        top, left = gap + i // columns * (h + gap), gap + i % columns * (w + gap)
        cell = torch.from_numpy(sheet[top : top + h, left : left + w].copy()).permute(2, 0, 1)
        assert torch.equal(to_float(cell), x[i])


def test_a_pixel_becomes_a_square():
    big = np.asarray(viz.picture(RAMP[0], scale=3))
    assert big.shape == (48, 48) and (big[3:6, 6:9] == 18).all()


@pytest.mark.parametrize("shape", [(0, 1, 4, 4), (2, 2, 4, 4)])
def test_what_is_no_picture_is_refused(shape):
    with pytest.raises(ValueError, match=re.escape(str(shape))):
        viz.grid(torch.zeros(shape))


@pytest.mark.parametrize("frames", [1, 0, -3])
def test_a_film_strip_of_fewer_than_two_frames_is_refused(frames):
    with pytest.raises(ValueError, match="at least 2"):
        viz.film_strip(steps(5), frames=frames)


def test_a_film_strip_has_a_row_of_noise_above_a_row_of_beliefs():
    strip = np.asarray(viz.film_strip(steps(5), scale=1))
    assert strip.shape == (4 * 5 + 1, 5 * 5 + 1)
    assert [strip[1 + 5 * row, 1] for row in range(4)] == [0, 255, 0, 255]
    assert np.asarray(viz.film_strip(steps(5), scale=1, beliefs=False)).shape == (2 * 5 + 1, 5 * 5 + 1)


def test_a_short_strip_keeps_the_first_and_the_last_step():
    shades = [
        Step(i, 0.0, to_float(torch.full((1, 1, 1, 1), 10 * i, dtype=torch.uint8)), torch.zeros(1, 1, 1, 1))
        for i in range(20)
    ]
    strip = np.asarray(viz.film_strip(shades, frames=4, scale=1, beliefs=False))
    assert strip.shape[1] == 2 * 4 + 1 and (strip[1, 1], strip[1, 7]) == (0, 190)
    with pytest.raises(ValueError, match="at least one step"):
        viz.film_strip([])


def test_noise_of_any_size_can_be_looked_at():
    loud = 80 * torch.randn(1, 1, 32, 32)
    assert float(viz.visible(loud).std()) == pytest.approx(1, abs=0.01)
    quiet = 0.5 * loud / 80
    assert torch.equal(viz.visible(quiet), quiet)


def test_a_table_is_wide_enough_for_its_labels_and_pictures():
    x = torch.zeros(4, 1, 8, 8)
    plain, labelled = viz.table({"a": x}), viz.table({"a longer label\nof two lines": x}, ["1", "2", "3", "4"])
    assert labelled.width > plain.width and labelled.height > plain.height
    assert plain.info["dpi"] == (192, 192)


def test_pictures_stand_below_their_captions():
    x = torch.stack([torch.full((1, 8, 8), value) for value in (-1.0, 0.0, 1.0)])
    sheet = viz.captioned(x, ["a", "a much longer caption", "c"], columns=2, scale=2)
    wide, high = sheet.width // 2, sheet.height // 2
    text = high - 8 * 4
    assert wide > 8 * 4 and text == 52 and sheet.info["dpi"] == (192, 192)
    assert viz.captioned(x, ["a", "of two\nlines", "c"], columns=3, scale=2).height > high
    middle = [
        sheet.getpixel((column * wide + wide // 2, row * high + 52 + 16)) for row, column in ((0, 0), (0, 1), (1, 0))
    ]
    assert middle == [(0, 0, 0), (128, 128, 128), (255, 255, 255)]
    with pytest.raises(ValueError):
        viz.captioned(x, ["too", "few"])


def test_what_is_shown_carries_its_alternative_text_and_the_picture():
    shown = viz.show(viz.picture(RAMP[0]), 'a ramp of "greys" & <more>')._repr_mimebundle_()
    assert shown["text/plain"] == '[a ramp of "greys" & <more>]'
    assert 'alt="a ramp of &quot;greys&quot; &amp; &lt;more&gt;"' in shown["text/html"]
    webp = Image.open(io.BytesIO(b64decode(re.search(r"base64,([^\"]+)", shown["text/html"])[1])))
    there, meant = (np.asarray(image.convert("RGB")).astype(int) for image in (webp, viz.picture(RAMP[0])))
    assert there.shape == meant.shape and np.abs(there - meant).max() <= viz.STEP // 2


def test_what_is_transparent_is_shown_so():
    shown = viz.show(Image.new("RGBA", (8, 8), (255, 0, 0, 0)), "nothing")
    assert Image.open(io.BytesIO(shown.webp)).convert("RGBA").getextrema()[3] == (0, 0)


def test_a_picture_with_a_palette_is_shown_in_its_colours():
    image = viz.grid(torch.linspace(-1, 1, 3 * 64).view(1, 3, 8, 8)).quantize(16)
    png = b64decode(re.search(r"base64,([^\"]+)", viz.show(image, "colours").html)[1])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png)).convert("RGB")), np.asarray(image.convert("RGB")))


def test_a_plot_has_a_legend_for_several_curves():
    figure = viz.plot({"mine": ([1, 2], [3, 4]), "theirs": ([1, 2], [4, 3])}, "step", "loss", log="xy")
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["mine", "theirs"]
    assert (axes.get_xscale(), axes.get_yscale(), axes.get_xlabel()) == ("log", "log", "step")
    assert viz.show(figure, "two curves")._repr_mimebundle_()["text/html"].startswith("<img")


@given(settings=st.dictionaries(st.text(max_size=8), st.one_of(st.text(), st.integers(), st.lists(st.text()))))
def test_settings_survive_in_the_file(settings, tmp_path_factory):
    path = tmp_path_factory.mktemp("png") / "a.png"
    viz.save_png(viz.picture(RAMP[0]), path, settings)
    assert viz.read_settings(path) == settings


def test_a_picture_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    viz.save_png(viz.picture(RAMP[0]), path, {})
    before = path.read_bytes()

    def full(self, file, *args, **settings):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space"):
        viz.save_png(viz.picture(RAMP[0]), path, {})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_what_cannot_be_read_says_so(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.png"):
        viz.read_settings(tmp_path / "a.png")
