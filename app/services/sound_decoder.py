"""Decodes a sound track with Qt to a mono WAV. Runs in a worker process of its own.

At 16 kHz for the model where libsndfile cannot read the file (m4a, AAC, films), at 32 kHz for what
the window plays. The file is foreign, so the window never opens it itself.
"""

from __future__ import annotations

import wave
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QEventLoop, QTimer, QUrl
from PySide6.QtMultimedia import QAudioBuffer, QAudioDecoder, QAudioFormat

# A little more than the library takes, so that it is the one to say that a recording is too long.
MAX_SECONDS = 3601


def decode(request: tuple[str, str, int]) -> float:
    """Write the first sound track of `source` to `target` as WAV; its length in seconds.

    Args:
        request: (source, target, samples a second); both are paths.

    Raises:
        ValueError: no sound track, or one that Qt cannot decode here.
    """
    source, target, rate = request
    application = QCoreApplication.instance() or QCoreApplication([])
    partial = Path(f"{target}.part")
    try:
        with wave.open(str(partial), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(rate)
            frames = _Decoding(source, out, rate).run()
        if not frames:
            raise ValueError("it has no sound")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    assert application is not None
    return frames / rate


class _Decoding:
    """One run of Qt's decoder."""

    def __init__(self, source: str, out: wave.Wave_write, rate: int) -> None:
        self._out = out
        self._format = _mono(rate)
        self._most = rate * MAX_SECONDS
        self._frames = 0
        self._problem = ""
        self._loop = QEventLoop()
        self._decoder = QAudioDecoder()
        self._decoder.setAudioFormat(self._format)
        self._decoder.setSource(QUrl.fromLocalFile(source))
        self._decoder.bufferReady.connect(self._on_buffer)
        self._decoder.finished.connect(self._loop.quit)
        self._decoder.error.connect(self._on_error)

    def run(self) -> int:
        """Decode everything; the number of frames. Raises ValueError."""
        # An error may be told inside `start`, before the loop runs.
        QTimer.singleShot(0, self._decoder.start)
        self._loop.exec()
        self._decoder.stop()
        if self._problem:
            raise ValueError(self._problem)
        return self._frames

    def _on_buffer(self) -> None:
        buffer: QAudioBuffer = self._decoder.read()
        if buffer.format() != self._format:
            self._problem = "Qt gave another format than asked for"
            self._loop.quit()
            return
        self._out.writeframesraw(bytes(buffer.data()))
        self._frames += buffer.frameCount()
        if self._frames >= self._most:
            self._loop.quit()

    def _on_error(self) -> None:
        self._problem = self._decoder.errorString() or "it cannot be decoded"
        self._loop.quit()


def _mono(rate: int) -> QAudioFormat:
    wanted = QAudioFormat()
    wanted.setSampleRate(rate)
    wanted.setChannelCount(1)
    wanted.setSampleFormat(QAudioFormat.SampleFormat.Int16)
    return wanted
