"""`facet live`: the live conversation without a window; everything that happens as JSON lines."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QTimer

from app.cli import told
from app.cli.checkpoints import checkpoint
from app.controllers.live_controller import LiveController, LiveStartOptions
from app.controllers.live_devices import LiveDevices
from app.core.commands import EngineOptions, LoadModel, ReplyOptions
from app.core.conversation import new_id, preset_named
from app.core.errors import AppError, ErrorKind
from app.core.events import EngineStarted, JobFailed, LiveContext, ModelReady
from app.core.paths import demo_model_dir
from app.live.access import Access, Capture
from app.live.clock import Clock
from app.live.echo import EchoReference
from app.live.pipeline import LiveOptions
from app.live.reports import Level, LiveNotice, ReplyDone, Report, StateChanged, as_json
from app.live.signals import AgentState
from app.services.camera import CameraSource, open_source
from app.services.engine_client import EngineClient
from app.services.microphone import FileMicrophone, Microphone, MicrophoneSource
from app.services.playback import FileSpeaker, Playback, Speaker
from app.services.speech import SpeechOptions, system_synth

_SETTLE_MS = 2500
_LONGEST_SECONDS = 1_000_000  # eleven days; a timer of Qt counts milliseconds in 32 bits
EXAMPLES = """\
examples:
  facet live                                 talk, until Ctrl-C
  facet live --camera 0 --fps 2              show it things as well
  facet live --mic question.wav --say answer.wav
  facet live --model ~/models/gemma-e4b --silent --seconds 60

What happens is printed as JSON, one event a line.

exit codes: 0 ended, 1 it broke off, 2 it could not begin (wrong options, no permission)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--model", default="", metavar="PATH", help="folder of the checkpoint (default: the demo)"
    )
    parser.add_argument(
        "--ear", default="", metavar="PATH", help="folder of a model that hears for --model"
    )
    parser.add_argument(
        "--mic", default="", metavar="NAME", help="sound file, or name of a microphone"
    )
    parser.add_argument(
        "--camera", default="", metavar="NAME", help="number, video, picture or folder of them"
    )
    parser.add_argument(
        "--say", default="", metavar="NAME", help="WAV file to write, or name of a loudspeaker"
    )
    parser.add_argument("--silent", action="store_true", help="show answers, do not speak them")
    parser.add_argument("--voice", default="", metavar="NAME", help="voice of the speech engine")
    parser.add_argument(
        "--rate", type=float, default=1.0, metavar="N", help="speed of speech, 0.5 to 2"
    )
    parser.add_argument(
        "--fps", type=float, default=1.0, metavar="N", help="camera frames a second, 0.2 to 2"
    )
    parser.add_argument("--no-echo", action="store_true", help="headphones: no echo cancellation")
    parser.add_argument("--levels", action="store_true", help="print the microphone level as well")
    parser.add_argument(
        "--seconds", type=float, default=0.0, metavar="N", help="stop after so long"
    )
    parser.add_argument("--greedy", action="store_true", help="always the likeliest word")
    parser.add_argument("--script", default="", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Run until the sound file is answered, the time is over, or Ctrl-C."""
    if problem := _problem(args):
        raise AppError(problem, kind=ErrorKind.BAD_INPUT)
    args.model = args.model and checkpoint(args.model)
    args.ear = args.ear and checkpoint(args.ear)
    application = QCoreApplication.instance() or QCoreApplication(sys.argv[:1])
    conversation = Conversation(args, application.exit)
    signal.signal(signal.SIGINT, lambda *_: conversation.end(0))
    QTimer.singleShot(0, conversation.begin)
    return application.exec()


def _problem(args: argparse.Namespace) -> str:
    if not 0.2 <= args.fps <= 2:
        return "--fps must be between 0.2 and 2."
    if not 0.5 <= args.rate <= 2:
        return "--rate must be between 0.5 and 2."
    if not 0 <= args.seconds <= _LONGEST_SECONDS:
        return f"--seconds must be between 0 (no end) and {_LONGEST_SECONDS:,}."
    return ""


class AlwaysGranted:
    """Permissions of a terminal: the system asks for the terminal itself."""

    def state(self, capture: Capture) -> Access:
        """Granted."""
        del capture
        return Access.GRANTED

    def request(self, capture: Capture, answer: Callable[[Access], None]) -> None:
        """Granted."""
        del capture
        answer(Access.GRANTED)

    def open_settings(self, capture: Capture) -> None:
        """Nothing to open."""


class Conversation:
    """One run of the command.

    Args:
        args: the parsed command line.
        leave: ends the event loop with an exit code.
    """

    def __init__(self, args: argparse.Namespace, leave: Callable[[int], None]) -> None:
        self._args, self._leave = args, leave
        self._client = EngineClient(EngineOptions(script=args.script))
        self._controller = LiveController(self._client, AlwaysGranted(), self._devices)
        self._controller.report.connect(self._on_report)
        self._controller.failed.connect(self._on_failed)
        self._client.received.connect(self._on_event)
        self._settle = QTimer(singleShot=True, interval=_SETTLE_MS)
        self._settle.timeout.connect(self._on_settled)
        self._alarm = QTimer(interval=100)  # lets Python see Ctrl-C
        self._alarm.timeout.connect(lambda: None)
        self._file_ended = self._ended = False
        self._agent = AgentState.LISTENING

    def begin(self) -> None:
        """Start the engine and load the model."""
        self._alarm.start()
        self._client.start()
        if self._args.seconds:
            QTimer.singleShot(int(self._args.seconds * 1000), lambda: self.end(0))

    def end(self, code: int) -> None:
        """Close everything and leave."""
        if self._ended:
            return
        self._ended = True
        self._controller.stop()
        self._client.stop()
        self._leave(code)

    def _devices(self) -> LiveDevices:
        args = self._args
        synth = None if args.silent else system_synth(SpeechOptions(args.voice, args.rate))
        echo = not args.no_echo and not Path(args.mic).is_file()
        return LiveDevices(self._microphone, self._speaker, self._camera, synth, echo)

    def _microphone(self, clock: Clock) -> MicrophoneSource:
        path = Path(self._args.mic)
        if self._args.mic and (path.is_file() or path.suffix):
            return FileMicrophone(clock, path, self._on_file_ended)
        return Microphone(clock, self._args.mic)

    def _speaker(self, clock: Clock, reference: EchoReference) -> Speaker:
        say = self._args.say
        if self._args.silent or say.lower().endswith(".wav"):
            return FileSpeaker(clock, reference, Path(say) if say else None)
        return Playback(clock, reference, say)

    def _camera(self, clock: Clock) -> CameraSource:
        return open_source(clock, self._args.camera)

    def _on_event(self, event: object) -> None:
        match event:
            case EngineStarted():  # also the one that takes the place of an engine that died
                path = self._args.model or str(demo_model_dir() or "")
                self._client.submit(LoadModel(new_id(), path))
            case ModelReady():
                self._print({"event": "model_ready", "model": event.info.label})
                if self._controller.session is None:
                    self._start()
            case LiveContext():
                full = {"tokens": event.tokens, "context": event.context, "note": event.note}
                self._print({"event": "context", **full})
            case JobFailed() if self._controller.session is None:
                self._on_failed(told(event.message, event.remedy))

    def _start(self) -> None:
        live = LiveOptions(fps=self._args.fps)
        preset = preset_named("Precise" if self._args.greedy else "Balanced")
        start = LiveStartOptions(live=live, reply=ReplyOptions(preset), ear=self._args.ear)
        self._controller.start(start)
        if self._args.camera:
            self._controller.use_camera(True)
        refused = [c for c in (Capture.MICROPHONE, Capture.CAMERA) if self._refused(c)]
        if refused:
            self.end(2)

    def _refused(self, capture: Capture) -> bool:
        wanted = capture is Capture.MICROPHONE or bool(self._args.camera)
        return wanted and self._controller.access(capture) is not Access.GRANTED

    def _on_report(self, report: Report) -> None:
        if isinstance(report, Level) and not self._args.levels:
            return
        self._print(as_json(report))
        if isinstance(report, StateChanged):
            self._agent = report.agent
        busy = not isinstance(report, (ReplyDone, LiveNotice, Level))
        if self._file_ended and (isinstance(report, ReplyDone) or busy):
            self._settle.start()

    def _on_failed(self, message: str) -> None:
        sys.stderr.write(f"facet live: {message}\n")
        self.end(1)

    def _on_settled(self) -> None:
        """The sound file is over and nothing happened for a while: leave, unless it thinks."""
        if self._agent in (AgentState.THINKING, AgentState.SPEAKING):
            self._settle.start()
        else:
            self.end(0)

    def _on_file_ended(self) -> None:
        self._file_ended = True
        QTimer.singleShot(0, self._controller, self._settle.start)

    def _print(self, data: dict[str, object]) -> None:
        if self._ended:
            return
        try:
            sys.stdout.write(json.dumps(data, ensure_ascii=False) + "\n")
            sys.stdout.flush()
        except OSError as problem:
            # The reader (head) has enough, or the disk is full; Qt would go on after an exception.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(problem, BrokenPipeError):
                self.end(0)
            else:
                self._on_failed(f"The events cannot be printed: {problem.strerror}.")
