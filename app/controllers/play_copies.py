"""What the players of a chat may open: copies decoded by a worker, never the foreign file."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from app.core.conversation import Attachment

Copies = Future[tuple[Path | None, Path | None]]


class PlayCopies(QObject):
    """`ready(sha256, sound, pictures)` answers each `ask`; paths, empty where there is nothing."""

    ready = Signal(str, str, str)

    def __init__(
        self,
        make: Callable[[Attachment], Copies],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._make = make

    def ask(self, attachment: Attachment) -> None:
        """Have it decoded; at once where it was before."""

        def told(done: Copies) -> None:
            found = (None, None) if done.cancelled() or done.exception() else done.result()
            self.ready.emit(attachment.sha256, *(str(path) if path else "" for path in found))

        self._make(attachment).add_done_callback(told)
