"""The live thread: everything that happens is queued and told to the pipeline in order.

Audio callbacks, the camera, the engine's reader and the window only `post`; nothing of the pipeline
needs a lock. A tick comes at least every 20 ms, also without a microphone.
"""

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

_TICK_S = 0.02
_MOST_WAITING = 16_384
"""Two and a half minutes of sound: a machine that is briefly too slow loses no word."""
_TELL_EVERY = 1000


class LiveRunner:
    """Runs calls on one thread.

    Args:
        tick: called when nothing else happened for 20 ms.
        on_crash: told (on the live thread) that a call raised; the thread goes on.
    """

    def __init__(self, tick: Callable[[], None], on_crash: Callable[[Exception], None]) -> None:
        self._tick, self._on_crash = tick, on_crash
        self._queue: queue.Queue[tuple[Callable[..., None], tuple[Any, ...]] | None]
        self._queue = queue.Queue(maxsize=_MOST_WAITING)
        self._lost = 0
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)

    def start(self) -> None:
        """Begin to work off what was posted."""
        self._thread.start()

    def post(self, call: Callable[..., None], *args: Any) -> None:
        """Have `call(*args)` run on the live thread; may be used from any thread."""
        try:
            self._queue.put_nowait((call, args))
        except queue.Full:
            if self._lost % _TELL_EVERY == 0:
                log.error("the live thread is stuck, %s was not delivered", call)
            self._lost += 1

    def stop(self) -> None:
        """Finish what is queued and end the thread."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while True:
            try:
                item = self._queue.get(timeout=_TICK_S)
            except queue.Empty:
                self._guarded(self._tick)
                continue
            if item is None:
                return
            self._guarded(item[0], *item[1])

    def _guarded(self, call: Callable[..., None], *args: Any) -> None:
        try:
            call(*args)
        except Exception as problem:
            log.exception("live call failed")
            self._on_crash(problem)
