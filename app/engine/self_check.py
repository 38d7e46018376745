"""Does this machine compute right? Exact products, and the GPU kernels of the loaded model."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import numpy as np

from mlx_gemma4.kernels.backends import Backend, own_backend
from mlx_gemma4.kernels.check import KernelCheck, Report, default_store, stored_reports
from mlx_gemma4.model import Gemma4

log = logging.getLogger(__name__)

_SIZE = 64


def self_check(store: Path | None = None) -> Iterator[tuple[str, bool, str]]:
    """(what, whether it is right, one phrase). On the MLX thread.

    Args:
        store: file of the kernels' verdicts; the user's if ``None``.
    """
    # Integers small enough that float32 sums them exactly, in any order.
    left = (np.arange(_SIZE * _SIZE).reshape(_SIZE, _SIZE) % 17).astype(np.float32)
    right = (np.arange(_SIZE * _SIZE).reshape(_SIZE, _SIZE) % 13).astype(np.float32)
    computed = np.array(mx.array(left) @ mx.array(right))
    exact = bool((computed == left @ right).all())
    yield "Arithmetic", exact, "exact" if exact else "wrong products"
    reports = stored_reports(store or default_store())
    if not reports:
        missing = "none on this device" if own_backend() is None else "tried with the first model"
        yield "Kernels", True, missing
    for report in reports:
        yield kernel_line(report)


def kernel_line(report: Report) -> tuple[str, bool, str]:
    """What became of one model's kernels. One that is off costs speed, never correctness."""
    off = [f"{name} {report.fault(name)}" for name in report.fields if report.fault(name)]
    used = f"{len(report.accepted)} of {len(report.fields)} used"
    return f"Kernels, {report.model}", True, "; ".join([used, *off])


class KernelTrial:
    """Tries a model's kernels between jobs and lets the model use those that won.

    Args:
        model: loaded; it keeps running as it is until the trial is over.
        store: file of verdicts; the user's if ``None``.
        backend: where kernels run; MLX's device if ``None``.
    """

    def __init__(
        self, model: Gemma4, store: Path | None = None, backend: Backend | None = None
    ) -> None:
        self._model = model
        self._store = store
        self._backend = backend
        self._check: KernelCheck | None = None
        self._over = False

    def step(self) -> bool:
        """Try one more call; false once it is over. Nothing that fails here reaches a job."""
        if self._over:
            return False
        try:
            if self._go_on():
                return True
        except Exception:
            log.exception("the kernels could not be tried")
        self._over = True
        return False

    def _go_on(self) -> bool:
        if self._check is None:
            store = self._store or default_store()
            self._check = KernelCheck(self._model, store, backend=self._backend)
        if self._check.step():
            return True
        if self._check.report.accepted:
            self._model.use(self._check.fusion())
            log.info("kernels: %s", kernel_line(self._check.report)[2])
        return False
