"""Widgets must be freed by the thread that owns them, whoever allocates."""

import gc
import threading
import weakref
from collections.abc import Iterator

import pytest

from app.engine.memory import free_unused
from app.services.garbage import Garbage


class Knot:
    """What only a collection frees."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def automatic() -> Iterator[None]:
    gc.enable()
    gc.collect()  # so that nothing is due before a test allocates
    yield
    gc.disable()


@pytest.fixture
def garbage(qapp, automatic: None) -> Iterator[Garbage]:
    made = Garbage()
    yield made
    made.close()


def made_elsewhere() -> list[list[int]]:
    """More lasting objects than any of Python's thresholds, made by a thread of its own."""
    kept: list[list[int]] = []
    worker = threading.Thread(target=lambda: kept.extend([n] for n in range(200_000)))
    worker.start()
    worker.join()
    return kept


def test_a_thread_that_allocates_frees_nothing_and_the_event_loop_does(
    garbage: Garbage, qtbot
) -> None:
    freed_by: list[threading.Thread] = []
    weakref.finalize(Knot(), lambda: freed_by.append(threading.current_thread()))
    kept = made_elsewhere()
    assert freed_by == []
    garbage.start()
    qtbot.waitUntil(lambda: freed_by == [threading.main_thread()], timeout=20_000)
    assert len(kept) > gc.get_threshold()[0]


def test_without_it_the_thread_that_allocates_frees(automatic: None) -> None:
    freed_by: list[threading.Thread] = []
    weakref.finalize(Knot(), lambda: freed_by.append(threading.current_thread()))
    made_elsewhere()
    assert len(freed_by) == 1
    assert freed_by != [threading.main_thread()]


def test_at_the_end_python_collects_again_if_it_did_before(qapp, automatic: None) -> None:
    first = Garbage()
    assert not gc.isenabled()
    Garbage().close()
    assert not gc.isenabled()
    first.close()
    assert gc.isenabled()


@pytest.mark.parametrize("shared", [True, False])
def test_an_engine_that_shares_the_window_s_process_leaves_cycles_to_it(
    qapp, automatic: None, shared: bool
) -> None:
    freed_by: list[threading.Thread] = []
    garbage = Garbage() if shared else None
    weakref.finalize(Knot(), lambda: freed_by.append(threading.current_thread()))
    engine = threading.Thread(target=free_unused)
    engine.start()
    engine.join()
    assert freed_by == ([] if shared else [engine])
    if garbage is not None:
        garbage.close()
