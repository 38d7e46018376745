"""Above an answer in JSON: table or text, and copies for other programs."""

from __future__ import annotations

import csv
import io

from PySide6.QtCore import Signal
from PySide6.QtGui import QGuiApplication

from app.core.json_table import JsonTable
from app.ui.theme import Theme
from app.ui.widgets.buttons import TextButton
from app.ui.widgets.fitting_row import FittingRow


def csv_text(table: JsonTable) -> str:
    """Comma-separated, with cells no spreadsheet takes for a formula."""
    from app.documents.export.tables import safe_cell

    out = io.StringIO()
    lines = (table.columns, *table.rows)
    csv.writer(out).writerows([safe_cell(cell) for cell in line] for line in lines)
    return out.getvalue()


class JsonBar(FittingRow):
    """`changed`: the other view is wanted; `copied`: something is on the clipboard."""

    changed = Signal()
    copied = Signal()

    def __init__(self, theme: Theme, table: JsonTable) -> None:
        view = TextButton(theme, "Show as JSON", "chip", icon_name="braces")
        as_csv = TextButton(theme, "Copy as CSV", "chip", icon_name="copy")
        as_json = TextButton(theme, "Copy as JSON", "chip", icon_name="copy")
        super().__init__(theme, view, as_csv, as_json)
        self.view, self.csv, self.json = view, as_csv, as_json
        self._table = table
        self._as_json = False
        self.view.clicked.connect(self._switch)
        self.csv.clicked.connect(lambda: self._copy(csv_text(self._table)))
        self.json.clicked.connect(lambda: self._copy(self._table.source))

    @property
    def markdown(self) -> str:
        """What to show below."""
        return f"```json\n{self._table.source}\n```" if self._as_json else self._table.markdown()

    def _switch(self) -> None:
        self._as_json = not self._as_json
        self.view.set_text("Show as table" if self._as_json else "Show as JSON")
        self.view.set_icon("table" if self._as_json else "braces")
        self.changed.emit()

    def _copy(self, text: str) -> None:
        QGuiApplication.clipboard().setText(text)
        self.copied.emit()
