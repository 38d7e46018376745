"""Keeping the machine alive: limits for MLX and an eye on what is left while a job runs.

On Apple Silicon a failed allocation ends the process, so shortage is noticed before it comes: first
caches are dropped, then the job ends with what it has.
"""

from __future__ import annotations

import gc
import threading
import time
from typing import Literal

import mlx.core as mx
import psutil

# Share of all memory that is still available; below it the machine begins to swap.
WARNING_SHARE = 0.04
CRITICAL_SHARE = 0.015
CACHE_SHARE = 0.1
CHECK_SECONDS = 0.5

Level = Literal["", "warning", "critical"]


def set_limits(memory_percent: int) -> None:
    """Bound MLX to a share of the machine's memory. On the MLX thread, before any loading."""
    total = psutil.virtual_memory().total
    limit = int(total * memory_percent / 100)
    mx.set_memory_limit(limit)
    mx.set_cache_limit(int(limit * CACHE_SHARE))
    if mx.metal.is_available():
        # Wired memory is never swapped; the system allows it up to a recommended size.
        recommended = int(mx.device_info()["max_recommended_working_set_size"])
        mx.set_wired_limit(min(limit, recommended))


def free_unused() -> None:
    """Give back what freed models left: cycles of Python objects and MLX's cached buffers.

    Where the engine is a thread of the window's process, cycles wait for the window's thread, as
    widgets may lie among them.
    """
    if gc.isenabled() or threading.current_thread() is threading.main_thread():
        gc.collect()
    mx.clear_cache()


class MemoryWatch:
    """Looks at the machine's memory at most twice a second."""

    def __init__(self) -> None:
        self._next = 0.0

    def check(self) -> tuple[Level, int]:
        """How short memory is and the bytes left; drops MLX's caches when it is.

        On the MLX thread. The bytes are 0 where it was not yet time to look.
        """
        now = time.monotonic()
        if now < self._next:
            return "", 0
        self._next = now + CHECK_SECONDS
        memory = psutil.virtual_memory()
        level = level_of(memory)
        if level:
            mx.clear_cache()
        return level, memory.available


def level_of(memory: object) -> Level:
    """The level for psutil's figures."""
    share = memory.available / memory.total  # type: ignore[attr-defined]
    if share < CRITICAL_SHARE:
        return "critical"
    return "warning" if share < WARNING_SHARE else ""
