"""The whole of live mode at once, with nothing replaced: window, devices, demo model, voice.

A window on a virtual screen (Xvfb), a PulseAudio null sink as microphone fed by espeak-ng, a film
as camera, the real engine with the demo checkpoint. `talk` clicks "Start talking" and "Camera",
says a question and gives back the answer's text and how like it the loudspeaker's sound is.
"""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np

from tests.live.rooms import say, silence
from tests.live.virtual_sound import VirtualSound

COLOURS = {"red": (208, 48, 48), "blue": (48, 80, 200), "yellow": (240, 208, 48)}


def film(path, colour, shape):
    """Three seconds of a shape on a light ground, moving a little as in a camera held by hand."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (320, 240))
    for number in range(30):
        picture = np.full((240, 320, 3), 232, np.uint8)
        x, y = 160 + number % 5, 120 + number % 3
        rgb = COLOURS[colour]
        if shape == "circle":
            cv2.circle(picture, (x, y), 70, rgb[::-1], -1, cv2.LINE_AA)
        else:
            cv2.rectangle(picture, (x - 65, y - 65), (x + 65, y + 65), rgb[::-1], -1)
        writer.write(picture)
    writer.release()


class Screen:
    """A virtual screen; `name` is what DISPLAY must be."""

    def __init__(self):
        read, write = os.pipe()
        self._process = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write), "-screen", "0", "1440x900x24", "-nolisten", "tcp"],
            pass_fds=[write], stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(write)
        with os.fdopen(read) as pipe:
            self.name = f":{pipe.readline().strip()}"

    def stop(self):
        """End it."""
        self._process.terminate()
        self._process.wait(timeout=10)


def talk(folder, said, colour, shape, *, voice="en-us", seconds=300.0):
    """Ask once; {"text", "caption", "voice_match", "frames"}, empty if there was no answer.

    Args:
        folder: an empty folder of the test.
        said: the question's words.
        colour, shape: what the camera sees.
        voice: of espeak-ng.
        seconds: longest to wait for the answer.
    """
    film(folder / "camera.avi", colour, shape)
    screen, sound = Screen(), VirtualSound(folder)
    environment = {
        **os.environ, **sound.environment, "DISPLAY": screen.name, "QT_QPA_PLATFORM": "xcb",
    }  # fmt: skip
    recorder = sound.record_speaker(folder / "speaker.raw")
    window = subprocess.Popen(
        [sys.executable, "-m", "tests.live.demo_talk", str(folder)],
        env=environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    limit = threading.Timer(seconds, window.kill)
    limit.start()
    try:
        result = {}
        for line in window.stdout:
            event = json.loads(line)
            if event["event"] == "looking":
                question = np.concatenate([silence(0.3), say(said, voice), silence(0.3)])
                sound.speak(question)
            elif event["event"] == "over":
                result = event
        window.wait(timeout=30)
    finally:
        limit.cancel()
        window.kill()
        recorder.terminate()
        recorder.wait(timeout=5)
        sound.stop()
        screen.stop()
    heard = np.fromfile(folder / "speaker.raw", np.int16).astype(np.float32) / 32768
    if result:
        result["voice_match"] = round(match(heard, say(result["text"] or "nothing", "en", 175)), 3)
    return result


def match(heard, wanted):
    """Likeness of loudness over time, 0 to 1: correlation of the envelopes at their best place."""
    long, short = (_envelope(pcm) for pcm in (heard, wanted))
    if len(long) < len(short):
        return 0.0
    return max(_correlation(long[i : i + len(short)], short) for i in _starts(long, short))


def _correlation(a, b):
    """Pearson's, 0 where one of them is constant (silence)."""
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 1e-12 else 0.0


def _envelope(pcm):
    blocks = pcm[: len(pcm) // 160 * 160].reshape(-1, 160)
    return np.sqrt((blocks**2).mean(axis=1)) + 1e-9


def _starts(long, short):
    return range(len(long) - len(short) + 1)


def _inside(folder):
    """The window's process: clicks, waits for the answer, prints what happened."""
    from PySide6.QtCore import QTimer
    from PySide6.QtWidgets import QApplication

    from app.core.paths import demo_model_dir
    from app.live import reports
    from app.main import AppOptions, build_app
    from app.pages import add_live_page
    from app.ui.live.live_page import LivePage
    from app.ui.main_window import MainWindow

    application = QApplication(sys.argv[:1])
    app = build_app(AppOptions(data_dir=str(folder / "data"), model=str(demo_model_dir())))
    values = {"microphone": "facet", "speaker": "facet", "camera": str(folder / "camera.avi")}
    for name, value in values.items():
        app.state.settings.set(name, value)
    app.state.settings.set("preset", "Precise")
    window = MainWindow(app.state)
    window.show()
    controller = add_live_page(app, window)
    app.engine.start()
    window.show_page("live")
    page = window.findChild(LivePage)
    frames, heard, begun = [], [], []

    def tell(**event):
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()

    def on_model():
        """Begins the talk; what the model does while everything ends begins no other one."""
        if app.state.models.loaded and not begun:
            begun.append(True)
            page.start_button.click()
            page.camera_button.click()
            ready.start()

    def when_ready():
        """The question is asked once sound and pictures really come in."""
        session = controller.session
        if len(heard) >= 5 and session is not None and session.pipeline.frames.peek():
            ready.stop()
            tell(event="looking")

    def on_report(report):
        if isinstance(report, reports.Level):
            heard.append(report)
        if isinstance(report, reports.FrameSent):
            frames.append(report)
        if isinstance(report, reports.ReplyDone):
            picture = folder / "window.png"
            window.grab().save(str(picture))
            caption = page.caption.text()
            over = {"event": "over", "text": report.text, "caption": caption}
            QTimer.singleShot(500, lambda: (tell(**over, frames=len(frames)), application.quit()))

    ready = QTimer(interval=100)
    ready.timeout.connect(when_ready)
    app.state.models.state_changed.connect(on_model)
    controller.report.connect(on_report)
    application.exec()
    controller.stop()
    window.close()
    app.close()


if __name__ == "__main__":
    _inside(Path(sys.argv[1]))
