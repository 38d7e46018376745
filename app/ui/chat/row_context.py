"""What a message row may ask of the world around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.controllers.picture_controller import PictureController
from app.controllers.play_copies import PlayCopies
from app.core.conversation import Attachment, ToolCall
from app.ui.theme import Theme


@dataclass(frozen=True)
class RowContext:
    """Shared by all rows of a transcript.

    copies: what players may open. version_of: (which, of how many) for ‹2/3›.
    picture_before: the newest picture sent before a message, for boxes. show_details: figures in
    tokens are wanted. asked: the tool call a message waits with for a yes or no.
    """

    theme: Theme
    pictures: PictureController
    copies: PlayCopies
    version_of: Callable[[str], tuple[int, int]]
    picture_before: Callable[[str], Attachment | None]
    show_details: Callable[[], bool]
    asked: Callable[[str], ToolCall | None]
