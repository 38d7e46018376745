"""Voice notes for a chat, and long recordings written down: jobs, controllers, page."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from app.core import commands
from app.core.errors import AppError
from app.core.events import (
    FinishReason,
    JobFinished,
    ModelInfo,
    TranscriptLine,
    TranscriptStarted,
)
from app.core.paths import demo_model_dir
from app.engine.chat import LoadedModel
from app.engine.jobs import JobContext
from app.engine.live_transcribe import transcribe_file
from app.live.access import Access, Capture
from app.live.buffers import RATE
from app.live.transcript import segments
from app.live.voice_note import VoiceNote
from mlx_gemma4.media.sound import load_sound
from tests.live.fakes import FakeCamera, FakeMicrophone, FakePermissions
from tests.live.rooms import say, silence

JOB = "write"
PHRASES = ("turn on the light", "open the window", "stop the music", "close the door")


def loud(window):
    return 0.9 if np.abs(window).max() > 0.01 else 0.01


# -- voice notes ----------------------------------------------------------------------------------


def test_a_long_note_is_split_at_a_pause_and_loses_nothing():
    talk = np.concatenate([silence(0.3), np.tile(say("this is a note about the sea"), 20)])
    pause = int(25.0 * RATE)
    sound = np.concatenate([talk[:pause], silence(0.6), talk[pause : pause + 6 * RATE]])
    note = VoiceNote(loud)
    closed = [note.feed(sound[at : at + 160]) for at in range(0, len(sound), 160)]
    parts = note.finish()
    assert closed.count(True) == 1
    assert len(parts) == 2
    assert 24.0 <= len(parts[0]) / RATE <= 26.0
    np.testing.assert_array_equal(np.concatenate(parts), sound)


def test_a_note_without_a_pause_is_split_before_30_seconds():
    note = VoiceNote(lambda _window: 0.9)
    note.feed(np.random.default_rng(0).normal(0, 0.1, 65 * RATE).astype(np.float32))
    parts = note.finish()
    assert [len(p) <= 30 * RATE for p in parts] == [True] * 3


def test_an_empty_note_is_nothing():
    assert VoiceNote(loud).finish() == []


@pytest.fixture
def recorder(qapp):
    from app.controllers.recorder_controller import RecorderController

    microphone, camera, permissions = FakeMicrophone(), FakeCamera(), FakePermissions()
    made = RecorderController(permissions, lambda _clock: microphone, lambda _clock: camera)
    yield made, microphone, camera, permissions
    made.close()


@pytest.mark.gui
def test_a_voice_note_becomes_a_file(recorder):
    from app.ui.live.recorder_bar import RecorderBar
    from app.ui.theme import Theme

    made, microphone, _, _ = recorder
    bar = RecorderBar(Theme("light"), made)
    files = []
    made.recorded.connect(files.extend)
    made.start()
    microphone.sink(say("please call me back"), 0.0)
    bar.show_progress()
    assert "s left" in bar.rest.text()
    made.finish()
    (path, name) = files[0]
    pcm, rate = soundfile.read(path)
    assert rate == RATE
    assert np.abs(pcm).max() > 0.2
    assert name.startswith("Voice note")
    assert microphone.stopped
    assert bar.isHidden()
    made.close()
    assert not Path(path).exists(), "the chat has its own copy"


@pytest.mark.gui
def test_a_video_message_is_a_film_and_a_recording(recorder):
    import cv2

    made, microphone, camera, _ = recorder
    files = []
    made.recorded.connect(files.extend)
    made.start()
    made.film()
    for number in range(12):
        camera.sink(np.full((90, 160, 3), 10 * number, np.uint8), 0.1 + number * 0.1)
    microphone.sink(say("look at this"), 0.0)
    made.finish()
    assert [name.rsplit(".", 1)[1] for _, name in files] == ["mp4", "wav"]
    film = cv2.VideoCapture(files[0][0])
    assert 5 <= film.get(cv2.CAP_PROP_FRAME_COUNT) <= 8


@pytest.mark.gui
def test_the_recorder_asks_first_and_says_why_not(recorder):
    made, _, _, permissions = recorder
    problems = []
    made.failed.connect(problems.append)
    permissions.states = {Capture.MICROPHONE: Access.NOT_ASKED}
    permissions.answer_with = Access.DENIED
    made.start()
    assert not made.running
    assert "System Settings" in problems[0]


# -- long recordings ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo():
    from mlx_gemma4 import load

    info = ModelInfo(str(demo_model_dir()), "Demo")
    return LoadedModel(*load(demo_model_dir()), info, 0, OrderedDict())


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """40 s of the demo's vocabulary with pauses."""
    parts = [silence(0.5)]
    for number in range(16):
        parts += [say(PHRASES[number % 4]), silence(1.2, seed=number)]
    path = tmp_path_factory.mktemp("long") / "talk.wav"
    soundfile.write(path, np.concatenate(parts), RATE)
    return path


def test_a_recording_is_written_down_in_clips_with_times(demo, recording):
    job = commands.TranscribeFile(JOB, str(recording))
    events = list(transcribe_file(demo, job, JobContext(JOB), load_sound))
    started, lines = events[0], events[1:]
    assert isinstance(started, TranscriptStarted)
    expected = list(segments(load_sound(recording).pcm))
    assert len(expected) >= 2
    assert [e.start for e in lines] == [s.start / RATE for s in expected]
    assert all(isinstance(e, TranscriptLine) and e.text for e in lines)


def test_stopping_keeps_the_lines_so_far(demo, recording):
    context, events = JobContext(JOB), []
    for event in transcribe_file(
        demo, commands.TranscribeFile(JOB, str(recording)), context, load_sound
    ):
        events.append(event)
        if isinstance(event, TranscriptLine):
            context.cancel()
    assert sum(isinstance(e, TranscriptLine) for e in events) == 1
    assert events[-1] == JobFinished(JOB, FinishReason.CANCELLED)


def test_without_ears_there_is_one_clear_sentence(recording):
    job = commands.TranscribeFile(JOB, str(recording))
    with pytest.raises(AppError, match="hears"):
        list(transcribe_file(None, job, JobContext(JOB), load_sound))


def test_the_ear_writes_for_nobody_else(recording):
    job = commands.TranscribeFile(JOB, str(recording), ear=str(demo_model_dir()))
    events = transcribe_file(None, job, JobContext(JOB), load_sound)
    assert isinstance(next(events), TranscriptStarted)


def test_the_command_writes_one_file_for_each_recording(tmp_path, capsys):
    import argparse

    from app.cli import transcribe

    (tmp_path / "b").mkdir()
    files = [tmp_path / "talk.wav", tmp_path / "b" / "talk.flac", tmp_path / "broken.wav"]
    talk = np.concatenate([silence(1.0), say("stop the music"), silence(1.0)])
    for path in files[:2]:
        soundfile.write(path, talk, RATE)
    files[2].write_bytes(b"RIFF")
    parser = argparse.ArgumentParser()
    transcribe.add_arguments(parser)
    words = [*map(str, files), "--format", "srt", "--out", str(tmp_path / "out")]
    words += ["--data-dir", str(tmp_path / "data")]
    assert transcribe.run(parser.parse_args(words)) == 1
    assert 'facet transcribe: "broken.wav" ' in capsys.readouterr().err
    written = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in written] == ["talk.flac.srt", "talk.wav.srt"]
    for path in written:
        number, times, words, *_ = path.read_text().splitlines()
        assert number == "1"
        start, stop = (float(t.replace(",", ".").split(":")[-1]) for t in times.split(" --> "))
        assert 0.7 <= start <= 1.1 < stop <= len(talk) / RATE
        assert words


@pytest.fixture
def page(qapp, qtbot):
    """(page, controller, engine): the recordings page before an engine that only collects jobs."""
    from PySide6.QtCore import QObject, Signal

    from app.controllers.transcribe_controller import TranscribeController
    from app.ui.live.recording_page import RecordingPage
    from app.ui.theme import Theme

    class Engine(QObject):
        received = Signal(object)

        def __init__(self):
            super().__init__()
            self.jobs, self.cancelled = [], []

        def submit(self, job):
            self.jobs.append(job)

        def cancel(self, job_id):
            self.cancelled.append(job_id)

    engine = Engine()
    controller = TranscribeController(engine, lambda: "/models/e2b")
    made = RecordingPage(Theme("light"), controller)
    qtbot.addWidget(made)
    made.show()
    return made, controller, engine


@pytest.mark.gui
def test_the_page_shows_lines_lets_them_be_corrected_and_exports(page, tmp_path):
    page, controller, engine = page
    page.add("/tmp/talk.m4a")
    job = engine.jobs[0].job_id
    assert engine.jobs[0].ear == "/models/e2b"
    engine.received.emit(TranscriptStarted(job, 20.0))
    engine.received.emit(TranscriptLine(job, 0.5, 9.0, "helo there"))
    engine.received.emit(TranscriptLine(job, 10.0, 19.0, "good bye"))
    assert page.progress.value() == 95
    page._views[0].edited.emit("hello there")
    engine.received.emit(JobFinished(job))
    target = tmp_path / "talk.srt"
    assert controller.export(job, str(target)) == ""
    assert "00:00:00,500 --> 00:00:09,000\nhello there" in target.read_text()
    assert "could not be written" in controller.export(job, str(tmp_path / "no" / "x.txt"))
    asked = []
    page.to_chat.connect(lambda *words: asked.append(words))
    page.chat_button.click()
    assert asked == [("hello there good bye", "talk.m4a.txt")]
    page.remove_button.click()
    assert controller.recordings == {}
    assert page.list.count() == 0


@pytest.mark.gui
def test_dropped_recordings_are_written_down_here_and_the_rest_is_left_to_the_window(page):
    page, _, engine = page
    drag(page, "/tmp/talk.m4a", "/tmp/film.mov")
    assert page.state.text() == "Let go to write these 2 recordings down."
    assert [Path(job.path).name for job in engine.jobs] == []
    drag(page, "/tmp/talk.m4a", "/tmp/film.mov", drop=True)
    assert [Path(job.path).name for job in engine.jobs] == ["talk.m4a", "film.mov"]
    assert "Let go" not in page.state.text()
    assert not drag(page, "/tmp/talk.m4a", "/tmp/letter.pdf"), "a document goes to the window"


def drag(widget, *paths, drop=False):
    """Hold files over a widget, drop them if asked; whether it took them."""
    from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
    from PySide6.QtGui import QDragEnterEvent, QDropEvent

    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(path) for path in paths])
    how = (Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton)
    keys = Qt.KeyboardModifier.NoModifier
    event = QDragEnterEvent(QPoint(5, 5), *how, keys)
    widget.dragEnterEvent(event)
    if drop:
        widget.dropEvent(QDropEvent(QPointF(5, 5), *how, keys))
    return event.isAccepted()
