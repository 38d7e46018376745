"""Documents in the window's process: queue, states, failures, edits, what survives."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QApplication

from app.core.errors import ErrorKind
from app.documents.types import ReadingDetail
from app.store.documents import DocumentStore, PageState
from tests.documents import reader_files
from tests.documents.conftest import PAGES, Desk, open_desk


def saved(desk: Desk, document_id: str) -> list:
    desk.library.flush()
    store = DocumentStore(desk.app.paths.database)
    try:
        return store.pages(document_id)
    finally:
        store.close()


def test_a_file_is_opened_read_saved_and_shown_in_that_order(desk: Desk, tmp_path: Path) -> None:
    desk.load()
    shown: list[tuple[int, str]] = []
    on_disk: list[bool] = []

    def changed(document_id: str, page: int) -> None:
        record = desk.documents.document(document_id).pages[page]
        if record.state is PageState.DONE and record.text:
            shown.append((page, record.text))
            on_disk.append(saved(desk, document_id)[page].text == record.text)

    desk.documents.page_changed.connect(changed)
    document = desk.read(reader_files.scan(tmp_path / "scan.pdf", 3))
    assert [page.text for page in document.pages] == [text.strip() for text in PAGES]
    assert {page for page, _ in shown} == {0, 1, 2}
    assert all(on_disk)
    assert saved(desk, document.id) == document.pages
    assert desk.documents.progress(document.id) is None
    assert desk.documents.seconds_a_page(ReadingDetail.NORMAL) > 0


def test_many_files_and_folders_one_after_the_other(desk: Desk, tmp_path: Path) -> None:
    desk.load()
    folder = tmp_path / "folder" / "inner"
    folder.mkdir(parents=True)
    reader_files.scan(folder / "a.pdf", 1)
    (folder / "b.txt").write_text("Plain words.")
    (folder / "program.bin").write_bytes(b"\x00\x01\x02" * 100)
    (folder / ".hidden.txt").write_text("never")
    desk.documents.add([str(tmp_path / "folder"), str(reader_files.printed(tmp_path / "c.pdf", 2))])

    def all_read() -> bool:
        documents = desk.documents.documents()
        return len(documents) == 3 and all(d.opened and not d.wanted for d in documents)

    desk.wait(all_read)
    kinds = {each.record.name: each.record.kind for each in desk.documents.documents()}
    assert kinds == {"a.pdf": "pages", "b.txt": "text", "c.pdf": "pages"}
    # The same file again is not read a second time.
    before = len(desk.documents.documents())
    desk.documents.add([str(tmp_path / "c.pdf")])
    assert len(desk.documents.documents()) == before


def test_without_a_model_pages_wait_for_one(desk: Desk, tmp_path: Path) -> None:
    desk.app.state.models._wanted = ""
    desk.app.state.settings.set("load_at_start", False)
    (document_id,) = desk.documents.add([str(reader_files.scan(tmp_path / "scan.pdf", 2))])
    document = desk.documents.document(document_id)
    desk.wait(lambda: document.record.failure is not None or document.done == 2)
    if document.record.failure is not None:
        assert document.record.failure.kind is ErrorKind.NO_MODEL
        assert document.wanted
    desk.load()
    desk.wait(lambda: document.done == 2 and not document.wanted)
    assert document.record.failure is None


def test_a_password_is_asked_for_and_never_stored(desk: Desk, tmp_path: Path) -> None:
    desk.load()
    path = reader_files.printed(tmp_path / "secret.pdf", 2, password="open sesame")
    (document_id,) = desk.documents.add([str(path)])
    document = desk.documents.document(document_id)
    desk.wait(lambda: document.record.failure is not None)
    assert document.record.failure.kind is ErrorKind.PASSWORD
    desk.documents.retry(document_id, "wrong")
    desk.wait(lambda: "not the password" in document.record.failure.message)
    desk.documents.retry(document_id, "open sesame")
    desk.wait(lambda: document.done == 2)
    desk.library.flush()
    for file in desk.app.paths.data.rglob("facet.sqlite3*"):
        assert b"open sesame" not in file.read_bytes()


def test_broken_and_missing_files_say_so_and_the_others_go_on(desk: Desk, tmp_path: Path) -> None:
    desk.load()
    broken = tmp_path / "broken.pdf"
    broken.write_bytes(b"%PDF-1.7\nrubbish")
    (tmp_path / "empty.pdf").write_bytes(b"")
    good = reader_files.scan(tmp_path / "good.pdf", 1)
    names = [str(broken), str(tmp_path / "empty.pdf"), str(tmp_path / "gone.pdf"), str(good)]
    ids = desk.documents.add(names)
    documents = [desk.documents.document(each) for each in ids]
    desk.wait(lambda: all(d.record.failure or d.done for d in documents))
    kinds = [d.record.failure.kind if d.record.failure else None for d in documents]
    assert kinds == [ErrorKind.BAD_FILE, ErrorKind.BAD_FILE, ErrorKind.NOT_FOUND, None]
    # Found again under another name.
    desk.documents.relocate(ids[2], str(good))
    desk.wait(lambda: documents[2].done == 1)


def test_edits_other_details_and_deletes(desk: Desk, tmp_path: Path) -> None:
    desk.load()
    document = desk.read(reader_files.scan(tmp_path / "scan.pdf", 3))
    documents = desk.documents
    documents.edit(document.id, 0, "My own words")
    assert document.pages[0].shown == "My own words"
    assert saved(desk, document.id)[0].edited == "My own words"
    found: list = []
    documents.found.connect(found.append)
    documents.search("own words")
    desk.wait(lambda: bool(found))
    assert [(hit.document_id, hit.page) for hit in found[-1]] == [(document.id, 0)]
    documents.read_again(document.id, [1], "tiles")
    desk.wait(lambda: document.pages[1].detail == "tiles" and not document.wanted)
    assert document.pages[0].shown == "My own words"
    documents.edit(document.id, 0, document.pages[0].text)
    assert document.pages[0].edited is None
    documents.delete(document.id)
    assert saved(desk, document.id) == []
    assert (tmp_path / "scan.pdf").is_file()


def test_stop_keeps_what_is_read(qapp: QApplication, tmp_path: Path) -> None:
    desk = open_desk(tmp_path, {"word_s": 0.05})
    try:
        desk.load()
        (document_id,) = desk.documents.add([str(reader_files.scan(tmp_path / "scan.pdf", 3))])
        document = desk.documents.document(document_id)
        desk.wait(lambda: document.done >= 1)
        desk.documents.stop(document_id)
        desk.wait(lambda: not document.job_id)
        done = document.done
        assert 1 <= done < 3
        assert len(document.unread) == 3 - done
        desk.documents.read_all(document_id)
        desk.wait(lambda: document.done == 3 and not document.wanted)
    finally:
        desk.app.close()


def test_a_chat_is_answered_between_two_pages(qapp: QApplication, tmp_path: Path) -> None:
    desk = open_desk(tmp_path, {"word_s": 0.02})
    try:
        desk.load()
        (document_id,) = desk.documents.add([str(reader_files.scan(tmp_path / "scan.pdf", 6))])
        document = desk.documents.document(document_id)
        desk.wait(lambda: document.done >= 1)
        chat = desk.app.state.chat
        chat.send("What about the deposit?")
        desk.wait(lambda: not chat.busy)
        assert document.done < 6
        desk.wait(lambda: document.done == 6 and not document.wanted)
    finally:
        desk.app.close()


def test_the_next_start_goes_on_where_it_stopped(qapp: QApplication, tmp_path: Path) -> None:
    desk = open_desk(tmp_path, {"word_s": 0.03})
    desk.load()
    (document_id,) = desk.documents.add([str(reader_files.scan(tmp_path / "scan.pdf", 4))])
    desk.wait(lambda: desk.documents.document(document_id).done >= 1)
    desk.app.close()
    again = open_desk(tmp_path, {})
    try:
        document = again.documents.document(document_id)
        assert 1 <= document.done < 4
        assert len(document.wanted) == 4 - document.done
        again.load()
        again.wait(lambda: document.done == 4 and not document.wanted)
    finally:
        again.app.close()


def test_a_pasted_picture_becomes_a_document(desk: Desk) -> None:
    desk.load()
    document = desk.documents.document(desk.documents.add_picture(reader_files.png(), "Clipboard"))
    desk.wait(lambda: document.done == 1)
    assert document.record.name == "Clipboard"
    assert Path(document.record.path).parent == desk.app.paths.documents


def test_several_files_are_told_of(desk: Desk, tmp_path: Path) -> None:
    said: list[str] = []
    desk.documents.notice.connect(said.append)
    lease = reader_files.printed(tmp_path / "lease.pdf", 1)
    (tmp_path / "empty.pdf").touch()
    desk.documents.add([str(lease)])
    assert said == []
    desk.documents.add([str(lease), str(tmp_path / "empty.pdf")])
    assert said == [
        "2 files are read one after the other; the list of documents shows the state of each."
    ]
