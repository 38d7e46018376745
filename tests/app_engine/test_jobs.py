"""The promise of jobs: every start has exactly one end, on the scripted engine and any pipeline."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core import commands
from app.core.commands import PromptMessage, PromptText
from app.core.conversation import Role
from app.core.errors import AppError, ErrorKind
from app.core.events import (
    Channel,
    EngineStarted,
    Event,
    FinishReason,
    JobFailed,
    JobFinished,
    JobStarted,
    Pong,
    TextDelta,
)
from app.engine.jobs import JobContext, JobRunner
from app.engine.scripted import ScriptedEngine

STEPS = st.sampled_from(["text", "thought", "fail", "raise", "finish", "cancel", "usage"])


class Played:
    """An engine whose pipelines do what the test's list says."""

    def __init__(self, plans: dict[str, list[str]], runner: list[JobRunner]) -> None:
        self.plans, self.runner = plans, runner

    def open(self) -> EngineStarted:
        return EngineStarted(0, "played", "", 0)

    def run(self, job: commands.Job, context: JobContext) -> Iterator[Event]:
        for step in self.plans[job.job_id]:
            match step:
                case "text":
                    yield TextDelta(job.job_id, "a ")
                case "thought":
                    yield TextDelta(job.job_id, "b ", Channel.THOUGHT)
                case "fail":
                    raise AppError("known", kind=ErrorKind.BAD_FILE)
                case "raise":
                    raise ZeroDivisionError("unknown")
                case "finish":
                    yield JobFinished(job.job_id)
                case "cancel":
                    self.runner[0].cancel(job.job_id)

    def answer(self, query: commands.Query) -> object:
        raise AssertionError

    def pong(self, number: int) -> Pong:
        return Pong(number)

    def failure(self, problem: Exception) -> AppError | None:
        return None

    def close(self) -> None:
        pass


def check_promise(events: list[object]) -> None:
    """Every job has one end, its last event; only one stopped while it waited has no start."""
    ended: set[str] = set()
    started: set[str] = set()
    for event in events:
        job = event.job_id
        assert job not in ended, f"{event} after the end"
        if isinstance(event, JobStarted):
            assert job not in started
            started.add(job)
        else:
            assert job in started or event == JobFinished(job, FinishReason.CANCELLED)
        if isinstance(event, (JobFinished, JobFailed)):
            ended.add(job)
    assert ended >= started


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(STEPS, max_size=6), min_size=1, max_size=4),
    st.sets(st.integers(0, 3)),
)
def test_every_job_ends_once(plans: list[list[str]], early: set[int]) -> None:
    events: list[object] = []
    holder: list[JobRunner] = []
    named = {str(number): plan for number, plan in enumerate(plans)}
    runner = JobRunner(Played(named, holder), events.append)
    holder.append(runner)
    for number in range(len(plans)):
        runner.submit(commands.UnloadModel(str(number)))
    for number in early:
        runner.cancel(str(number))
    runner.stop()
    runner.run_forever()
    check_promise(events)
    assert {event.job_id for event in events} == set(named)
    for number in early & set(range(len(plans))):
        ends = [e for e in events if isinstance(e, JobFinished) and e.job_id == str(number)]
        assert ends[0].reason is FinishReason.CANCELLED


def test_deltas_joined_are_the_answer() -> None:
    events: list[object] = []
    engine = ScriptedEngine("default")
    runner = JobRunner(engine, events.append)
    runner.submit(commands.LoadModel("load", "x"))
    message = PromptMessage("m", Role.USER, (PromptText("a puzzle, please"),))
    runner.submit(commands.ChatTurn("chat", "c", (message,)))
    runner.stop()
    runner.run_forever()
    check_promise(events)
    texts = dict.fromkeys(Channel, "")
    for event in events:
        if isinstance(event, TextDelta):
            texts[event.channel] += event.text
    assert texts[Channel.ANSWER] == "It is 42."
    assert texts[Channel.THOUGHT] == "First I add the numbers. Then I check the sum."


def test_unknown_error_keeps_its_details_for_the_log_only() -> None:
    events: list[object] = []
    runner = JobRunner(Played({"1": ["text", "raise"]}, []), events.append)
    runner.submit(commands.UnloadModel("1"))
    runner.stop()
    runner.run_forever()
    failed = events[-1]
    assert isinstance(failed, JobFailed)
    assert failed.kind is ErrorKind.INTERNAL
    assert "ZeroDivisionError" in failed.detail
    assert "Zero" not in failed.message


def test_cancel_wakes_a_pipeline_that_waits_for_commands() -> None:
    events: list[object] = []
    engine = ScriptedEngine("instant")
    runner = JobRunner(engine, events.append)
    runner.submit(commands.LoadModel("load", "x"))
    runner.submit(commands.LiveStart("live", "c", ()))
    worker = threading.Thread(target=runner.run_forever)
    worker.start()
    while not any(type(event).__name__ == "LiveReady" for event in list(events)):
        threading.Event().wait(0.01)
    runner.cancel("live")
    runner.stop()
    worker.join(5)
    assert not worker.is_alive()
    check_promise(events)


@pytest.mark.parametrize("text", ["break please", "what time is it", "table", ""])
def test_scripts_obey_the_promise(text: str) -> None:
    events: list[object] = []
    runner = JobRunner(ScriptedEngine("default"), events.append)
    message = PromptMessage("m", Role.USER, (PromptText(text),))
    runner.submit(commands.ChatTurn("before", "c", (message,)))
    runner.submit(commands.LoadModel("load", "x"))
    runner.submit(commands.ChatTurn("chat", "c", (message,)))
    runner.submit(commands.ReadDocument("read", "x.pdf"))
    runner.stop()
    runner.run_forever()
    check_promise(events)
    first = next(e for e in events if isinstance(e, (JobFinished, JobFailed)))
    assert isinstance(first, JobFailed)
    assert first.kind is ErrorKind.NO_MODEL
