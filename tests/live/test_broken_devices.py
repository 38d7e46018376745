"""Devices and engines that fail in the middle: the thread that uses them goes on or says so."""

import queue

import cv2
import numpy as np
import pytest
import sounddevice

from app.live import mixer as mixer_module
from app.live.access import Access
from app.live.buffers import RATE
from app.live.clock import SystemClock
from app.live.mixer import Mixer
from app.live.ports import SpokenSound
from app.live.resample import resample
from app.live.spoken_text import Piece
from app.services import camera as camera_module
from app.services import microphone as microphone_module
from app.services.camera import VideoFileCamera, open_file
from app.services.microphone import Microphone, MicrophoneError, SoundDevice
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


def test_a_loudspeaker_changed_while_a_sentence_is_resampled_keeps_its_pitch(monkeypatch):
    mixer = Mixer(RATE)
    calls = []

    def interrupted(pcm, old, new):
        calls.append(new)
        if len(calls) == 1:
            mixer.set_rate(48_000)
        return resample(pcm, old, new)

    monkeypatch.setattr(mixer_module, "resample", interrupted)
    mixer.play(Piece("one", 0, "one"), np.full(RATE, 0.5, np.float32), RATE)
    played = mixer.render(2 * 48_000)
    assert np.count_nonzero(played > 0.25) == pytest.approx(48_000, rel=0.01), "a second is one"


def test_a_microphone_that_opens_but_does_not_start_is_closed(monkeypatch):
    closed = []

    class Stuck:
        def __init__(self, **_words):
            pass

        def start(self):
            raise sounddevice.PortAudioError("Device unavailable [PaErrorCode -9985]")

        def close(self):
            closed.append(self)

    device = SoundDevice(0, "USB", 1, 48_000, default=True)
    monkeypatch.setattr(microphone_module, "find_device", lambda _name: device)
    monkeypatch.setattr(sounddevice, "InputStream", Stuck)
    microphone = Microphone(SystemClock())
    with pytest.raises(MicrophoneError) as told:
        microphone.start(lambda _pcm, _t: None)
    assert told.value.access is Access.BUSY
    assert len(closed) == 1
    assert microphone.problem() is None


def test_a_camera_whose_pictures_break_is_lost(tmp_path):
    cv2.imwrite(str(tmp_path / "scene.png"), np.full((90, 160, 3), 120, np.uint8))
    camera = open_file(SystemClock(), str(tmp_path))

    def broken(_rgb, _t):
        raise cv2.error("bad frame")

    camera.start(broken)
    camera._thread.join(timeout=WAIT_S)
    assert camera.problem() is Access.LOST
    camera.stop()


class Film:
    """One picture, and no way back to it."""

    def __init__(self):
        self.reads = 0

    def get(self, _what):
        return 25.0

    def set(self, _what, _value):
        return False

    def read(self):
        self.reads += 1
        assert self.reads < 100, "it reads in a loop"
        return (True, np.zeros((9, 16, 3), np.uint8)) if self.reads == 1 else (False, None)

    def release(self):
        pass


def test_a_film_that_cannot_start_again_shows_its_last_picture(monkeypatch, tmp_path):
    film = Film()
    monkeypatch.setattr(camera_module, "_open_capture", lambda _what: film)
    pictures = VideoFileCamera(SystemClock(), tmp_path / "film.avi")._pictures()
    shown = [next(pictures) for _ in range(4)]
    assert all(picture is shown[0] for picture in shown)
    assert film.reads <= 2 * len(shown)
    pictures.close()
