"""``--draft``: what verifying drafts costs and brings, at drafts of a known quality.

Random weights give no assistant anything to be right about. So the drafts are the plain reply with
a share of its tokens replaced: what is measured is the machinery (wider passes, rollback, the
decision to rest), not a drafter's talent.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np

from mlx_gemma4.bench.report import Cell, Figure, Section
from mlx_gemma4.bench.shapes import PACKING, SEED, random_model, with_tokenizer
from mlx_gemma4.bench.timing import random_prompt
from mlx_gemma4.cache import Cache
from mlx_gemma4.generate import Decoder, GenerateOptions
from mlx_gemma4.inputs import ModelInputs
from mlx_gemma4.model import Gemma4
from mlx_gemma4.prefill import prefill
from mlx_gemma4.processor import Processor
from mlx_gemma4.sampling import SamplingOptions
from mlx_gemma4.speculation import Drafts
from mlx_gemma4.speculation_pace import DraftCounts

QUALITIES = (0.0, 0.5, 0.8, 0.95)
_MOST = 4
_GREEDY = SamplingOptions(greedy=True)


class KnownReply:
    """Drafts a reply that is known, each token right with probability ``quality``."""

    most, price = _MOST, 0.0

    def __init__(self, reply: tuple[int, ...], quality: float) -> None:
        self._reply = reply
        right = np.random.default_rng(SEED).random(len(reply)) < quality
        self._drafts = [t if r else t + 1 for t, r in zip(reply, right, strict=True)]
        self._at = 0

    def start(self, model: Gemma4, prompt: np.ndarray, sampling: SamplingOptions) -> KnownReply:
        """Begin the reply."""
        del model, prompt, sampling
        self._at = 0
        return self

    def feed(self, token: int) -> None:
        """One more token is known."""
        del token
        self._at += 1

    def ready(self) -> bool:
        """Whether the reply goes on."""
        return self._at < len(self._reply)

    def propose(self, hidden: mx.array, cache: Cache, count: int) -> Drafts | None:
        """The next tokens of the reply, some of them wrong."""
        del hidden, cache
        following = self._drafts[self._at : self._at + count]
        return Drafts(mx.array(following), None) if following else None


@dataclass(frozen=True, slots=True)
class Run:
    """A decoded reply: its tokens, seconds after the first token, and what drafting did."""

    tokens: tuple[int, ...]
    seconds: float
    counts: DraftCounts


def drafts_section(config_json: dict[str, Any], *, prompt: int, decode: int) -> Section:
    """Decode one reply plainly and with drafts of several qualities.

    Args:
        config_json: of the model, run with packed random weights.
        prompt: tokens of the prompt.
        decode: tokens of the reply.
    """
    config_json, processor = with_tokenizer(config_json)
    model = random_model(config_json, mx.float32, PACKING)
    ids = random_prompt(prompt, model.config.text.vocab_size)
    ids[np.isin(ids, list(model.config.soft_token_ids))] = len(ids)
    inputs = ModelInputs(ids, np.zeros(len(ids), dtype=np.uint8), ())
    decoded(model, processor, inputs, 4, None)
    plain = decoded(model, processor, inputs, decode, None)
    rows = [_row("none", plain, plain)]
    runs = []
    for quality in QUALITIES:
        draft = KnownReply(plain.tokens, quality)
        runs.append(decoded(model, processor, inputs, decode, draft))
        rows.append(_row(f"{100 * quality:.0f} % right", runs[-1], plain))
    same = sum(run.tokens == plain.tokens for run in runs)
    figures = [
        Figure("greedy replies equal to plain decoding", same, len(runs), "least"),
        Figure("time with useless drafts over plain", runs[0].seconds / plain.seconds, 1.15),
        Figure("tokens per pass at the best drafts", _per_pass(runs[-1]), 2.0, "least"),
    ]
    settings = {
        "layers": model.config.text.num_hidden_layers,
        "prompt": prompt,
        "decoded": decode,
        "most drafts": _MOST,
        "weights": "random 4-bit affine, groups of 64, float32 constants",
        "seed": SEED,
    }
    notes = ["Drafts are the plain reply with the given share of its tokens left right."]
    return Section("Drafts verified in one pass", settings, rows, figures, notes)


def decoded(
    model: Gemma4,
    processor: Processor,
    inputs: ModelInputs,
    count: int,
    draft: KnownReply | None,
) -> Run:
    """Decode ``count`` tokens without stops."""
    options = GenerateOptions(count, sampling=_GREEDY, loop_guard=False, draft=draft)
    decoder = Decoder(model, processor.tokenizer, options, stops=False)
    cache = model.make_cache()
    steps = decoder.run(_last_hidden(prefill(model, inputs, cache)), cache, inputs.ids)
    tokens = [next(steps).token]
    start = time.perf_counter()
    tokens += [step.token for step in steps]
    return Run(tuple(tokens), time.perf_counter() - start, decoder.drafts)


def _last_hidden(steps: Any) -> mx.array:
    def run() -> Iterator[Any]:
        result.append((yield from steps))

    result: list[mx.array] = []
    for _ in run():
        pass
    return result[0]


def _per_pass(run: Run) -> float:
    return len(run.tokens) / (len(run.tokens) - run.counts.accepted)


def _row(name: str, run: Run, plain: Run) -> dict[str, Cell]:
    drafted = run.counts.drafted
    return {
        "drafts": name,
        "blocks per token": run.counts.blocks / len(run.tokens),
        "drafted": drafted,
        "accepted": f"{100 * run.counts.accepted / drafted:.0f} %" if drafted else "none",
        "tokens per pass": _per_pass(run),
        "tok/s": (len(run.tokens) - 1) / run.seconds,
        "time over plain": run.seconds / plain.seconds,
        "same greedy tokens": "yes" if run.tokens == plain.tokens else "no",
    }
