"""Devices and engines that fail in the middle: the thread that uses them goes on or says so."""

import queue

import numpy as np

from app.live.buffers import RATE
from app.live.ports import SpokenSound
from app.live.spoken_text import Piece
from app.services.speech import SpeechWorker

WAIT_S = 30.0


class FullDisk:
    """Cannot speak the first sentence, in a way nobody foresaw."""

    name = "full disk"

    def __init__(self):
        self.asked = 0

    def synthesize(self, text, language):
        self.asked += 1
        if self.asked == 1:
            raise OSError("No space left on device")
        return SpokenSound(np.zeros(RATE // 10, np.float32), RATE)


def test_the_next_sentence_is_spoken_after_one_that_broke():
    told = queue.Queue()
    worker = SpeechWorker(
        FullDisk(),
        lambda ticket, piece, *_sound: told.put(("spoken", ticket, piece.text)),
        lambda ticket, piece, message: told.put((message, ticket, piece.text)),
    )
    worker.speak(1, Piece("One.", 0, "One."), "en")
    worker.speak(1, Piece("Two.", 5, "Two."), "en")
    message, *first = told.get(timeout=WAIT_S)
    assert "could not be spoken" in message
    assert first == [1, "One."]
    assert told.get(timeout=WAIT_S) == ("spoken", 1, "Two.")
    worker.stop()
