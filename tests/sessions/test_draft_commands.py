"""Drafts from the command line and in the benchmark."""

import pytest
from assistants import random_assistant

from mlx_gemma4 import load
from mlx_gemma4.bench.drafts import drafts_section
from mlx_gemma4.bench.session import after_a_thought
from mlx_gemma4.bench.shapes import tiny_json
from mlx_gemma4.cli import main
from mlx_gemma4.disk_table import DiskTable
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
    assert equal.value == equal.goal, section.rows
    best = section.rows[-1]
    assert best["tokens per pass"] > 1.5
    assert section.rows[0]["blocks per token"] == 0


def test_a_thought_costs_its_own_answer_at_most():
    assert 0 < after_a_thought() <= 1.0


def test_memory_options_of_the_command_line(folder, capsys, monkeypatch):
    import io

    from mlx_gemma4 import generate as api
    from mlx_gemma4.cli import common
    from mlx_gemma4.session import Session

    plain = reply(folder, capsys)
    loaded, packed = [], []
    load_for, stream, begin = common.load_for, api.__globals__["stream"], Session.__init__
    monkeypatch.setattr(common, "load_for", lambda a: loaded.append(load_for(a)) or loaded[-1])

    def streamed(*prompt, kv_bits):
        packed.append(kv_bits)
        return stream(*prompt, kv_bits=kv_bits)

    def begun(session, *given, **more):
        packed.append(more["kv_bits"])
        begin(session, *given, **more)

    monkeypatch.setitem(api.__globals__, "stream", streamed)
    monkeypatch.setattr(Session, "__init__", begun)
    assert reply(folder, capsys, "--ple-on-disk", "on").out == plain.out
    assert isinstance(loaded[0][0].language_model.embed_tokens_per_layer, DiskTable)
    assert reply(folder, capsys, "--kv-bits", "8", "--ple-on-disk", "off").out
    monkeypatch.setattr("sys.stdin", io.StringIO("Hello\n"))
    assert main(["chat", "--model", str(folder), "--kv-bits", "4", "--max-tokens", "3"]) == 0
    assert packed == [None, 8, 4]
    with pytest.raises(SystemExit):
        main(["generate", "--model", str(folder), "--prompt", "Hi", "--kv-bits", "3"])
    assert "invalid choice: 3" in capsys.readouterr().err


def test_info_names_the_table_that_may_stay_on_disk(folder, capsys):
    assert main(["info", str(folder)]) == 0
    assert "may stay on disk" in capsys.readouterr().out
