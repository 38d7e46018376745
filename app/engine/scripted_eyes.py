"""What the scripted engine reads on a page: the script's texts in turn, whatever the page shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from app.engine.document_pages import LoadedPage
from app.engine.documents import Piece
from app.engine.script import Script


class ScriptedEyes:
    """See `app.engine.documents.Recogniser`. A text ending in "…" stops as if it ran too long."""

    def __init__(self, script: Script, pause: Callable[[float], None]) -> None:
        self._script = script
        self._pause = pause

    def encode(self, page: LoadedPage) -> None:
        """Nothing to look at."""

    def read(self, page: LoadedPage, part: int) -> Iterator[Piece]:
        """The page's text word by word; with tiles each part says its share of the lines."""
        pages = self._script.pages
        text = _share(pages[page.page % len(pages)], part, len(page.pictures))
        words = re.findall(r"\s*\S+\s*", text)
        for word in words:
            self._pause(self._script.word_s)
            yield Piece(word, tokens=1)
        yield Piece(finish="length" if text.endswith("…") else "stop")


def _share(text: str, part: int, parts: int) -> str:
    lines = text.splitlines(keepends=True)
    size = -(-len(lines) // parts)
    return "".join(lines[part * size : (part + 1) * size])
