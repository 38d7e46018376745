"""What a model may hold: the settings reach the planner, the loader and every session."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.core import commands
from app.core.commands import EngineOptions, MemoryOptions, ReplyOptions
from app.core.conversation import PRESETS
from app.core.events import JobFinished, Planned, TextDelta
from app.core.paths import demo_model_dir
from app.core.settings import Settings, specs
from app.engine.engine import GemmaEngine
from app.engine.jobs import JobContext
from app.engine.questions import plan_for
from app.main import App, AppOptions, build_app
from mlx_gemma4.disk_table import DiskTable
from mlx_gemma4.kv_packed import PackedCache
from tests.app_engine.conftest import user, wait_until

GREEDY = ReplyOptions(replace(PRESETS[1], temperature=0.0), max_tokens=16)
E2B, LARGE = "mlx-community/gemma-4-e2b-it-4bit", "mlx-community/gemma-4-31b-it-4bit"


class Bench:
    """An engine on a thread of its own, as in its process: closing ends that thread's streams."""

    def __init__(self) -> None:
        self.engine = GemmaEngine(EngineOptions())
        self._thread = ThreadPoolExecutor(1)
        self.here(self.engine.open)

    def here(self, work: Callable[[], Any]) -> Any:
        return self._thread.submit(work).result(60)

    def close(self) -> None:
        self.here(self.engine.close)
        self._thread.shutdown()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def said(engine: GemmaEngine, memory: MemoryOptions) -> str:
    """The demo model's answer, loaded with these options."""
    load = commands.LoadModel("load", str(demo_model_dir()), memory=memory)
    list(engine.run(load, JobContext("load")))
    turn = commands.ChatTurn("turn", "chat", (user("Hello", "m1"),), GREEDY)
    events = list(engine.run(turn, JobContext("turn")))
    assert isinstance(events[-1], JobFinished)
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def kept(engine: GemmaEngine) -> tuple[set[int | None], bool]:
    """Bits that keys and values are kept in, and whether the table is on disk."""
    model, layers = engine._loaded.model, engine._loaded.session("chat")._runner.cache.layers
    bits = {cache._bits if isinstance(cache, PackedCache) else None for cache in layers}
    return bits, isinstance(model.language_model.embed_tokens_per_layer, DiskTable)


def test_the_engine_loads_and_talks_as_the_settings_say(bench: Bench) -> None:
    engine = bench.engine
    usual = bench.here(lambda: said(engine, MemoryOptions(table_on_disk="off")))
    assert bench.here(lambda: kept(engine)) == ({None}, False)
    small = bench.here(lambda: said(engine, MemoryOptions(512, 8, "on")))
    assert bench.here(lambda: kept(engine)) == ({None, 8}, True), "sliding layers stay whole"
    assert engine._loaded.session("chat").context == engine._loaded.info.context_tokens == 512
    assert small.split()[0] == usual.split()[0], "the same model, kept smaller"


def planned(source: str, **memory: object) -> object:
    found = plan_for(commands.Plan("q", source, MemoryOptions(**memory)))
    assert isinstance(found, Planned)
    assert found.result is not None
    return found.result


def test_the_verdict_counts_what_is_kept_in_fewer_bits() -> None:
    long = {"context_tokens": 131_072}
    whole, eight, four = (planned(LARGE, **long, kv_bits=bits) for bits in (0, 8, 4))
    assert whole.weights == eight.weights == four.weights
    assert eight.kv_cache < 0.6 * whole.kv_cache
    assert four.kv_cache < 0.7 * eight.kv_cache, "sliding layers stay whole"
    assert four.total < eight.total < whole.total


@pytest.mark.parametrize("source", [E2B, str(demo_model_dir())])
def test_the_verdict_counts_what_stays_on_disk(source: str) -> None:
    inside, outside = (planned(source, table_on_disk=where) for where in ("off", "on"))
    assert (inside.on_disk, outside.on_disk) == (0, inside.weights - outside.weights)
    assert outside.on_disk > 0


@pytest.fixture
def app(qt, tmp_path: Path) -> Iterator[App]:
    made = build_app(AppOptions(data_dir=str(tmp_path / "data"), script="default", in_process=True))
    made.state.settings.set("load_at_start", False)
    made.engine.start()
    yield made
    made.close()


def test_a_change_asks_for_new_verdicts_and_offers_to_load_again(app: App) -> None:
    jobs, questions, offers = [], [], []
    submit, ask = app.engine.submit, app.engine.ask
    app.engine.submit = lambda job: (jobs.append(job), submit(job))
    app.engine.ask = lambda query: (questions.append(query), ask(query))
    models, settings = app.state.models, app.state.settings
    models.outdated.connect(lambda: offers.append(True))
    models.load(str(demo_model_dir()))
    wait_until(lambda: models.loaded is not None)
    assert jobs[-1].memory == MemoryOptions(8192, 0, "auto")

    questions.clear()
    settings.set("kv_bits", 4)
    settings.set("table_on_disk", "on")
    wait_until(lambda: bool(offers))
    wanted = MemoryOptions(8192, 4, "on")
    asked = [query for query in questions if isinstance(query, commands.Plan)]
    assert E2B in {query.source for query in asked}
    assert {query.memory for query in asked} == {wanted}

    models.load_again()
    assert (jobs[-1].path, jobs[-1].memory) == (models._wanted, wanted)
    offers.clear()
    settings.set("text_size", 110)
    settings.set("kv_bits", 8)
    settings.set("kv_bits", 4)
    questions.clear()
    wait_until(lambda: any(isinstance(query, commands.Plan) for query in questions))
    assert offers == [], "it was loaded with these very settings"


def test_what_is_taken_over_at_load_is_declared_once() -> None:
    at_load = {spec.name for spec in specs() if spec.at_load}
    assert at_load == {"context_tokens", "kv_bits", "table_on_disk"}
    assert MemoryOptions(Settings().context_tokens, Settings().kv_bits, Settings().table_on_disk)
