"""A 16 kHz WAV beside each attachment whose own sound only Qt can decode (m4a, AAC, films)."""

from __future__ import annotations

import logging
from pathlib import Path

from app.core.paths import sound_copy
from app.core.worker_process import WorkerError, WorkerProcess

log = logging.getLogger(__name__)

ENTRY = "app.services.sound_decoder:decode"
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

    def wanted(self, path: Path) -> bool:
        """The attachment at `path` has no copy yet and needs one."""
        with path.open("rb") as source:
            head = source.read(HEAD_BYTES)
        return needs_copy(head) and not sound_copy(path).exists()

    def make(self, path: Path) -> bool:
        """Decode the attachment at `path`; False where Qt cannot (other decoders follow)."""
        try:
            self._worker.ask((str(path), str(sound_copy(path))))
        except (WorkerError, ValueError, OSError) as problem:
            log.info("no copy of the sound: %s", problem)
            return False
        return True

    def close(self) -> None:
        """End the worker; a decoding on its way is given up."""
        self._worker.close()
