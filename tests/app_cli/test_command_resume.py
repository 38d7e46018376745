"""Pages kept by `facet ocr`: every page that was finished is there after any crash."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.kept_pages import KeptPages
from app.cli.ocr import _LazyModel
from app.core.commands import LoadModel, ReadDocument
from app.core.errors import AppError, ErrorKind
from app.core.events import DocumentOpened, PageFinished, PageStarted
from app.documents.types import PageText

ODD = ("one\u2028two", "three\x85four", "\ud800 alone", "\x0b\x0c\x1c\r\n", "plain", "Grüße 中 😀")


@pytest.fixture
def job(tmp_path: Path) -> ReadDocument:
    (tmp_path / "a.pdf").write_bytes(b"x")
    return ReadDocument("1", str(tmp_path / "a.pdf"))


def keep(tmp_path: Path, job: ReadDocument) -> KeptPages:
    return KeptPages(tmp_path / "keep", job, "model")


def test_pages_with_odd_separators_are_kept(tmp_path, job):
    kept = keep(tmp_path, job)
    kept.opened(len(ODD))
    for page, text in enumerate(ODD):
        kept.add(PageText(page, text))
    again = keep(tmp_path, job)
    assert again.missing(job) == ()
    assert tuple(again.pages[page].markdown for page in range(len(ODD))) == ODD


def test_a_crash_at_any_byte_costs_no_finished_page(tmp_path, job):
    kept = keep(tmp_path, job)
    kept.opened(3)
    kept.add(PageText(0, "Grüße"))
    (file,) = (tmp_path / "keep").iterdir()
    whole = len(file.read_bytes())
    kept.add(PageText(1, "zwölf"))
    content = file.read_bytes()
    for cut in range(whole, len(content)):
        file.write_bytes(content[:cut])
        after = keep(tmp_path, job)
        assert 0 in after.pages
        after.add(PageText(2, "after"))
        assert {0, 2} <= set(keep(tmp_path, job).pages)


@pytest.mark.parametrize(
    "rubbish", [b"\xff\xfe\n", b"\0" * 100, b'{"page": "x"}\n', b"[1]\n3\n", b'{"count": "a"}\n']
)
def test_rubbish_is_passed_over(tmp_path, job, rubbish):
    keep(tmp_path, job).add(PageText(0, "good"))
    (file,) = (tmp_path / "keep").iterdir()
    file.write_bytes(rubbish + file.read_bytes() + rubbish)
    assert keep(tmp_path, job).pages == {0: PageText(0, "good")}


def test_a_folder_that_cannot_be_used_is_one_sentence(tmp_path, job):
    (tmp_path / "keep").write_text("a file")
    with pytest.raises(AppError, match="Finished pages cannot be kept in"):
        keep(tmp_path, job).add(PageText(0, "x"))


class Engine:
    """Reads the first page without a model and asks for one at the second."""

    def __init__(self) -> None:
        self.loaded = False

    def run(self, job: object, _context: object) -> Iterator[object]:
        if isinstance(job, LoadModel):
            self.loaded = True
            return
        yield DocumentOpened("1", 2, notices=("Odd.",))
        yield PageStarted("1", 0, 0, 2)
        yield PageFinished("1", 0, "zero")
        yield PageStarted("1", 1, 1, 2)
        if not self.loaded:
            raise AppError("No model.", kind=ErrorKind.NO_MODEL)
        yield PageFinished("1", 1, "one")


def test_events_come_once_when_the_model_is_loaded_on_the_way(tmp_path, job):
    from argparse import Namespace

    (tmp_path / "script.json").write_text("{}")
    model = _LazyModel(Namespace(model="", script=str(tmp_path / "script.json")))
    model.engine = Engine()
    names = [type(event).__name__ for event in model.events(job)]
    assert names == [
        "DocumentOpened", "PageStarted", "PageFinished", "PageStarted", "PageFinished"
    ]  # fmt: skip
