"""A check of a session against a plain run, and counts taken from outside of it."""

import mlx.core as mx
import numpy as np

from mlx_gemma4.generate import Finish, GenerateOptions
from mlx_gemma4.model import block_ids
from mlx_gemma4.sampling import SamplingOptions
from mlx_gemma4.session import ReplyOptions, Session

TOLERANCE = 1e-4  # of the tensor's scale: float32, other order of additions


def greedy(tokens: int, **more) -> ReplyOptions:
    sampling = SamplingOptions(greedy=True)
    return ReplyOptions(GenerateOptions(max_tokens=tokens, sampling=sampling), **more)


def say(session: Session, tokens: int = 12, **more) -> str:
    """Let the session answer; the visible text."""
    text = ""
    for event in session.reply(greedy(tokens, **more)):
        if not isinstance(event, Finish) and getattr(event, "channel", "") == "answer":
            text += event.text
    return text


def picture(seed: int, height: int = 90, width: int = 140) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def sound(seed: int, seconds: float) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.1, int(16_000 * seconds))
    return noise.astype(np.float32)


def close(ours: mx.array, theirs: mx.array) -> bool:
    scale = float(mx.abs(theirs).max())
    return float(mx.abs(ours - theirs).max()) <= TOLERANCE * scale


def agrees(session: Session, model) -> bool:
    """Whether the session's KV cache is what a plain run over its own tape gives, to the row.

    Leaves the session as it was. Equal keys and values in every layer mean equal logits from here.
    """
    runner = session._runner
    length = runner.cache.offset
    if not length:
        return True
    stretch = runner.tape.stretch(0, length)
    media = [run._replace(length=min(run.length, length - run.start)) for run in stretch.media]
    soft = [(run.start, session._soft_tokens(run)[: run.length]) for run in media]
    plain = model.make_cache()
    model.prefill(model.embed(stretch.ids, soft), plain, blocks=block_ids(stretch.token_types))
    for ours, theirs in zip(runner.cache, plain, strict=True):
        mine, wanted = ours.view(), theirs.view()
        rows = wanted.keys.shape[2]
        if getattr(ours, "window", 0) == rows:  # the next token does not see the oldest of these
            rows -= 1
        pairs = [(mine.keys, wanted.keys), (mine.values, wanted.values)]
        if not all(close(a[:, :, -rows:], b[:, :, -rows:]) for a, b in pairs):
            return False
    return True


def next_logits(session: Session, model) -> mx.array:
    return model.logits(session._runner.read_last())[0, -1]


class Counter:
    """Counts rows embedded and encoder runs, from outside of the session."""

    def __init__(self, model, monkeypatch):
        self.rows = self.pictures = self.clips = 0
        self.paused = False
        text, encode_image = type(model.language_model), model.encode_image
        embed, encode_audio = text.embed, model.encode_audio

        def counted_embed(module, ids):
            self.rows += 0 if self.paused else ids.size
            return embed(module, ids)

        def counted_image(image):
            self.pictures += not self.paused
            return encode_image(image)

        def counted_audio(clip):
            self.clips += not self.paused
            return encode_audio(clip)

        monkeypatch.setattr(text, "embed", counted_embed)
        monkeypatch.setattr(type(model), "encode_image", lambda _, image: counted_image(image))
        monkeypatch.setattr(type(model), "encode_audio", lambda _, clip: counted_audio(clip))
