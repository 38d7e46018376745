"""Kill -9 loses nothing: a few trials of what `kill_trials` runs fifty of."""

from pathlib import Path

import pytest

from tests.app_engine.kill_trials import ENGINE_MOMENTS, kill_app, kill_engine

pytestmark = pytest.mark.timed


def test_killing_the_engine_loses_nothing(qt, no_leaks, tmp_path: Path) -> None:
    trials = kill_engine(tmp_path, len(ENGINE_MOMENTS))
    assert [trial.lost for trial in trials] == [()] * len(ENGINE_MOMENTS)
    assert {trial.moment for trial in trials} == set(ENGINE_MOMENTS)


def test_killing_the_app_loses_at_most_a_second(no_leaks, tmp_path: Path) -> None:
    trials = kill_app(tmp_path, 5)
    assert [trial.lost for trial in trials] == [()] * 5


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["engine", "app"])
def test_fifty_kills(qt, tmp_path: Path, kind: str) -> None:
    trials = (kill_engine if kind == "engine" else kill_app)(tmp_path, 50)
    assert [trial for trial in trials if trial.lost] == []
