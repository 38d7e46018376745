"""All documents: an invitation where there is none, rows with their state, search in all pages."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt, QTimer, Signal
from PySide6.QtGui import QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from app.controllers.document_controller import DocumentController
from app.controllers.document_state import OpenDocument
from app.services.document_pages import THUMBNAIL_SIDE, PageKey
from app.store.documents import PageHit
from app.ui.documents.words import document_words
from app.ui.theme import Theme
from app.ui.widgets.buttons import IconButton, TextButton
from app.ui.widgets.fitting_row import FittingRow
from app.ui.widgets.labels import Card, ElidedLabel, IconLabel, Label
from app.ui.widgets.scrolled import scrolled
from app.ui.widgets.turning_row import TurningRow

PAGE_WIDTH = 820
SIDE, WELL = 24, 32
SEARCH_DELAY_MS = 150
MOST_ROWS = 200
INVITATION = "Drop files or a folder here"
TAKES = (
    "PDFs, scans and photos of pages are read with the model; Word, Excel, web pages and text "
    "are taken as they are. Everything stays on this machine."
)


class Miniature(QWidget):
    """The first page, small."""

    def __init__(self, theme: Theme, documents: DocumentController, path: str) -> None:
        super().__init__()
        self._theme = theme
        self._documents = documents
        self._key = PageKey(path, 0, THUMBNAIL_SIDE)
        self.setFixedSize(theme.px(44), theme.px(56))
        documents.pictures.ready.connect(self._on_ready)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """The page with a hairline around."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        made = self._documents.pictures.image(self._key)
        image = made.image if made else QImage()
        size = QSize(round(self.width() * 0.8), self.height())
        if not image.isNull():
            size = image.size().scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatio)
        target = self.rect().adjusted(0, 0, -1, -1)
        target.setSize(size - QSize(1, 1))
        target.moveCenter(self.rect().center())
        painter.fillRect(target, self._theme.color("sunken"))
        if not image.isNull():
            painter.drawImage(target, image)
        painter.setPen(QPen(self._theme.color("hairline"), 1))
        painter.drawRect(target)

    def _on_ready(self, key: PageKey) -> None:
        if key == self._key:
            self.update()


class DocumentRow(Card):
    """`opened`; `acted(name)`: stop, read, delete."""

    opened = Signal()
    acted = Signal(str)

    def __init__(self, theme: Theme, documents: DocumentController, document: OpenDocument) -> None:
        super().__init__("card")
        self._theme = theme
        record = document.record
        self.name = ElidedLabel(record.name)
        self.facts = ElidedLabel("", "secondary")
        self.more = IconButton(theme, "ellipsis", f"More about {record.name}")
        self.more.setPopupMode(IconButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self)
        menu.addAction("Open", self.opened.emit)
        self._read = menu.addAction("Read the Rest", lambda: self.acted.emit("read"))
        self._stop = menu.addAction("Stop Reading", lambda: self.acted.emit("stop"))
        menu.addSeparator()
        menu.addAction("Remove from the List", lambda: self.acted.emit("delete"))
        self.more.setMenu(menu)
        words = QVBoxLayout()
        words.setSpacing(theme.px(2))
        words.addStretch()
        words.addWidget(self.name)
        words.addWidget(self.facts)
        words.addStretch()
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.px(12), theme.px(8), theme.px(8), theme.px(8))
        row.setSpacing(theme.px(12))
        if record.kind == "text":
            glyph = IconLabel(theme, "file-text", "secondary", 28)
            glyph.setFixedWidth(theme.px(44))
            glyph.setAlignment(Qt.AlignmentFlag.AlignCenter)
            row.addWidget(glyph)
        else:
            row.addWidget(Miniature(theme, documents, record.path))
        row.addLayout(words, 1)
        row.addWidget(self.more)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def refresh(self, documents: DocumentController, document: OpenDocument) -> None:
        """Show how far it is."""
        progress = documents.progress(document.id)
        words = document_words(document, progress)
        failed = document.record.failure is not None and not document.opened
        self.facts.setText(words)
        self.facts.set_role("danger" if failed else "secondary")
        self._stop.setVisible(progress is not None)
        self._read.setVisible(progress is None and bool(document.unread))
        self.setAccessibleName(f"{document.record.name}: {words}")

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """A click opens it."""
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.pos()):
            self.opened.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter and Space open it, Delete removes it."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.opened.emit()
        elif event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self.acted.emit("delete")
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        """A ring while it has the keyboard."""
        super().paintEvent(event)
        if self.hasFocus():
            painter = QPainter(self)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(self._theme.color("accent"), 2))
            painter.drawRoundedRect(self.rect().adjusted(1, 1, -1, -1), 10, 10)


class HitRow(TextButton):
    """A page on which the words were found."""

    def __init__(self, theme: Theme, name: str, hit: PageHit) -> None:
        super().__init__(theme, "", "row")
        self.setAccessibleName(f"{name}, page {hit.page + 1}: {hit.snippet}")
        column = QVBoxLayout(self)
        column.setContentsMargins(theme.px(8), theme.px(4), theme.px(8), theme.px(4))
        column.setSpacing(0)
        column.addWidget(ElidedLabel(f"{name} · page {hit.page + 1}"))
        column.addWidget(ElidedLabel(" ".join(hit.snippet.split()), "secondary"))
        self.setMinimumHeight(theme.px(46))


class DocumentsList(QWidget):
    """`files_wanted`, `camera_wanted`, `sample_wanted`."""

    files_wanted = Signal()
    camera_wanted = Signal()
    sample_wanted = Signal()

    def __init__(self, theme: Theme, documents: DocumentController, *, sample: bool) -> None:
        super().__init__()
        self._theme = theme
        self._documents = documents
        self._has_sample = sample
        self._rows: dict[str, DocumentRow] = {}
        self._build()
        self._delay = QTimer(self, interval=SEARCH_DELAY_MS, singleShot=True)
        self._delay.timeout.connect(lambda: documents.search(self.search.text()))
        self.search.textChanged.connect(self._on_typed)
        documents.list_changed.connect(self.rebuild)
        documents.document_changed.connect(self._on_document)
        documents.found.connect(self._on_found)
        self.rebuild()

    def _build(self) -> None:
        theme = self._theme
        inner = QWidget()
        inner.setMaximumWidth(theme.px(PAGE_WIDTH))
        column = QVBoxLayout(inner)
        column.setContentsMargins(SIDE, 20, SIDE, 32)
        column.setSpacing(theme.px(8))
        buttons = QWidget()
        row = QHBoxLayout(buttons)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(theme.px(8))
        self.camera_button = TextButton(theme, "Photograph …", icon_name="camera")
        self.camera_button.setToolTip("Photograph pages with the camera")
        self.camera_button.clicked.connect(self.camera_wanted)
        row.addWidget(self.camera_button)
        self.open_button = TextButton(theme, "Open …", icon_name="plus")
        self.open_button.clicked.connect(self.files_wanted)
        row.addWidget(self.open_button)
        column.addWidget(TurningRow(theme, Label("Documents", "title"), buttons))
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search in all pages")
        self.search.setAccessibleName("Search in all pages")
        self.search.setClearButtonEnabled(True)
        column.addWidget(self.search)
        self.invitation = self._make_invitation()
        column.addWidget(self.invitation)
        self._list = QVBoxLayout()
        self._list.setSpacing(theme.px(8))
        column.addLayout(self._list)
        self._hits = QVBoxLayout()
        self._hits.setSpacing(theme.px(2))
        column.addLayout(self._hits)
        column.addStretch()
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolled(inner, "Documents"))

    def _make_invitation(self) -> Card:
        theme = self._theme
        card = Card("well")
        column = QVBoxLayout(card)
        column.setContentsMargins(*[theme.px(WELL)] * 4)
        column.setSpacing(theme.px(10))
        center = Qt.AlignmentFlag.AlignHCenter
        glyph = IconLabel(theme, "scan-text", "accent", 32)
        column.addWidget(glyph, 0, center)
        column.addWidget(Label(INVITATION, "section"), 0, center)
        takes = Label(TAKES, "secondary", wrap=True)
        takes.setAlignment(center)
        column.addWidget(takes)
        choose = TextButton(theme, "Choose files …", "primary")
        choose.clicked.connect(self.files_wanted)
        self.photograph_button = TextButton(theme, "Photograph a page …", icon_name="camera")
        self.photograph_button.clicked.connect(self.camera_wanted)
        self.sample_button = TextButton(theme, "Read the sample page")
        self.sample_button.clicked.connect(self.sample_wanted)
        self.sample_button.setVisible(self._has_sample)
        column.addSpacing(theme.px(6))
        self._ways = FittingRow(theme, choose, self.photograph_button, self.sample_button)
        column.addWidget(self._ways, 0, center)
        return card

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The ways to a first document stand below each other where the page is narrow."""
        super().resizeEvent(event)
        page = min(self.width(), self._theme.px(PAGE_WIDTH))
        self._ways.set_width(page - 2 * SIDE - 2 * self._theme.px(WELL))

    # --- rows ------------------------------------------------------------------------------------

    @property
    def rows(self) -> list[DocumentRow]:
        """The rows on the page."""
        return list(self._rows.values())

    def rebuild(self) -> None:
        """Show the documents as they are now."""
        _clear(self._list)
        self._rows = {}
        documents = self._documents.documents()
        for document in documents[:MOST_ROWS]:
            row = DocumentRow(self._theme, self._documents, document)
            row.opened.connect(lambda each=document.id: self._documents.show(each, 0))
            row.acted.connect(lambda what, each=document.id: self._act(what, each))
            row.refresh(self._documents, document)
            self._rows[document.id] = row
            self._list.addWidget(row)
        self.invitation.setVisible(not documents)
        self.search.setVisible(bool(documents))
        self.open_button.setVisible(bool(documents))
        self.camera_button.setVisible(bool(documents))

    def _act(self, what: str, document_id: str) -> None:
        match what:
            case "read":
                self._documents.read_all(document_id)
            case "stop":
                self._documents.stop(document_id)
            case "delete":
                self._documents.delete(document_id)

    def _on_document(self, document_id: str) -> None:
        row = self._rows.get(document_id)
        if row is not None and self.isVisible():
            row.refresh(self._documents, self._documents.document(document_id))

    # --- search ----------------------------------------------------------------------------------

    def _on_typed(self, text: str) -> None:
        self._delay.start()
        if not text.strip():
            self._on_found([])

    def _on_found(self, hits: Sequence[PageHit]) -> None:
        searching = bool(self.search.text().strip())
        for row in self._rows.values():
            row.setVisible(not searching)
        _clear(self._hits)
        if not searching:
            return
        for hit in hits:
            record = self._documents.document(hit.document_id).record
            row = HitRow(self._theme, record.name, hit)
            row.clicked.connect(
                lambda _c=False, hit=hit: self._documents.show(hit.document_id, hit.page)
            )
            self._hits.addWidget(row)
        if not hits:
            self._hits.addWidget(Label("Nothing found on the pages read so far.", "secondary"))


def _clear(layout: QVBoxLayout) -> None:
    while (item := layout.takeAt(0)) is not None:
        widget = item.widget()
        if widget is not None:
            widget.hide()
            widget.deleteLater()
