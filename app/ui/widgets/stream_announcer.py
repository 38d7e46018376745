"""Reads a streamed answer out to a screen reader, sentence by sentence, never word by word."""

from __future__ import annotations

import re

from PySide6.QtCore import QObject, QTimer
from PySide6.QtWidgets import QWidget

from app.ui.widgets.announce import announce

PAUSE_MS = 1500
_LAST_SENTENCE_END = re.compile(r".*[.!?。！？।؟:\n]", re.DOTALL)


class StreamAnnouncer(QObject):
    """Give it the text so far; it announces whole sentences, at most every 1.5 seconds."""

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self._widget = widget
        self._message_id = ""
        self._said = 0
        self._text = ""
        self.spoken: list[str] = []
        self._timer = QTimer(self, singleShot=True, interval=PAUSE_MS)
        self._timer.timeout.connect(self._say_sentences)

    def update(self, message_id: str, text: str) -> None:
        """The answer `message_id` reads `text` now."""
        if message_id != self._message_id:
            self._message_id, self._said = message_id, 0
            self.spoken = []
        self._text = text
        if not self._timer.isActive():
            self._timer.start()

    def finish(self, message_id: str, text: str) -> None:
        """The answer is complete: say the rest."""
        if message_id == self._message_id:
            self._timer.stop()
            self._text = text
            self._say(len(text))

    def _say_sentences(self) -> None:
        match = _LAST_SENTENCE_END.match(self._text, self._said)
        if match:
            self._say(match.end())

    def _say(self, end: int) -> None:
        piece = self._text[self._said : end].strip()
        self._said = end
        if piece:
            self.spoken.append(piece)
            announce(self._widget, piece)
