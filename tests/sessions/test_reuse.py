"""Nothing is computed twice: counted on embedding rows and encoder calls, not by the session."""

import itertools

import numpy as np
import pytest
from session_checks import agrees, greedy, next_logits, picture, say, sound

from mlx_gemma4.errors import PromptError, SessionError
from mlx_gemma4.generate import Finish
from mlx_gemma4.messages import Audio, Image, Message, Text, message
from mlx_gemma4.sampling import Sampler
from mlx_gemma4.session import Cancelled, Session, Watch

ARCHITECTURES = ("e2b", "e4b", "12b", "26b", "31b")
LONG = "The quick brown fox jumps over the lazy dog, and then it does so again. " * 3


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_chat_runs_every_token_once(arch, tiny, counter):
    model, processor = tiny(arch)
    session, count = Session(model, processor), counter(model)
    chat = [message("system", "Be brief.")]
    for turn in range(4):
        chat.append(message("user", Image(picture(1)), f"Question {turn}: {LONG}"))
        session.sync(chat)
        chat.append(message("model", say(session)))
        count.paused = True
        assert agrees(session, model)
        count.paused = False
    generated_but_not_kept = 4  # the pass for the token after the last one of each reply
    assert session.tokens > 3 * model.config.text.sliding_window
    assert count.rows <= session.tokens + generated_but_not_kept
    assert count.pictures == 1


def test_a_repeated_picture_is_encoded_once_whatever_its_path(tiny, counter, tmp_path):
    from PIL import Image as Pillow

    model, processor = tiny("e2b")
    for name in ("one.png", "two.png"):
        Pillow.fromarray(picture(3)).save(tmp_path / name)
    session, count = Session(model, processor), counter(model)
    session.sync([message("user", Image(tmp_path / "one.png"), "What is it?")])
    report = session.sync(
        [
            message("user", Image(tmp_path / "two.png"), "And this?"),
            message("model", "A field."),
            message("user", Image(picture(3)), "Again?"),
        ]
    )
    assert count.pictures == 1
    assert report.encoded == 0


def test_an_edit_costs_at_most_one_grid_step(tiny, counter):
    model, processor = tiny("e4b")
    session = Session(model, processor)
    chat = [message("user", LONG * 3), message("model", LONG), message("user", LONG)]
    session.sync(chat)
    edited = chat[:1] + [message("model", LONG[:150] + "changed" + LONG[150:])] + chat[2:]
    shared = _shared_tokens(session, edited)
    count = counter(model)
    session.sync(edited)
    new = session.tokens - shared
    assert new < count.rows <= new + 256
    assert agrees(session, model)


def _shared_tokens(session, messages) -> int:
    tape, _ = session._talk.writer.write(tuple(messages), session._talk.options)
    return session._runner.tape.common_prefix(tape)


def test_regenerating_runs_only_the_new_answer(tiny, counter):
    model, processor = tiny("26b")
    session = Session(model, processor)
    chat = [message("user", LONG)]
    session.sync(chat)
    first = say(session, 20)
    count = counter(model)
    session.sync(chat)
    again = say(session, 20)
    assert again == first
    assert count.rows <= 20 + 1 + len(session._talk.opening()) + 8
    assert agrees(session, model)


def test_thoughts_leave_the_history_at_the_cost_of_that_answer(tiny, counter, monkeypatch):
    model, processor = tiny("e2b")
    tokenizer = processor.tokenizer
    answer = tokenizer.encode("It is four.")
    thought = tokenizer.encode("<|channel>thought\nTwo and two.\n<channel|>", control=True)
    script = itertools.chain(thought + answer, itertools.repeat(tokenizer.special("turn_end")))
    import mlx.core as mx

    monkeypatch.setattr(Sampler, "__call__", lambda *_, **__: mx.array(next(script)))
    session = Session(model, processor)
    chat = [message("user", "Two and two?")]
    session.sync(chat, think=True)
    text = say(session, 200)
    assert text == "It is four."
    chat += [message("model", text), message("user", "Sure?")]
    count = counter(model)
    before = len(tokenizer.encode("x"))
    session.sync(chat, think=True)
    header = len(tokenizer.encode("<turn|>\n<|turn>user\nSure?", control=True))
    assert count.rows <= len(answer) + header + before
    assert not np.isin(session.ids, [tokenizer.special("channel")]).any()
    assert agrees(session, model)


def test_stopping_anywhere_keeps_the_session_usable(tiny):
    model, processor = tiny("12b")
    session = Session(model, processor)
    chat = [message("user", "Tell me a story.")]
    session.sync(chat)
    assert len(list(session.reply(greedy(24)))) > 4
    for stop_after in range(4):
        session.sync(chat)
        events = session.reply(greedy(24))
        for _ in range(stop_after):
            next(events)
        events.close()
        assert agrees(session, model)
    session.sync([*chat, message("model", "So."), message("user", "Go on.")])
    say(session)
    assert agrees(session, model)


def test_prefill_can_be_cancelled_between_chunks_and_goes_on_from_there(tiny, counter):
    model, processor = tiny("e2b")
    session = Session(model, processor)
    session._runner._chunk = 64
    chat = [message("user", LONG)]
    answers = iter([False, False, True])
    with pytest.raises(Cancelled):
        session.sync(chat, watch=Watch(cancelled=lambda: next(answers)))
    done = session._runner.cache.offset
    assert done == 128
    count, seen = counter(model), []
    session.sync(chat, watch=Watch(progress=lambda d, t: seen.append((d, t))))
    assert count.rows == session.tokens - done
    assert seen[-1] == (count.rows, count.rows)
    assert agrees(session, model)


def test_a_full_context_drops_the_oldest_turns_and_says_so(tiny):
    model, processor = tiny("e2b")
    session = Session(model, processor, context=1200)
    chat = [message("system", "Be brief.", id="sys")]
    report = None
    for turn in range(8):
        chat.append(message("user", LONG[:200], id=f"u{turn}"))
        report = session.sync(chat)
        chat.append(message("model", say(session, 4), id=f"m{turn}"))
        assert session.tokens < 1200
        assert agrees(session, model)
    assert report is not None
    assert report.dropped[:2] == ("u0", "m0")
    assert "sys" not in report.dropped
    assert "oldest messages were left out" in report.notices[0]
    with pytest.raises(PromptError, match="alone takes"):
        session.sync([message("user", LONG * 9)])
    session.sync(chat)
    assert agrees(session, model)


def test_memory_of_snapshots_and_features_is_bounded(tiny):
    model, processor = tiny("31b")
    session = Session(model, processor, snapshot_bytes=200_000, feature_bytes=50_000)
    chat = []
    for turn in range(4):
        chat.append(message("user", Image(picture(turn)), LONG))
        session.sync(chat)
        chat.append(message("model", say(session, 4)))
    newest = max(s.nbytes for s in session._runner.snapshots._turns.values())
    assert session._runner.snapshots.nbytes <= max(200_000, newest)
    largest = max(rows.nbytes for rows in session._media.features._features.values())
    assert session._media.features.nbytes <= max(50_000, largest)
    session.sync(chat[:1] + [message("model", "Other."), message("user", "Why?")])
    assert agrees(session, model)  # features that were forgotten were made again


def test_calls_out_of_order_get_a_clear_error(tiny):
    model, processor = tiny("e2b")
    session = Session(model, processor)
    with pytest.raises(SessionError, match="no reply to shorten"):
        session.cut_reply(3)
    session.sync([message("user", "Hi")])
    events = session.reply(greedy(5))
    next(events)
    with pytest.raises(SessionError, match="stop it before"):
        session.sync([message("user", "Hello")])
    with pytest.raises(SessionError, match="stop it before"):
        next(session.reply(greedy(5)))
    events.close()
    session.sync([message("user", "Hello")])
    assert agrees(session, model)


def test_a_recording_in_a_message_equals_the_same_sound_pushed(tiny):
    model, processor = tiny("e4b")
    pcm = sound(5, 1.3)
    whole, pushed = Session(model, processor), Session(model, processor)
    whole.sync([message("user", Audio(pcm))])
    for start in range(0, len(pcm), 777):
        pushed.push_audio(pcm[start : start + 777])
    pushed.end_clip()
    assert whole.ids.tolist() == pushed.ids.tolist()
    left, right = next_logits(whole, model), next_logits(pushed, model)
    assert float(abs(left - right).max()) <= 1e-4 * float(abs(left).max())


def test_usage_counts_the_cached_share(tiny):
    model, processor = tiny("e2b")
    session = Session(model, processor)
    session.sync([Message("a", "user", (Text(LONG),))])
    finish = next(e for e in session.reply(greedy(3)) if isinstance(e, Finish))
    assert finish.usage.generated_tokens <= 3
    assert finish.usage.cached_tokens >= len(LONG) // 2
    assert finish.usage.prompt_tokens > finish.usage.cached_tokens
