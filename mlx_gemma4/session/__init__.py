"""Conversations that reuse everything: see :class:`Session`."""

from mlx_gemma4.session.live import FrameNote
from mlx_gemma4.session.reports import CompactReport, ReplyOptions, SyncReport
from mlx_gemma4.session.runner import Cancelled, Watch
from mlx_gemma4.session.session import Mark, Session

__all__ = [
    "Cancelled",
    "CompactReport",
    "FrameNote",
    "Mark",
    "ReplyOptions",
    "Session",
    "SyncReport",
    "Watch",
]
