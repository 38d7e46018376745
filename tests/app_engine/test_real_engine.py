"""The real engine in its real process, with a tiny random checkpoint."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image as PilImage

from app.core import commands
from app.core.commands import PromptMedia, PromptMessage, PromptText, ReplyOptions
from app.core.conversation import PRESETS, ImageDetail, MediaKind, Role, new_id
from app.core.errors import ErrorKind
from app.core.events import (
    EngineChecked,
    EngineStarted,
    FinishReason,
    JobFailed,
    JobFinished,
    JobStarted,
    LocalModels,
    ModelReady,
    ModelUnloaded,
    Notice,
    Pong,
    PromptProgress,
    TextDelta,
    TokensCounted,
)
from tests.app_engine.conftest import Driver, user
from tests.app_engine.test_jobs import check_promise

GREEDY = replace(PRESETS[1], temperature=0.0)
# The template itself is never run; that one is there makes the checkpoint one for conversation.
TEMPLATE = "{{ messages }}"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    from mlx_gemma4.testing import random_checkpoint

    folder = random_checkpoint(tmp_path_factory.mktemp("model") / "e2b", "e2b")
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


@pytest.fixture
def driver(make_driver, checkpoint: Path) -> Driver:
    made = make_driver("", heartbeat=0.3).started()
    assert isinstance(made.load(str(checkpoint)), JobFinished)
    return made


def ask(driver: Driver, *messages: PromptMessage, **options: object) -> str:
    options = {"preset": GREEDY, "max_tokens": 12, **options}
    job = commands.ChatTurn(new_id(), "chat", messages, ReplyOptions(**options))
    driver.client.submit(job)
    driver.wait(lambda: bool(driver.ends(job.job_id)), 60)
    return job.job_id


def job_events(driver: Driver) -> list[object]:
    return [event for event in driver.events if hasattr(event, "job_id")]


def test_a_conversation_end_to_end(driver: Driver, checkpoint: Path, tmp_path: Path) -> None:
    """One process, many questions: starting one costs seconds, so they share it."""
    (started,) = driver.of(EngineStarted)
    assert started.device in ("CPU", "Metal", "CUDA")
    (ready,) = driver.of(ModelReady)
    assert ready.info.capabilities.image
    assert ready.info.capabilities.audio
    assert ready.info.path == str(checkpoint)

    first = user("hello there", "m1")
    job = ask(driver, first)
    (end,) = driver.ends(job)
    assert end.reason in (FinishReason.STOP, FinishReason.LENGTH)
    assert 0 < end.usage.generated <= 12
    assert end.usage.prompt > 0
    assert end.usage.cached == 0

    # The same question again: the prompt is not run a second time, the greedy answer is the same.
    again = ask(driver, first)
    assert driver.text(again) == driver.text(job)
    assert driver.ends(again)[0].usage.cached > 0

    # A picture and a second turn; the picture's tokens are there, the first turn is reused.
    PilImage.new("RGB", (96, 64), "red").save(tmp_path / "p.png")
    picture = PromptMedia(
        MediaKind.IMAGE, str(tmp_path / "p.png"), "k", ImageDetail.QUICK, "red.png"
    )
    answer = PromptMessage("a1", Role.MODEL, (PromptText("ok"),))
    look = PromptMessage("m2", Role.USER, (picture, PromptText("what is it?")))
    seen = ask(driver, first, answer, look)
    assert isinstance(driver.ends(seen)[0], JobFinished)
    assert driver.ends(seen)[0].usage.prompt > 40
    assert driver.of(PromptProgress, seen)[-1].done == driver.of(PromptProgress, seen)[-1].total

    # A damaged picture: one sentence with the person's name for it; the engine goes on.
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    broken = replace(picture, path=str(tmp_path / "bad.png"), name="holiday.png")
    failed = ask(driver, PromptMessage("m3", Role.USER, (broken,)))
    (end,) = driver.ends(failed)
    assert isinstance(end, JobFailed)
    assert end.kind is ErrorKind.UNSUPPORTED_MEDIA
    assert "holiday.png" in end.message
    assert "bad.png" not in end.message

    # Too much for the context: a sentence, no crash.
    long = ask(driver, user("word " * 140_000))
    (end,) = driver.ends(long)
    assert isinstance(end, JobFailed)
    assert "tokens" in end.message

    # Answers that must be JSON are JSON.
    schema = {
        "type": "object",
        "properties": {"a": {"enum": ["x", "y"]}},
        "required": ["a"],
        "additionalProperties": False,
    }
    formed = ask(driver, user("go"), json_schema=json.dumps(schema), max_tokens=60)
    if driver.ends(formed)[0].reason is FinishReason.STOP:
        assert json.loads(driver.text(formed))["a"] in ("x", "y")
    wrong = ask(driver, user("go"), json_schema="{")
    assert "schema" in driver.ends(wrong)[0].message

    # Questions, heartbeat, self-check.
    driver.client.ask(commands.CountTokens("count", (first,)))
    driver.wait(lambda: bool(driver.of(TokensCounted)))
    (counted,) = driver.of(TokensCounted)
    assert counted.exact
    assert counted.context > 0
    driver.wait(lambda: bool(driver.of(Pong)))
    assert driver.of(Pong)[-1].active_memory > 0
    driver.run(commands.CheckEngine("check"))
    assert all(ok for _, ok, _ in driver.of(EngineChecked)[0].items)
    driver.client.ask(commands.ListLocal("list", (str(checkpoint.parent),)))
    driver.wait(lambda: bool(driver.of(LocalModels)))
    assert str(checkpoint) in [info.path for info in driver.of(LocalModels)[0].models]

    # Cancel while it decodes: the text so far stays, and the next answer comes.
    endless = commands.ChatTurn(
        "endless", "chat", (user("more"),), ReplyOptions(PRESETS[2], max_tokens=3000)
    )
    driver.client.submit(endless)
    driver.wait(lambda: bool(driver.of(TextDelta, "endless")) or bool(driver.ends("endless")))
    asked = time.monotonic()
    driver.client.cancel("endless")
    driver.wait(lambda: bool(driver.ends("endless")))
    assert time.monotonic() - asked < 4
    assert isinstance(driver.ends(ask(driver, first))[0], JobFinished)

    # Switching and unloading.
    other = tmp_path / "base"
    shutil.copytree(checkpoint, other)
    (other / "chat_template.jinja").unlink()
    assert isinstance(driver.load(str(other)), JobFinished)
    base = ask(driver, user("once upon"))
    assert "not trained to talk" in driver.of(Notice, base)[0].text
    driver.run(commands.UnloadModel("unload"))
    assert driver.of(ModelUnloaded)
    assert driver.ends(ask(driver, first))[0].kind is ErrorKind.NO_MODEL
    for path, kind in (
        (tmp_path, ErrorKind.MODEL_BROKEN),
        (tmp_path / "no", ErrorKind.MODEL_MISSING),
    ):
        end = driver.load(str(path))
        assert isinstance(end, JobFailed)
        assert end.kind is kind, end
    check_promise(job_events(driver))
    assert len(driver.of(JobStarted)) > 12
    assert len(driver.of(EngineStarted)) == 1


def test_the_process_ends_in_order(make_driver, checkpoint: Path, tmp_path: Path, no_leaks) -> None:
    """MLX is freed on its own thread before the interpreter ends: exit code 0, no last words."""
    driver = make_driver("").started()
    driver.load(str(checkpoint))
    ask(driver, user("hello"))
    process = driver.client._host._process
    driver.client.stop()
    assert process.exitcode == 0
    assert (tmp_path / "logs" / "engine-crash.log").read_text() == ""
