"""Runs inside a bundle, by its own program: `Facet -I startup_probe.py APP-ARGUMENTS`.

Starts the app, stops at its first paint and prints one line of JSON. Kept small and free of
imports, because it is compiled at every start and its time counts as the app's.
"""

import importlib
import sys
import time


def startup(*arguments: str) -> dict:
    """Start the app and stop at its first paint: seconds since the process began, modules loaded.

    `marks` says how far the start was when: interpreter up, Qt loaded, app imported, window shown.
    """
    marks = {"interpreter": time.time()}
    from PySide6 import QtCore, QtWidgets

    marks["qt"] = time.time()
    result: dict = {}

    class FirstPaint(QtCore.QObject):
        """Notes the first paint of a window and quits."""

        def eventFilter(self, watched: QtCore.QObject, event: QtCore.QEvent) -> bool:
            if event.type() == QtCore.QEvent.Type.Paint and not result:
                marks["painted"] = time.time()
                result["modules"] = sorted(sys.modules)
                result["uncompiled"] = _without_byte_code()
                result.update(_since_start(marks))
                QtCore.QTimer.singleShot(0, QtWidgets.QApplication.quit)
            return False

    original = QtWidgets.QApplication.exec
    keep = []

    def exec_until_paint(*_: object) -> int:
        marks["shown"] = time.time()
        keep.append(FirstPaint())
        application = QtWidgets.QApplication.instance()
        if application is not None:
            application.installEventFilter(keep[0])
        QtCore.QTimer.singleShot(30_000, QtWidgets.QApplication.quit)
        return original()

    QtWidgets.QApplication.exec = exec_until_paint
    importlib.import_module("app.main")
    marks["app"] = time.time()
    main = importlib.import_module("app.__main__").main
    try:
        main(list(arguments))
    except SystemExit as ended:
        result["status"] = ended.code
    return result


def _since_start(marks: dict) -> dict:
    """Seconds of the clock and of the processor since this process was made."""
    age = _age()
    now = time.time()
    since = {name: age - (now - when) for name, when in marks.items()}
    return {"marks": since, "seconds": since["painted"], "cpu": time.process_time()}


def _age() -> float:
    """Seconds since this process was made.

    Linux: start in clock ticks since boot, to 10 ms (proc(5), field 22 of stat). psutil adds the
    boot's own time there, which the kernel gives in whole seconds.
    """
    if sys.platform != "linux":
        import psutil

        return time.time() - psutil.Process().create_time()
    import os

    with open("/proc/self/stat") as file:  # noqa: PTH123
        ticks = int(file.read().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def _without_byte_code() -> list:
    """Loaded modules whose source was compiled in this run because no byte code lies there."""
    from pathlib import Path

    specs = [s for m in list(sys.modules.values()) if (s := getattr(m, "__spec__", None))]
    return sorted(
        spec.name
        for spec in specs
        if (spec.origin or "").endswith(".py") and not Path(spec.cached or "-").is_file()
    )


if __name__ == "__main__":
    seen = startup(*sys.argv[1:])
    sys.stdout.write(importlib.import_module("json").dumps(seen) + "\n")
