"""``--session``: what a turn costs when the conversation before it is already known."""

from __future__ import annotations

import statistics
import string
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast
from unittest.mock import patch

import mlx.core as mx
import numpy as np

from mlx_gemma4.bench.peers import OURS, available
from mlx_gemma4.bench.report import Cell, Figure, Section
from mlx_gemma4.bench.session_peer import PEER, peer_turns
from mlx_gemma4.bench.shapes import SEED, random_model, with_tokenizer
from mlx_gemma4.generate import Finish, GenerateOptions
from mlx_gemma4.messages import Image, Message, Part, Text
from mlx_gemma4.model import Gemma4
from mlx_gemma4.processor import Processor
from mlx_gemma4.reply import Delta
from mlx_gemma4.sampling import Sampler, SamplingOptions
from mlx_gemma4.session import ReplyOptions, Session
from mlx_gemma4.testing import tiny_json

WARM_GOAL = 25.0
EDIT_GOAL = 256
_NEW_LETTERS = 16
_REPLY_TOKENS = 4
_EDIT = "last message edited"
_GREEDY = SamplingOptions(greedy=True)


@dataclass
class Work:
    """Counted from outside of the session: rows embedded and pictures encoded."""

    rows: int = 0
    pictures: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: seconds to its first token, rows run, tokens the conversation grew by, answer.

    prompt: its ids, int32 [tokens].
    """

    seconds: float
    rows: int
    grown: int
    text: str
    prompt: np.ndarray


@contextmanager
def counted(model: Gemma4) -> Iterator[Work]:
    """Count every row the model embeds and every picture it encodes while this is open."""
    work = Work()
    text: Any = model.language_model
    embed, encode_image = text.embed, model.encode_image

    def counted_embed(ids: mx.array) -> mx.array:
        work.rows += ids.size
        return embed(ids)

    def counted_image(image: Any) -> mx.array:
        work.pictures += 1
        return encode_image(image)

    object.__setattr__(text, "embed", counted_embed)
    object.__setattr__(model, "encode_image", counted_image)
    try:
        yield work
    finally:
        object.__delattr__(text, "embed")
        object.__delattr__(model, "encode_image")


def session_section(config_json: dict[str, Any], *, tokens: int, repeats: int) -> Section:
    """A long conversation: its first turn cold, the next one warm, then an edit of the last.

    Args:
        config_json: of the model, run in dense float32.
        tokens: length of the conversation.
        repeats: warm turns; the cold turn runs once.
    """
    config_json, processor = with_tokenizer(config_json)
    model = random_model(config_json)
    speak_letters(model, processor)
    session = Session(model, processor)
    history: list[Message] = [_digits("cold", tokens)]
    with counted(model) as work:
        _turn(Session(model, processor), [_digits("warm-up", 8)], work)
        cold = _turn(session, history, work)
        warm = [cold]
        for index in range(repeats):
            history += [_said(warm[-1], index), _digits(f"warm {index}", _NEW_LETTERS)]
            warm.append(_turn(session, history, work))
        del warm[0]
        edited = [*history[:-1], _digits("edited", _NEW_LETTERS)]
        edit = _turn(session, edited, work)
        edit_rows = work.rows
        session.sync(history)
        back = work.rows - edit_rows
    seconds = statistics.median(turn.seconds for turn in warm)
    held = session.nbytes / 1e6
    names = (f"cold, {session.tokens:,} tokens in the end", f"warm, median of {repeats}", _EDIT)
    rows: list[dict[str, Cell]] = [
        _row(names[0], OURS, cold.seconds, cold.rows),
        _row(names[1], OURS, seconds, warm[-1].rows),
        _row(names[2], OURS, edit.seconds, edit.rows, held),
    ]
    figures = [
        Figure("cold over warm, time to first token", cold.seconds / seconds, WARM_GOAL, "least"),
        Figure("tokens run on a turn beyond the new ones", max(t.rows - t.grown for t in warm), 0),
        Figure("tokens run after an edit, new ones included", edit.rows, EDIT_GOAL),
        Figure("tokens run on going back to the text before the edit", back, 0),
        Figure("tokens run again after a thought, over that answer's", after_a_thought(), 1.0),
        Figure("encoder runs per repeated picture", repeated_picture_runs(), 0),
    ]
    settings = {
        "layers": model.config.text.num_hidden_layers,
        "reply tokens": _REPLY_TOKENS,
        "weights": "random dense float32",
        "seed": SEED,
    }
    notes = ["Rows are counted where token rows are embedded, not by the session."]
    if available(PEER):
        del session
        prompts = [turn.prompt for turn in (cold, *warm, edit)]
        rows += _peer_rows(names, *peer_turns(config_json["text_config"], model, prompts))
        notes.append(
            f"{PEER} keeps a whole KV cache per turn, as its own server does; its rows are those "
            "of the prompt, ours also those of the reply."
        )
    else:
        notes.append(f"{PEER} is not installed here, so it was left out.")
    return Section("Cold and warm turn", settings, rows, figures, notes)


def speak_letters(model: Gemma4, processor: Processor) -> None:
    """Make a random model answer in letters, so that its replies are ordinary text.

    The other rows of the table become zero and so do their logits; of the letters' random logits
    the largest is positive.
    """
    spoken = [processor.tokenizer.encode(letter)[0] for letter in string.ascii_letters]
    table = model.language_model.embed_tokens
    keep = np.zeros((table.weight.shape[0], 1), dtype=np.float32)
    keep[spoken] = 1
    table.weight = table.weight * mx.array(keep)
    mx.eval(table.weight)


def repeated_picture_runs() -> int:
    """Encoder runs in a turn that shows a known picture again from another source (tiny model)."""
    config_json, processor = with_tokenizer(tiny_json("e2b"))
    model = random_model(config_json)
    speak_letters(model, processor)
    pixels = np.random.default_rng(SEED).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    session = Session(model, processor)
    history = [Message("first", "user", (Image(pixels), Text("look")))]
    with counted(model) as work:
        first = _turn(session, history, work)
        known = work.pictures
        again: tuple[Part, ...] = (Image(pixels.copy()), Text("again"))
        history += [_said(first, 0), Message("second", "user", again)]
        _turn(session, history, work)
        return work.pictures - known


def after_a_thought() -> float:
    """Tokens run again when a thought leaves the history, over its answer's (tiny model)."""
    config_json, processor = with_tokenizer(tiny_json("e2b"))
    model, tokenizer = random_model(config_json), processor.tokenizer
    answer = tokenizer.encode("It is four, as it always was.")
    thought = tokenizer.encode("<|channel>thought\nTwo and two.\n<channel|>", control=True)
    said = iter([*thought, *answer, *[cast("int", tokenizer.special("turn_end"))] * 3])
    history = [Message("question", "user", (Text("Two and two?"),))]
    options = ReplyOptions(GenerateOptions(max_tokens=200))
    session = Session(model, processor)
    with patch.object(Sampler, "__call__", lambda *_, **__: mx.array([next(said)])):
        session.sync(history, think=True)
        text = "".join(
            e.text for e in session.reply(options) if isinstance(e, Delta) and e.channel == "answer"
        )
    length = session.tokens
    history += [
        Message("answer", "model", (Text(text),)),
        Message("next", "user", (Text("Sure?"),)),
    ]
    with counted(model) as work:
        session.sync(history, think=True)
    new = session.tokens - (length - len(thought))
    return (work.rows - new) / (len(answer) + 1)  # with the token that ended it


def _turn(session: Session, messages: list[Message], work: Work) -> Turn:
    rows, length = work.rows, session.tokens
    start = time.perf_counter()
    session.sync(messages)
    synced = time.perf_counter() - start
    options = ReplyOptions(GenerateOptions(max_tokens=_REPLY_TOKENS, sampling=_GREEDY))
    events = list(session.reply(options))
    last = events[-1]
    assert isinstance(last, Finish)
    text = "".join(e.text for e in events if isinstance(e, Delta) and e.channel == "answer")
    seconds = synced + last.usage.first_token_s
    prompt = session.ids[: last.usage.prompt_tokens]
    return Turn(seconds, work.rows - rows, session.tokens - length, text, prompt)


def _said(turn: Turn, index: int) -> Message:
    return Message(f"reply {index}", "model", (Text(turn.text),))


def _digits(id_: str, count: int) -> Message:
    """About ``count`` tokens: the small tokenizer merges no digits."""
    rng = np.random.default_rng(zlib.crc32(id_.encode()))
    return Message(id_, "user", (Text("".join(rng.choice(list(string.digits), count))),))


def _row(
    name: str, engine: str, seconds: float, rows: int, held: float | None = None
) -> dict[str, Cell]:
    return {
        "turn": name,
        "engine": engine,
        "seconds to first token": seconds,
        "rows run": rows,
        "MB held for later turns": held,
    }


def _peer_rows(
    names: tuple[str, str, str], turns: list[tuple[float, int]], held_bytes: int
) -> list[dict[str, Cell]]:
    cold, *warm, edit = turns
    seconds = statistics.median(seconds for seconds, _ in warm)
    return [
        _row(names[0], PEER, *cold),
        _row(names[1], PEER, seconds, warm[-1][1]),
        _row(names[2], PEER, *edit, held_bytes / 1e6),
    ]
