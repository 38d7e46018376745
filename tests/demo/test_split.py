"""The evaluation set is really held out: proven from what each item was made of."""

import json
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="the training tools need it")

from training import fonts, phrases, shapes, speech, words

FOLDER = Path(__file__).resolve().parents[1] / "data" / "demo-eval"


@pytest.fixture(scope="module")
def items():
    return json.loads((FOLDER / "items.json").read_text())["items"]


def of(items, *tasks):
    chosen = [item for item in items if item["task"] in tasks]
    assert chosen, tasks
    return chosen


def letters(text):
    parts = "".join(c if c.isalpha() else " " for c in text).split()
    return [p for p in parts if len(p) > 1 and p not in words.MONTHS]


def test_no_font_of_the_set_is_trained_on(items):
    used = {item["made_of"]["font"] for item in of(items, "lines", "pages")}
    assert used <= set(fonts.HELD_OUT)
    assert not used & set(fonts.TRAIN)


def test_no_word_of_the_set_is_trained_on(items):
    said = [w for item in of(items, "lines", "pages", "office") for w in letters(item["answer"])]
    assert said
    assert all(words.is_held_out(word) for word in said)


def test_training_never_draws_a_held_out_word():
    import random

    assert words.WORD_LIST.exists(), "install Debian's wamerican-small"
    rng = random.Random(1)
    drawn = [w for _ in range(400) for w in letters(words.line(rng, 24))]
    assert len(drawn) > 300
    assert not [w for w in drawn if words.is_held_out(w)]


def test_no_scene_of_the_set_is_trained_on(items):
    for item in of(items, "seeing", "live", "boxes"):
        made = item["made_of"]
        for colour, shape in made["things"]:
            assert shapes.held_out(colour, shape, made["background"]), made


def test_training_scenes_are_of_the_other_side():
    import random

    rng = random.Random(2)
    for _ in range(40):
        scene = shapes.scene(rng, (96, 64), 2)
        for thing in scene.things:
            assert not shapes.held_out(thing.colour, thing.shape, scene.background)


def test_no_voice_speed_or_digit_string_of_the_set_is_trained_on(items):
    for item in of(items, "hearing", "live"):
        made = item["made_of"]
        variant = made["voice"].split("+")[1]
        assert variant in speech.HELD_OUT_VARIANTS
        assert variant not in speech.TRAIN_VARIANTS
        assert made["speed"] not in speech.TRAIN_SPEEDS
        if made["said"][0].isdigit() and len(made["said"]) > 1:
            assert phrases.digits_held_out(made["said"])


def test_training_digit_strings_are_of_the_other_side():
    import random

    rng = random.Random(3)
    drawn = [phrases.digit_string(rng, held_out=False) for _ in range(200)]
    assert not [d for d in drawn if phrases.digits_held_out(d)]


def test_the_set_is_small_and_complete(items):
    total = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file())
    assert total <= 4_000_000
    named = {v for item in items for turn in item["turns"] for k, v in turn if k != "text"}
    assert named
    assert all((FOLDER / name).is_file() for name in named)
