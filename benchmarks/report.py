"""Rewrite the tables of benchmarks/README.md, between their markers, from benchmarks/results/*.json.

examples:
  python -m benchmarks.report
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from minidiff import painted

from . import common

README = common.HERE / "README.md"


def quality(r: dict) -> str:
    rows = []
    for draw in r["draws"]:
        asked, distance, ratio = scored(draw["score"])
        rows.append([draw["sampler"], asked, distance, ratio, f"{draw['calls']:g}", f"{draw['seconds_64']:.2f}"])
    head = ["sampler", "adherence", "Frechet distance", "times the floor", "network calls", "64 digits, s"]
    about = (
        "\n\nGoals: adherence of at least 99 % at a guidance of at most 2; at guidance 1, at most 3 times the floor. "
        "Trained for {seconds:.0f} s: {images:,} images, {images_per_second:,.0f} a second, in {format}.".format(
            **r["training"]
        )
    )
    return table(head, rows) + about + judged(r) + origin(r)


def peers(r: dict) -> str:
    rows, few_rows, notes = [], [], []
    for recipe in r["recipes"]:
        t = recipe["training"]
        for draw in recipe["draws"]:
            name = [recipe["title"], draw["sampler"]]
            few_rows.append(name + scored(draw["few"]))
            speed = [f"{draw['calls']:g}", f"{draw['seconds_64']:.2f}"]
            if draw["score"] is not None:
                trained = [f"{t['images_per_second']:,.0f}", f"{t['images']:,} ({t['steps']:,})"]
                rows.append(name + trained + scored(draw["score"]) + speed)
            else:
                notes.append(f"{recipe['title']}, {draw['sampler']}: 64 digits in {float(speed[1]):,.0f} s.")
        ink = ", ".join(f"{(draw['score'] or draw['few'])['ink']:.3f}" for draw in recipe["draws"])
        notes.append(
            f"{recipe['title']}: {t['parameters'] / 1e6:.2f} M parameters, loss {t['first_loss']:.3f} to "
            f"{t['last_loss']:.3f}, mean brightness {ink} (real digits {r['floor']['ink']:.3f})."
        )
    score = ["adherence", "Frechet distance", "times the floor"]
    trained = ["training images/s", "images seen (steps)"]
    head = ["recipe", "sampler", *trained, *score, "network calls", "64 digits, s"]
    few = "\n\nAll samplers on the first {n:,} of these digits, floor {frechet:.3f}:\n\n".format(**r["few_floor"])
    few += table(["recipe", "sampler", *score], few_rows) + "\n\n" + "\n".join(f"- {note}" for note in notes)
    return table(head, rows) + judged(r) + few + origin(r)


def speed(r: dict) -> str:
    t, d, i = r["training"], r["drawing"], r["import"]
    rows = [
        ["training, images/s", *compared(t), "ratio at least 10"],
        ["64 digits, s", *compared(d), "at most 1.5 s, ratio at least 100"],
        [
            "import beyond torch, s",
            spread(i["minidiff"]),
            f"torch: {spread(i['torch'])}",
            "",
            "at most 0.3 s",
        ],
    ]
    own, peer = (
        f"{n / 1e6:.2f} M parameters and batches of {b}" for n, b in zip(t["parameters"], t["batches"], strict=True)
    )
    about = (
        f"\n\nMedian (least to greatest) of {r['rounds']} rounds. Training: {own} against {peer}, minidiff "
        f"in {t['format']}, which it measured to be the fastest here. Drawing: the shipped weights as "
        "they draw by default, 10 steps at guidance 2, against 1,000 steps, from 10 of them."
    )
    return table(["what", "minidiff", "diffusion class", "ratio", "goal"], rows) + about + origin(r)


def steps(r: dict) -> str:
    rows = [
        [
            row["sampler"],
            f"{row['steps']}",
            f"{row['calls']:g}",
            f"{row['adherence']:.2%} ({row['adherence_change']:+.1%})",
            f"{row['frechet']:.4f} ({row['frechet_change']:+.1%})",
            f"{row['ratio']:.2f}",
            f"{row['seconds_64']:.2f}",
        ]
        for row in r["rows"]
    ]
    change = f"against {r['many']} steps"
    head = ["sampler", "steps", "network calls", f"adherence at guidance 2 ({change})"]
    head += [f"Frechet distance at guidance 1 ({change})", "times the floor", "64 digits at guidance 1, s"]
    return table(head, rows) + judged(r) + origin(r)


def judge(r: dict) -> str:
    head, rows = ["attribute", "seen as it is", "most often taken for another"], []
    for name, counts in r["confusion"].items():
        values = painted.ATTRIBUTES[name]
        wrong = [(n / sum(row), i, j) for i, row in enumerate(counts) for j, n in enumerate(row) if i != j and n]
        share, i, j = max(wrong, default=(0, 0, 0))
        rows.append([name, f"{r['shares'][name]:.2%}", f"{values[i]} for {values[j]}: {share:.1%}" if wrong else ""])
    rows.append(["all seven", f"{r['shares']['all']:.2%}", ""])
    return table(head, rows) + f"\n\nn = {r['n']:,}: {r['on']}." + origin(r)


def painted_curve(r: dict) -> str:
    head = ["model", "after", "images", *painted.ATTRIBUTES, "all"]
    rows = [
        [model, f"{row['seconds']:,.0f} s", f"{row['images']:,}", *(f"{row['shares'][name]:.1%}" for name in head[3:])]
        for model, told in r["models"].items()
        for row in told["rows"]
    ]
    about = f"\n\nn = {r['n']:,} full prompts. Goal: all 80 % at the end."
    for model, told in r["models"].items():
        about += f" `{model}`: batches of {told['batch']}, {told['format']}; drawn by {told['sampler']}."
    return table(head, rows) + about + origin(r)


def prompts(r: dict) -> str:
    models, names = r["models"], [*painted.ATTRIBUTES, "all"]
    rows = [
        [model, f"{inks} inks", *(f"{told[inks][name]:.1%}" for name in names)]
        for model, told in models.items()
        for inks in ("seen", "unseen")
    ]
    text = table(["model", "digit with", *names], rows)
    rows = []
    for model, told in models.items():
        like, time = told["likeness"], r["timing"][model]
        without, against = told["negative"]["none"], told["negative"]["red"]
        inpainted = [f"{told['inpainting'][mask]['all']:.1%}" for mask in ("frame", "upper half")]
        exact = all(found["exact"] for found in told["inpainting"].values())
        rows.append(
            [
                model,
                f"{without['red']:.1%} to {against['red']:.1%}",
                f"{against['digit']:.1%}",
                *inpainted,
                "yes" if exact else "no",
                f"{like['frechet_distance']:.2f} ({like['floor']:.2f})",
                f"{like['precision']:.2f}",
                f"{like['recall']:.2f}",
                spread(time["seconds"]),
                spread(time["ratio"]),
            ]
        )
    head = [
        "model",
        'red ink, without and with negative "red"',
        "digit then",
        "inpainted in a frame: all",
        "lower half: all",
    ]
    head += ["known pixels exact", "Frechet distance (floor)", "precision", "recall", "64 pictures, s", "times as fast"]
    walks = "; ".join(f"`{model}` by {told['sampler']}" for model, told in models.items())
    first = next(iter(models.values()))
    inpainted = first["inpainting"]["frame"]["n"]
    about = (
        f"\n\nn = {r['n']:,} of each kind, {inpainted:,} inpainted. {walks}. Likeness to real painted digits on the "
        "features of {features}; reference {reference}.".format(**first["likeness"])
    )
    return text + "\n\n" + table(head, rows) + about + origin(r)


def guidance(r: dict) -> str:
    def lines(rows: list[dict]) -> list[list[str]]:
        return [
            [
                row["sampler"],
                f"{row['steps']}",
                f"{row['calls']:g}",
                f"{row['cfg_scale']:g}",
                f"{row['shares']['digit']:.1%}",
                f"{row['shares']['all']:.1%}",
                f"{row['frechet_distance']:.3f}",
                f"{row['precision']:.2f}",
                f"{row['recall']:.2f}",
            ]
            for row in rows
        ]

    head = ["sampler", "steps", "network calls", "guidance", "digit", "all attributes", "Frechet distance"]
    head += ["precision", "recall"]
    first = r["guidance"][0]
    about = (
        f"\n\nModel: {r['model']}. n = {r['n']:,}. Features: {first['features']}. Reference: {first['reference']}. "
        f"Floor: {first['floor']:.3f}, of as many real held-out pictures."
    )
    tables = [table(head, lines(r[part])) for part in ("guidance", "steps")]
    return "\n\n".join(tables) + about + origin(r)


def widgets(r: dict) -> str:
    k, p = r["kernel"], r["page"]
    rows = [
        ["kernel, ms to show 50 steps of 32 pictures", f"{1000 * k['seconds']['median']:.0f}", "at most 150"],
        ["sent, MB", f"{k['bytes'] / 1e6:.2f}", "at most 1"],
        ["from a key to its pixels, ms: median and 95 %", f"{p['p50']:.0f}, {p['p95']:.0f}", "95 %: at most 33"],
        [f"frames shown of {p['keys']} keys at 30 a second, least of {r['rounds']} rounds", f"{p['shown']}", "all"],
        ["blank frames", f"{p['blank']}", "none"],
    ]
    changes = {"guidance": "guidance changed", "prompt": "prompt changed", "burst": "the last of five quick changes"}
    for kind, change in changes.items():
        for part, told, goal in (("first", "first picture", "0.7"), ("full", "full walk", "2")):
            measured = spread(r["playground"][kind][part]) if "playground" in r else "not measured yet"
            rows.append([f"Playground, {change}: {told}, s", measured, f"at most {goal}"])
    measured = spread(r["stop"]) if "stop" in r else "not measured yet"
    rows.append(["from Stop to the end of a training, ms", measured, "at most 500"])
    return table(["what", "measured", "goal"], rows) + origin(r)


def gpu(r: dict) -> str:
    m, t = r["mnist"], r["training"]["eager"]
    names = ["guidance 1", "guidance 2"]
    rows = [
        [name, f"{m['quality'][name]['adherence']:.1%}", f"{m['quality'][name]['frechet distance']:.3f}"]
        for name in names
    ]
    text = table(["`mnist` recipe", "adherence", "Frechet distance"], rows)
    text += (
        f"\n\nTrained for {m['seconds']:.0f} s, the start of its workers included: {m['steps']:,} steps of "
        f"{m['batch']} digits, in {m['format']}. n = {m['quality']['n']:,}, floor {m['quality']['floor']:.3f}.\n\n"
    )
    mine, theirs = r["training"]["parameters"]
    row = [[f"{mine:,} and {theirs:,}", *compared(t)]]
    head = ["parameters of minidiff and diffusers", "minidiff, images/s", "diffusers, images/s", "ratio"]
    return text + table(head, row) + f"\n\nBatches of {r['training']['batch']}, on one {r['gpu']}." + origin(r)


TABLES = {
    "quality": quality,
    "peers": peers,
    "speed": speed,
    "steps": steps,
    "judge": judge,
    "painted": painted_curve,
    "prompts": prompts,
    "guidance": guidance,
    "widgets": widgets,
    "gpu": gpu,
}


def scored(score: dict) -> list[str]:
    asked = "not asked" if score["adherence"] is None else f"{score['adherence']:.1%}"
    return [asked, f"{score['frechet']:.3f}", f"{score['ratio']:.1f}"]


def compared(result: dict) -> list[str]:
    return [spread(result[side]) for side in ("minidiff", "peer", "ratio")]


def spread(values: dict) -> str:
    return "{} ({} to {})".format(*(short(values[key]) for key in ("median", "min", "max")))


def short(x: float) -> str:
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def judged(r: dict) -> str:
    floor = r["floor"]
    return (
        f"\n\nn = {floor['n']:,}. Features: {r['features']}. Reference: {r['reference']}. "
        f"Floor: {floor['frechet']:.4f}, of {floor['n']:,} real held-out digits."
    )


def origin(r: dict) -> str:
    m = r["machine"]
    load = "" if m["load"] is None else f", load {m['load']} at the start"
    return (
        f"\n\n`{r['command']}`, {r['date']}: {m['cpu']}, {m['cores']} cores, {m['threads']} threads, "
        f"torch {m['torch']}{load}."
    )


def render(text: str, results: Path = common.RESULTS) -> str:
    """The README with every table made anew; one that has no result says how to get it."""
    for name, make in TABLES.items():
        path = results / f"{name}.json"
        missing = f"Not measured yet: `python -m benchmarks.{name}`."
        body = make(json.loads(path.read_text())) if path.is_file() else missing
        begin, end = f"<!-- table: {name} -->", f"<!-- end: {name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"the README needs the markers {begin} and {end}, once each")
        text = re.sub(f"{begin}.*{end}", lambda _, new=f"{begin}\n{body}\n{end}": new, text, flags=re.DOTALL)
    return text


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser("python -m benchmarks.report", description=__doc__, formatter_class=raw).parse_args()
    README.write_text(render(README.read_text()))
    print(f"Wrote {README}.")


if __name__ == "__main__":
    main()
