"""Runs a prompt through the model in chunks, so that memory stays flat and it can be stopped."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from mlx_gemma4.cache import Cache
from mlx_gemma4.errors import PromptError
from mlx_gemma4.inputs import IMAGE, VIDEO, ImagePatches, ModelInputs, media_runs
from mlx_gemma4.model import Gemma4, block_ids

DEFAULT_CHUNK = 1024
Soft = Sequence[tuple[int, mx.array]]


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of a prompt has been read: ``done`` of ``total`` tokens."""

    done: int
    total: int


def prefill(
    model: Gemma4, inputs: ModelInputs, cache: Cache, *, chunk: int = DEFAULT_CHUNK
) -> Generator[Progress, None, mx.array]:
    """Encode the media of a prompt, then append all its tokens to ``cache``.

    Yields after each evaluation; closing the generator cancels, and leaves ``cache`` with whole
    chunks.

    Args:
        model: the model.
        inputs: the prompt, at least one token.
        cache: what came before; its offset is the position of the first token.
        chunk: most tokens run at once; a picture larger than that is still run in one piece.

    Returns:
        Hidden state of the last token [1, 1, hidden], evaluated.

    Raises:
        PromptError: the prompt is empty or does not fit the context of the model.
    """
    check_length(model, len(inputs), cache.offset)
    soft: list[tuple[int, mx.array]] = []
    for (start, _, _), item in zip(inputs.runs(), inputs.media, strict=True):
        picture = isinstance(item, ImagePatches)
        rows = model.encode_image(item) if picture else model.encode_audio(item)
        mx.eval(rows)
        soft.append((start, rows))
        yield Progress(0, len(inputs))
    return (yield from prefill_encoded(model, inputs.ids, inputs.token_types, soft, cache, chunk))


def prefill_encoded(
    model: Gemma4,
    ids: np.ndarray,
    token_types: np.ndarray,
    soft: Soft,
    cache: Cache,
    chunk: int = DEFAULT_CHUNK,
) -> Generator[Progress, None, mx.array]:
    """As ``prefill``, with media that are encoded already.

    Args:
        model: the model.
        ids: int [T].
        token_types: uint8 [T], see ``ModelInputs``.
        soft: (first position, soft tokens [n, hidden]) per media item, in order.
        cache: what came before.
        chunk: most tokens run at once.
    """
    blocks = block_ids(token_types)
    hidden: mx.array | None = None
    for start, stop in chunks(token_types, chunk):
        embedded = model.embed(ids[start:stop], soft_within(soft, start, stop))
        if stop < len(ids):
            model.extend(embedded, cache, blocks=blocks[start:stop])
            mx.eval(cache.arrays())
        else:
            hidden = model.prefill(embedded, cache, blocks=blocks[start:stop])
            mx.eval(hidden, cache.arrays())
        mx.clear_cache()
        yield Progress(stop, len(ids))
    assert hidden is not None, "check_length refuses an empty prompt"
    return hidden


def check_length(model: Gemma4, tokens: int, offset: int = 0) -> None:
    """Refuse a prompt that cannot be run.

    Raises:
        PromptError: it is empty, or prompt and one token of reply exceed the context.
    """
    limit = model.config.text.max_position_embeddings
    if tokens == 0:
        raise PromptError("The prompt is empty; give some text or a picture.")
    if offset + tokens >= limit:
        raise PromptError(
            f"The conversation takes {offset + tokens:,} tokens but this model reads at most "
            f"{limit:,}; shorten it, or attach fewer or smaller files."
        )


def chunks(token_types: np.ndarray, size: int) -> list[tuple[int, int]]:
    """Cut a prompt into pieces of at most ``size`` tokens, never inside a picture or video frame.

    The tokens of a picture see each other, so they must run in one pass; a picture longer than
    ``size`` makes a longer piece. Sound is causal and may be cut.
    """
    pictures = [(a, b) for a, b, kind in media_runs(token_types) if kind in (IMAGE, VIDEO)]
    total = len(token_types)
    pieces, start = [], 0
    while start < total:
        stop = min(start + max(size, 1), total)
        for first, last in pictures:
            if first < stop < last:
                stop = first if first > start else last
        pieces.append((start, stop))
        start = stop
    return pieces


def soft_within(soft: Soft, start: int, stop: int) -> list[tuple[int, mx.array]]:
    """The soft tokens at positions [start, stop), with positions counted from ``start``."""
    found = []
    for first, rows in soft:
        low, high = max(first, start), min(first + rows.shape[0], stop)
        if low < high:
            found.append((low - start, rows[low - first : high - first]))
    return found
