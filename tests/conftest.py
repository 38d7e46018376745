"""What every test relies on: an offscreen Qt, no network, fixed seeds."""

import os
import random

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    random.seed(0)
    np.random.seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers a file stays together, so that what it prepares is made once.

    What keeps time with real sound or kills processes is one group: two of them at once would
    measure each other.
    """
    for item in items:
        timed = item.get_closest_marker("timed") is not None
        item.add_marker(pytest.mark.xdist_group("timed" if timed else str(item.path)))
