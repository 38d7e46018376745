"""Drafts from the command line and in the benchmark."""

import pytest
from assistants import random_assistant

from mlx_gemma4 import load
from mlx_gemma4.bench.drafts import drafts_section
from mlx_gemma4.bench.session import after_a_thought
from mlx_gemma4.bench.shapes import tiny_json
from mlx_gemma4.cli import main
from mlx_gemma4.testing import random_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return random_checkpoint(tmp_path_factory.mktemp("drafts") / "e2b", "e2b")


def reply(folder, capsys, *more):
    prompt = "one two one two one two one two"
    line = ["generate", "--model", str(folder), "--prompt", prompt, "--temperature", "0"]
    assert main([*line, "--max-tokens", "40", "--stats", *more]) == 0
    return capsys.readouterr()


def test_a_drafted_reply_is_the_plain_one(folder, capsys, tmp_path):
    plain = reply(folder, capsys)
    model, _ = load(folder)
    assistant = random_assistant(tmp_path / "assistant", model, "e2b")
    for source in ("lookup", str(assistant)):
        assert reply(folder, capsys, "--draft", source).out == plain.out
    assert "drafted in" in reply(folder, capsys, "--draft", str(assistant)).err


def test_a_checkpoint_that_is_no_assistant_is_refused_in_one_sentence(folder, capsys):
    line = ["generate", "--model", str(folder), "--prompt", "Hi", "--draft", str(folder)]
    assert main(line) != 0
    assert "not a Gemma 4 assistant" in capsys.readouterr().err


def test_the_benchmark_of_drafts_measures_equal_replies():
    section = drafts_section(tiny_json("e2b"), prompt=8, decode=40)
    equal = section.figures[0]
    assert equal.value == equal.goal
    best = section.rows[-1]
    assert best["tokens per pass"] > 1.5
    assert section.rows[0]["blocks per token"] == 0


def test_a_thought_costs_its_own_answer_at_most():
    assert 0 < after_a_thought() <= 1.0
