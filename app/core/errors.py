"""What can go wrong, in words a person can act on.

Owns the kinds of failure and their carrier. Knows nothing of Qt, MLX or the disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ErrorKind(StrEnum):
    """Why something did not work; decides which button the window offers."""

    BAD_FILE = "bad_file"
    UNSUPPORTED_MEDIA = "unsupported_media"
    PASSWORD = "password"
    OUT_OF_MEMORY = "out_of_memory"
    ENGINE_STOPPED = "engine_stopped"
    NO_MODEL = "no_model"
    MODEL_MISSING = "model_missing"
    MODEL_BROKEN = "model_broken"
    CONTEXT_FULL = "context_full"
    DISK_FULL = "disk_full"
    OFFLINE = "offline"
    UNAUTHORISED = "unauthorised"
    GATED = "gated"
    NOT_FOUND = "not_found"
    NETWORK = "network"
    BAD_INPUT = "bad_input"
    BUSY = "busy"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure as it is stored and shown.

    message: one sentence, what happened and why. remedy: one sentence, what to do (may be empty).
    detail: technical text for "Copy details" and the log, never shown by itself.
    """

    kind: ErrorKind
    message: str
    remedy: str = ""
    detail: str = ""


class AppError(Exception):
    """A failure on its way to the person: `failure` says what, why and what to do."""

    def __init__(
        self,
        message: str,
        *,
        kind: ErrorKind = ErrorKind.INTERNAL,
        remedy: str = "",
        detail: str = "",
    ) -> None:
        super().__init__(message)
        self.failure = Failure(kind, message, remedy, detail)
