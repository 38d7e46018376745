"""What every test relies on: an offscreen Qt, no network, fixed seeds, garbage where Qt lives."""

import gc
import os
import random
from collections.abc import Iterator

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault(
    "QT_MESSAGE_PATTERN",
    "%{if-debug}Debug: %{endif}%{if-info}Qt says %{endif}"
    "%{if-warning}Qt says %{endif}%{if-critical}Qt says %{endif}"
    "%{if-category}%{category}: %{endif}%{message}",
)
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import pytest

from app.services.garbage import collect_due


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(scope="session", autouse=True)
def garbage_stays_until_called_for() -> None:
    """As in the app: an engine's thread must not free the widgets that earlier tests left."""
    gc.disable()


@pytest.fixture(autouse=True)
def garbage_is_collected_here(garbage_stays_until_called_for: None) -> Iterator[None]:
    """After each test, on the thread that made its widgets."""
    yield
    collect_due()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers a file stays together, so that what it prepares is made once.

    What keeps time with real sound or kills processes is one group: two of them at once would
    measure each other.
    """
    for item in items:
        timed = item.get_closest_marker("timed") is not None
        item.add_marker(pytest.mark.xdist_group("timed" if timed else str(item.path)))
