"""The command `facet` itself: wrong words, help, pipes that close, full disks, no screen."""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from app import __main__ as command

COMMANDS = ("doctor", "live", "ocr", "transcribe")


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a wrong command line is answered with."""

    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            command.main(words)
        assert ended.value.code == 2
        return capsys.readouterr().err

    return run


def facet(*words: str, **how: object) -> subprocess.CompletedProcess[str]:
    arguments = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **how}
    return subprocess.run([sys.executable, "-m", "app", *words], timeout=120, **arguments)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ocr",), "facet ocr: the following arguments are required: FILE; see facet ocr --help."),
        (("transcribe", "a", "--format"), "facet transcribe: argument --format: expected one"),
        (("--nonsense",), "facet: unrecognized arguments: --nonsense; see facet --help."),
        (("transcrib", "x"), "facet: there is no command 'transcrib' (did you mean 'transcribe'?)"),
        (("qqqq",), "facet: there is no command 'qqqq'; see facet --help."),
    ],
)
def test_a_wrong_command_line_is_one_sentence(refused, words, said):
    answer = refused(*words)
    assert answer.startswith(said)
    assert answer.count("\n") == 1


def test_a_file_without_a_command_is_told_how_to_be_opened(refused, tmp_path):
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"x")
    assert f"to open it write facet --open {photo}" in refused(str(photo))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_each_command_are_valid(name):
    module = importlib.import_module(f"app.cli.{name}")
    parser = argparse.ArgumentParser(exit_on_error=False)
    module.add_arguments(parser)
    lines = [line for line in module.EXAMPLES.splitlines() if line.startswith("  facet ")]
    assert len(lines) >= 3
    for line in lines:
        words = shlex.split(line.strip().split("  ")[0])
        assert words[:2] == ["facet", name]
        parser.parse_args(words[2:])


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_shows_examples_and_exit_codes(name, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main([name, "--help"] if name else ["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "examples:\n  facet" in said
    assert "exit codes: 0 " in said


def letter(folder: Path) -> list[str]:
    """Words of a command that prints the text of a letter."""
    (folder / "letter.md").write_text("Dear Ada")
    (folder / "script.json").write_text("{}")
    data = ["--data-dir", str(folder / "data"), "--script", str(folder / "script.json")]
    return ["ocr", str(folder / "letter.md"), *data]


def test_a_reader_that_has_enough_is_no_error(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    done = facet(*letter(tmp_path), stdout=writing)
    os.close(writing)
    assert (done.returncode, "Error" in done.stderr) == (0, False), done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the device is Linux'")
def test_a_full_disk_under_standard_output_is_one_sentence(tmp_path):
    with Path("/dev/full").open("w") as full:
        done = facet(*letter(tmp_path), stdout=full)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last == (
        "facet ocr: The text cannot be written to standard output: No space left on device."
    )
    assert "Traceback" not in done.stderr


def test_live_ends_when_nobody_reads_its_events(tmp_path):
    (tmp_path / "script.json").write_text("{}")
    reading, writing = os.pipe()
    os.close(reading)
    words = ["--script", str(tmp_path / "script.json"), "--silent", "--mic", "gone.wav"]
    done = facet("live", *words, stdout=writing)
    os.close(writing)
    assert (done.returncode, "Error" in done.stderr) == (0, False), done.stderr


def test_without_a_screen_there_is_one_sentence(tmp_path):
    no_screen = {**os.environ, "QT_QPA_PLATFORM": "no-such-platform"}
    done = facet("--data-dir", str(tmp_path), env=no_screen)
    assert done.returncode == 2
    assert done.stderr == (
        "facet: There is no screen to open the window on; "
        "facet ocr, transcribe, live and doctor work without one.\n"
    )
    assert "no-such-platform" in (tmp_path / "logs" / "facet.log").read_text()


def test_the_doctor_says_nothing_but_its_report(tmp_path):
    done = facet("doctor", "--no-engine", "--data-dir", str(tmp_path))
    assert "qt.multimedia" not in done.stderr
    assert "Microphones: none\n" not in done.stdout
    assert "Devices" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_while_the_command_is_imported_is_no_traceback(name, capsys, monkeypatch):
    def interrupted(_name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command.importlib, "import_module", interrupted)
    assert command.main([name]) == 130
    assert capsys.readouterr().err == "\n"


@pytest.mark.parametrize("seconds", ["-3", "nan", "1e12"])
def test_live_refuses_a_time_no_timer_can_run(seconds, capsys):
    assert command.main(["live", f"--seconds={seconds}"]) == 2
    assert capsys.readouterr().err == (
        "facet live: --seconds must be between 0 (no end) and 1,000,000.\n"
    )


@pytest.mark.parametrize("name", ["live", "ocr", "transcribe"])
def test_a_model_that_is_not_there_is_noticed_first(name, tmp_path, capsys):
    (tmp_path / "a.md").write_text("x")
    words = [] if name == "live" else [str(tmp_path / "a.md"), "--data-dir", str(tmp_path / "d")]
    assert command.main([name, *words, "--model", "nope"]) == 2
    assert capsys.readouterr().err.startswith(f"facet {name}: There is no folder nope")


def test_a_damaged_model_is_told_in_the_words_of_a_terminal(tmp_path):
    broken = Path(shutil.copytree("assets/demo-model", tmp_path / "broken"))
    os.truncate(broken / "model.safetensors", 1000)
    quiet = tmp_path / "quiet.wav"
    soundfile.write(quiet, np.zeros(16_000, np.float32), 16_000)
    done = facet("live", "--model", str(broken), "--mic", str(quiet), "--silent")
    assert done.returncode == 1
    assert done.stderr.endswith(
        "is damaged or cut short; delete it and download it again. "
        "Or choose another model with --model.\n"
    ), done.stderr
