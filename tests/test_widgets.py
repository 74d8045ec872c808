"""The widgets without a browser: what they pack, what they answer, and how they fail."""

from __future__ import annotations

import base64
import io
import json
import re
import threading
import time
from html.parser import HTMLParser

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from minidiff import DDPM, EDM, Cosine, Step, cli, viz, widgets
from minidiff.export import export
from minidiff.train import Format, train
from minidiff.vae import VAE
from minidiff.widgets import player
from minidiff.widgets.live import Live
from minidiff.widgets.schedule import Designed

SIZE_OF_ALL_SCRIPTS = 120_000  # bytes


@pytest.fixture(scope="module")
def model():
    return tiny.stirred()


def unpacked(atlas: dict, n: int) -> np.ndarray:
    """The pictures (n h w c) of a packed image, as a browser cuts them out."""
    file = base64.b64decode(atlas["src"].partition(",")[2])
    sheet = np.asarray(Image.open(io.BytesIO(file)))
    sheet = sheet.reshape(*sheet.shape[:2], -1)
    h, w, columns = atlas["height"], atlas["width"], atlas["columns"]
    places = [(i // columns * h, i % columns * w) for i in range(n)]
    return np.stack([sheet[top : top + h, left : left + w] for top, left in places])


def shown(made: widgets.Player, which: int, place: int) -> np.ndarray:
    """What a panel shows at a place on the axes."""
    panel = made.spec["panels"][which]
    frame = panel["frames"][place] if "frames" in panel else place
    every = unpacked(made.spec["atlases"][panel["atlas"]], (frame + 1) * panel["count"])
    return every[frame * panel["count"] :]


class Tags(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


# --- packing ---


@pytest.mark.parametrize("shape", [(1, 8, 8, 1), (7, 8, 6, 3), (50, 5, 9, 1)])
def test_small_pictures_are_packed_without_loss(shape):
    pictures = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    (atlas,) = player.pack([pictures])
    assert atlas["src"].startswith("data:image/png")
    np.testing.assert_array_equal(unpacked(atlas, len(pictures)), pictures)


def test_a_long_walk_of_colour_pictures_fits_into_a_megabyte():
    chance = torch.Generator().manual_seed(0)
    x0 = torch.nn.functional.interpolate(torch.rand(32, 3, 8, 8, generator=chance) * 2 - 1, (32, 32), mode="bilinear")
    eps = torch.randn(32, 3, 32, 32, generator=chance)
    walk = [Step(i, 1 - i / 50, i / 50 * x0 + (1 - i / 50) * eps, x0) for i in range(51)]
    widgets.StepScrubber(walk[:2])  # the first use reads the scripts
    start = time.process_time()
    made = widgets.StepScrubber(walk)
    sent = made.html
    seconds = time.process_time() - start
    assert len(sent.encode()) < 1e6
    assert seconds < 0.6, "the bar is 0.15 s on a quiet machine, which benchmarks/widgets.py measures"
    guess = shown(made, 1, 50).astype(float)
    assert np.abs(guess - player.pixels(x0)).mean() < 16  # JPEG, but the same pictures
    assert made.spec["atlases"][0]["src"].startswith("data:image/jpeg")


def test_pictures_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"1 or 3.*\(2, 4, 8, 8\)"):
        player.pixels(torch.zeros(2, 4, 8, 8))


def test_all_scripts_together_are_small_and_fetch_nothing():
    files = list(player.FRONT.iterdir())
    assert sum(file.stat().st_size for file in files) < SIZE_OF_ALL_SCRIPTS
    for file in files:
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")  # a name, not an address
        assert not re.search(r"https?:|fetch\(|XMLHttpRequest|import\(|WebSocket|@import|url\(", text), file.name
        assert "</" not in text and "<!--" not in text, "it would end the script inside a page"


# --- players ---


def test_step_scrubber_shows_every_step_as_it_was(model):
    walk = list(model.walk(["seven", "one"], steps=4))
    made = widgets.StepScrubber(iter(walk))
    assert [len(axis["values"]) for axis in made.spec["axes"]] == [5]
    for i, step in enumerate(walk):
        np.testing.assert_array_equal(shown(made, 0, i), player.pixels(viz.visible(step.xt)))
        np.testing.assert_array_equal(shown(made, 1, i), player.pixels(step.x0))
    assert made.spec["texts"][0] == "Step 0 of 4, t = 1"


def test_step_scrubber_calls_its_pictures_by_other_names(model):
    walk = list(model.walk("seven", steps=2))
    made = widgets.StepScrubber(walk, titles=("xt, turned", "what is read"), label="Digits that turn")
    assert made.spec["label"] == "Digits that turn"
    assert [panel["title"] for panel in made.spec["panels"]] == [
        "xt, turned", "what is read", "difference, xt - what is read"
    ]  # fmt: skip
    assert [view["name"] for view in made.spec["views"]] == ["xt and what is read", "xt", "what is read", "difference"]


def test_step_scrubber_decodes_latents():
    torch.manual_seed(0)
    vae = VAE(1, 4, (8, 8))
    latent = tiny.TextToImage.new(tiny.DIGIT_WORDS, (4, 4, 4), length=2, d_ctx=16, vae=vae, widths=(16,), blocks=1)
    walk = list(latent.eval().walk("seven", steps=2))
    with pytest.raises(ValueError, match="give the model that decodes"):
        widgets.StepScrubber(walk)
    made = widgets.StepScrubber(walk, latent)
    np.testing.assert_array_equal(shown(made, 1, 2), player.pixels(latent.pictures(walk[2].x0)))


def test_step_scrubber_needs_a_step():
    with pytest.raises(ValueError, match="at least one step"):
        widgets.StepScrubber([])


def test_noise_slider_shows_what_the_process_does():
    pictures = torch.rand(2, 1, 8, 8) * 2 - 1
    processes = [Cosine(), EDM()]
    made = widgets.NoiseSlider(pictures, processes, seeds=(3, 4, 5), steps=4)
    assert len(made.spec["texts"]) == 5 * 2 * 3
    for seed in range(3):
        np.testing.assert_array_equal(shown(made, 0, seed), player.pixels(pictures))  # t = 0
    middle = shown(made, 0, (2 * 2 + 0) * 3)
    again = widgets.NoiseSlider(pictures, processes[:1], seeds=(3,), steps=4)
    np.testing.assert_array_equal(shown(again, 0, 2), middle)
    bars = made.spec["panels"][1]["bars"]
    assert len(bars) == 30 and all(max(each) == 255 for each in bars)
    assert "level 1.00" in made.spec["texts"][-1] or "level 0.99" in made.spec["texts"][-1]


def test_sampler_race_ends_where_each_sampler_ends(model):
    from minidiff import ddim, heun

    made = widgets.SamplerRace(model, "seven", (ddim, heun), (2, 3), places=4, progress=False)
    for k, solver in enumerate((ddim, heun)):
        for j, steps in enumerate((2, 3)):
            drawn = model.draw("seven", steps=steps, sampler=solver)
            np.testing.assert_array_equal(shown(made, k, 4 * 2 + j), player.pixels(drawn))
    assert made.spec["texts"][-1].endswith("Network calls: ddim 3, heun 5")


def test_guidance_explorer_draws_every_cell_of_the_lattice(model):
    told = []

    def measure(pictures):
        told.append(pictures)
        return 0.25

    made = widgets.GuidanceExplorer(model, "seven", (1, 3), ("", "one"), n=2, steps=2, measure=measure, progress=False)
    assert len(told) == 4
    drawn = model.draw(["seven"] * 2, "one", cfg_scale=3.0, steps=2)
    np.testing.assert_array_equal(shown(made, 0, 3), player.pixels(drawn))
    assert made.spec["texts"][3] == "guidance 3, negative prompt 'one': 25% of 2 follow the prompt"


def test_word_heat_shows_the_attention_of_each_word_and_step(model):
    made = widgets.WordHeat(model, "seven one", steps=3)
    words, step = made.spec["axes"]
    assert words["values"] == ["seven", "one"] and len(step["values"]) == 4
    with model.watch_words() as maps:
        walk = list(model.walk("seven one", steps=3))
    (layer,) = maps.values()
    seen = torch.stack([layer[min(i, 2)][0].mean(0).T for i in range(4)], 1)  # words, steps, pixels
    side = int(seen.shape[-1] ** 0.5)
    wanted = torch.nn.functional.interpolate(seen.view(2, 4, side, side), (8, 8), mode="bilinear")
    wanted = (wanted - wanted.min()) / (wanted.max() - wanted.min())
    heat = unpacked(made.spec["atlases"][1], 8)[..., 0].reshape(2, 4, 8, 8)
    assert np.abs(heat - 255 * wanted.numpy()).max() <= 1
    np.testing.assert_array_equal(shown(made, 0, 2), player.pixels(walk[2].x0))
    with pytest.raises(ValueError, match="the prompt has none"):
        widgets.WordHeat(model, "", steps=1)


def test_scrub_plays_any_function():
    def picture(level, size=1.0):
        return torch.full((1, 4, 4), level * size)

    made = widgets.scrub(picture, {"level": [0.0, 0.5], "size": [1.0, -1.0]}, progress=False)
    assert made.spec["texts"] == ["level 0, size 1", "level 0, size -1", "level 0.5, size 1", "level 0.5, size -1"]
    np.testing.assert_array_equal(shown(made, 0, 3), player.pixels(torch.full((1, 1, 4, 4), -0.5)))
    figure = widgets.scrub(lambda n: viz.plot({"a": ([0, 1], [0, n])}, "x", "y", size=(2, 1)), [1, 2], progress=False)
    assert shown(figure, 0, 0).shape == (1, 100, 200, 3)
    with pytest.raises(ValueError, match="same size"):
        widgets.scrub(lambda n: torch.zeros(1, n, n), [2, 3], progress=False)
    with pytest.raises(ValueError, match="at least one value"):
        widgets.scrub(picture, [])
    with pytest.raises(ValueError, match="got str"):
        widgets.scrub(str, [1], progress=False)


def test_a_player_is_one_picture_with_a_text_where_scripts_do_not_run(model):
    made = widgets.StepScrubber(model.walk("seven", steps=2))
    bundle = made._repr_mimebundle_()
    assert bundle["text/plain"] == f"[{made.still.alt}]"
    tags = Tags(bundle["text/html"]).tags
    assert [tag for tag, _ in tags] == ["div", "img", "p", "small", "script", "script"]
    assert len(tags[1][1]["alt"].split()) > 4 and tags[1][1]["src"].startswith("data:image/webp;base64,")
    assert widgets.StepScrubber(model.walk("seven", steps=2)).html == made.html, "the same walk gives the same bytes"


def test_what_a_player_tells_cannot_end_its_script():
    evil = "</script><script>alert(1)</script><!--"
    made = widgets.scrub(lambda value: torch.zeros(1, 2, 2), [evil], progress=False)
    data = re.search(r'<script type="application/json">(.*?)</script>', made.html, re.DOTALL)[1]
    assert json.loads(data)["texts"] == [f"value {evil}"]
    assert made.html.count("<script") == 2 and "<!--" not in made.html


# --- live widgets ---


class Echo(Live):
    module = "training"

    def __init__(self, answer):
        self.given, self.heard = answer, []
        super().__init__()

    def answer(self, request, buffers):
        yield from self.given(request)

    def send(self, content, buffers=None):
        self.heard.append(content)


def listen(widget) -> list:
    """What the widget sends from now on: (content, buffers)."""
    heard = []
    widget.send = lambda content, buffers=None: heard.append((content, buffers))
    return heard


def asked(widget, request: dict, buffers=()) -> list:
    heard = listen(widget)
    widget.ask({"id": 1, "view": "v", **request}, list(buffers))
    assert widget.settle(60.0)
    assert all(content["id"] == 1 and content["view"] == "v" for content, _ in heard)
    return heard


def picture_of(content: dict, data: bytes) -> np.ndarray:
    about = content["picture"]
    return np.frombuffer(data, np.uint8).reshape(*(about[key] for key in ("n", "height", "width", "channels")))


def test_the_newest_request_wins_and_the_rest_of_an_older_one_is_dropped():
    begun, go_on = threading.Event(), threading.Event()

    def answer(request):
        yield {"part": 1, "of": request["of"]}, []
        if request["of"] == "first":
            begun.set()
            go_on.wait(10)
        yield {"part": 2, "of": request["of"]}, []
        yield {"part": 3, "of": request["of"]}, []

    echo = Echo(answer)
    echo.ask({"of": "first", "id": 1})
    assert begun.wait(10)
    echo.ask({"of": "second", "id": 2})
    echo.ask({"of": "third", "id": 3})
    go_on.set()
    assert echo.settle(10.0)
    assert [(c["of"], c["part"]) for c in echo.heard] == [
        ("first", 1),
        ("first", 2),
        *(("third", k) for k in (1, 2, 3)),
    ]


def test_an_error_is_told_in_one_sentence_and_the_widget_goes_on():
    def answer(request):
        if request["bad"]:
            raise ZeroDivisionError("no\nway")
        yield {"good": True}, []

    echo = Echo(answer)
    for bad in (True, False):
        echo.ask({"bad": bad, "id": 1})
        assert echo.settle(10.0)
    failed, well = echo.heard
    assert failed["error"] == "ZeroDivisionError: no way" and "in answer" in failed["more"]
    assert well == {"good": True, "id": 1}


def test_playground_draws_a_quick_picture_and_then_the_walk(model):
    board = widgets.Playground(model, "seven", seed=3, steps=6)
    heard = asked(board, {"kind": "draw", **board.start})
    assert [content["kind"] for content, _ in heard] == ["quick", *["step"] * 7, "walk"]
    walk = list(model.walk("seven", seed=3, steps=6))
    content, (held, guessed) = heard[-1]
    np.testing.assert_array_equal(picture_of(content, held), player.together([viz.visible(s.xt) for s in walk]))
    np.testing.assert_array_equal(picture_of(content, guessed), player.together([s.x0 for s in walk]))
    ((content, _),) = asked(board, {"kind": "draw", **board.start, "prompt": "sevn"})
    assert "nearest known: seven" in content["error"]
    assert widgets.StepScrubber(walk).html == board.still()


def test_playground_saves_a_picture_that_can_be_drawn_again(tmp_path, monkeypatch):
    from minidiff import checkpoint

    weights = checkpoint.save_model(tmp_path / "tiny.safetensors", tiny.stirred(), {})
    model = tiny.TextToImage.load(weights)
    board = widgets.Playground(model, "seven", weights=weights)
    ((content, (data,)),) = asked(board, {"kind": "save", **board.start, "seed": 5, "sampler": "ddim", "steps": 3})
    assert content["name"] == "seven-5.png"
    (tmp_path / "saved.png").write_bytes(data)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["sample", "--like", "saved.png", "--out", "again.png", "--weights", str(weights)]) == 0
    first, second = (np.asarray(Image.open(tmp_path / name)) for name in ("saved.png", "again.png"))
    np.testing.assert_array_equal(first, second)


def test_playground_draws_a_grid(model):
    board = widgets.Playground(model, "seven", steps=2)
    axes = {"across": {"key": "seed", "values": [1, 2, 3]}, "down": {"key": "sampler", "values": ["ddim", "heun"]}}
    heard = asked(board, {"kind": "grid", **board.start, **axes})
    content, (data,) = heard[-1]
    from minidiff import heun

    drawn = model.draw("seven", seed=2, steps=2, sampler=heun)
    np.testing.assert_array_equal(picture_of(content, data)[4], player.pixels(drawn)[0])
    axes["down"] = {"key": "cfg_scale", "values": list(range(13))}
    assert "from 1 to 36 pictures" in asked(board, {"kind": "grid", **board.start, **axes})[0][0]["error"]
    axes["down"] = {"key": "sampler", "values": ["magic"]}
    assert "no sampler 'magic'" in asked(board, {"kind": "grid", **board.start, **axes})[-1][0]["error"]


def quick(steps: int, **settings):
    return train(tiny.model(), tiny.stream(), steps, format=Format(), progress=False, **settings)


def test_training_in_the_background_is_the_same_training():
    *_, alone = quick(12)
    board = widgets.TrainingBoard(quick(12), ["seven", "one"], every=0.0, steps=2)
    state = board.wait()
    tiny.assert_equal(tiny.weights(state.ema), tiny.weights(alone.ema))
    told = board.told()
    assert told["stage"] == "finished" and told["step"] == 12 and len(told["curve"]) == 12
    assert len(board.moments) == 13
    film = board.film()
    np.testing.assert_array_equal(shown(film, 0, 12), player.pixels(state.ema.draw(["seven", "one"], steps=2)))


def test_training_pauses_stops_and_tells():
    board = widgets.TrainingBoard(quick(10**6))
    while board.state is None:
        time.sleep(0.05)
    asked(board, {"kind": "pause", "tell": True})
    time.sleep(0.5)
    before = board.state.step
    time.sleep(0.2)
    assert board.state.step == before and board.told()["stage"] == "paused"
    asked(board, {"kind": "go", "tell": True})
    start = time.monotonic()
    asked(board, {"kind": "stop", "tell": True})
    assert board.wait().step >= before
    assert time.monotonic() - start < 5
    assert board.told()["stage"] == "stopped"
    with pytest.raises(ValueError, match="no pictures"):
        board.film()


def test_a_training_that_fails_raises_when_it_is_waited_for():
    def broken():
        yield from quick(3)
        raise RuntimeError("out of digits")

    board = widgets.TrainingBoard(broken())
    with pytest.raises(RuntimeError, match="out of digits"):
        board.wait()
    assert board.told()["stage"] == "failed"


def test_long_trainings_keep_a_short_curve_and_few_pictures():
    board = widgets.TrainingBoard(quick(60), every=0.0, draw=lambda state: torch.zeros(1, 1, 2, 2))
    board.wait()
    steps = [step for step, _ in board.moments]
    assert len(steps) <= 25 and steps == sorted(steps) and steps[-1] == 60
    board.losses = [1.0] * 5000
    assert len(board.told()["curve"]) <= 200


def test_paint_mask_keeps_what_is_not_painted(model):
    picture = torch.rand(1, 8, 8) * 2 - 1
    board = widgets.PaintMask(model, picture, "seven", 2, steps=3)
    painted = np.zeros((8, 8), np.uint8)
    painted[2:5, 3:6] = 1
    heard = asked(board, {"kind": "paint", "prompt": "seven", "seed": 2}, [painted.tobytes()])
    assert [content["kind"] for content, _ in heard] == ["guess"] * 4 + ["result"]
    known = torch.from_numpy(painted == 0)
    assert torch.equal(board.mask, known)
    assert torch.equal(board.result, model.inpaint(picture[None], known, "seven", seed=2, steps=3))
    assert torch.equal(board.result[0, 0][known], picture[0][known])
    before = board.result
    asked(board, {"kind": "keep"})
    assert torch.equal(board.picture, before)
    asked(board, {"kind": "move", "right": 2, "down": 0, "prompt": "seven", "seed": 2})
    assert torch.equal(board.result, model.outpaint(before, "seven", right=2, seed=2, steps=3))
    with pytest.raises(ValueError, match=r"must be \(1, 8, 8\)"):
        widgets.PaintMask(model, torch.zeros(1, 7, 8))


def test_a_designed_schedule_is_a_process():
    knots = [0, 0.1, 0.5, 0.8, 1]
    process = Designed(knots)
    t = torch.linspace(0, 1, 5, dtype=torch.float64)
    torch.testing.assert_close(process.level(t), torch.tensor(knots, dtype=torch.float64))
    torch.testing.assert_close(process.alpha(t) ** 2 + process.sigma(t) ** 2, torch.ones(5, dtype=torch.float64))
    assert process.alpha(t)[-1] == 0 and process.sigma(t)[0] == 0
    slope = process.rates(torch.tensor(0.3, dtype=torch.float64))[1]
    step = 1e-6
    ends = process.sigma(torch.tensor([0.3 - step, 0.3 + step], dtype=torch.float64))
    torch.testing.assert_close(slope, (ends[1] - ends[0]) / (2 * step), atol=1e-6, rtol=1e-6)
    for bad in ([0, 0.5, 0.4, 1], [0.1, 1], [0, 0.9]):
        with pytest.raises(ValueError, match="rise from 0 to 1"):
            Designed(bad)


def test_a_model_can_walk_by_a_designed_schedule(model):
    board = widgets.ScheduleDesigner(torch.zeros(1, 1, 8, 8))
    asked(board, {"kind": "curve", "knots": [0, 0.3, 0.6, 1]})
    drawn = model.draw("seven", steps=3, process=board.process)
    assert bool(drawn.isfinite().all())


def test_schedule_designer_shows_the_pictures_along_the_curve():
    pictures = torch.rand(2, 1, 8, 8) * 2 - 1
    board = widgets.ScheduleDesigner(pictures, [Cosine(), DDPM()])
    ((content, (data,)),) = asked(board, {"kind": "curve", "knots": [0, 0.2, 1], "beside": "DDPM"})
    rows = picture_of(content, data)
    assert len(rows) == 2 * 2 * 9 and board.process.knots == [0, 0.2, 1]
    np.testing.assert_array_equal(rows[0], player.pixels(pictures)[0])
    middle = board.process.add_noise(pictures, board.eps, torch.tensor(0.5))
    np.testing.assert_array_equal(rows[9 + 4], player.pixels(viz.visible(middle))[1])
    ((content, _),) = asked(board, {"kind": "curve", "knots": [1, 0]})
    assert "must rise" in content["error"] and board.process.knots == [0, 0.2, 1]


def test_latent_map_decodes_where_one_points():
    torch.manual_seed(0)
    vae = VAE(1, 4, (8, 8))
    pictures = torch.rand(6, 1, 8, 8) * 2 - 1
    vae.calibrate(pictures)
    board = widgets.LatentMap(vae, pictures)
    lattice, given = asked(board, {"kind": "look"})
    assert picture_of(lattice[0], *lattice[1]).shape == (81, 8, 8, 1)
    np.testing.assert_array_equal(picture_of(given[0], *given[1]), player.pixels(pictures))
    ((content, (data,)),) = asked(board, {"kind": "point", "right": -2.5, "up": 2.5})
    np.testing.assert_array_equal(picture_of(content, data)[0], picture_of(lattice[0], *lattice[1])[0])
    place = (board.latents - board.mean.view(1, *board.latents.shape[1:])).flatten(1) @ board.directions.T
    torch.testing.assert_close(place.var(0), board.scale**2)
    ((content, (data,)),) = asked(board, {"kind": "walk", "from": 2, "to": 4})
    ends = picture_of(content, data)[[0, -1]]
    with torch.no_grad():
        np.testing.assert_array_equal(ends, player.pixels(vae.decode(vae.encode(pictures[[2, 4]])).clamp(-1, 1)))
    with pytest.raises(ValueError, match="at least 3"):
        widgets.LatentMap(vae, pictures[:2])


def test_a_live_widget_leaves_a_picture_where_there_is_no_kernel(model, monkeypatch):
    from minidiff.widgets import live

    for board in (widgets.PaintMask(model, torch.zeros(1, 8, 8)), widgets.ScheduleDesigner(torch.zeros(1, 1, 8, 8))):
        outputs = []
        monkeypatch.setattr(live, "display", lambda output, display_id: outputs.append(output))  # noqa: B023
        data, _ = board._repr_mimebundle_()
        assert data["text/plain"] == f"[{board.label}: run this cell to use it.]"
        (output,) = outputs
        tags = Tags(output.data).tags
        assert [tag for tag, _ in tags] == ["div", "style", "img"] and tags[2][1]["alt"]
        assert tags[0][1]["class"] == board.still_name


def test_a_training_leaves_what_it_drew(monkeypatch):
    from minidiff.widgets import live

    shown = {}
    for name in ("display", "update_display"):
        monkeypatch.setattr(live, name, lambda output, display_id: shown.update({display_id: output.data}))
    begun = threading.Event()

    def states():
        assert begun.wait(30)
        yield from quick(3)

    board = widgets.TrainingBoard(states(), ["seven", "one"], every=0.0, steps=2)
    board._repr_mimebundle_()
    assert "has begun" in shown[board.model_id]
    begun.set()
    board.wait()
    assert board.film().html in shown[board.model_id] and board.still_name in shown[board.model_id]
    silent = widgets.TrainingBoard(quick(3))
    silent.wait()
    (image,) = Tags(silent.still()).tags
    assert image[0] == "img" and "over 3 steps" in image[1]["alt"]


# --- export ---


def notebook(path, outputs):
    import nbformat

    made = nbformat.v4.new_notebook()
    made.cells = [
        nbformat.v4.new_markdown_cell("# A <lesson>\n\n[next](03_next.ipynb#there) [far](https://example.org/a.ipynb)"),
        nbformat.v4.new_code_cell("1 + 1", outputs=[nbformat.v4.new_output("display_data", o) for o in outputs]),
    ]
    made.metadata["widgets"] = {"state": "much"}
    nbformat.write(made, path)
    return path


def test_export_keeps_players_and_drops_what_needs_a_kernel(model, tmp_path, capsys, monkeypatch):
    bundle = widgets.StepScrubber(model.walk("seven", steps=2))._repr_mimebundle_()
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "Playground()"}
    path = notebook(tmp_path / "lesson.ipynb", [bundle, view])
    page = export(path, tmp_path / "out/lesson.html").read_text()
    scripts = bundle["text/html"].partition("<script")[2]  # nbconvert orders the attributes of the picture anew
    assert scripts in page and "Playground()" not in page and "much" not in page
    assert "<title>A &lt;lesson&gt;</title>" in page
    assert 'href="03_next.html#there"' in page and 'href="https://example.org/a.ipynb"' in page
    loaded = [a.get("src") or a.get("href") for tag, a in Tags(page).tags if tag in ("img", "script", "link", "iframe")]
    assert all(source is None or source.startswith("data:") for source in loaded)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", "lesson.ipynb"]) == 0
    assert "lesson.html" in capsys.readouterr().out and (tmp_path / "lesson.html").read_text() == page


def test_export_refuses_what_is_no_notebook(tmp_path, capsys):
    (tmp_path / "bad.ipynb").write_text("{")
    assert cli.main(["export", str(tmp_path / "bad.ipynb"), "--out", str(tmp_path / "x.html")]) == 2
    assert "is no notebook" in capsys.readouterr().err
    assert cli.main(["export", str(tmp_path / "missing.ipynb")]) == 2
    assert not (tmp_path / "x.html").exists()
