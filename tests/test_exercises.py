"""The exercises themselves: right answers pass, catalogued mistakes are known, and nothing wrong gets through."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import io
import json
import shutil
import sys
import warnings
from functools import cache
from pathlib import Path

import corpus
import pytest
import torch

from minidiff import DDPM, EDM, Cosine, Flow, metrics, samplers, text, vae
from minidiff.grading import checking, judges, pictures, wire
from minidiff.grading.exercise import Exercise, Lesson, judge, load_lessons, recognise
from minidiff.grading.running import call

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "exercises"))
import build  # noqa: E402

SEEDS = (1, 2)


@cache
def lessons() -> list[Lesson]:
    return load_lessons()


@cache
def exercises() -> dict[str, Exercise]:
    return {e.id: e for lesson in lessons() for e in lesson.exercises}


CODED = [e.id for lesson in load_lessons() for e in lesson.exercises if not e.judge]
OPEN = [e.id for lesson in load_lessons() for e in lesson.exercises if e.judge]


def define(source: str, function: str):
    space: dict = {}
    exec(compile(source, "<answer>", "exec"), space)
    return space[function]


@cache
def prepared(id: str, seed: int):
    """(cases, what is wanted, what each mistake gives)."""
    e = exercises()[id]
    cases = e.cases(seed)
    functions = [(m.hint, e.wrong(m)) for m in e.mistakes]
    wrong = [(hint, [call(f, list(c.args), c.gradients) for c in cases]) for hint, f in functions]
    return cases, e.expected(cases), wrong


def verdict(id: str, function, seed: int = 1):
    e = exercises()[id]
    cases, want, wrong = prepared(id, seed)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = [call(function, list(c.args), c.gradients) for c in cases]
    return judge(e.properties, e.points, cases, want, got), recognise(want, got, iter(wrong))


# --- How many there are -------------------------------------------------------------------------------


def test_there_are_enough_of_them():
    assert [lesson.number for lesson in lessons()] == [f"{n:02}" for n in range(1, 13)]
    for lesson in lessons():
        assert sum(not e.judge for e in lesson.exercises) >= 3, lesson.number
        assert [e.id for e in lesson.exercises] == [
            f"{int(lesson.number)}.{i + 1}" for i in range(len(lesson.exercises))
        ]
    assert len(CODED) >= 40
    assert sum(len(exercises()[id].properties) for id in CODED) >= 60
    for id in CODED:
        assert len(exercises()[id].mistakes) >= 3, id
        assert exercises()[id].hints, id


# --- Right answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", CODED)
def test_the_reference_and_its_variants_get_full_marks_and_no_hint(id):
    e = exercises()[id]
    made = {"reference": corpus.solution(e), **corpus.variants(e)}
    assert len(made) >= 9
    for name, source in made.items():
        found, hint = verdict(id, define(source, e.function))
        assert found.state == "pass", (name, found)
        assert (found.points, hint) == (e.points, None), name


def test_references_pass_on_many_seeds_and_give_finite_numbers_where_they_should():
    for id in CODED:
        e = exercises()[id]
        for seed in range(3, 5):
            cases = e.cases(seed)
            want = e.expected(cases)
            assert not [w["error"] for w in want if w["error"]], (id, seed)
            found = judge(e.properties, e.points, cases, want, e.expected(cases))
            assert found.state == "pass", (id, seed, found)


def test_other_seeds_give_other_cases():
    for id in CODED:
        e = exercises()[id]
        assert wire.pack([list(c.args) for c in e.cases(1)]) == wire.pack([list(c.args) for c in e.cases(1)])
        assert wire.pack([list(c.args) for c in e.cases(1)]) != wire.pack([list(c.args) for c in e.cases(2)]), id


# --- Wrong answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [(1,), pytest.param((checking.CHECK_SEED, 2, 3, 4), marks=pytest.mark.slow)])
def test_every_mistake_loses_points_and_gets_its_own_hint(seeds):
    missed, total = [], 0
    for id in CODED:
        e = exercises()[id]
        for mistake in e.mistakes:
            for seed in seeds:
                found, hint = verdict(id, e.wrong(mistake), seed)
                assert found.points < e.points, (id, mistake.hint)
                total += 1
                if hint != mistake.hint:
                    missed.append((id, seed, mistake.new, hint))
    assert len(missed) <= 0.05 * total, missed


def test_a_mistake_is_not_known_by_its_error_alone():
    for id in CODED:
        for hint, outs in prepared(id, 1)[2]:
            assert any(not out["error"] for out in outs), (id, hint)


def survivors(id: str, every: int) -> tuple[list[str], int]:
    e = exercises()[id]
    lived, total = [], 0
    for name, source in list(corpus.mutants(e))[::every]:
        total += 1
        try:
            function = define(source, e.function)
        except Exception:
            continue
        if all(verdict(id, function, seed)[0].state == "pass" for seed in SEEDS):
            lived.append(f"{id} {name}")
    return lived, total


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_mutants_of_every_reference_are_caught(every):
    """All of them in the slow test, every fifth in the quick one; survivors are listed in corpus.py, with why."""
    for id in CODED:
        lived, total = survivors(id, every)
        # one without a number or an operator has no mutants
        assert total or len(exercises()[id].mistakes) >= 3, id
        assert not [name for name in lived if name not in corpus.EQUIVALENT]


@pytest.mark.parametrize("id", CODED)
def test_answers_without_a_thought_score_nothing(id):
    e = exercises()[id]
    _, want, _ = prepared(id, 1)
    zeros = iter([_zero(w["out"]) for w in want])
    visible = checking.tasks()[id]
    shown = {wire.pack(args): w["out"] for (_, args, _), w in zip(visible["cases"], visible["want"], strict=True)}

    def hard_coded(*args):
        return shown.get(wire.pack(list(args)), next(iter(shown.values())))

    for name, function in {
        "stub": define(corpus.IMPORTS + e.stub, e.function),
        "zeros": lambda *args: next(zeros),
        "identity": lambda *args: args[0] if args else 0,
        "last argument": lambda *args: args[-1] if args else 0,
        "hard-coded": hard_coded,
    }.items():
        found, _ = verdict(id, function)
        assert found.points == 0, name
        assert found.state in ("fail", "not_attempted", "student_error"), name


def _zero(value):
    if isinstance(value, torch.Tensor):
        return torch.zeros_like(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_zero(v) for v in value)
    return type(value)()


# --- Open ones ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", OPEN)
def test_open_exercises_accept_their_example_and_nothing_thoughtless(id):
    e = exercises()[id]
    good = [call(e.reference, list(c.args)) for c in e.cases(1)]
    found = judges.weigh(e.judge, e.properties, e.points, good)
    assert (found.state, found.points) == ("pass", e.points), found
    for out in (None, 0, [], [1, 2, 3], torch.zeros(3), ["a", "b", "c"], (torch.randn(60, 2), torch.randn(60, 2))):
        bad = [{"out": out, "changed": [], "grads": [], "error": None} for _ in good]
        found = judges.weigh(e.judge, e.properties, e.points, bad)
        assert found.points == 0, out


# --- The references against the library ---------------------------------------------------------------


def test_references_agree_with_the_library():
    ref = {e.function: e.reference for e in exercises().values()}
    g = torch.Generator().manual_seed(0)
    x0, eps, other = (torch.randn(3, 2, 4, 5, generator=g, dtype=torch.float64) for _ in range(3))
    t, s = torch.tensor(0.7, dtype=torch.float64), torch.tensor(0.4, dtype=torch.float64)
    close = torch.testing.assert_close
    for process, name in ((Cosine(), "cosine"), (Flow(), "flow"), (DDPM(), "ddpm"), (EDM(), "edm")):
        probe = wire.Schedule(name)
        at, st, as_, ss = process.alpha(t), process.sigma(t), process.alpha(s), process.sigma(s)
        close(probe.alpha(t), at)
        close(probe.sigma(t), st)
        assert probe.t_max == process.t_max
        each = at.expand(3), st.expand(3)
        xt = ref["add_noise"](x0, eps, *each)
        close(xt, process.add_noise(x0, eps, t))
        close(ref["log_snr"](at, st), process.logsnr(t))
        close(ref["noise_level"](at, st), process.level(t))
        close(ref["x0_from_eps"](xt, eps, *each), x0)
        close(ref["believed_noise"](xt, x0, at, st), eps)
        mean, _ = samplers.move(process, xt, other, t, s)
        close(ref["ddim_step"](xt, other, at, st, as_, ss), mean)
        for eta in (0.0, 0.5, 1.0):
            mean, std = samplers.move(process, xt, other, t, s, eta)
            close(ref["noisy_step"](xt, other, eps, at, st, as_, ss, eta), mean + std * eps)
        close(ref["exponential_step"](xt, other, at, st, as_, ss), samplers.move(process, xt, other, t, s)[0])
    cosine = Cosine()
    at, st, as_, ss = cosine.alpha(t), cosine.sigma(t), cosine.alpha(s), cosine.sigma(s)
    xt = cosine.add_noise(x0, eps, t)
    close(torch.stack(ref["cosine_schedule"](t)), torch.stack([at, st]))
    mean, std = samplers.move(cosine, xt, other, t, s, eta=1.0)
    theirs = ref["ddpm_posterior"](xt, other, at**2, as_**2)
    close(theirs[0], mean)
    close(theirs[1], std**2)
    v = ref["v_target"](x0, eps, at.expand(3), st.expand(3))
    close(v * torch.pi / 2, cosine.velocity(x0, eps, t))  # on the quarter turn v is the speed, by the angle
    close(ref["x0_from_v"](xt, v, at.expand(3), st.expand(3)), x0)
    u = Flow().velocity(x0, eps, t)
    line = ref["ends_of_the_line"](Flow().add_noise(x0, eps, t), u, t.expand(3))
    close(torch.stack(line), torch.stack([x0, eps]))
    belief = wire.Belief(torch.tensor(0.5, dtype=torch.float64), other[0])
    for process, name in ((cosine, "cosine"), (Flow(), "flow")):
        ts = torch.linspace(0.9, 0.0, 6, dtype=torch.float64)
        *_, last = samplers.ddim(belief, process, eps, ts)
        close(ref["walk"](belief, wire.Schedule(name), eps, ts), last.x0)
    ts = EDM().timesteps(5)
    close(ref["karras_grid"](5, 0.002, 80.0, 7.0), ts)
    *_, last = samplers.heun(belief, EDM(), 80 * eps, ts)
    close(ref["heun_walk"](belief, 80 * eps, ts), last.x0)
    steps = list(samplers.euler(belief, EDM(), 80 * eps, ts))
    close(ref["euler_step"](steps[0].xt, steps[0].x0, ts[0], ts[1]), steps[1].xt)
    two = list(samplers.dpmpp_2m(belief, cosine, eps, torch.tensor([0.9, 0.6, 0.3, 0.0], dtype=torch.float64)))
    lam = cosine.logsnr(torch.tensor([0.9, 0.6, 0.3], dtype=torch.float64)) / 2
    guess = ref["extrapolate"](two[1].x0, two[0].x0, *lam)
    now, after = torch.tensor(0.6, dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64)
    close(samplers.move(cosine, two[1].xt, guess, now, after)[0], two[2].xt)
    real, fake = x0.flatten(0, 2)[:, :3], eps.flatten(0, 2)[:20, :3] + 0.5
    assert float(ref["frechet"](real, fake)) == pytest.approx(metrics.frechet_distance(real, fake))
    one = ref["frechet_by_column"](real[:, :1], fake[:, :1])
    assert float(one) == pytest.approx(metrics.frechet_distance(real[:, :1], fake[:, :1]))
    assert float(ref["kernel_distance"](real, fake)) == pytest.approx(metrics.kernel_distance(real, fake))
    assert ref["precision_and_recall"](real, fake, 3) == pytest.approx(metrics.precision_recall(real, fake, 3))
    assert float(ref["psnr_per_picture"](x0[:1], eps[:1])) == pytest.approx(metrics.psnr(x0[:1], eps[:1]))
    close(ref["kl_to_unit"](x0, other), vae.kl(x0, other).flatten(1).sum(1))
    tokenizer = text.Tokenizer(["a", "red", "seven"], 5)
    assert ref["encode_caption"]("a red seven", ["a", "red", "seven"], 5).tolist() == tokenizer.encode("a red seven")
    assert ref["caption_words"]("A bold, RED 7.") == text.split_words("A bold, RED 7.")
    close(ref["precondition"](belief, xt, torch.tensor(0.7, dtype=torch.float64), 0.5), _edm(belief, xt))
    attention = torch.nn.functional.scaled_dot_product_attention
    q, k, v = x0[:, 0], eps[:, 0], other[:, 0]
    close(ref["attention"](q, k, v), attention(q, k, v))
    close(
        ref["convolve"](x0, torch.ones(1, 2, 3, 3).double()),
        torch.nn.functional.conv2d(x0, torch.ones(1, 2, 3, 3).double(), padding=1),
    )
    close(ref["fold"](x0[..., :4], 2), torch.nn.functional.pixel_unshuffle(x0[..., :4], 2))
    close(
        ref["cross_entropy"](q[0], torch.tensor([0, 1, 2, 3])),
        torch.nn.functional.cross_entropy(q[0], torch.tensor([0, 1, 2, 3])),
    )


def _edm(net, xt):
    """The library's v row with sigma_data, which is EDM's preconditioning with the sign of the network turned."""
    from minidiff import Denoiser

    sigma = torch.tensor(0.7, dtype=torch.float64)
    d = 0.5

    denoiser = Denoiser(torch.nn.Identity(), EDM(), "v", sigma_data=d)
    denoiser.predict = lambda xt, t, ctx: -net(xt / (sigma**2 + d**2).sqrt(), sigma.log() / 4)
    return denoiser(xt, sigma)


# --- check --------------------------------------------------------------------------------------------


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDIFF_PROGRESS", str(tmp_path / "progress.json"))
    return tmp_path


def test_check_in_a_notebook_from_stub_to_solution(fresh):
    space: dict = {}
    exec("from minidiff.grading import check", space)
    exec(exercises()["2.1"].stub, space)
    assert "not attempted" in repr(eval('check("2.1")', space))
    exec(
        "def add_noise(x0, eps, alpha, sigma):\n    a = alpha.view(-1, 1, 1, 1)\n    return a * x0 + (1 - a) * eps",
        space,
    )
    said = repr(eval('check("2.1")', space))
    assert "The noise is scaled by sigma" in said
    assert "expected" in said and "got" in said
    assert "view alpha as" in repr(eval('check("2.1", hint=True)', space))
    exec(exercises()["2.1"].source, space)
    report = eval('check("2.1")', space)
    assert "solved, 3 of 3" in repr(report)
    assert "1 of 5 solved" in repr(report)
    assert report._repr_mimebundle_()["text/html"].count("<img") == 2
    assert "solved" in checking.summary("2") or "1 of 5" in checking.summary("2")
    with pytest.raises(ValueError, match=r"no exercise '9\.99'"):
        eval('check("9.99")', space)


def test_a_further_hint_is_given_once_and_then_there_is_none(fresh):
    space: dict = {}
    exec("from minidiff.grading import check", space)
    exec("def log_snr(alpha, sigma):\n    return alpha", space)
    hints = checking.tasks()["2.3"]["hints"]
    for given in range(1, len(hints) + 2):
        said = repr(eval('check("2.3", hint=True)', space))
        assert all(hint in said for hint in hints[:given])
        assert ("no further hint" in said) == (given > len(hints))


def test_an_error_in_a_notebook_has_its_line_and_an_endless_loop_can_be_stopped(fresh):
    space: dict = {}
    exec(
        compile("def add_noise(x0, eps, alpha, sigma):\n    a = 1\n    return a / 0", "/tmp/ipykernel_1/7.py", "exec"),
        space,
    )
    task = checking.tasks()["2.1"]
    assert "ZeroDivisionError: division by zero (line 3)" in repr(checking.examine("2.1", task, space["add_noise"]))

    def add_noise(*args):
        raise KeyboardInterrupt

    report = checking.examine("2.1", task, add_noise)
    assert report.verdict.state == "student_error"
    assert "you stopped it; is there a loop that never ends? (line" in repr(report)


def test_whoever_forgets_the_shapes_is_told(fresh):
    def add_noise(x0, eps, alpha, sigma):
        return alpha * x0 + sigma * eps

    assert "give it three more axes" in repr(checking.examine("2.1", checking.tasks()["2.1"], add_noise))


def test_check_never_shows_the_answer_and_escapes(fresh):
    def add_noise(*args):
        raise ValueError("<script>x</script>")

    page = checking.examine("2.1", checking.tasks()["2.1"], add_noise).html
    assert "<script" not in page and "&lt;script" in page


def test_check_survives_anything(fresh):
    for function in (
        lambda: 1,
        lambda *a: (_ for _ in ()),
        lambda *a: 1 / 0,
        lambda *a: exit(),
        7,
        lambda *a: object(),
    ):
        report = checking.examine("2.1", checking.tasks()["2.1"], function)
        assert report.verdict.points == 0
        assert repr(report) and report.html


def test_damaged_progress_is_no_reason_to_stop(fresh):
    for content in ("", "[1]", '{"2.1": 3}', "{"):
        (fresh / "progress.json").write_text(content)
        assert "0 of 5 solved" in checking.summary("2")
    assert "of" in checking.table()


def test_pictures_show_what_is_wanted_beside_yours_and_tell_mistakes_apart():
    drawn = {id: task["picture"] for id, task in checking.tasks().items() if task["picture"]}
    assert len(drawn) >= 60
    for id, (calls, want) in drawn.items():
        e = exercises()[id]
        (_, wanted), (_, yours) = pictures.beside(want, want)
        assert "<img" in wanted or "<svg" in wanted or "<table" in wanted, id
        wrong = [pictures.beside(want, [call(e.wrong(m), args)["out"] for args in calls]) for m in e.mistakes]
        assert any(("yours", yours) not in sides for sides in wrong), id
        odd = [torch.zeros(0), torch.zeros(2, 0), torch.full((3, 3), float("nan")), torch.ones(1000, 1000)]
        odd += [torch.ones(2, dtype=torch.complex64), torch.eye(3).to_sparse(), torch.empty(3, device="meta")]
        for out in (None, 7, "x", [], {}, [[want]], *odd):
            assert pictures.beside(want, [out] * len(want))[0] == ("wanted", wanted), (id, out)


# --- What learners get --------------------------------------------------------------------------------


def test_notebooks_and_answers_are_what_their_sources_make():
    for lesson in lessons():
        for path, data in build.built(lesson).items():
            assert build.same(path, data), f"{path.name}: run python exercises/build.py"


def test_untouched_notebooks_run_and_solved_ones_score_everything(fresh):
    points = 0.0
    for lesson in lessons():
        space: dict = {}
        cells = [c["source"] for c in build.notebook(lesson)["cells"] if c["cell_type"] == "code"]
        for cell in cells[:1]:
            exec(cell, space)
        for stub, asked in zip(cells[1::2], cells[2::2], strict=True):
            exec(stub, space)
            assert "not attempted" in repr(eval(asked, space))
        exec(corpus.IMPORTS, space)
        for e, asked in zip(lesson.exercises, cells[2::2], strict=True):
            exec(e.source, space)
            report = eval(asked, space)
            assert report.verdict.state == "pass", (e.id, report)
            points += report.verdict.points
    assert points == sum(e.points for e in exercises().values())
    assert f"{points:g} of {points:g} points" in checking.table()


MARK = "MARK_IN_A_SOLUTION"


def marked(folder: Path) -> list[Lesson]:
    """The lessons with a mark in every solution, as a name and as text, so that no way of copying loses it."""
    shutil.copytree(build.HERE / "src", folder)
    wanted = {e.function for e in exercises().values()}
    for file in folder.glob("*.py"):
        lines = file.read_text().splitlines(keepends=True)
        functions = [n for n in ast.parse("".join(lines)).body if isinstance(n, ast.FunctionDef) and n.name in wanted]
        for node in reversed(functions):
            lines.insert(node.body[0].end_lineno, f"    {MARK} = '{MARK}'\n")
        file.write_text("".join(lines))
    made = load_lessons(folder)
    for e in (e for lesson in made for e in lesson.exercises):
        assert MARK in e.source and MARK in e.reference.__code__.co_varnames, e.id
    return made


def leaks(lesson: Lesson) -> list[str]:
    return [path.suffix for path, data in build.built(lesson).items() if MARK.encode() in data]


def test_no_solution_reaches_a_learner_or_a_worker(tmp_path):
    for lesson in marked(tmp_path / "src"):
        assert not leaks(lesson), lesson.number


@pytest.mark.parametrize("place", ["stub", "text", "title", "hints", "judge", "properties", "mistakes"])
def test_a_leak_would_be_seen(tmp_path, place):
    lesson = marked(tmp_path / "src")[1]
    e = lesson.exercises[0]
    lesson.exercises = [e]
    leaked = {"hints": [e.source], "properties": {e.source: 1}}
    leaked["mistakes"] = [dataclasses.replace(e.mistakes[0], hint=e.source)]
    setattr(e, place, leaked.get(place, e.source))
    assert leaks(lesson) == {"stub": [".ipynb"], "text": [".ipynb"], "title": [".ipynb", ".bin"]}.get(place, [".bin"])


def test_no_line_of_a_solution_stands_in_what_is_handed_out():
    package = b"".join(p.read_bytes() for p in (ROOT / "minidiff").rglob("*.py"))
    numbers = b"".join(p.read_bytes() for p in checking.ANSWERS.glob("*.bin"))
    notebooks = b"".join(p.read_bytes() for p in build.HERE.glob("*.ipynb"))
    hints = {hint for e in exercises().values() for hint in e.hints}  # on request they say a line
    for e in exercises().values():
        for line in (line.strip() for line in e.source.splitlines()[e.stub.count("\n") - 1 :]):
            quoted = json.dumps(line, ensure_ascii=False)[1:-1].encode()
            told = len(line) < 30 or any(line in hint for hint in hints)
            assert told or (quoted not in numbers and quoted not in notebooks), (e.id, line)
            if line.startswith("return ") and len(line) > 45 and e.function != "guided_in":
                assert line.encode() not in package, (e.id, line)


@pytest.mark.slow
def test_untouched_notebooks_run_in_a_kernel():
    import nbformat
    from nbclient import NotebookClient

    for path in sorted(build.HERE.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
        said = json.dumps(notebook)
        assert said.count("not attempted") >= 2 * len([c for c in notebook.cells if c.source.startswith('check("')])
