"""Over a page's text: where it comes from, what is doubtful about it, and what can be done."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QMenu, QVBoxLayout, QWidget

from app.core.events import PageDifference
from app.documents.types import ReadingDetail
from app.store.documents import PageRecord, PageState
from app.ui.documents.words import count, page_words
from app.ui.theme import Theme
from app.ui.widgets.buttons import IconButton, TextButton
from app.ui.widgets.labels import ElidedLabel, Label

MOST_DIFFERENCES = 12
_CONTEXT = 18


class TextHead(QWidget):
    """`copy_wanted`, `edit_toggled(bool)`, `again_wanted(detail)`: "" for the document's own."""

    copy_wanted = Signal()
    edit_toggled = Signal(bool)
    again_wanted = Signal(str)
    difference_chosen = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._page: PageRecord | None = None
        self.words = ElidedLabel("", "secondary")
        self.notes = Label("", "warn", wrap=True)
        self.differences = TextButton(theme, "", "chip", icon_name="circle-alert")
        self._difference_menu = QMenu(self)
        self._difference_menu.aboutToShow.connect(self._fill_differences)
        self.differences.setMenu(self._difference_menu)
        self.edit = IconButton(theme, "pencil", "Edit the text")
        self.edit.setCheckable(True)
        self.edit.toggled.connect(self.edit_toggled)
        self.copy = IconButton(theme, "copy", "Copy the text of the page")
        self.copy.clicked.connect(self.copy_wanted)
        self.again = IconButton(theme, "refresh-cw", "Read this page again")
        self.again.setPopupMode(IconButton.ToolButtonPopupMode.InstantPopup)
        self._again_menu = QMenu(self)
        self._again_menu.aboutToShow.connect(self._fill_again)
        self.again.setMenu(self._again_menu)
        self._build()

    def _build(self) -> None:
        theme = self._theme
        row = QHBoxLayout()
        row.setSpacing(theme.px(4))
        row.addWidget(self.words, 1)
        for button in (self.edit, self.copy, self.again):
            row.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(theme.px(20), theme.px(6), theme.px(12), theme.px(2))
        column.setSpacing(theme.px(2))
        column.addLayout(row)
        column.addWidget(self.notes)
        column.addWidget(self.differences)

    def show_page(self, page: PageRecord) -> None:
        """Say what is known about this page."""
        self._page = page
        self.words.setText(page_words(page))
        notes = list(page.notices)
        if page.state is PageState.FAILED:
            notes = [f"{page.problem} {page.remedy}".strip()]
        self.notes.setText(" ".join(notes))
        self.notes.setVisible(bool(notes))
        self.notes.set_role("danger" if page.state is PageState.FAILED else "warn")
        different = len(page.differences)
        self.differences.setVisible(bool(different) and page.edited is None)
        words = count(different, "place")
        self.differences.set_text(f"{words} differ from the PDF's own text" if different else "")
        done = page.state is PageState.DONE
        self.edit.setEnabled(page.state not in (PageState.READING, PageState.WAITING))
        self.copy.setEnabled(done)
        self.again.setEnabled(page.source != "file" and not page.wanted)

    def _fill_again(self) -> None:
        menu = self._again_menu
        menu.clear()
        menu.addAction("Read Again", lambda: self.again_wanted.emit(""))
        menu.addSeparator()
        for detail in ReadingDetail:
            if detail is not ReadingDetail.AUTO:
                menu.addAction(
                    f"With {detail.label}", lambda value=detail.value: self.again_wanted.emit(value)
                )

    def _fill_differences(self) -> None:
        self._difference_menu.clear()
        page = self._page
        if page is None:
            return
        for difference in page.differences[:MOST_DIFFERENCES]:
            here = page.text[difference.start : difference.end]
            self._difference_menu.addAction(
                difference_words(page.text, difference),
                lambda words=here: self.difference_chosen.emit(words),
            )
        more = len(page.differences) - MOST_DIFFERENCES
        if more > 0:
            self._difference_menu.addAction(f"and {more} more").setEnabled(False)


def difference_words(text: str, difference: PageDifference) -> str:
    """`… due “Aprll” … : the PDF has “April”`."""
    before = text[max(0, difference.start - _CONTEXT) : difference.start].replace("\n", " ")
    here = text[difference.start : difference.end].replace("\n", " ")
    read = f"“{here}” was read" if here else "nothing was read"
    layer = f"the PDF has “{difference.layer}”" if difference.layer else "the PDF has nothing"
    return f"… {before.strip()}: {read}, {layer}".replace("&", "&&")
