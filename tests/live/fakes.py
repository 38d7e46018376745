"""Devices, permissions and an engine client that do what a test says."""

from dataclasses import replace

import numpy as np
from PySide6.QtCore import QObject, Signal

from app.controllers.live_controller import LiveController
from app.controllers.live_devices import LiveDevices
from app.core.commands import LiveStart
from app.core.events import LiveReady
from app.live.access import Access, Capture
from app.live.buffers import RATE
from app.live.mixer import Mixer
from app.services.camera import CameraError
from app.services.microphone import MicrophoneError


class FakeClient(QObject):
    """Takes commands, answers that the session is open."""

    received = Signal(object)

    def __init__(self, hears=True, ear=""):
        super().__init__()
        self.sent, self.hears, self.ear = [], hears, ear

    def submit(self, job):
        self.sent.append(job)
        if isinstance(job, LiveStart):
            self.received.emit(LiveReady(job.job_id, self.hears, True, self.ear))

    def send(self, command):
        self.sent.append(command)

    def names(self):
        return [type(c).__name__ for c in self.sent]


class FakePermissions:
    def __init__(self, **states):
        self.states = {Capture(k): v for k, v in states.items()}
        self.opened, self.answer_with = [], Access.GRANTED

    def state(self, capture):
        return self.states.get(capture, Access.GRANTED)

    def request(self, capture, answer):
        self.states[capture] = self.answer_with
        answer(self.answer_with)

    def open_settings(self, capture):
        self.opened.append(capture)


class FakeMicrophone:
    rate, narrow = RATE, False

    def __init__(self, failing=None):
        self.failing, self.sink, self.lost, self.stopped = failing, None, None, False

    def start(self, sink):
        if self.failing:
            raise MicrophoneError(self.failing, "The microphone cannot be used now.")
        self.sink = sink

    def stop(self):
        self.stopped = True

    def problem(self):
        return self.lost


class FakeCamera:
    def __init__(self, failing=None, picture=None):
        self.failing, self.lost, self.stopped = failing, None, False
        self.picture = np.zeros((90, 160, 3), np.uint8) if picture is None else picture

    def start(self, sink):
        if self.failing:
            raise CameraError(self.failing, "The camera cannot be used now.")
        sink(self.picture, 0.0)
        self.sink = sink

    def stop(self):
        self.stopped = True

    def problem(self):
        return self.lost


class FakeSpeaker:
    def __init__(self):
        self.mixer = Mixer(RATE)
        self.lost, self.device, self.started = None, "", []

    def start(self):
        self.started.append(self.device)

    def stop(self):
        pass

    def problem(self):
        return self.lost


def make_controller(
    *, hears=True, microphone=None, camera=None, ear="", devices=None, options=None, **states
):
    """A controller on fakes; returns (controller, client, permissions)."""
    client, permissions = FakeClient(hears, ear), FakePermissions(**states)
    made = LiveDevices(
        lambda _clock: microphone or FakeMicrophone(),
        lambda _clock, _reference: FakeSpeaker(),
        lambda _clock: camera or FakeCamera(),
        None,
        echo=False,
    )
    words = devices if devices is not None else {}
    controller = LiveController(
        client, permissions, lambda: replace(made, **words), *([options] if options else [])
    )
    return controller, client, permissions
