"""One document: pages on the left, the picture in the middle, its text on the right.

Picture and text scroll together. What is read can be looked at, copied and changed while the rest
is still being read.
"""

from __future__ import annotations

import time

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QScrollBar, QSplitter, QVBoxLayout, QWidget

from app.controllers.document_controller import DocumentController
from app.controllers.document_state import OpenDocument
from app.services.document_pages import PageImage, PageKey
from app.store.documents import PageRecord, PageState
from app.ui.documents.ask_pane import AskPane
from app.ui.documents.page_picture import SIDES, ZOOM_STEP, PagePictureView
from app.ui.documents.page_text import PageTextView
from app.ui.documents.reading_bar import ReadingBar
from app.ui.documents.text_head import TextHead
from app.ui.documents.thumbnails import ThumbnailList
from app.ui.theme import Theme
from app.ui.widgets.announce import announce
from app.ui.widgets.buttons import IconButton, TextButton
from app.ui.widgets.keyboard import has_keyboard
from app.ui.widgets.labels import Label

FRAME_MS = 40
# A page being read is drawn again at most this share of the window's time (long tables take long).
MOST_LIVE_SHARE = 0.1
BAR_MS = 100
WITH_THUMBNAILS = 620
WITH_THREE = 980
WITH_WORDS = 420


class PictureFoot(QWidget):
    """Under the picture: which page, zoom, boxes, what was straightened."""

    turned = Signal(int)
    zoomed = Signal(float)
    boxes_toggled = Signal(bool)
    before_toggled = Signal(bool)
    undo_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.back = IconButton(theme, "chevron-left", "Page before")
        self.on = IconButton(theme, "chevron-right", "Next page")
        self.number = Label("", "secondary")
        self.smaller = IconButton(theme, "zoom-out", "Smaller")
        self.larger = IconButton(theme, "zoom-in", "Larger")
        self.boxes = IconButton(theme, "boxes", "Show the lines of text")
        self.boxes.setCheckable(True)
        self.before = TextButton(theme, "Straightened", "chip", icon_name="scan")
        self.before.setCheckable(True)
        self.before.setToolTip("Look at the page as it was before it was straightened")
        self.undo = TextButton(theme, "Undo", "chip", icon_name="undo-2")
        self.undo.setToolTip("Read the page as it was")
        self._before_words, self._undo_words = "Straightened", "Undo"
        self.back.clicked.connect(lambda: self.turned.emit(-1))
        self.on.clicked.connect(lambda: self.turned.emit(1))
        self.smaller.clicked.connect(lambda: self.zoomed.emit(1 / ZOOM_STEP))
        self.larger.clicked.connect(lambda: self.zoomed.emit(ZOOM_STEP))
        self.boxes.toggled.connect(self.boxes_toggled)
        self.before.toggled.connect(self.before_toggled)
        self.undo.clicked.connect(self.undo_wanted)
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.px(8), theme.px(2), theme.px(8), theme.px(4))
        row.setSpacing(theme.px(4))
        for widget in (self.back, self.number, self.on):
            row.addWidget(widget)
        row.addStretch()
        for widget in (self.before, self.undo, self.boxes, self.smaller, self.larger):
            row.addWidget(widget)

    def show_preparation(self, changed: bool, *, undone: bool) -> None:
        """Offer before and after where something was done to the picture."""
        self.before.setVisible(changed and not undone)
        self.undo.setVisible(changed or undone)
        self._undo_words = "Straighten again" if undone else "Undo"
        self._fit_words()

    def show_before(self, before: bool) -> None:
        """Say which of the two pictures is on show."""
        self._before_words = "As it was" if before else "Straightened"
        self._fit_words()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """On a narrow page the buttons are pictures with names."""
        super().resizeEvent(event)
        self._fit_words()

    def _fit_words(self) -> None:
        narrow = self.width() < self._theme.px(WITH_WORDS)
        for button, words in ((self.before, self._before_words), (self.undo, self._undo_words)):
            button.setText("" if narrow else words)
            button.setAccessibleName(words)


class ReaderView(QWidget):
    """`schema_wanted`, `export(format)`, `ask_toggled(bool)` come from its bar."""

    def __init__(self, theme: Theme, documents: DocumentController, ask: AskPane) -> None:
        super().__init__()
        self._theme = theme
        self._documents = documents
        self.ask = ask
        self._key: PageKey | None = None
        self._edited_page = ("", -1)
        self._show_before = False
        self._side = SIDES[0]
        self._syncing = False
        self.bar = ReadingBar(theme, documents)
        self.thumbnails = ThumbnailList(theme, documents)
        self.picture = PagePictureView(theme)
        self.foot = PictureFoot(theme)
        self.head = TextHead(theme)
        self.text = PageTextView(theme)
        self._live = QTimer(self, interval=FRAME_MS, singleShot=True)
        self._live.timeout.connect(self._show_live)
        self._bar = QTimer(self, interval=BAR_MS, singleShot=True)
        self._bar.timeout.connect(self._refresh_bar)
        self._build()
        self._connect()

    def _build(self) -> None:
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.splitter.setHandleWidth(1)
        self.splitter.setChildrenCollapsible(False)
        self.picture_pane = _column(self.picture, self.foot)
        self.text_pane = _column(self.head, self.text)
        for pane in (self.picture_pane, self.text_pane):
            pane.setMinimumWidth(self._theme.px(200))
            self.splitter.addWidget(pane)
        self.ask.setMinimumWidth(self._theme.px(240))
        self.ask.hide()
        self.splitter.addWidget(self.ask)
        self.splitter.setSizes([500, 500, 380])
        row = QHBoxLayout()
        row.setSpacing(0)
        row.addWidget(self.thumbnails)
        row.addWidget(self.splitter, 1)
        self.blank = Label("", "secondary")
        self.blank.setAlignment(Qt.AlignmentFlag.AlignCenter)
        row.addWidget(self.blank, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.bar)
        self.notes = QVBoxLayout()
        self.notes.setContentsMargins(self._theme.px(12), 0, self._theme.px(12), 0)
        column.addLayout(self.notes)
        column.addLayout(row, 1)

    def _connect(self) -> None:
        documents = self._documents
        documents.shown.connect(self._on_shown)
        documents.page_changed.connect(self._on_page)
        documents.live.connect(self._on_live)
        documents.document_changed.connect(self._on_document)
        documents.pictures.ready.connect(self._on_picture)
        documents.pictures.missing.connect(lambda key, _problem: self._on_picture(key))
        self.thumbnails.chosen.connect(documents.show_page)
        self.picture.turned.connect(self.turn)
        self.picture.more_wanted.connect(self._on_more)
        self.picture.line_clicked.connect(self._on_line)
        self.foot.turned.connect(self.turn)
        self.foot.zoomed.connect(lambda factor: self.picture.set_zoom(self.picture.zoom * factor))
        self.foot.boxes_toggled.connect(self.picture.show_lines)
        self.foot.before_toggled.connect(self._on_before)
        self.foot.undo_wanted.connect(self._on_undo)
        self.head.edit_toggled.connect(self._on_edit)
        self.head.copy_wanted.connect(self._copy_page)
        self.head.again_wanted.connect(self._read_again)
        self.head.difference_chosen.connect(self.text.rendered.find_words)
        self.bar.ask_toggled.connect(self._on_ask)
        self.ask.closed.connect(lambda: self.bar.ask_button.setChecked(False))
        self.text.edited.connect(self._on_edited)
        self.text.place_clicked.connect(self._on_place)
        picture, words = self.picture.verticalScrollBar(), self.text.area.verticalScrollBar()
        picture.valueChanged.connect(lambda: self._scroll_with(picture, words))
        words.valueChanged.connect(lambda: self._scroll_with(words, picture))

    # --- what is on show -------------------------------------------------------------------------

    def turn(self, step: int) -> None:
        """Go on or back."""
        self._documents.show_page(self._documents.page + step)

    @property
    def document(self) -> OpenDocument | None:
        """The document on show."""
        return self._documents.current

    def _record(self) -> PageRecord | None:
        document, page = self.document, self._documents.page
        if document is None or not 0 <= page < len(document.pages):
            return None
        return document.pages[page]

    def _on_shown(self, document_id: str, page: int) -> None:
        self.text.save_now()
        self.head.edit.setChecked(False)
        document = self.document
        if document is None:
            self.thumbnails.pages.set_document("")
            return
        model = self.thumbnails.pages
        if model.document_id != document_id or model.rowCount() != model.shown_rows:
            model.set_document(document_id)
            self.bar.refresh(document)
        elif not self._bar.isActive():
            self._bar.start()
        self._place_panes()
        if self.bar.ask_button.isChecked() and document_id not in self.ask.scope:
            self.ask.show_document(document_id)
        self.thumbnails.show_page(page)
        self._show_before = False
        self.foot.before.setChecked(False)
        self._show_page()
        self.picture.verticalScrollBar().setValue(0)
        self.text.area.verticalScrollBar().setValue(0)
        announce(self, f"Page {page + 1}")

    def _show_page(self) -> None:
        record, document = self._record(), self.document
        self.splitter.setVisible(record is not None)
        self.blank.setVisible(record is None)
        if record is None or document is None:
            failed = document is not None and document.record.failure is not None
            self.blank.setText("" if failed else "Opening …")
            return
        self.foot.number.setText(f"{record.page + 1} / {len(document.pages):,}")
        self.foot.back.setEnabled(record.page > 0)
        self.foot.on.setEnabled(record.page + 1 < len(document.pages))
        self.head.show_page(record)
        self.picture.set_lines(record.lines if record.edited is None else ())
        self._show_picture()
        self._show_text()

    def _show_text(self) -> None:
        document, record = self.document, self._record()
        if document is None or record is None:
            return
        text = document.text(record.page)
        if not text and record.state is PageState.DONE:
            text = "*This page is empty.*"
        self.text.show_text(text)

    # --- the picture -----------------------------------------------------------------------------

    def _show_picture(self) -> None:
        document, record = self.document, self._record()
        if document is None or record is None or document.record.kind == "text":
            return
        prepared = not record.as_is and not self._show_before
        self._key = PageKey(document.record.path, record.page, self._side, prepared)
        made = self._documents.pictures.image(self._key)
        if made is not None:
            self._show_image(made, record)
            return
        problem = self._documents.pictures.problem(self._key)
        if problem is not None:
            self.picture.set_image(None, problem.message)
        elif not self._shows_this(record):
            self.picture.set_image(None, "…")

    def _shows_this(self, record: PageRecord) -> bool:
        """The picture on show is this page already, only smaller."""
        for side in SIDES:
            key = self._key and PageKey(self._key.path, record.page, side, self._key.prepared)
            if key is not None and key.longest != self._side and self._documents.pictures.has(key):
                made = self._documents.pictures.image(key)
                if made is not None:
                    self._show_image(made, record)
                    return True
        return False

    def _show_image(self, made: PageImage, record: PageRecord) -> None:
        self.picture.set_image(made.image, f"Page {record.page + 1}")
        if not self._show_before:
            self.foot.show_preparation(made.preparation.changed, undone=record.as_is)

    def _on_picture(self, key: PageKey) -> None:
        if key == self._key:
            self._show_picture()

    def _on_more(self, side: int) -> None:
        if side != self._side:
            self._side = side
            QTimer.singleShot(0, self, self._show_picture)

    def _on_before(self, before: bool) -> None:
        self._show_before = before
        self.foot.show_before(before)
        self.picture.set_lines(())
        record = self._record()
        if record is not None and not before:
            self.picture.set_lines(record.lines)
        self._show_picture()

    def _on_undo(self) -> None:
        record, document = self._record(), self.document
        if record is not None and document is not None:
            self._show_before = False
            self._documents.set_as_is(document.id, record.page, as_is=not record.as_is)
            self._show_page()

    # --- words and places ------------------------------------------------------------------------

    def _on_line(self, index: int) -> None:
        record = self._record()
        if record is not None:
            self.text.rendered.find_words(record.lines[index].text)
            self._bring_into_view()

    def _bring_into_view(self) -> None:
        words = self.text.rendered
        place = words.cursorRect().center() + words.pos()
        self._syncing = True
        self.text.area.ensureVisible(place.x(), place.y(), 0, 80)
        self._syncing = False

    def _on_place(self, words: str) -> None:
        record = self._record()
        if record is None or not words.strip():
            return
        wanted = _plain(words)
        hits = [
            index
            for index, line in enumerate(record.lines)
            if line.text and (_plain(line.text) in wanted or wanted in _plain(line.text))
        ]
        self.picture.mark(frozenset(hits))

    def _scroll_with(self, moved: QScrollBar, other: QScrollBar) -> None:
        """The same share of the way, up and down."""
        if self._syncing or not moved.maximum():
            return
        self._syncing = True
        other.setValue(round(other.maximum() * moved.value() / moved.maximum()))
        self._syncing = False

    # --- actions ---------------------------------------------------------------------------------

    def _copy_page(self) -> None:
        record = self._record()
        if record is not None:
            QGuiApplication.clipboard().setText(record.shown)
            self.text.copied.emit(record.shown)

    def _read_again(self, detail: str) -> None:
        record, document = self._record(), self.document
        if record is not None and document is not None:
            self._documents.read_again(document.id, [record.page], detail)

    def _on_edited(self, text: str) -> None:
        document_id, page = self._edited_page
        if document_id:
            self._documents.edit(document_id, page, text)

    def _on_edit(self, editing: bool) -> None:
        """Remember whose text it is: it is saved there, also when another page is shown then."""
        document = self.document
        if editing and document is not None:
            self._edited_page = (document.id, self._documents.page)
        self.text.set_editing(editing)
        if not editing:
            self._show_page()

    # --- what changes ----------------------------------------------------------------------------

    def _on_page(self, document_id: str, page: int) -> None:
        document = self.document
        if document is not None and (document_id, page) == (document.id, self._documents.page):
            self._show_page()

    def _on_live(self, document_id: str, page: int) -> None:
        document = self.document
        if document is None or (document_id, page) != (document.id, self._documents.page):
            return
        if not self._live.isActive():
            self._live.start()

    def _show_live(self) -> None:
        started = time.perf_counter()
        self._show_text()
        spent_ms = (time.perf_counter() - started) * 1000
        self._live.setInterval(max(FRAME_MS, round(spent_ms / MOST_LIVE_SHARE)))

    def _on_document(self, document_id: str) -> None:
        document = self.document
        if document is not None and document_id == document.id:
            if not self._bar.isActive():  # several pages may be done between two frames
                self._bar.start()
            if self._record() is None:
                self._show_page()  # "Opening …" goes once it is known why it did not open

    def _refresh_bar(self) -> None:
        document = self.document
        if document is not None:
            self.bar.refresh(document)

    def _on_ask(self, asking: bool) -> None:
        document = self.document
        if not asking and has_keyboard(self.ask):
            self.picture.setFocus()
        self.ask.setVisible(asking)
        self._place_panes()
        if asking and document is not None:
            self.ask.show_document(document.id)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Thumbnails and the picture give way where it is narrow."""
        super().resizeEvent(event)
        self._place_panes()

    def _place_panes(self) -> None:
        document = self.document
        looks = document is not None and document.opened and document.record.kind != "text"
        asks = self.bar.ask_button.isChecked()
        wide = self.width() >= self._theme.px(WITH_THREE if asks else WITH_THUMBNAILS)
        self.thumbnails.setVisible(looks and wide)
        self.picture_pane.setVisible(looks and (wide or not asks))


def _column(*widgets: QWidget) -> QWidget:
    holder = QWidget()
    column = QVBoxLayout(holder)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(0)
    for widget in widgets:
        stretches = isinstance(widget, (PagePictureView, PageTextView))
        column.addWidget(widget, 1 if stretches else 0)
    return holder


def _plain(text: str) -> str:
    """Letters and digits alone, so that marks and line breaks do not count."""
    return "".join(character for character in text.casefold() if character.isalnum())
