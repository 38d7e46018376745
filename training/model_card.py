"""Measure the checkpoint and write its card: `python -m training.model_card assets/demo-model`.

Writes `scores.json` (all items, and the fixed sample that the tests check) and `README.md`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from mlx_gemma4 import demo_eval
from mlx_gemma4.convert import convert
from mlx_gemma4.loading import load

SAMPLE = 12
GOALS = {
    "lines": 0.03,
    "seeing": 0.95,
    "hearing": 0.05,
    "live": 0.9,
    "pages": 0.06,
    "boxes": 0.6,
    "video": 0.85,
    "chat": 0.95,
}
PRESETS = ("8bit", "4bit")
CONVERTED_TASKS = list(GOALS)
KINDS = {
    "colour": "colour of one shape",
    "shape": "which shape",
    "see": "one or two shapes named",
    "count": "how many",
    "relation": "left, right, above, below",
}
CONVERSIONS = """
Converted with `mlx-gemma4 convert`, on the first {size} items of each task:

| task | as it is | 8 bits | 4 bits |
|---|---|---|---|
{rows}
"""
CARD = """# Demo (tiny)

A very small model of the real Gemma 4 architecture ({parameters:.1f} million parameters, E-series:
per-layer embeddings, shared keys and values, sliding and full attention, vision tower, audio
conformer), trained from scratch for Facet on data made by `training/`. It is **not Gemma**, knows
nothing of the world, and contains no weights of any other model. It is there so that the app and
the tests have something real to run with no network.

## Measured

`mlx-gemma4 eval-demo`, float32 on the CPU, greedy, on held-out items only (words, fonts, voices,
speeds, digit strings and colour × shape × background combinations that training never shows;
`tests/demo/test_split.py` proves it). Commands, greetings, sums and questions are the same
sentences as in training; in chat only the words filled into them are new.

| task | items | measure | score | goal |
|---|---|---|---|---|
{rows}

{verdict}
{conversions}
## Limits

Pictures are meant to take 70 soft tokens (its `processor_config.json` says so), pages of several
lines 280 (`--image-tokens`; the app looks at the letters). English only, the spoken vocabulary is
that of `training/phrases.py`, the colours and shapes those of `training/shapes.py`. Data, licences
and how to go on training: `training/README.md`.
{sums}"""
SUMS = "Asked what it can do it also promises sums, some of which are wrong.\n"


def measure(folder: Path, items_folder: Path, full: list[str] | None) -> dict:
    """Scores over all items and over the first SAMPLE of each task.

    With `full`, only these tasks are measured on all items, the others on the sample.
    """
    model, processor = load(folder)
    items = every = demo_eval.read_items(items_folder)
    if full is not None:
        sampled = demo_eval.choose(items, None, SAMPLE)
        items = [item for item in items if item.task in full or item in sampled]
    results = list(demo_eval.evaluate(model, processor, items))
    said = {id(item): answer for item, answer in results}
    kinds: dict[str, list[tuple[str, str]]] = {}
    for item, kind in zip(every, _kinds(items_folder), strict=True):
        if kind and item.task == "seeing" and id(item) in said:
            kinds.setdefault(kind, []).append((said[id(item)], item.answer))
    sample = demo_eval.choose(items, None, SAMPLE)
    part = demo_eval.scores([(item, said[id(item)]) for item in sample])
    return {
        "scores": {
            task: {"items": count, "score": round(score, 4)}
            for task, (count, score) in demo_eval.scores(results).items()
        },
        "seeing": {
            kind: {"items": len(pairs), "score": round(demo_eval.exact_share(pairs), 4)}
            for kind, pairs in kinds.items()
        },
        "sample_size": SAMPLE,
        "sample": {task: round(score, 4) for task, (_, score) in part.items()},
    }


def _kinds(items_folder: Path) -> list[str | None]:
    """What each item of the set asks for, where the set says so."""
    entries = json.loads((items_folder / "items.json").read_text())["items"]
    return [entry["made_of"].get("kind") for entry in entries]


def quantised(folder: Path, items_folder: Path) -> dict[str, dict[str, float]]:
    """Scores of the sample after conversion to 8 and 4 bits, by preset and task."""
    sample = demo_eval.choose(demo_eval.read_items(items_folder), CONVERTED_TASKS, SAMPLE)
    found = {}
    for preset in PRESETS:
        with tempfile.TemporaryDirectory() as place:
            model, processor = load(convert(folder, Path(place) / preset, preset))
            table = demo_eval.scores(list(demo_eval.evaluate(model, processor, sample)))
        found[preset] = {task: round(score, 4) for task, (_, score) in table.items()}
    return found


def reached(task: str, score: float) -> bool | None:
    """Whether the goal is met; None for a task without one."""
    if task not in GOALS:
        return None
    error = "error" in demo_eval.TASKS[task].measure
    return score <= GOALS[task] if error else score >= GOALS[task]


def write_card(folder: Path, scores: dict) -> None:
    """README.md with true scores, and which goals they miss."""
    rows = []
    missed = []
    for task, entry in scores["scores"].items():
        about = demo_eval.TASKS[task]
        rows.append(
            f"| {about.title} | {entry['items']} | {about.measure} | "
            f"{entry['score'] * 100:.1f} % | {about.goal} |"
        )
        if reached(task, entry["score"]) is False:
            missed.append(about.title)
    kinds = [
        f"{KINDS[kind]} {entry['score'] * 100:.0f} % of {entry['items']}"
        for kind, entry in scores["seeing"].items()
    ]
    verdict = "All goals are reached."
    if missed:
        verdict = f"Below its goal: {', '.join(missed)}. Training was cut short by lack of compute."
    size = (folder / "model.safetensors").stat().st_size / 2e6
    text = CARD.format(
        parameters=size,
        rows="\n".join(rows),
        verdict=f"Seeing, by what is asked: {'; '.join(kinds)}.\n\n{verdict}",
        conversions=_conversions(scores),
        sums="" if reached("chat", scores["scores"]["chat"]["score"]) else SUMS,
    )
    (folder / "README.md").write_text(text)


def _conversions(scores: dict) -> str:
    """The table of the conversions, nothing where none was measured."""
    if "quantised" not in scores:
        return ""
    tables = [scores["sample"], *(scores["quantised"][preset] for preset in PRESETS)]
    rows = [
        f"| {demo_eval.TASKS[task].title} | "
        + " | ".join(f"{table[task] * 100:.1f} %" for table in tables)
        + " |"
        for task in CONVERTED_TASKS
    ]
    return CONVERSIONS.format(size=scores["sample_size"], rows="\n".join(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--items", type=Path, default=Path("tests/data/demo-eval"))
    parser.add_argument("--full", action="append", help="only this task on all items")
    parser.add_argument("--quantised", action="store_true", help="also of 8 and 4 bits")
    options = parser.parse_args()
    scores = measure(options.folder, options.items, options.full)
    if options.quantised:
        scores["quantised"] = quantised(options.folder, options.items)
    (options.folder / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")
    write_card(options.folder, scores)
    print(json.dumps(scores, indent=2))


if __name__ == "__main__":
    main()
