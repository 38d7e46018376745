"""Which kernels this machine uses: each is compiled, compared, timed, and kept only if it wins.

A check goes case by case (:mod:`mlx_gemma4.kernels.cases`), so that it can run between other work.
Whatever goes wrong with a kernel (it does not compile, differs, is slower, was not reached in time)
switches off that kernel alone. The verdicts are kept per chip, MLX version, kernel source and model
shape.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import mlx.core as mx

from mlx_gemma4.fusion import PORTABLE, Fusion
from mlx_gemma4.kernels import FUNCTIONS, full_fusion
from mlx_gemma4.kernels.backends import Backend, own_backend
from mlx_gemma4.kernels.cases import Case, difference, in_float32, model_cases, signature
from mlx_gemma4.model import Gemma4

logger = logging.getLogger(__name__)

BUDGET_SECONDS = 5.0
"""Time one model's check may take; kernels not reached by then are off until the next start."""
_CALLS = 20  # in one timed evaluation: long enough to hide the cost of starting it
_ROUNDS = 3
_KEPT = 64  # reports in the file
_LATE = "not checked in time"

Timer = Callable[[Callable[[], list[mx.array]]], float]
"""Seconds that one call takes."""


@dataclass(frozen=True)
class Verdict:
    """What came out for one case.

    Attributes:
        field: the function, by its name in :class:`~mlx_gemma4.fusion.Fusion`.
        label: which call of it.
        error: largest difference as a share of the tolerance; at most 1 is equal.
        kernel_us: microseconds of one call; 0 where it was not timed.
        reference_us: the same for the portable function.
        fault: why the kernel cannot be used, if that is certain already.
    """

    field: str
    label: str
    error: float = 0.0
    kernel_us: float = 0.0
    reference_us: float = 0.0
    fault: str = ""


@dataclass(frozen=True)
class Report:
    """All verdicts for one model on one machine."""

    chip: str
    mlx: str
    backend: str
    model: str
    verdicts: tuple[Verdict, ...] = ()
    seconds: float = 0.0
    key: str = field(default="", compare=False)

    @property
    def fields(self) -> tuple[str, ...]:
        """The functions the model uses, in order."""
        return tuple(dict.fromkeys(verdict.field for verdict in self.verdicts))

    @property
    def accepted(self) -> frozenset[str]:
        """The functions whose kernels are used."""
        return frozenset(name for name in self.fields if not self.fault(name))

    def fault(self, name: str) -> str:
        """Why the kernel of ``name`` is off, or nothing."""
        own = [verdict for verdict in self.verdicts if verdict.field == name]
        for verdict in own:
            if verdict.fault:
                return verdict.fault
        kernel = sum(verdict.kernel_us for verdict in own)
        reference = sum(verdict.reference_us for verdict in own)
        if kernel < reference:
            return ""
        return f"not faster ({kernel:.0f} µs instead of {reference:.0f} µs)"


class KernelCheck:
    """The check of one model, a case at a time.

    Args:
        model: loaded; its own matrices are used.
        store: file of reports; ``None`` for none.
        again: check anew, whatever the file holds.
        backend: where kernels run; MLX's device if ``None``.
        timer: how calls are timed.
        clock: seconds, for the budget.
        budget: seconds this check may take in all.
        functions: the kernels' functions by field.
    """

    def __init__(
        self,
        model: Gemma4,
        store: Path | None = None,
        *,
        again: bool = False,
        backend: Backend | None = None,
        timer: Timer | None = None,
        clock: Callable[[], float] = time.perf_counter,
        budget: float = BUDGET_SECONDS,
        functions: Mapping[str, Callable[..., Any]] = FUNCTIONS,
    ) -> None:
        self._backend = backend or own_backend()
        self._store = store
        self._timer = timer or _seconds
        self._clock = clock
        self._budget = budget
        self._functions = functions
        self._cases = [] if self._backend is None else list(model_cases(model))
        name = self._backend.name if self._backend else "none"
        label = model.config.label or model.config.architecture
        self.report = Report(chip(), version("mlx"), name, label, key=_key(name, self._cases))
        if store is not None and self._cases and not again:
            self._take_up(_find(store, self.report.key))
        self._left = iter(self._cases[len(self.report.verdicts) :])
        self.finished = len(self.report.verdicts) == len(self._cases)

    def _take_up(self, kept: Report | None) -> None:
        """Go on where an earlier check ended; what it had no time for came last."""
        if kept is not None:
            judged = tuple(verdict for verdict in kept.verdicts if verdict.fault != _LATE)
            whole = len(judged) == len(kept.verdicts)
            self.report = kept if whole else dataclasses.replace(kept, verdicts=judged, seconds=0.0)

    def step(self) -> bool:
        """Judge one more case; false once there is nothing left to do."""
        if self.finished:
            return False
        started = self._clock()
        case = next(self._left, None)
        if case is None:
            self._finish()
            return False
        late = self.report.seconds >= self._budget
        verdict = Verdict(case.field, case.label, fault=_LATE)
        verdict = verdict if late else self._judged(case)
        verdicts = (*self.report.verdicts, verdict)
        seconds = self.report.seconds + self._clock() - started
        self.report = dataclasses.replace(self.report, verdicts=verdicts, seconds=seconds)
        return True

    def run(self) -> Report:
        """All that is left."""
        while self.step():
            pass
        return self.report

    def fusion(self) -> Fusion:
        """What the model should run with: kernels only once the check has finished."""
        if not self.finished or self._backend is None:
            return PORTABLE
        return full_fusion(self.report.accepted, self._backend)

    def _finish(self) -> None:
        self.finished = True
        for name in self.report.fields:
            if fault := self.report.fault(name):
                logger.info("kernel %s is off: %s", name, fault)
        if self._store is not None:
            _keep(self._store, self.report)

    def _judged(self, case: Case) -> Verdict:
        backend = self._backend
        assert backend is not None
        kernel = partial(self._functions[case.field], backend)
        reference = getattr(PORTABLE, case.field)
        try:
            got = case.call(kernel)
            mx.eval(got)
        except (RuntimeError, ValueError, TypeError) as problem:
            logger.warning("kernel %s (%s) failed: %s", case.field, case.label, problem)
            return Verdict(case.field, case.label, fault="does not compile or run")
        error = difference(case, got, in_float32(case).call(reference))
        if error > 1:
            return Verdict(case.field, case.label, error, fault="differs from its reference")
        kernel_us = 1e6 * self._timer(lambda: case.call(kernel))
        reference_us = 1e6 * self._timer(lambda: case.call(reference))
        return Verdict(case.field, case.label, error, kernel_us, reference_us)


def _seconds(call: Callable[[], list[mx.array]]) -> float:
    """The best of a few evaluations of many calls each; the first one only warms up.

    Building the graph is not counted: while a reply runs, it happens during the step before.
    """
    mx.eval(call())
    best = float("inf")
    for _ in range(_ROUNDS):
        built = [call() for _ in range(_CALLS)]
        started = time.perf_counter()
        mx.eval(built)
        best = min(best, time.perf_counter() - started)
    return best / _CALLS


def use_known_kernels(model: Gemma4, store: Path | None = None) -> bool:
    """Let a model use the kernels an earlier check of such a model on this machine accepted.

    Args:
        model: loaded.
        store: file of reports; the user's if ``None``.

    Returns:
        Whether there was such a check. Without one, and where anything about it cannot be read,
        the model stays as it is.
    """
    backend = own_backend()
    if backend is None:
        return False
    try:
        check = KernelCheck(model, store or default_store(), backend=backend)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as problem:
        logger.info("kernels are not used: %s", problem)
        return False
    if check.finished:
        model.use(check.fusion())
    return check.finished


def chip() -> str:
    """What this machine's GPU, or else its processor, is called."""
    if mx.default_device().type == mx.DeviceType.gpu:
        return str(mx.device_info().get("device_name", platform.machine()))
    return platform.processor() or platform.machine()


def _key(backend: str, cases: Sequence[Case]) -> str:
    calls = [(case.field, case.label, signature(case.arguments)) for case in cases]
    parts = (chip(), version("mlx"), backend, source_digest(), calls)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@cache
def source_digest() -> str:
    """Changes with any line of any kernel or of what calls it."""
    digest = hashlib.sha256()
    folder = files("mlx_gemma4.kernels")
    found = [*folder.iterdir(), *(folder / "source").iterdir()]
    for item in sorted(found, key=lambda item: item.name):
        if item.name.endswith((".h", ".py")):
            digest.update(item.read_bytes())
    return digest.hexdigest()


# --- the file of reports -------------------------------------------------------------------------


def default_store() -> Path:
    """Where reports are kept unless the caller names another file."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("mlx-gemma4", appauthor=False)) / "kernels.json"


def stored_reports(store: Path) -> list[Report]:
    """All reports in the file that can be read; a damaged file holds none."""
    try:
        entries = json.loads(store.read_text(encoding="utf-8"))["reports"]
        return [_report(entry) for entry in entries]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as problem:
        logger.info("the kernel reports in %s cannot be read: %s", store, problem)
        return []


def _report(entry: dict[str, Any]) -> Report:
    verdicts = tuple(Verdict(**verdict) for verdict in entry.pop("verdicts"))
    return Report(**entry, verdicts=verdicts)


def _find(store: Path, key: str) -> Report | None:
    return next((report for report in stored_reports(store) if report.key == key), None)


def _keep(store: Path, report: Report) -> None:
    """Add a report; failing to write costs only another check."""
    others = [kept for kept in stored_reports(store) if kept.key != report.key]
    reports = [asdict(kept) for kept in [*others, report][-_KEPT:]]
    temporary = store.with_suffix(".part")
    with suppress(OSError):
        store.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({"reports": reports}), encoding="utf-8")
        temporary.replace(store)
