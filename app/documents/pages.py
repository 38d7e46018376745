"""What every kind of document made of pages can do, inside the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from app.documents.types import (
    WHOLE,
    Box,
    DocumentError,
    DocumentInfo,
    DocumentProblem,
    PageLayer,
    TextLine,
)

if TYPE_CHECKING:
    import numpy as np


class PageSource(Protocol):
    """An open document. Pages count from 0; arrays are RGB uint8 [height, width, 3]."""

    info: DocumentInfo

    def size(self, page: int) -> tuple[float, float]:
        """Width and height, upright: points of a PDF page, pixels of a picture."""
        ...

    def draw(self, page: int, width: int, height: int, box: Box = WHOLE) -> np.ndarray:
        """The part `box` of the page, as if the whole page had `width` by `height` pixels.

        A picture is never drawn larger than it is.
        """
        ...

    def lines(self, page: int) -> tuple[TextLine, ...]:
        """The text layer in reading order; empty where there is none."""
        ...

    def layer(self, page: int) -> PageLayer:
        """The text layer with its tables."""
        ...

    def is_picture(self, page: int) -> bool:
        """Whether the page is a scan or photo (and not drawn by a program)."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


def check_page(info: DocumentInfo, page: int, name: str) -> None:
    """Make sure the page exists.

    Raises:
        DocumentError: it does not.
    """
    if not 0 <= page < info.pages:
        pages = "1 page" if info.pages == 1 else f"{info.pages:,} pages"
        message = f"“{name}” has {pages}, there is no page {page + 1}."
        raise DocumentError(DocumentProblem.GONE, message)
