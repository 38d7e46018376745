"""Where a JSON schema is pasted that every page is to fill."""

from __future__ import annotations

import json

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QDialog, QHBoxLayout, QPlainTextEdit, QVBoxLayout, QWidget

from app.ui.theme import Theme
from app.ui.widgets.buttons import TextButton
from app.ui.widgets.labels import Label

EXAMPLE = """{
  "type": "object",
  "properties": {
    "date": {"type": "string"},
    "total": {"type": "number"}
  },
  "required": ["date", "total"]
}"""


class SchemaBox(QDialog):
    """`chosen(schema)`: a JSON object that can be used."""

    chosen = Signal(str)

    def __init__(self, theme: Theme, schema: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Fill a JSON schema")
        self.resize(theme.px(520), theme.px(420))
        self.field = QPlainTextEdit(schema or EXAMPLE)
        self.field.setProperty("kind", "field")
        self.field.setAccessibleName("JSON schema")
        self.field.setFont(theme.font("code"))
        self.field.setTabChangesFocus(True)
        self.problem = Label("", "danger", wrap=True)
        use = TextButton(theme, "Use it", "primary")
        use.clicked.connect(self._use)
        cancel = TextButton(theme, "Cancel")
        cancel.clicked.connect(self.reject)
        row = QHBoxLayout()
        row.addWidget(self.problem, 1)
        row.addWidget(cancel)
        row.addWidget(use)
        column = QVBoxLayout(self)
        column.setContentsMargins(*[theme.px(16)] * 4)
        column.setSpacing(theme.px(10))
        words = "Every page is read as one JSON object of this form. Paste the schema here."
        column.addWidget(Label(words, "secondary", wrap=True), 0, Qt.AlignmentFlag.AlignTop)
        column.addWidget(self.field, 1)
        column.addLayout(row)

    def _use(self) -> None:
        problem = schema_problem(self.field.toPlainText())
        self.problem.setText(problem)
        if not problem:
            self.chosen.emit(self.field.toPlainText())
            self.accept()


def schema_problem(text: str) -> str:
    """Why this is no schema that can be used, empty if it is one."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as problem:
        return f"This is no JSON: {problem}."
    if not isinstance(value, dict):
        return "A schema is a JSON object in curly brackets."
    return ""
