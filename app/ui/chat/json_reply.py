"""Where a JSON schema is pasted that the next answer, or all answers of this chat, must obey."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QHBoxLayout, QPlainTextEdit, QVBoxLayout, QWidget

from app.controllers.chat_controller import ChatController
from app.ui.chat.schema_reach import SchemaReach
from app.ui.theme import Theme
from app.ui.widgets.buttons import TextButton
from app.ui.widgets.labels import Label

EXAMPLE = """{
  "type": "array",
  "items": {
    "type": "object",
    "properties": {
      "name": {"type": "string"},
      "price": {"type": "number"}
    },
    "required": ["name", "price"]
  }
}"""
WORDS = "Paste a JSON schema. What is answered will have its form, shown as a table."


class JsonReply(QDialog):
    """The engine checks the schema; what it says stands beside the buttons."""

    def __init__(self, theme: Theme, chat: ChatController, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Reply as JSON")
        self.resize(theme.px(520), theme.px(440))
        self._chat = chat
        schema = chat.json_schema
        self.field = QPlainTextEdit(schema)
        self.field.setProperty("kind", "field")
        self.field.setAccessibleName("JSON schema")
        self.field.setFont(theme.font("code"))
        self.field.setTabChangesFocus(True)
        self.field.setPlaceholderText('{"type": "object", …}')
        self.problem = Label("", "danger", wrap=True)
        self.problem.setVisible(False)
        self.use = TextButton(theme, "Use it", "primary")
        self.use.clicked.connect(self._use)
        self.example = TextButton(theme, "Insert an example", "chip")
        self.example.clicked.connect(lambda: self.field.setPlainText(EXAMPLE))
        self.reach = SchemaReach(theme)
        self.reach.set_once(chat.schema_once)
        self.stop = TextButton(theme, "Reply in words again")
        self.stop.setVisible(bool(schema))
        self.stop.clicked.connect(self._stop)
        column = QVBoxLayout(self)
        column.setContentsMargins(*[theme.px(20)] * 4)
        column.setSpacing(theme.px(10))
        column.addWidget(Label(WORDS, "secondary", wrap=True))
        column.addWidget(self.field, 1)
        column.addWidget(self.problem)
        column.addLayout(self._buttons(theme))
        chat.schemas.checked.connect(self._on_checked)

    def _buttons(self, theme: Theme) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(theme.px(8))
        row.addWidget(self.example)
        row.addStretch()
        row.addWidget(self.reach)
        row.addWidget(self.stop)
        row.addWidget(self.use)
        return row

    def _use(self) -> None:
        self.problem.setVisible(False)
        self.use.setEnabled(False)
        self._chat.schemas.check(self.field.toPlainText())

    def _on_checked(self, schema: str, problem: str) -> None:
        if schema != self.field.toPlainText():
            return
        self.use.setEnabled(True)
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))
        if not problem:
            self._chat.set_json_schema(schema.strip(), once=self.reach.once)
            self.accept()

    def _stop(self) -> None:
        self._chat.set_json_schema("")
        self.accept()
