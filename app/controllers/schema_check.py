"""Asks the engine whether answers can be held to a JSON schema somebody pasted."""

from __future__ import annotations

import json

from PySide6.QtCore import QObject, Signal

from app.core.commands import CheckSchema
from app.core.conversation import new_id
from app.core.events import SchemaChecked
from app.services.engine_client import EngineClient


class SchemaCheck(QObject):
    """`checked(schema, problem)` answers each `check`; problem: one sentence, empty if usable."""

    checked = Signal(str, str)

    def __init__(self, engine: EngineClient, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._engine = engine
        self._asked: dict[str, str] = {}
        engine.received.connect(self._on_event)

    def check(self, text: str) -> None:
        """Look at it here, then let the engine try it."""
        problem = written_wrong(text)
        if problem:
            self.checked.emit(text, problem)
            return
        query = CheckSchema(new_id(), text)
        self._asked[query.query_id] = text
        self._engine.ask(query)

    def _on_event(self, event: object) -> None:
        if isinstance(event, SchemaChecked) and event.query_id in self._asked:
            self.checked.emit(self._asked.pop(event.query_id), event.problem)


def written_wrong(text: str) -> str:
    """What keeps a pasted text from being a schema at all; empty where nothing does."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as problem:
        return f"This is not valid JSON: {problem}."
    return "" if isinstance(value, dict) else "A schema is a JSON object in curly brackets."
