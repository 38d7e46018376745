"""The doctor page: what this machine, the models and the engine say about themselves."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QShowEvent
from PySide6.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QVBoxLayout,
    QWidget,
)

from app.controllers.doctor_controller import DoctorController
from app.core.errors import AppError
from app.services.diagnostics import Finding, Section
from app.ui.theme import Theme
from app.ui.widgets.buttons import TextButton
from app.ui.widgets.labels import Card, IconLabel, Label
from app.ui.widgets.notices import NoticeBar
from app.ui.widgets.scrolled import scrolled
from app.ui.widgets.turning_row import TurningRow

PAGE_WIDTH = 700
_MARKS = {
    True: ("circle-check", "ok", "in order"),
    False: ("circle-alert", "danger", "not in order"),
}


class DoctorPage(QWidget):
    """Looks again each time it is opened."""

    def __init__(self, theme: Theme, doctor: DoctorController) -> None:
        super().__init__()
        self.setProperty("kind", "page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._theme = theme
        self._doctor = doctor
        self._cards: list[QWidget] = []
        self.notice = NoticeBar(theme, self)
        self._build()
        doctor.changed.connect(self.refresh)

    def _build(self) -> None:
        theme = self._theme
        inner = QWidget()
        inner.setMaximumWidth(theme.px(PAGE_WIDTH))
        column = QVBoxLayout(inner)
        column.setContentsMargins(24, 20, 24, 32)
        column.setSpacing(theme.px(8))
        buttons = QWidget()
        row = QHBoxLayout(buttons)
        row.setContentsMargins(0, 0, 0, 0)
        self.copy_button = TextButton(theme, "Copy", icon_name="copy")
        self.zip_button = TextButton(theme, "Save …")
        self.zip_button.setAccessibleName("Save for a report …")
        self.zip_button.setToolTip("Report and logs in one file, without your chats")
        self.again_button = TextButton(theme, "Look again")
        for button, call in (
            (self.copy_button, self._copy),
            (self.zip_button, self._save),
            (self.again_button, self._doctor.run),
        ):
            button.clicked.connect(lambda _checked=False, call=call: call())
            row.addWidget(button)
        column.addWidget(TurningRow(theme, Label("Doctor", "title"), buttons))
        self._state = Label("", "secondary", wrap=True)
        column.addWidget(self._state)
        self._list = QVBoxLayout()
        self._list.setSpacing(theme.px(8))
        column.addLayout(self._list)
        column.addStretch()
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolled(inner, "Report"))

    def refresh(self) -> None:
        """Show the newest report."""
        for card in self._cards:
            self._list.removeWidget(card)
            card.hide()
            card.deleteLater()
        report = self._doctor.report
        self._cards = [self._section(section) for section in report.sections] if report else []
        for card in self._cards:
            self._list.addWidget(card)
        problems = len(report.problems) if report else 0
        words = {0: "Everything looked at is in order.", 1: "One thing is not in order."}
        state = words.get(problems, f"{problems} things are not in order.")
        self._state.setText("The engine checks itself …" if self._doctor.busy else state)

    def showEvent(self, event: QShowEvent) -> None:
        """Look at everything."""
        super().showEvent(event)
        self._doctor.run()

    def _section(self, section: Section) -> Card:
        theme = self._theme
        card = Card("card")
        column = QVBoxLayout(card)
        column.setContentsMargins(*[theme.px(16), theme.px(12)] * 2)
        column.addWidget(Label(section.title, "section"))
        grid = QGridLayout()
        grid.setHorizontalSpacing(theme.px(12))
        grid.setVerticalSpacing(theme.px(6))
        grid.setColumnMinimumWidth(0, theme.px(110))
        grid.setColumnStretch(1, 1)
        for row, finding in enumerate(section.findings):
            self._finding(grid, row, finding)
        column.addLayout(grid)
        return card

    def _finding(self, grid: QGridLayout, row: int, finding: Finding) -> None:
        value = Label(finding.value, wrap=True)
        value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        value.setAccessibleName(f"{finding.name}: {finding.value}")
        top = Qt.AlignmentFlag.AlignTop
        grid.addWidget(Label(finding.name, "secondary", wrap=True), row, 0, top)
        grid.addWidget(value, row, 1)
        if finding.ok is not None:
            icon_name, token, words = _MARKS[finding.ok]
            mark = IconLabel(self._theme, icon_name, token)
            mark.setAccessibleName(words)
            mark.setToolTip(words.capitalize())
            grid.addWidget(mark, row, 2, top)

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self._doctor.text())
        self.notice.show_notice("The report is on the clipboard.")

    def _save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save report", "Facet report.zip", "*.zip")
        if not path:
            return
        try:
            self._doctor.save_zip(path)
        except AppError as problem:
            self.notice.show_notice(problem.failure.message)
        else:
            self.notice.show_notice("Saved. It holds the report and the logs, no chats.")
