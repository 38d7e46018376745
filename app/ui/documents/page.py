"""The documents page of the window: the list, or one document, and what belongs to neither."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QGuiApplication, QKeyEvent, QKeySequence, QResizeEvent
from PySide6.QtWidgets import QFileDialog, QStackedWidget, QVBoxLayout, QWidget

from app.controllers.document_asking import DocumentAsking
from app.controllers.document_camera import DocumentCamera
from app.controllers.document_controller import DocumentController
from app.controllers.document_export import DocumentExport
from app.controllers.model_controller import ModelController
from app.controllers.settings_controller import SettingsController
from app.core.errors import ErrorKind, Failure
from app.core.events import EngineState
from app.core.paths import samples_dir
from app.documents.export import ExportFormat
from app.services.screen_picture import clipboard_picture
from app.ui.documents.ask_pane import AskPane
from app.ui.documents.camera_view import CameraView
from app.ui.documents.list_view import DocumentsList
from app.ui.documents.problem_card import ProblemCard
from app.ui.documents.reader_view import ReaderView
from app.ui.documents.schema_box import SchemaBox
from app.ui.theme import Theme
from app.ui.widgets.notices import NoticeBar

SAMPLE = "page.pdf"
_ENGINE_GONE = Failure(
    ErrorKind.ENGINE_STOPPED,
    "The engine stopped and could not be started again.",
    "Pages that are read are kept; reading goes on where it stopped.",
)


class DocumentsPage(QWidget):
    """One page of the main window.

    `models_wanted`: the person should choose a model. `done(words)`: a long reading ended.
    `chat_wanted(conversation id)`: open a talk about a document among the chats.
    """

    models_wanted = Signal()
    chat_wanted = Signal(str)
    done = Signal(str)

    def __init__(
        self,
        theme: Theme,
        documents: DocumentController,
        asking: DocumentAsking,
        export: DocumentExport,
        camera: DocumentCamera,
        models: ModelController,
        settings: SettingsController,
    ) -> None:
        super().__init__()
        self.setProperty("kind", "page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._theme = theme
        self._documents = documents
        self._export = export
        self._photographs = camera
        self._models = models
        self._settings = settings
        sample = samples_dir() / SAMPLE
        self.list = DocumentsList(theme, documents, sample=sample.is_file())
        self.ask = AskPane(theme, asking, documents)
        self.reader = ReaderView(theme, documents, self.ask)
        self.problem = ProblemCard(theme)
        self.reader.notes.addWidget(self.problem)
        self.stack = QStackedWidget()
        self.camera = CameraView(theme, camera)
        for view in (self.list, self.reader, self.camera):
            self.stack.addWidget(view)
        self.notice = NoticeBar(theme, self)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.stack)
        self._connect()
        self._on_setting("show_details")

    def _connect(self) -> None:
        documents, bar = self._documents, self.reader.bar
        documents.shown.connect(self._on_shown)
        documents.document_changed.connect(self._on_document)
        documents.notice.connect(self.notice.show_notice)
        documents.failed.connect(self._on_failed)
        documents.reading_finished.connect(self._on_finished)
        self._export.finished.connect(self._on_exported)
        self._export.failed.connect(self._on_failed)
        self._models.state_changed.connect(self._show_problem)
        self._settings.changed.connect(self._on_setting)
        self.list.files_wanted.connect(self.choose_files)
        self.list.camera_wanted.connect(self.photograph)
        self.camera.back.connect(lambda: documents.show("", -1))
        self._photographs.failed.connect(self._on_failed)
        self.list.sample_wanted.connect(lambda: documents.add([str(samples_dir() / SAMPLE)]))
        bar.back.connect(lambda: documents.show("", -1))
        bar.read.connect(lambda: documents.read_all(self._id))
        bar.stop.connect(lambda: documents.stop(self._id))
        bar.export.connect(self._ask_where)
        bar.schema_wanted.connect(self._ask_schema)
        self.reader.text.copied.connect(lambda _text: self.notice.show_notice("Copied."))
        self.ask.chat_wanted.connect(self.chat_wanted)
        self.problem.password.connect(lambda text: documents.retry(self._id, text))
        self.problem.mend.connect(self._mend)

    @property
    def _id(self) -> str:
        document = self._documents.current
        return document.id if document else ""

    # --- what others ask -------------------------------------------------------------------------

    def open_files(self, paths: list[str]) -> None:
        """Read these files and folders."""
        self._documents.add(paths)
        for path in paths:
            self._settings.remember_file(path)

    def choose_files(self) -> None:
        """Ask which files to read."""
        paths, _ = QFileDialog.getOpenFileNames(self, "Read documents")
        if paths:
            self.open_files(paths)

    def photograph(self) -> None:
        """Take pages with the camera."""
        self._documents.show("", -1)
        self._show(self.camera)

    # --- what happens ----------------------------------------------------------------------------

    def _on_shown(self, document_id: str, _page: int) -> None:
        self._show(self.reader if document_id else self.list)
        if not document_id:
            self.list.rebuild()
        self._show_problem()

    def _show(self, view: QWidget) -> None:
        """Change the view; the keyboard goes with it, not to the next control of the window."""
        if self.stack.currentWidget() is view:
            return
        self.stack.setCurrentWidget(view)
        if self.isVisible():
            view.setFocus(Qt.FocusReason.OtherFocusReason)

    def _on_document(self, document_id: str) -> None:
        if document_id == self._id:
            self._show_problem()

    def _show_problem(self) -> None:
        document = self._documents.current
        failure = document.record.failure if document else None
        engine = self._models.engine_state
        if document is not None and document.wanted and engine is EngineState.FAILED:
            failure = _ENGINE_GONE
        self.problem.show_failure(failure, engine)

    def _mend(self, kind: ErrorKind) -> None:
        if self._models.engine_state is EngineState.FAILED:
            self._models.restart_engine()
        elif kind is ErrorKind.NO_MODEL:
            self.models_wanted.emit()
        elif kind is ErrorKind.NOT_FOUND:
            self._find_file()
        elif kind is ErrorKind.UNSUPPORTED_MEDIA:
            self._documents.delete(self._id)
        else:
            self._documents.retry(self._id)

    def _find_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Where is it now?")
        if path:
            self._documents.relocate(self._id, path)

    def _on_failed(self, failure: Failure) -> None:
        self.notice.show_notice(f"{failure.message} {failure.remedy}".strip())

    def _on_finished(self, document_id: str) -> None:
        name = self._documents.document(document_id).record.name
        self.done.emit(f"“{name}” is read.")

    def _on_setting(self, name: str) -> None:
        if name == "show_details":
            self.reader.bar.show_details = self._settings.settings.show_details

    # --- export ----------------------------------------------------------------------------------

    def _ask_where(self, kind: ExportFormat) -> None:
        document = self._documents.current
        if document is None:
            return
        self.reader.text.save_now()
        suggested = self._export.suggested_path(document, kind)
        path, _ = QFileDialog.getSaveFileName(
            self, "Export", suggested, f"{kind.label} (*.{kind.value})"
        )
        if path:
            self._export.start(document, kind, path)

    def _on_exported(self, words: str, path: str) -> None:
        self.notice.show_notice(words, "Show", lambda: self._export.reveal(path))

    def _ask_schema(self) -> None:
        document = self._documents.current
        if document is not None:
            box = SchemaBox(self._theme, document.record.json_schema, self)
            box.chosen.connect(
                lambda schema: self._documents.set_reading(
                    document.id, task="fields", json_schema=schema
                )
            )
            box.open()

    # --- Qt --------------------------------------------------------------------------------------

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape goes back: from editing to reading, from a document to the list."""
        if event.key() == Qt.Key.Key_Escape and self._id:
            if self.reader.text.editing:
                self.reader.head.edit.setChecked(False)
            else:
                self._documents.show("", -1)
            return
        if event.matches(QKeySequence.StandardKey.Paste):
            self.paste()
            return
        super().keyPressEvent(event)

    def paste(self) -> None:
        """Read the files or the picture on the clipboard."""
        data = QGuiApplication.clipboard().mimeData()
        paths = [url.toLocalFile() for url in data.urls() if url.isLocalFile()]
        if paths:
            self.open_files(paths)
        elif png := clipboard_picture():
            self._documents.add_picture(png, "Pasted picture")
        else:
            self.notice.show_notice("There is no picture and no file on the clipboard.")

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the notice in its place."""
        super().resizeEvent(event)
        self.notice.place()
