"""The committed demo checkpoint does what its model card says, on items it has never seen."""

import json
from pathlib import Path

import pytest

from mlx_gemma4 import demo_eval

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "assets" / "demo-model"
ITEMS = ROOT / "tests" / "data" / "demo-eval"
SLACK = 0.04


def published():
    return json.loads((MODEL / "scores.json").read_text())


def run(model, processor, tasks, limit):
    items = demo_eval.choose(demo_eval.read_items(ITEMS), tasks, limit)
    return demo_eval.scores(list(demo_eval.evaluate(model, processor, items)))


@pytest.fixture(scope="module")
def loaded():
    from mlx_gemma4.loading import load

    return load(MODEL)


def better(task, score, floor):
    """Error rates may not rise above, shares not fall below the floor."""
    lower_is_better = "error" in demo_eval.TASKS[task].measure
    return score <= floor if lower_is_better else score >= floor


def test_scores_are_published_for_every_task_of_the_set():
    items = demo_eval.read_items(ITEMS)
    assert set(published()["sample"]) == {item.task for item in items}


def test_the_sample_scores_hold(loaded):
    card = published()
    table = run(*loaded, None, card["sample_size"])
    for task, (_, score) in table.items():
        lower_is_better = "error" in demo_eval.TASKS[task].measure
        floor = card["sample"][task] + (SLACK if lower_is_better else -SLACK)
        assert better(task, score, floor), (task, score, card["sample"][task])


def test_it_is_small_and_labelled_and_says_so():
    size = sum(path.stat().st_size for path in MODEL.iterdir())
    assert size <= 20_000_000
    config = json.loads((MODEL / "config.json").read_text())
    assert config["facet"]["label"] == "Demo (tiny)"
    assert "demo" in (MODEL / "README.md").read_text().lower()


def test_the_pictures_matter(loaded):
    """Answers to the same question differ from picture to picture: the model looks."""
    items = [i for i in demo_eval.read_items(ITEMS) if i.task == "seeing"]
    asked = [i for i in items if "colour" in str(i.turns[0][-1][1])]
    answers = {said for _, said in demo_eval.evaluate(*loaded, asked[:12])}
    assert len(answers) >= 3


@pytest.mark.parametrize(
    ("sample", "asked", "answer"),
    [
        ("shape.png", "What do you see?", "A green triangle."),
        ("shape.png", "What colour is the shape?", "Green."),
        ("shape.png", "What shape is this?", "A triangle."),
        ("shapes.png", "What do you see?", "A blue circle and a yellow star."),
        ("shapes.png", "How many shapes are there?", "Two."),
        ("shapes.png", "Is the circle left of the star?", "Yes."),
        ("shapes.png", "Is the star left of the circle?", "No."),
        ("line.png", "Read the text.", "Piano Friday 18:45"),
    ],
)
def test_the_sample_pictures_are_told_rightly(loaded, sample, asked, answer):
    """What the app's first cards offer; training never shows these words nor this font."""
    parts = (("image", ROOT / "assets" / "samples" / sample), ("text", asked))
    item = demo_eval.Item("seeing", (parts,), (), answer)
    assert next(demo_eval.evaluate(*loaded, [item]))[1].strip() == answer


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["8bit", "4bit"])
def test_what_quantisation_costs(preset, tmp_path, loaded, record_property):
    from mlx_gemma4.convert import convert
    from mlx_gemma4.loading import load

    size = published()["sample_size"]
    tasks = ["chat", "seeing"]
    folder = convert(MODEL, tmp_path / preset, preset)
    before, after = run(*loaded, tasks, size), run(*load(folder), tasks, size)
    for task in tasks:
        loss = before[task][1] - after[task][1]
        record_property(f"{task} lost with {preset}", round(loss, 4))
        assert loss <= (0.05 if preset == "8bit" else 0.5), (task, before, after)
