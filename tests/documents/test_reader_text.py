"""A page's text in the window: long tables and texts are laid out without a pause."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QGuiApplication, QPaintEvent
from PySide6.QtWidgets import QApplication, QVBoxLayout, QWidget

from app.ui.documents.excerpt import MOST_CELLS, MOST_CHARACTERS, excerpt
from app.ui.documents.page_text import MARGIN, PageTextView
from app.ui.documents.progress import ProgressBar
from app.ui.documents.reader_view import PictureFoot
from app.ui.theme import Theme


def table(rows: int, columns: int) -> str:
    head = "| " + " | ".join(f"Head {x}" for x in range(columns)) + " |\n"
    body = "".join(
        "| " + " | ".join(f"cell {y} {x}" for x in range(columns)) + " |\n" for y in range(rows)
    )
    return f"{head}|{'---|' * columns}\n{body}"


@pytest.fixture
def view(qapp: QApplication) -> PageTextView:
    made = PageTextView(Theme("light"))
    made.resize(600, 800)
    return made


def test_a_table_is_laid_out_once_not_once_a_cell(view: PageTextView) -> None:
    view.show_text("Before.")
    changes: list[tuple[int, int, int]] = []
    view.rendered.document().contentsChange.connect(lambda *change: changes.append(change))
    view.show_text("Before.\n\n" + table(30, 6))
    assert "cell 29 5" in view.rendered.toPlainText()
    assert len(changes) <= 4


def test_of_a_long_table_the_beginning_is_shown_and_all_of_it_copied(view: PageTextView) -> None:
    long = table(5000, 4)
    view.show_text(f"First.\n\n{long}\nLast.")
    shown = view.rendered.toPlainText()
    assert "cell 0 0" in shown
    assert "more rows" in shown
    assert "too large" not in shown
    view.rendered.copy_block(1)
    assert QGuiApplication.clipboard().text() == long.strip()


def test_an_excerpt_counts_what_it_leaves_out() -> None:
    short = table(20, 5)
    assert excerpt(short) == short
    lines = excerpt(f"{table(2000, 3)}\nEnd.").split("\n")
    kept = [line for line in lines if line.startswith("|")]
    assert len(kept) * 3 <= MOST_CELLS
    assert kept[-1] == f"| *… {2000 + 2 - (len(kept) - 1):,} more rows* |"
    assert lines[-1] == "End."
    code = "```\n" + "| a | b |\n" * 2000 + "```"
    assert excerpt(code) == code
    cut = excerpt("words and words\n" * 10_000)
    assert len(cut) <= MOST_CHARACTERS + 3
    assert cut.endswith("words and words\n\n…")


def test_progress_waits_for_the_next_frame(qapp: QApplication) -> None:
    class Beside(QWidget):
        painted = 0

        def paintEvent(self, _event: QPaintEvent) -> None:
            Beside.painted += 1

    window = QWidget()
    column = QVBoxLayout(window)
    bar, beside = ProgressBar("Reading"), Beside()
    column.addWidget(bar)
    beside.setMinimumSize(40, 40)
    column.addWidget(beside)
    window.show()
    for _ in range(5):
        qapp.processEvents()
    before = Beside.painted
    for done in range(100):
        beside.update()
        bar.show_share(done, 100)
    assert Beside.painted == before
    assert bar.value() == 99
    qapp.processEvents()
    assert Beside.painted > before
    window.close()


def test_a_wide_table_keeps_its_words_whole_and_prose_its_width(view: PageTextView) -> None:
    view.resize(300, 500)
    view.show()
    room = view.area.viewport().width()
    view.show_text("Some words before the table, enough of them for several lines of prose.")
    assert view.rendered.width() < room
    view.show_text(f"{view._text}\n\n{table(3, 9)}")
    assert view.rendered.width() > room
    prose = view.rendered.document().begin().layout()
    assert prose.lineCount() > 1
    assert all(
        prose.lineAt(line).naturalTextWidth() < room - 2 * MARGIN + 1
        for line in range(prose.lineCount())
    )
    view.close()


def test_the_foot_of_a_narrow_picture_shows_pictures_instead_of_words(qapp: QApplication) -> None:
    pane, foot = QWidget(), PictureFoot(Theme("light"))
    foot.setParent(pane)
    foot.resize(300, 40)
    pane.show()
    foot.show_preparation(True, undone=True)
    assert foot.undo.text() == foot.before.text() == ""
    assert foot.undo.accessibleName() == "Straighten again"
    foot.resize(600, 40)
    assert foot.undo.text() == "Straighten again"
    pane.close()
