"""Copies beside attachments, decoded by workers.

For the model, what only Qt can read; for the player, whatever the person wants to hear and see.
"""

from __future__ import annotations

import logging
from pathlib import Path

from app.core.paths import film_copy, play_copy, sound_copy
from app.core.worker_process import WorkerError, WorkerProcess

log = logging.getLogger(__name__)

SAMPLE_RATE = 16_000
PLAY_RATE = 32_000
ENTRY = "app.services.sound_decoder:decode"
FILMS = "app.services.film_strip:strip"
# An hour of sound takes Qt about half a minute.
DECODE_SECONDS = 600.0
MEMORY_BYTES = 1 << 30
HEAD_BYTES = 16
# Pictures (HEIC, AVIF) come in the same boxes as films.
_PICTURE_BRANDS = (b"hei", b"hev", b"mif1", b"msf1", b"avi")


def needs_copy(head: bytes) -> bool:
    """By its first bytes: a container whose sound libsndfile does not read."""
    if head[4:8] == b"ftyp":
        return not head[8:12].startswith(_PICTURE_BRANDS)
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    is_aac = head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xF6 == 0xF0
    return is_aac or head.startswith((b"\x1a\x45\xdf\xa3", b"#!AMR", b"\x30\x26\xb2\x75"))


class SoundCopies:
    """Makes the copies. Used from one thread; `close` from any."""

    def __init__(self) -> None:
        self._worker = WorkerProcess(ENTRY, timeout_s=DECODE_SECONDS, memory_bytes=MEMORY_BYTES)
        self._films = WorkerProcess(FILMS, timeout_s=DECODE_SECONDS, memory_bytes=MEMORY_BYTES)

    def wanted(self, path: Path) -> bool:
        """The attachment at `path` has no copy yet and needs one."""
        with path.open("rb") as source:
            head = source.read(HEAD_BYTES)
        return needs_copy(head) and not sound_copy(path).exists()

    def make(self, path: Path) -> bool:
        """Decode the attachment at `path`; False where Qt cannot (other decoders follow)."""
        return self._decode(path, sound_copy(path), SAMPLE_RATE)

    def make_playable(self, path: Path) -> Path | None:
        """The WAV the window may play, made now if it is not there; None where Qt cannot."""
        copy = play_copy(path)
        return copy if copy.exists() or self._decode(path, copy, PLAY_RATE) else None

    def make_film(self, path: Path) -> Path | None:
        """The strip of pictures the window may show; None where the film cannot be decoded."""
        copy = film_copy(path)
        if not copy.exists():
            try:
                self._films.ask((str(path), str(copy)))
            except (WorkerError, ValueError, OSError) as problem:
                log.info("no strip of the film: %s", problem)
                return None
        return copy

    def _decode(self, path: Path, target: Path, rate: int) -> bool:
        try:
            self._worker.ask((str(path), str(target), rate))
        except (WorkerError, ValueError, OSError) as problem:
            log.info("no copy of the sound: %s", problem)
            return False
        return True

    def close(self) -> None:
        """End the workers; a decoding on its way is given up."""
        self._worker.close()
        self._films.close()
