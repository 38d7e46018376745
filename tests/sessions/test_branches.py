"""Going back to another version runs nothing that was run before."""

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from session_checks import agrees, next_logits, picture, say

from mlx_gemma4.messages import Image, message
from mlx_gemma4.session import Session

ARCHITECTURES = ("e2b", "e4b", "12b", "26b", "31b")
LONG = "The quick brown fox jumps over the lazy dog, and then it does so again. " * 4


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_switching_between_versions_runs_no_token(arch, tiny, counter):
    model, processor = tiny(arch)
    session, count = Session(model, processor), counter(model)
    start = [message("system", "Be brief."), message("user", Image(picture(1)), LONG)]
    versions = []
    for number in range(3):
        session.sync(start)
        said = message("model", say(session, 30) if number == 0 else f"Version {number}. {LONG}")
        versions.append([*start, said, message("user", f"And then {number}? {LONG}")])
        session.sync(versions[-1])
    logits = []
    for version in versions:
        session.sync(version)
        count.paused = True
        logits.append(next_logits(session, model))
        count.paused = False
        session.sync(version)
    ran = count.rows
    for number in (0, 2, 1, 0, 1, 2):
        report = session.sync(versions[number])
        assert (report.run, report.encoded) == (0, 0)
        count.paused = True
        assert agrees(session, model)
        assert np.allclose(next_logits(session, model), logits[number], atol=1e-5)
        count.paused = False
        session.sync(versions[number])
    assert count.rows == ran
    assert count.pictures == 1


def test_undo_and_redo_of_an_edit_run_no_token(tiny, counter):
    model, processor = tiny("e4b")
    session, count = Session(model, processor), counter(model)
    chat = [message("user", LONG)]
    for turn in range(3):
        session.sync(chat)
        chat += [message("model", say(session, 8)), message("user", f"{turn} {LONG}")]
    session.sync(chat)
    edited = [chat[0], message("model", "No."), message("user", LONG[::-1])]
    session.sync(edited)
    ran = count.rows
    for version in (chat, edited, chat, chat[:-2], chat, edited):
        session.sync(version)
    assert count.rows == ran
    assert agrees(session, model)


def test_the_middle_of_a_tail_is_found_again(tiny, counter):
    model, processor = tiny("26b")
    session = Session(model, processor)
    chat = [message("user", LONG), message("model", "Yes."), message("user", LONG * 2)]
    session.sync(chat[:1])
    session.sync(chat)
    session.sync([chat[0], message("model", "No.")])
    count = counter(model)
    further = [*chat, message("model", "So."), message("user", "Go on.")]
    before = session._talk.writer.write(tuple(chat), session._talk.options)[0]
    session.sync(further)
    assert count.rows <= session.tokens - len(before)
    assert agrees(session, model)


def test_a_branch_of_a_branch_is_put_together_from_two_tails(tiny, counter):
    model, processor = tiny("e2b")
    session, count = Session(model, processor), counter(model)
    one, two = message("user", LONG), message("user", LONG[::-1])
    first = [one, message("model", "A. " + LONG), two, message("model", "X. " + LONG)]
    second = [*first[:3], message("model", "Y. " + LONG)]
    other = [one, message("model", "B. " + LONG)]
    for chat in (first, second, other):
        session.sync(chat)
    assert len(session._runner.snapshots.shelves) == 2
    ran = count.rows
    for chat in (first, other, second, first, other):
        session.sync(chat)
        count.paused = True
        assert agrees(session, model)
        count.paused = False
    assert count.rows == ran
    assert agrees(session, model)


def test_tails_share_the_room_of_the_snapshots(tiny):
    model, processor = tiny("31b")
    limit = 400_000
    session = Session(model, processor, snapshot_bytes=limit)
    one = message("user", LONG)
    for number in range(8):
        session.sync([one, message("model", f"{number} {LONG}"), message("user", LONG)])
        newest = max(s.nbytes for s in session._runner.snapshots._turns.values())
        assert session._runner.snapshots.nbytes <= max(limit, newest)
        assert agrees(session, model)
    session.sync([one, message("model", f"0 {LONG}"), message("user", LONG)])
    assert agrees(session, model)


def test_a_speculative_end_leaves_no_tail(tiny):
    model, processor = tiny("e2b")
    session = Session(model, processor)
    session.sync([message("user", LONG)])
    mark = session.mark()
    say(session, 20)
    session.rollback(mark)
    assert not len(session._runner.snapshots.shelves)


@pytest.mark.parametrize("arch", ["e2b", "12b"])
def test_any_walk_over_versions_runs_each_of_them_once(arch, tiny, counter):
    model, processor = tiny(arch)
    parts = [message("user" if i % 2 == 0 else "model", f"{i} {LONG[: 20 * i]}") for i in range(12)]
    chats = [
        parts[:1],
        [*parts[:1], parts[3], parts[4]],
        [*parts[:1], parts[3], parts[6], parts[7]],
        [*parts[:1], parts[5], parts[8]],
        [parts[2], parts[5], parts[10]],
    ]

    @settings(
        max_examples=8,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(st.lists(st.integers(0, len(chats) - 1), min_size=6, max_size=16))
    def walk(order):
        session, count = Session(model, processor), counter(model)
        seen = set()
        for index in order:
            before = count.rows
            session.sync(chats[index])
            if index in seen:
                assert count.rows == before
            seen.add(index)
        count.paused = True
        assert agrees(session, model)

    walk()
