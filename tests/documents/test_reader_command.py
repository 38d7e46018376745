"""`facet ocr`: formats, pages, resume, exit codes, one sentence per bad file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from app.cli import ocr
from app.core.commands import ReadDocument
from app.core.errors import AppError
from app.documents.types import PageText
from tests.documents import reader_files
from tests.documents.conftest import PAGES


def facet_ocr(folder: Path, *words: str) -> int:
    script = folder / "script.json"
    script.write_text(json.dumps({"pages": PAGES}))
    parser = argparse.ArgumentParser()
    ocr.add_arguments(parser)
    common = ["--script", str(script), "--data-dir", str(folder / "data")]
    return ocr.run(parser.parse_args([*words, *common]))


def test_pages_are_named_as_people_do() -> None:
    assert ocr.parse_pages("1-3, 7,2") == (0, 1, 2, 6)
    assert ocr.parse_pages("") == ()
    for bad in ("0", "3-1", "one", "1-", "1-99999999"):
        with pytest.raises(AppError, match="names no pages"):
            ocr.parse_pages(bad)


def test_text_goes_to_the_screen_and_bad_files_do_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = reader_files.scan(tmp_path / "scan.pdf", 3)
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4 rubbish")
    code = facet_ocr(
        tmp_path, str(tmp_path / "broken.pdf"), str(tmp_path / "gone.pdf"), str(scan), "--pages=2-3"
    )
    said = capsys.readouterr()
    assert code == 1
    assert "Deposit" in said.out
    assert "Repairs" in said.out
    assert "Lease" not in said.out.replace("scan", "")
    assert said.err.count("facet ocr:") == 2
    assert "Traceback" not in said.err
    assert "page 2 (1 of 2)" in said.err
    # Nothing is left of a file that is done.
    assert not any("Deposit" in path.read_text() for path in tmp_path.glob("data/**/*.jsonl"))


@pytest.mark.parametrize("kind", ["xlsx", "pdf"])
def test_files_are_written_beside_each_other(tmp_path: Path, kind: str) -> None:
    scan = reader_files.scan(tmp_path / "scan.pdf", 3)
    out = tmp_path / "out"
    assert facet_ocr(tmp_path, str(scan), "--format", kind, "--out", str(out)) == 0
    (made,) = out.iterdir()
    assert made.name == f"scan.{kind}"
    if kind == "xlsx":
        from openpyxl import load_workbook

        (sheet,) = load_workbook(made).worksheets
        assert [[cell.value for cell in row] for row in sheet.iter_rows()] == [
            ["Item", "Euro"],
            ["Deposit", 2520],
            ["Garden", 12],
        ]
    else:
        import pypdfium2

        document = pypdfium2.PdfDocument(made)
        text = document[1].get_textpage().get_text_bounded()
        document.close()
        assert "Deposit" in text


def test_an_interrupted_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = reader_files.scan(tmp_path / "scan.pdf", 3)
    take, seen = ocr._take, []

    def interrupted(event: object, *rest: object) -> int:
        seen.append(event)
        if type(event).__name__ == "PageStarted" and event.page == 2:
            raise KeyboardInterrupt
        return take(event, *rest)

    monkeypatch.setattr(ocr, "_take", interrupted)
    with pytest.raises(KeyboardInterrupt):
        facet_ocr(tmp_path, str(scan))
    monkeypatch.undo()
    capsys.readouterr()
    assert facet_ocr(tmp_path, str(scan)) == 0
    said = capsys.readouterr()
    assert "page 3 (1 of 1)" in said.err
    assert "page 1 (" not in said.err
    assert all(word in said.out for word in ("Lease", "Deposit", "Repairs"))


def test_pages_kept_belong_to_one_file_and_one_way_of_reading(tmp_path: Path) -> None:
    file = tmp_path / "a.pdf"
    file.write_bytes(b"x")
    job = ReadDocument("1", str(file))
    kept = ocr.KeptPages(tmp_path / "keep", job, "model")
    kept.opened(2)
    kept.add(PageText(1, "Second", notices=("Odd.",)))
    with next((tmp_path / "keep").iterdir()).open("a") as stream:
        stream.write('{"page": 0, "te')  # cut by a crash
    again = ocr.KeptPages(tmp_path / "keep", ReadDocument("2", str(file)), "model")
    assert again.missing(job) == (0,)
    assert again.pages[1] == PageText(1, "Second", notices=("Odd.",))
    for other in (ReadDocument("3", str(file), detail="fine"), job):
        fresh = ocr.KeptPages(tmp_path / "keep", other, "model" if other.detail == "fine" else "m2")
        assert fresh.missing(other) is None


def test_no_file_is_written_over_that_of_another():
    paths = [Path(p) for p in ("a/page.pdf", "a/Page.png", "b/page.pdf", "other.pdf")]
    assert ocr.output_names(paths) == ["page.pdf", "Page.png", "page.pdf (2)", "other"]
