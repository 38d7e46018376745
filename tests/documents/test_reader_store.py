"""Documents and pages on disk: everything comes back, search finds pages, the index stays true."""

from dataclasses import replace
from pathlib import Path

import pytest

from app.core.errors import ErrorKind, Failure
from app.core.events import PageDifference, PageFinished, PageLine
from app.store.conversations import ConversationStore
from app.store.documents import DocumentRecord, DocumentStore, PageRecord, PageState

DOCUMENT = DocumentRecord("d1", "/tmp/lease.pdf", "lease.pdf", "pages", "pdf", pages=3)


@pytest.fixture
def store(tmp_path: Path):
    made = DocumentStore(tmp_path / "facet.sqlite3")
    yield made
    made.close()


def read(page: int, text: str) -> PageRecord:
    return PageRecord(page, PageState.DONE, text)


def test_everything_comes_back(store: DocumentStore) -> None:
    failure = Failure(ErrorKind.PASSWORD, "This file has a password.", "Type it.")
    document = replace(DOCUMENT, notices=("Odd.",), failure=failure, language="de")
    event = PageFinished(
        "job",
        1,
        "# Rent\n\n900",
        tokens=12,
        seconds=1.5,
        notices=("The text breaks off.",),
        detail="fine",
        incomplete=True,
        differences=(PageDifference(2, 6, "Rant"),),
        lines=(PageLine("Rent", 0.1, 0.2, 0.5, 0.25),),
    )
    page = PageRecord(1, as_is=True, tries=2).finished(event)
    store.save_document(document)
    store.save_pages("d1", [page, PageRecord(0, PageState.FAILED, problem="No.")])
    assert store.list() == [document]
    assert store.pages("d1") == [PageRecord(0, PageState.FAILED, problem="No."), page]
    assert page.shown == "# Rent\n\n900"
    assert replace(page, edited="950").shown == "950"


def test_search_follows_edits_and_deletes(store: DocumentStore) -> None:
    store.save_document(DOCUMENT)
    store.save_document(replace(DOCUMENT, id="d2"))
    store.save_pages(
        "d1", [read(0, "The rent is due"), read(1, "A garden and the rent, rent, rent")]
    )
    store.save_pages("d2", [read(0, "Miete für die Wohnung")])
    assert [hit.page for hit in store.search("rent", ["d1"])] == [1, 0]
    assert [hit.page for hit in store.search("rent garden")] == [1]
    assert [(hit.document_id, hit.page) for hit in store.search("miete fur")] == [("d2", 0)]
    assert {hit.page for hit in store.search("garden due", ["d1"], every=False)} == {0, 1}
    assert store.search("rent", ["d2"]) == []
    store.save_pages("d1", [replace(read(1, "A garden"), edited="A pond")])
    assert store.search("garden") == []
    assert [hit.page for hit in store.search("pond")] == [1]
    store.delete("d1")
    assert store.search("rent pond", every=False) == []
    assert store.search('"; drop') == []


def test_scripts_without_spaces_are_found(store: DocumentStore) -> None:
    store.save_document(DOCUMENT)
    store.save_pages("d1", [read(0, "東京都の賃貸契約書"), read(1, "大阪")])
    assert [hit.page for hit in store.search("賃貸")] == [0]


def test_an_older_file_gets_the_new_tables(tmp_path: Path) -> None:
    from app.store import migrations

    path = tmp_path / "old.sqlite3"
    ConversationStore(path, migrations.STEPS[:1]).close()
    store = DocumentStore(path)
    store.save_document(DOCUMENT)
    assert store.list() == [DOCUMENT]
    store.close()
