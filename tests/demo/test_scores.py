"""The scores of `eval-demo` are the textbook ones."""

import json

import pytest

from mlx_gemma4 import demo_eval as e
from mlx_gemma4.errors import MediaError


@pytest.mark.parametrize(
    ("a", "b", "edits"),
    [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("ab", "ba", 2)],
)
def test_edit_distance(a, b, edits):
    assert e.edit_distance(a, b) == edits
    assert e.edit_distance(b, a) == edits


def test_error_rates_count_over_the_right_answers():
    assert e.character_error_rate([("abcd", "abcd"), ("xy", "ab")]) == pytest.approx(2 / 6)
    assert e.word_error_rate([("Turn on, the light.", "turn on the light")]) == 0
    assert e.word_error_rate([("3 5", "3 4 5")]) == pytest.approx(1 / 3)


def test_exact_ignores_case_and_the_final_stop():
    assert e.exact_share([("red", "Red."), ("Blue.", "Red.")]) == 0.5


def test_boxes_are_read_from_json_and_anything_else_scores_nothing():
    right = '[{"box_2d":[0,0,100,100],"label":"x"}]'
    half = '[{"box_2d":[0,0,100,50],"label":"x"}]'
    assert e.mean_overlap([(right, right)]) == 1
    assert e.mean_overlap([(half, right)]) == pytest.approx(0.5)
    assert e.mean_overlap([("no box", right), ("[]", right), ('[{"box_2d":[1]}]', right)]) == 0


def test_items_are_chosen_by_task_and_number(tmp_path):
    entries = [
        {"task": task, "turns": [[["text", str(n)]]], "answer": "x"}
        for n, task in enumerate(["chat", "lines", "chat", "chat"])
    ]
    (tmp_path / "items.json").write_text(json.dumps({"items": entries}))
    items = e.read_items(tmp_path)
    assert [i.turns[0][0][1] for i in e.choose(items, ["chat"], 2)] == ["0", "2"]
    assert len(e.choose(items, None, 1)) == 2


def test_a_missing_or_damaged_set_is_one_sentence(tmp_path):
    with pytest.raises(MediaError, match="no readable evaluation set"):
        e.read_items(tmp_path)
    (tmp_path / "items.json").write_text('{"items": [{}]}')
    with pytest.raises(MediaError):
        e.read_items(tmp_path)
