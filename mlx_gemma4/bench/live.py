"""``--live``: from the last sample of speech to the first token of the answer.

Sound is pushed in pieces of 100 ms as a microphone delivers them, without waiting in between; the
clock starts when the last piece has arrived. What a turn detector waits for is not part of it.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlx_gemma4.bench.live_peer import LivePeer, ready
from mlx_gemma4.bench.report import Cell, Figure, Section
from mlx_gemma4.bench.shapes import SEED, random_model, with_tokenizer
from mlx_gemma4.generate import Finish, GenerateOptions
from mlx_gemma4.model import Gemma4
from mlx_gemma4.processor import Processor
from mlx_gemma4.sampling import SamplingOptions
from mlx_gemma4.session import ReplyOptions, Session

LENGTH_GOAL = 1.2
PEER_GOAL = 20.0
_RATE = 16_000
_PIECE = _RATE // 10
_FRAMES_BETWEEN = 5
_PEER_REPEATS = 2
_ONE = ReplyOptions(GenerateOptions(max_tokens=1, sampling=SamplingOptions(greedy=True)))


@dataclass(frozen=True, slots=True)
class Answer:
    """One live turn.

    Attributes:
        wait: seconds from the last sample to the first token.
        busy: seconds of work for everything pushed before that.
        ids: the prompt, int32 [tokens].
    """

    wait: float
    busy: float
    ids: np.ndarray


def live_section(
    config_json: dict[str, Any], *, repeats: int, seconds: tuple[float, float] = (1.0, 30.0)
) -> Section:
    """Answer a short and a long clip in turn, then a turn of three clips and ten frames.

    Args:
        config_json: of the model with its towers; run in dense float32.
        repeats: runs of each, interleaved (the long turn at most twice).
        seconds: of the short and the long clip; the three clips take a third of the long one.
    """
    config_json, processor = with_tokenizer(config_json)
    model = random_model(config_json)
    answer_clips(Session(model, processor), [speech(seconds[0])], 0)  # warms up
    clips: dict[float, list[Answer]] = {s: [] for s in seconds}
    for _ in range(repeats):
        for length, answers in clips.items():
            answers.append(answer_clips(Session(model, processor), [speech(length)], 0))
    spoken = [speech(seconds[1] / 3, seed=i) for i in range(3)]
    turns = [
        answer_clips(Session(model, processor), spoken, _FRAMES_BETWEEN)
        for _ in range(min(repeats, _PEER_REPEATS))
    ]
    waits = {s: statistics.median(a.wait for a in answers) for s, answers in clips.items()}
    rows = [_row(f"one clip of {s:g} s", clips[s], s) for s in seconds]
    rows.append(_row("three clips, ten frames between", turns, seconds[1]))
    figures = [Figure("long over short clip", waits[seconds[1]] / waits[seconds[0]], LENGTH_GOAL)]
    notes = ["Work: seconds of computing before the last sample, per second of sound."]
    if ready():
        peer = _peer_waits(model, processor, config_json, spoken, turns[0].ids, len(turns))
        rows.append(_peer_row(peer))
        ours = statistics.median(turn.wait for turn in turns)
        sooner = statistics.median(peer) / ours
        figures.append(Figure("mlx-vlm's wait over ours", sooner, PEER_GOAL, "least"))
        notes.append(
            "mlx-vlm gets the same tokens, mel features and patches when speech has ended; making "
            "its features is not timed."
        )
    else:
        notes.append("mlx-vlm is not installed here, so it was left out.")
    settings = {
        "layers": model.config.text.num_hidden_layers,
        "weights": "random dense float32, full towers",
        "repeats": repeats,
        "seed": SEED,
    }
    return Section("Live turn", settings, rows, figures, notes)


def answer_clips(session: Session, clips: list[np.ndarray], frames: int) -> Answer:
    """Push clips with ``frames`` camera frames between them, then answer."""
    start = time.perf_counter()
    for index, pcm in enumerate(clips[:-1]):
        for piece in _pieces(pcm):
            session.push_audio(piece)
        session.end_clip()
        for number in range(index * frames, (index + 1) * frames):
            session.push_frame(picture(number), float(number))
    *pieces, last = _pieces(clips[-1])
    for piece in pieces:
        session.push_audio(piece)
    spoken = time.perf_counter()
    session.push_audio(last)
    pushed = time.perf_counter()
    finish = list(session.reply(_ONE))[-1]
    assert isinstance(finish, Finish)
    wait = pushed - spoken + finish.usage.first_token_s
    return Answer(wait, spoken - start, session.ids[: finish.usage.prompt_tokens])


def _pieces(pcm: np.ndarray) -> list[np.ndarray]:
    return [pcm[at : at + _PIECE] for at in range(0, len(pcm), _PIECE)]


def speech(seconds: float, seed: int = SEED) -> np.ndarray:
    """Noise in place of speech: the work does not depend on what is said."""
    noise = np.random.default_rng(seed).normal(0, 0.1, round(_RATE * seconds))
    return noise.astype(np.float32)


def picture(seed: int) -> np.ndarray:
    """A camera frame uint8 [480, 640, 3] of coarse random tiles, unlike every other one."""
    tiles = np.random.default_rng(seed).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    return tiles.repeat(30, axis=0).repeat(40, axis=1)


def _peer_waits(
    model: Gemma4,
    processor: Processor,
    config_json: dict[str, Any],
    spoken: list[np.ndarray],
    ids: np.ndarray,
    repeats: int,
) -> list[float]:
    peer = LivePeer(config_json, model)
    clips = [processor.clip(pcm) for pcm in spoken]
    frames = [processor.frame(picture(i)) for i in range(_FRAMES_BETWEEN * (len(spoken) - 1))]
    peer.first_token(ids, clips, frames)  # warms up
    return [peer.first_token(ids, clips, frames) for _ in range(repeats)]


def _row(name: str, answers: list[Answer], seconds: float) -> dict[str, Cell]:
    return {
        "turn": name,
        "engine": "facet",
        "prompt tokens": len(answers[0].ids),
        "wait s, median": statistics.median(a.wait for a in answers),
        "wait s, all": ", ".join(f"{a.wait:.3f}" for a in answers),
        "work per second of sound": statistics.median(a.busy for a in answers) / seconds,
    }


def _peer_row(waits: list[float]) -> dict[str, Cell]:
    return {
        "turn": "three clips, ten frames between",
        "engine": "mlx-vlm",
        "wait s, median": statistics.median(waits),
        "wait s, all": ", ".join(f"{wait:.3f}" for wait in waits),
    }
