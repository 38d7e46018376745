"""`facet ocr` and `facet transcribe`: what they refuse, what they write and what they leave."""

from __future__ import annotations

import functools
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from app import __main__ as command
from app.cli import ocr, transcribe
from app.core.paths import samples_dir
from app.live.transcript import Line
from tests.documents import reader_files


@pytest.fixture
def facet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a command in a folder of its own: exit code, output, messages."""
    work = tmp_path / "desk"
    work.mkdir()
    monkeypatch.chdir(work)
    script = tmp_path / "script.json"
    script.write_text("{}")

    def run(name: str, *words: str) -> tuple[int, str, str]:
        more = ["--script", str(script)] if name == "ocr" else []
        if "--data-dir" not in words:
            more += ["--data-dir", str(tmp_path / "data")]
        code = command.main([name, *words, *more])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_the_document_itself_is_not_replaced(facet):
    Path("n.md").write_text("my notes")
    Path("n (read).md").write_text("precious")
    for _ in range(2):
        code, out, err = facet("ocr", "n.md", "--out", "../desk")
        assert (code, out) == (0, "")
        assert "n.md: written to ../desk/n (read) (2).md, because n.md was there already\n" in err
    assert Path("n.md").read_text() == "my notes"
    assert Path("n (read).md").read_text() == "precious"
    assert "my notes" in Path("n (read) (2).md").read_text()
    assert len(list(Path().iterdir())) == 3


def test_a_searchable_pdf_never_takes_the_place_of_its_scan(facet):
    scan = reader_files.scan(Path("scan.pdf"), 1)
    before = scan.read_bytes()
    Path("link").symlink_to(".")
    code, _, err = facet("ocr", "scan.pdf", "--format", "pdf", "--out", "link")
    assert code == 0, err
    assert scan.read_bytes() == before
    assert Path("scan (read).pdf").read_bytes().startswith(b"%PDF")


def test_without_out_files_of_others_stay_too(facet):
    Path("shape.md").write_text("text")
    Path("shape.docx").write_text("precious")
    code, _, err = facet("ocr", "shape.md", "--format", "docx")
    assert code == 0
    assert "shape.md: written to shape (2).docx, because shape.docx was there already\n" in err
    assert Path("shape.docx").read_text() == "precious"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--schema", "none.json"), "The schema none.json cannot be read: No such file"),
        (("--schema", "noise"), "The schema noise is no text; name a file with a JSON schema."),
        (("--schema", "a.md"), "Answers cannot be held to this schema: "),
        (("--task", "fields"), "--task fields needs a schema. Name it with --schema FILE."),
        (("--task", "tables", "--schema", "s.json"), "--schema is for --task fields."),
        (("--data-dir", "a.md"), "Finished pages cannot be kept in "),
        (("--out", "s.json"), "--out names a file, s.json. Name a folder."),
        (("--pages", "0"), "“0” names no pages."),
    ],
)
def test_options_that_cannot_work_are_refused_before_reading(facet, words, sentence):
    Path("a.md").write_text("text")
    Path("s.json").write_text('{"type": "object", "properties": {"a": {"type": "string"}}}')
    Path("noise").write_bytes(b"\xff\xfe\x80\x81")
    code, out, err = facet("ocr", "a.md", *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"facet ocr: {sentence}")
    assert err.count("\n") == 1


def test_a_schema_alone_asks_for_fields(tmp_path):
    import argparse

    (tmp_path / "s.json").write_text('{"type": "object"}')
    parser = argparse.ArgumentParser()
    ocr.add_arguments(parser)
    args = parser.parse_args(["a.md", "--schema", str(tmp_path / "s.json")])
    assert ocr._wanted(args).task == "fields"
    assert ocr._wanted(parser.parse_args(["a.md"])).task == "page"


def test_everything_named_that_gives_nothing_is_said(facet):
    Path("empty").mkdir()
    Path("full").mkdir()
    Path("full/a.md").write_text("Dear Ada")
    code, out, err = facet("ocr", "empty", "gone.pdf", "./full", "full/../full/a.md")
    assert code == 1
    assert "Dear Ada" in out
    assert "There is nothing to read in empty: no PDF, picture, office file or text.\n" in err
    assert "There is no file gone.pdf; check its name.\n" in err
    assert "full:" not in err


def test_a_folder_too_large_is_said(facet, monkeypatch):
    monkeypatch.setattr(ocr, "expand", functools.partial(ocr.expand, limit=1))
    for name in ("a.md", "b.md"):
        Path(name).write_text(f"text of {name}")
    code, out, err = facet("ocr", ".")
    assert code == 1
    assert "text of a.md" in out
    assert "text of b.md" not in out
    assert "Only the first 1 files are read" in err


def test_an_opendocument_file_is_called_by_its_name(facet):
    with zipfile.ZipFile("a.odt", "w") as file:
        file.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        for name in ("content.xml", "META-INF/manifest.xml"):
            file.writestr(name, "<x/>")
    code, _, err = facet("ocr", "a.odt")
    assert code == 1
    assert err == (
        "facet ocr: “a.odt” is an OpenDocument file; save it as DOCX, XLSX, PPTX or PDF.\n"
    )


def test_a_film_is_no_text(facet):
    film = samples_dir() / "flashes.mp4"
    code, out, err = facet("ocr", str(film))
    assert (code, out) == (1, "")
    assert "“flashes.mp4” is a film or a recording, no document; attach it to a chat." in err


def test_a_document_of_one_page_has_one_page(facet):
    reader_files.scan(Path("scan.pdf"), 1)
    code, _, err = facet("ocr", "scan.pdf", "--pages", "3")
    assert code == 1
    assert "This document has 1 page; a page beyond was asked for." in err


@pytest.fixture
def talk(facet, monkeypatch):
    """Two recordings whose words are known, without a model."""
    for path in ("talk.wav", "other.wav"):
        soundfile.write(path, np.zeros(16_000, np.float32), 16_000)

    class Known:
        text = None

    monkeypatch.setattr(transcribe, "_transcriber", lambda _args: Known)
    monkeypatch.setattr(transcribe, "transcribe", lambda *_: [Line(0.0, 1.0, "hello")])
    return facet


def test_transcripts_leave_files_of_others_and_say_where_they_are(talk):
    Path("talk.txt").write_text("precious")
    for _ in range(2):
        code, out, err = talk("transcribe", "gone.wav", "talk.wav", "other.wav", "--out", ".")
        assert (code, out) == (1, "")
        assert err == (
            "facet transcribe: There is no file gone.wav; check its name.\n"
            "talk.wav: written to talk (2).txt, because talk.txt was there already\n"
            "other.wav: written to other.txt\n"
        )
    assert Path("talk.txt").read_text() == "precious"
    assert len(list(Path().glob("*.txt"))) == 3


def test_transcripts_into_a_file_are_refused_before_listening(talk, monkeypatch):
    monkeypatch.delattr(transcribe, "_transcriber")  # would fail if it were asked for
    Path("notes.txt").write_text("precious")
    code, out, err = talk("transcribe", "talk.wav", "--out", "notes.txt")
    assert (code, out) == (2, "")
    assert err == "facet transcribe: --out names a file, notes.txt. Name a folder.\n"


def test_a_silent_film_is_said_to_be_silent(talk):
    import cv2

    film = cv2.VideoWriter("film.mp4", cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 64))
    for _ in range(5):
        film.write(np.zeros((64, 64, 3), np.uint8))
    film.release()
    code, out, err = talk("transcribe", "film.mp4", "talk.wav")
    assert (code, out) == (1, "[00:00:00] hello\n")
    assert err.startswith('facet transcribe: "film.mp4" has no sound')
    assert ("convert" in err) == (shutil.which("ffmpeg") is None)
