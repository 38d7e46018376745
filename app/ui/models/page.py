"""The models page: a list, installed first; and a way to add any other checkpoint."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QMessageBox,
    QVBoxLayout,
    QWidget,
)

from app.controllers.model_controller import ModelController, ModelRow, ModelState
from app.controllers.settings_controller import SettingsController
from app.core.errors import Failure
from app.core.repo_name import repo_name
from app.ui.models.row import ModelRowWidget
from app.ui.models.words import size_words
from app.ui.theme import Theme
from app.ui.widgets.announce import announce
from app.ui.widgets.buttons import TextButton
from app.ui.widgets.keyboard import has_keyboard
from app.ui.widgets.labels import Label
from app.ui.widgets.notices import ErrorCard, NoticeBar
from app.ui.widgets.scrolled import scrolled
from app.ui.widgets.turning_row import TurningRow

PAGE_WIDTH = 760
USUAL_VERSION = "4bit"
NO_NAME = (
    "This is no name of a model. Write owner/name, such as mlx-community/gemma-4-e2b-it-4bit, or "
    "paste the address of its page."
)


class ModelsPage(QWidget):
    """Rows are rebuilt when the list changes, only their bars move while something downloads."""

    def __init__(self, theme: Theme, models: ModelController, settings: SettingsController) -> None:
        super().__init__()
        self.setProperty("kind", "page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._theme = theme
        self._models = models
        self._settings = settings
        self._shape: object = None
        self._all_versions = False
        self._rows: list[ModelRowWidget] = []
        self._error: ErrorCard | None = None
        self.notice = NoticeBar(theme, self)
        self._build()
        models.rows_changed.connect(self.refresh)
        models.state_changed.connect(self._on_state)
        models.progress.connect(self._on_progress)
        models.failed.connect(self._on_failed)
        models.freed.connect(self._on_freed)
        settings.changed.connect(self._on_setting)
        self.refresh()

    @property
    def row_widgets(self) -> list[ModelRowWidget]:
        """The rows on the page."""
        return self._rows

    def _build(self) -> None:
        theme = self._theme
        inner = QWidget()
        inner.setMaximumWidth(theme.px(PAGE_WIDTH))
        self._column = QVBoxLayout(inner)
        self._column.setContentsMargins(24, 20, 24, 32)
        self._column.setSpacing(theme.px(8))
        self._column.addWidget(Label("Models", "title"))
        self._state = Label("", "secondary", wrap=True)
        self._column.addWidget(self._state)
        self.stop_button = TextButton(theme, "Stop loading", "chip")
        self.stop_button.clicked.connect(self._models.cancel_load)
        self.stop_button.hide()
        self._column.addWidget(self.stop_button, 0, Qt.AlignmentFlag.AlignLeft)
        self._list = QVBoxLayout()
        self._list.setSpacing(theme.px(8))
        self._column.addLayout(self._list)
        self.all_button = TextButton(theme, "Show all versions", "chip", icon_name="chevron-down")
        self.all_button.clicked.connect(self._show_all)
        self._column.addWidget(self.all_button, 0, Qt.AlignmentFlag.AlignLeft)
        self._column.addSpacing(theme.px(16))
        self._column.addWidget(Label("Add another model", "section"))
        self._column.addWidget(self._build_add())
        self.name_problem = Label(NO_NAME, "danger", wrap=True)
        self.name_problem.hide()
        self._column.addWidget(self.name_problem)
        self.repo_field.textEdited.connect(lambda _text: self.name_problem.hide())
        self._column.addStretch()
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolled(inner, "Models"))

    def _build_add(self) -> TurningRow:
        self.repo_field = QLineEdit()
        self.repo_field.setAccessibleName("Name on Hugging Face")
        self.repo_field.setPlaceholderText("Name on Hugging Face, such as mlx-community/…")
        add = TextButton(self._theme, "Download")
        add.setAccessibleName("Download by name")
        folder = TextButton(self._theme, "From a folder …")
        self.repo_field.returnPressed.connect(self._add_repo)
        add.clicked.connect(self._add_repo)
        folder.clicked.connect(self._add_folder)
        buttons = QWidget()
        row = QHBoxLayout(buttons)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(self._theme.px(8))
        row.addWidget(add)
        row.addWidget(folder)
        return TurningRow(self._theme, self.repo_field, buttons)

    def refresh(self) -> None:
        """Show the models as they are now."""
        every = self._models.rows()
        rows = every if self._all_versions else [row for row in every if is_usual(row)]
        self.all_button.setVisible(len(rows) < len(every))
        details = self._settings.settings.show_details
        shape = (details, tuple(_shape_of(row) for row in rows))
        if shape == self._shape:
            for widget, row in zip(self._rows, rows, strict=True):
                widget.update_download(row)
            return
        self._shape = shape
        focused = next((w.row.key for w in self._rows if has_keyboard(w)), None)
        for widget in self._rows:
            self._list.removeWidget(widget)
            widget.hide()
            widget.deleteLater()
        self._rows = [ModelRowWidget(self._theme, row, show_details=details) for row in rows]
        for widget in self._rows:
            widget.action.connect(self._on_action)
            self._list.addWidget(widget)
            if widget.row.key == focused:
                widget.take_focus()
        self._on_state()

    def _show_all(self) -> None:
        self._all_versions = True
        self.refresh()

    def _on_action(self, action: str, row: ModelRow) -> None:
        match action:
            case "use" if row.info is not None:
                self._models.load(row.info.path)
            case "unload":
                self._models.unload()
            case "download":
                self._models.download(row.download.repo if row.download else row.key)
            case "pause" if row.download is not None:
                self._models.pause(row.download.repo)
            case "discard" if row.download is not None:
                self._models.discard(row.download.repo)
            case "delete" if row.info is not None:
                self._confirm_delete(row)
            case _:
                pass

    def _confirm_delete(self, row: ModelRow) -> None:
        """The one modal question of this page: the files cannot come back."""
        path = row.info.path if row.info else ""
        size = size_words(self._models.size_to_free(path))
        box = QMessageBox(self)
        box.setIcon(QMessageBox.Icon.Warning)
        box.setText(f"Delete {row.label}?")
        box.setInformativeText(f"This frees {size}. To use it again it must be downloaded again.")
        delete = box.addButton("Delete", QMessageBox.ButtonRole.DestructiveRole)
        box.addButton(QMessageBox.StandardButton.Cancel)
        delete.clicked.connect(lambda: self._models.delete(path))
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()

    def _add_repo(self) -> None:
        words = self.repo_field.text()
        repo = repo_name(words)
        self.name_problem.setVisible(bool(words.strip()) and not repo)
        if repo:
            self._models.download(repo)
            self.repo_field.clear()
        elif words.strip():
            announce(self.repo_field, NO_NAME)

    def _add_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder with models")
        if folder:
            folders = self._settings.settings.model_folders
            if folder not in folders:
                self._settings.set("model_folders", (*folders, folder))
            self._models.refresh()

    def _on_state(self) -> None:
        facts = self._models.facts()
        words = f"{facts.chip} · {facts.memory / 2**30:.0f} GB memory · "
        words += f"{size_words(facts.free_disk)} free"
        loading = self._models.state is ModelState.LOADING
        if loading:
            words = "Loading the model …"
        self.stop_button.setVisible(loading)
        self._state.setText(words)

    def _on_progress(self, fraction: float, stage: str) -> None:
        self._state.setText(f"Loading the model: {stage}, {fraction:.0%}".replace("%", " %"))

    def _on_failed(self, failure: Failure) -> None:
        if self._error is not None:
            self._error.hide()
            self._error.deleteLater()
        self._error = ErrorCard(self._theme, failure, "")
        self._column.insertWidget(2, self._error)

    def _on_freed(self, label: str, size: object) -> None:
        self.notice.show_notice(f"{label} is deleted; {size_words(float(str(size)))} are free.")

    def _on_setting(self, name: str) -> None:
        if name == "show_details":
            self.refresh()


def is_usual(row: ModelRow) -> bool:
    """What is here or on its way, and of each other model the version most people want."""
    here = row.info is not None or row.download is not None
    return here or row.known is None or row.known.quant == USUAL_VERSION


def _shape_of(row: ModelRow) -> tuple[object, ...]:
    """All of a row but the figures of its download."""
    state = row.download.state if row.download else None
    return (row.key, row.info, row.plan, row.loaded, state)
