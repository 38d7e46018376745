"""Kill -9 during a 40-page reading: finished pages are kept and never read again."""

from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication

from tests.documents.kill_trials import kill_app, kill_engine

pytestmark = pytest.mark.timed


def test_killing_the_engine_keeps_every_page(qapp: QApplication, tmp_path: Path) -> None:
    outcome = kill_engine(tmp_path, 5)
    assert outcome.good, outcome
    assert outcome.kills == 5


def test_killing_the_app_keeps_every_page(tmp_path: Path) -> None:
    outcome = kill_app(tmp_path, 5)
    assert outcome.good, outcome
    assert outcome.kills == 5


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["engine", "app"])
def test_twenty_kills(qapp: QApplication, tmp_path: Path, kind: str) -> None:
    outcome = (kill_engine if kind == "engine" else kill_app)(tmp_path, 20)
    assert outcome.good, outcome
