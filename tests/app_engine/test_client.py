"""Supervision: the engine may die, hang or be killed; jobs and questions still get their end."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.core import commands
from app.core.conversation import MediaKind, new_id
from app.core.errors import ErrorKind
from app.core.events import (
    Described,
    EngineStarted,
    EngineState,
    EngineStopped,
    FinishReason,
    JobFailed,
    JobFinished,
    MemoryPressure,
    Planned,
    Pong,
    TextDelta,
)

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.mark.parametrize("in_process", [False, True])
def test_a_chat_over_both_hosts(make_driver, in_process: bool) -> None:
    driver = make_driver("default", in_process=in_process).started()
    driver.load()
    job = driver.say("show me a table")
    driver.wait(lambda: bool(driver.ends(job)))
    assert driver.ends(job) == [JobFinished(job, FinishReason.STOP, driver.ends(job)[0].usage)]
    assert "| Plum | blue | 2.10 |" in driver.text(job)
    driver.client.stop()
    assert driver.client.state is EngineState.STOPPED


def test_jobs_submitted_before_the_handshake_are_kept(make_driver) -> None:
    driver = make_driver()
    driver.client.start()
    assert driver.client.state is EngineState.STARTING
    end = driver.run(commands.LoadModel("early", "x"))
    assert isinstance(end, JobFinished)


def test_kill_restarts_and_ends_every_job(make_driver) -> None:
    driver = make_driver("default").started()
    driver.load()
    running, waiting = driver.say("long"), driver.say("table")
    driver.wait(lambda: len(driver.of(TextDelta, running)) > 2)
    os.kill(driver.client.pid, signal.SIGKILL)
    driver.wait(lambda: bool(driver.ends(waiting)))
    for job in (running, waiting):
        (end,) = driver.ends(job)
        assert isinstance(end, JobFailed)
        assert end.kind is ErrorKind.ENGINE_STOPPED
        assert "kept" in end.remedy
    (stopped,) = driver.of(EngineStopped)
    assert stopped.will_restart
    driver.wait(lambda: driver.client.state is EngineState.RUNNING)
    assert len(driver.of(EngineStarted)) == 2
    driver.load()
    again = driver.say("table")
    driver.wait(lambda: bool(driver.ends(again)))
    assert isinstance(driver.ends(again)[0], JobFinished)


def test_it_gives_up_after_two_deaths_in_a_row_and_can_be_restarted(make_driver) -> None:
    driver = make_driver().started()
    for _ in range(2):
        os.kill(driver.client.pid, signal.SIGKILL)
        count = len(driver.of(EngineStopped))
        driver.wait(lambda count=count: len(driver.of(EngineStopped)) > count)
        driver.wait(lambda: driver.client.state in (EngineState.RUNNING, EngineState.FAILED))
    assert driver.client.state is EngineState.FAILED
    end = driver.run(commands.LoadModel("late", "x"))
    assert isinstance(end, JobFailed)
    assert "not running" in end.message
    driver.client.ask(commands.Describe("d", "picture.png"))
    driver.wait(lambda: bool(driver.of(Described)))
    assert "not running" in driver.of(Described)[0].problem
    driver.client.restart()
    driver.wait(lambda: driver.client.state is EngineState.RUNNING)


def test_cancel_ends_a_job_quickly_and_keeps_what_was_said(make_driver) -> None:
    driver = make_driver("default").started()
    driver.load()
    job = driver.say("long")
    driver.wait(lambda: len(driver.of(TextDelta, job)) > 1)
    asked = time.monotonic()
    driver.client.cancel(job)
    driver.wait(lambda: bool(driver.ends(job)))
    assert time.monotonic() - asked < 2.0
    (end,) = driver.ends(job)
    assert end.reason is FinishReason.CANCELLED
    assert end.usage.generated >= len(driver.text(job).split()) / 2 > 0


def test_a_job_that_ignores_cancel_is_killed_after_the_grace_period(make_driver) -> None:
    driver = make_driver("default", cancel_grace=0.3).started()
    driver.load()
    job = driver.say("hang please")
    driver.wait(lambda: bool(driver.of(TextDelta, job)))
    driver.client.cancel(job)
    driver.wait(lambda: bool(driver.ends(job)), 5)
    (end,) = driver.ends(job)
    assert isinstance(end, JobFailed)
    assert "did not stop" in end.message
    driver.wait(lambda: driver.client.state is EngineState.RUNNING)


def test_a_waiting_job_stops_at_once_and_the_running_one_goes_on(make_driver) -> None:
    driver = make_driver("default", cancel_grace=0.3).started()
    driver.load()
    running = driver.say("long")
    driver.wait(lambda: bool(driver.of(TextDelta, running)))
    waiting = driver.say("long")
    driver.client.cancel(waiting)
    driver.wait(lambda: bool(driver.ends(waiting)))
    assert driver.ends(waiting) == [JobFinished(waiting, FinishReason.CANCELLED)]
    assert not driver.ends(running)
    driver.client.cancel(running)
    driver.wait(lambda: bool(driver.ends(running)))
    assert driver.client.state is EngineState.RUNNING
    assert not driver.of(EngineStopped)


def test_a_job_stopped_before_the_handshake_is_never_sent(make_driver) -> None:
    driver = make_driver()
    driver.client.start()
    job = driver.say("long")
    driver.client.cancel(job)
    driver.wait(lambda: bool(driver.ends(job)))
    driver.wait(lambda: driver.client.state is EngineState.RUNNING)
    assert driver.ends(job) == [JobFinished(job, FinishReason.CANCELLED)]


def test_a_silent_engine_is_killed(make_driver) -> None:
    driver = make_driver(heartbeat=0.1, silence=0.6).started()
    driver.wait(lambda: bool(driver.of(Pong)))
    os.kill(driver.client.pid, signal.SIGSTOP)
    driver.wait(lambda: bool(driver.of(EngineStopped)), 10)
    assert "no longer answered" in driver.of(EngineStopped)[0].reason


def test_text_is_joined_to_at_most_thirty_pieces_a_second(make_driver, script_file) -> None:
    script = script_file(rules=[{"match": "go", "answer": "word ", "repeat": 300}], word_s=0.001)
    driver = make_driver(script).started()
    driver.load()
    times: list[float] = []
    driver.client.received.connect(
        lambda event: times.append(time.monotonic()) if isinstance(event, TextDelta) else None
    )
    job = driver.say("go")
    driver.wait(lambda: bool(driver.ends(job)))
    assert driver.text(job) == "word " * 300
    # The last piece may follow its forerunner early, because the end of the job flushes it.
    gaps = [b - a for a, b in itertools.pairwise(times[:-1])]
    assert len(times) < 100
    assert min(gaps) > 0.025


def test_questions_are_answered_without_a_model_and_while_decoding(
    make_driver, tmp_path: Path
) -> None:
    driver = make_driver("default").started()
    note = tmp_path / "note.txt"
    note.write_text("Grüße")
    driver.client.ask(commands.Describe("d1", str(note)))
    driver.client.ask(commands.Plan("p1", "mlx-community/gemma-4-e2b-it-4bit"))
    driver.wait(lambda: bool(driver.of(Described)) and bool(driver.of(Planned)))
    assert driver.of(Described)[0].kind is MediaKind.DOCUMENT
    assert driver.of(Described)[0].text == "Grüße"
    assert driver.of(Planned)[0].result.weights > 3e9
    driver.load()
    job = driver.say("long")
    driver.wait(lambda: bool(driver.of(TextDelta, job)))
    driver.client.ask(commands.Describe("d2", str(note)))
    driver.wait(lambda: len(driver.of(Described)) == 2)
    assert not driver.ends(job)
    driver.client.cancel(job)
    driver.wait(lambda: bool(driver.ends(job)))


def test_a_question_survives_a_restart(make_driver, tmp_path: Path) -> None:
    driver = make_driver().started()
    os.kill(driver.client.pid, signal.SIGSTOP)
    driver.client.ask(commands.Describe("d", str(tmp_path / "missing.png")))
    os.kill(driver.client.pid, signal.SIGKILL)
    driver.wait(lambda: bool(driver.of(Described)))
    assert "cannot be read" in driver.of(Described)[0].problem


def test_the_engine_ends_when_its_parent_dies(tmp_path: Path) -> None:
    import subprocess
    import sys

    import psutil

    code = (
        "import os, sys, time\n"
        "from app.core.commands import EngineOptions\n"
        "from app.services.engine_host import ProcessHost\n"
        "if __name__ == '__main__':\n"
        "    host = ProcessHost(EngineOptions(script='default'))\n"
        "    host.start(lambda e: print(e.pid, flush=True), lambda c: None)\n"
        "    time.sleep(60)\n"
    )
    program = tmp_path / "parent.py"
    program.write_text(code)
    parent = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 8
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.05)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_the_child_imports_no_qt_and_the_window_no_mlx(make_driver) -> None:
    import subprocess
    import sys

    heavy = "{'mlx', 'mlx_lm', 'transformers', 'cv2', 'torch'}"
    window = f"import sys, app.main; print(sorted({heavy} & set(sys.modules)))"
    engine = (
        "import sys, app.engine.process, app.engine.engine, app.engine.scripted; "
        "print([m for m in sys.modules if m.startswith('PySide6')])"
    )
    for program in (window, engine):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "[]"


def test_ids_are_unique() -> None:
    assert len({new_id() for _ in range(1000)}) == 1000


def test_a_crash_for_want_of_memory_is_recognised(make_driver, tmp_path: Path) -> None:
    driver = make_driver().started()
    (tmp_path / "logs" / "engine-crash.log").write_text("libc++abi: std::bad_alloc\n")
    os.kill(driver.client.pid, signal.SIGABRT)
    driver.wait(lambda: bool(driver.of(EngineStopped)))
    assert driver.of(EngineStopped)[0].kind is ErrorKind.OUT_OF_MEMORY


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ([], ErrorKind.ENGINE_STOPPED),
        ([Pong(1, process_memory=2 << 30)], ErrorKind.ENGINE_STOPPED),
        ([Pong(1, process_memory=13 << 30)], ErrorKind.OUT_OF_MEMORY),
        ([Pong(1, active_memory=9 << 30, cache_memory=3 << 30)], ErrorKind.OUT_OF_MEMORY),
        ([MemoryPressure("warning", 100 << 20)], ErrorKind.OUT_OF_MEMORY),
    ],
)
def test_a_killed_engine_is_out_of_memory_only_where_memory_was_short(
    make_driver, said: list[object], kind: ErrorKind
) -> None:
    driver = make_driver(heartbeat=600).started()  # the script's engine says it has 16 GB
    for event in said:
        driver.client._take(event)
    os.kill(driver.client.pid, signal.SIGKILL)
    driver.wait(lambda: bool(driver.of(EngineStopped)), 60)
    assert driver.of(EngineStopped)[0].kind is kind


def test_the_engine_starts_without_what_only_files_and_models_need() -> None:
    """What it imports before it says "started" is what a restart waits for."""
    code = (
        "import sys\n"
        "from app.core.commands import EngineOptions\n"
        "from app.engine.process import make_engine\n"
        "make_engine(EngineOptions(script={script!r}))\n"
        "late = ('numpy', 'PIL', 'cv2', 'psutil', 'transformers', 'tokenizers', 'huggingface_hub',"
        " 'app.documents', 'app.engine.chat', 'mlx_gemma4.model')\n"
        "print([name for name in late if name in sys.modules])\n"
    )
    for script in ("instant", ""):
        done = subprocess.run(
            [sys.executable, "-c", code.format(script=script)],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.stdout.strip() == "[]", done.stderr
