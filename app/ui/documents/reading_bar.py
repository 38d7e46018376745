"""The bar over a document: its name, how finely it is read, progress, export, questions."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtGui import QAction, QActionGroup, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QMenu, QSizePolicy, QVBoxLayout, QWidget

from app.controllers.document_controller import DocumentController
from app.controllers.document_state import OpenDocument
from app.documents.export import ExportFormat
from app.documents.types import ReadingDetail
from app.ui.documents.progress import ProgressBar
from app.ui.documents.words import (
    LANGUAGES,
    LAYERS,
    TASKS,
    about,
    count,
    detail_words,
    document_words,
    progress_words,
)
from app.ui.theme import Theme
from app.ui.widgets.buttons import IconButton, TextButton
from app.ui.widgets.labels import ElidedLabel

NARROW = 760


class ReadingBar(QWidget):
    """`back`, `read`, `stop`, `export(format)`, `ask_toggled(bool)`, `schema_wanted`."""

    back = Signal()
    read = Signal()
    stop = Signal()
    export = Signal(object)
    ask_toggled = Signal(bool)
    schema_wanted = Signal()

    def __init__(self, theme: Theme, documents: DocumentController) -> None:
        super().__init__()
        self._theme = theme
        self._documents = documents
        self.show_details = False
        self._detail_words = ("Auto", "Auto")
        self.back_button = IconButton(theme, "chevron-left", "All documents")
        self.back_button.clicked.connect(self.back)
        self.title = ElidedLabel("", "section")
        self.facts = ElidedLabel("", "secondary")
        self.detail = TextButton(theme, "Auto", "plain", icon_name="scan-text")
        self.detail_menu = QMenu(self)
        self.detail_menu.aboutToShow.connect(self._fill_detail)
        self.detail.setMenu(self.detail_menu)
        self.read_button = TextButton(theme, "Read", "primary")
        self.read_button.clicked.connect(self.read)
        self.stop_button = TextButton(theme, "Stop", icon_name="square")
        self.stop_button.clicked.connect(self.stop)
        self.export_button = TextButton(theme, "Export", icon_name="share")
        self.export_menu = QMenu(self)
        self._fill_export()
        self.export_button.setMenu(self.export_menu)
        self.ask_button = TextButton(theme, "Ask about this", icon_name="message-circle")
        self.ask_button.setCheckable(True)
        self.ask_button.toggled.connect(self.ask_toggled)
        self.bar = ProgressBar("Reading")
        self._build()

    def _build(self) -> None:
        theme = self._theme
        words = QVBoxLayout()
        words.setSpacing(0)
        words.addWidget(self.title)
        words.addWidget(self.facts)
        row = QHBoxLayout()
        row.setSpacing(theme.px(8))
        row.addWidget(self.back_button)
        row.addLayout(words, 1)
        for button in (
            self.detail,
            self.read_button,
            self.stop_button,
            self.export_button,
            self.ask_button,
        ):
            button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
            row.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(theme.px(12), theme.px(8), theme.px(12), theme.px(6))
        column.setSpacing(theme.px(6))
        column.addLayout(row)
        column.addWidget(self.bar)

    def refresh(self, document: OpenDocument) -> None:
        """Show the document as it is now."""
        record = document.record
        progress = self._documents.progress(document.id)
        self.title.setText(record.name)
        self.title.setToolTip(record.path)
        if progress is not None and record.failure is None:
            words = progress_words(progress)
        else:
            words = document_words(document, progress)
        self.facts.setText(words)
        self.detail.setVisible(record.kind == "pages")
        self.export_button.setVisible(document.opened)
        self.ask_button.setVisible(document.opened)
        self._show_detail(ReadingDetail(record.detail))
        reading = progress is not None
        self.stop_button.setVisible(reading)
        unread = len(document.unread)
        self.read_button.setVisible(not reading and unread > 0)
        self.read_button.set_text(f"Read {count(unread, 'page')}")
        self.export_button.setEnabled(document.done > 0)
        self.ask_button.setEnabled(document.done > 0 or self.ask_button.isChecked())
        self.bar.setVisible(progress is not None)
        if progress is not None:
            self.bar.show_share(progress.done, progress.total)
            self.bar.setAccessibleDescription(progress_words(progress))

    def _show_detail(self, detail: ReadingDetail) -> None:
        seconds = self._documents.seconds_a_page(detail)
        words = f"{detail.label} · {about(seconds)} a page" if seconds else detail.label
        self._detail_words = (words, detail.label)
        self.detail.setAccessibleName(f"Detail: {words}")
        self._fit_words()

    def _document(self) -> OpenDocument | None:
        return self._documents.current

    def _fill_detail(self) -> None:
        menu, document = self.detail_menu, self._document()
        menu.clear()
        if document is None:
            return
        self._choices(
            menu,
            [
                (
                    detail.value,
                    detail_words(
                        detail,
                        self._documents.seconds_a_page(detail),
                        show_details=self.show_details,
                    ),
                )
                for detail in ReadingDetail
            ],
            "detail",
            document.record.detail,
        )
        menu.addSeparator()
        self._choices(menu.addMenu("What to Read"), TASKS, "task", document.record.task)
        self._choices(menu.addMenu("Language"), LANGUAGES, "language", document.record.language)
        if document.record.format == "pdf":
            self._choices(
                menu.addMenu("The PDF's Own Text"), LAYERS, "text_layer", document.record.text_layer
            )
        menu.addSeparator()
        again = menu.addAction("Read All Pages Again", self._read_again)
        again.setEnabled(document.done > 0 and not document.wanted)

    def _choices(self, menu: QMenu, entries: object, field: str, chosen: str) -> None:
        group = QActionGroup(menu)
        for value, words in entries:  # type: ignore[attr-defined]
            action = QAction(words, menu)
            action.setCheckable(True)
            action.setChecked(value == chosen)
            action.triggered.connect(
                lambda _checked=False, field=field, value=value: self._choose(field, value)
            )
            group.addAction(action)
            menu.addAction(action)

    def _choose(self, field: str, value: str) -> None:
        document = self._document()
        if document is None:
            return
        if (field, value) == ("task", "fields"):
            self.schema_wanted.emit()
        else:
            self._documents.set_reading(document.id, **{field: value})

    def _read_again(self) -> None:
        document = self._document()
        if document is not None:
            self._documents.read_again(document.id, range(len(document.pages)))

    def _fill_export(self) -> None:
        for kind in ExportFormat:
            self.export_menu.addAction(f"{kind.label} …", lambda kind=kind: self.export.emit(kind))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """On a narrow page the buttons are pictures with names."""
        super().resizeEvent(event)
        self._fit_words()

    def _fit_words(self) -> None:
        narrow = self.width() < self._theme.px(NARROW)
        self.detail.setText(self._detail_words[narrow])
        self.detail.setToolTip(self._detail_words[0] if narrow else "")
        for button, words in ((self.export_button, "Export"), (self.ask_button, "Ask about this")):
            button.setText("" if narrow else words)
            button.setToolTip(words if narrow else "")
