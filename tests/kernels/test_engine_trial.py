"""The engine tries kernels between jobs, and never lets them harm one."""

from __future__ import annotations

from app.core import commands
from app.core.events import Pong
from app.engine.jobs import JobRunner
from app.engine.self_check import KernelTrial, self_check
from mlx_gemma4.fusion import FusionMode
from mlx_gemma4.kernels import check as check_module
from tests.kernels.conftest import Stopwatch
from tests.kernels.harness.host import HostBackend


class Idle:
    """An engine without jobs that has ``work`` pieces of work to do between them."""

    def __init__(self, work: int) -> None:
        self.work = work
        self.log: list[str] = []

    def run(self, job, context):
        self.log.append("job")
        return iter(())

    def idle(self) -> bool:
        if not self.work:
            return False
        self.work -= 1
        self.log.append("idle")
        if self.work == 2:
            self.runner.submit(commands.UnloadModel("1"))
        if not self.work:
            self.runner.stop()
        return True

    def pong(self, number: int) -> Pong:
        return Pong(number)

    def failure(self, problem: Exception) -> None:
        return None


def test_a_job_comes_before_further_idle_work() -> None:
    engine = Idle(5)
    engine.runner = JobRunner(engine, lambda event: None, engine.idle)
    engine.runner.run_forever()
    assert engine.log == ["idle"] * 3 + ["job"] + ["idle"] * 2


def test_a_trial_ends_with_the_model_using_its_kernels(
    tiny,
    library,
    tmp_path,
    monkeypatch,
) -> None:
    monkeypatch.setattr(check_module, "_seconds", Stopwatch())
    store = tmp_path / "kernels.json"
    trial = KernelTrial(tiny, store, HostBackend(library))
    before = tiny.language_model.fusion
    while trial.step():
        assert tiny.language_model.fusion is before
    assert tiny.language_model.fusion.mode is FusionMode.FULL
    assert not trial.step()
    lines = {what: (right, phrase) for what, right, phrase in self_check(store)}
    (kernels,) = (value for what, value in lines.items() if what.startswith("Kernels"))
    assert kernels == (True, "7 of 7 used")
    tiny.use(before)


def test_whatever_fails_ends_the_trial_only(tiny, tmp_path) -> None:
    trial = KernelTrial(object(), tmp_path / "kernels.json", HostBackend(None))
    assert not trial.step()
    assert not trial.step()


def test_without_a_gpu_there_is_nothing_to_try(tiny, tmp_path) -> None:
    store = tmp_path / "kernels.json"
    assert not KernelTrial(tiny, store).step()
    assert not store.exists()
    assert ("Kernels", True, "none on this device") in list(self_check(store))
