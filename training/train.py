"""Train the demo checkpoint: `python -m training.train WORK [--minutes M]`.

WORK holds the training checkpoint; a run goes on from the newest one, or else
from the committed weights. A mixture names the tasks of a stage: "letters" and "sounds" teach one
tower alone through its throw-away head, the others train everything together.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from training import config, network, speedup
from training.batches import REUSE, Batch, Stream
from training.focus import Looks, watched
from training.network import Trainee
from training.pantry import Pantry
from training.tokenizer import special

HEADS_ONLY = ("letters", "sounds", "towers")
LOOKING = 0.5
"""Weight of the attention lessons, the same as that of the throw-away heads; never tuned."""
FIRST = 80
"""Batches encoded before the first step on kept items, so that none is used often at the start."""
MIXTURES = {
    "letters": {"crop": 1.0},
    "sounds": {"hearing": 1.0},
    "towers": {"crop": 0.5, "line": 0.15, "small": 0.2, "see": 0.15},
    "early": {"small": 0.45, "crop": 0.3, "chat": 0.25},
    "seeing": {"small": 0.65, "see": 0.13, "chat": 0.22},
    "sound": {
        "small": 0.12,
        "see": 0.18,
        "chat": 0.12,
        "hearing": 0.3,
        "small live": 0.1,
        "live": 0.14,
        "small voice": 0.04,
    },
    "reading": {
        "crop": 0.45,
        "line": 0.1,
        "small": 0.1,
        "see": 0.1,
        "hearing": 0.1,
        "live": 0.1,
        "chat": 0.05,
    },
    "main": {
        "line": 0.28,
        "crop": 0.02,
        "card": 0.1,
        "small": 0.06,
        "see": 0.19,
        "box": 0.05,
        "hearing": 0.07,
        "small live": 0.02,
        "live": 0.05,
        "video": 0.01,
        "chat": 0.1,
        "sums": 0.05,
    },
    "pages": {
        "line": 0.24,
        "crop": 0.02,
        "card": 0.16,
        "small": 0.05,
        "see": 0.16,
        "box": 0.09,
        "hearing": 0.06,
        "small live": 0.01,
        "live": 0.06,
        "voice": 0.02,
        "video": 0.02,
        "chat": 0.07,
        "sums": 0.05,
    },
    "first": {
        "line": 0.3,
        "crop": 0.02,
        "card": 0.04,
        "small": 0.06,
        "see": 0.24,
        "box": 0.03,
        "hearing": 0.12,
        "live": 0.1,
        "voice": 0.02,
        "video": 0.02,
        "chat": 0.04,
        "sums": 0.01,
    },
    "second": {
        "page": 0.38,
        "line": 0.1,
        "card": 0.06,
        "small": 0.03,
        "see": 0.12,
        "box": 0.08,
        "hearing": 0.07,
        "live": 0.05,
        "small video": 0.02,
        "video": 0.02,
        "chat": 0.02,
        "echo": 0.01,
        "sums": 0.04,
    },
    "last": {
        "page": 0.34,
        "relation": 0.11,
        "see": 0.15,
        "line": 0.09,
        "box": 0.07,
        "hearing": 0.08,
        "live": 0.06,
        "video": 0.03,
        "chat": 0.03,
        "echo": 0.02,
        "sums": 0.02,
    },
    "relations": {
        "relation": 0.32,
        "see": 0.22,
        "line": 0.11,
        "card": 0.03,
        "box": 0.04,
        "hearing": 0.1,
        "live": 0.08,
        "voice": 0.02,
        "video": 0.02,
        "chat": 0.04,
        "sums": 0.02,
    },
}


@dataclass
class Meter:
    """Running means per task, printed now and then."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, task: str, loss: float, right: float) -> None:
        """Take in one batch: its loss and its share of right next tokens."""
        old = self.values.setdefault(task, [loss, right, 0])
        keep = min(0.9, old[2] / (old[2] + 1))
        old[0] = keep * old[0] + (1 - keep) * loss
        old[1] = keep * old[1] + (1 - keep) * right
        old[2] += 1

    def line(self) -> str:
        """All tasks as 'task loss/right'."""
        parts = [f"{k} {v[0]:.3f}/{v[1] * 100:.0f}%" for k, v in sorted(self.values.items())]
        return "  ".join(parts)


def soft_features(trainee: Trainee, batch: Batch) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """Soft tokens with their places, and the auxiliary loss of the throw-away heads."""
    found = []
    extra = torch.zeros(())
    if batch.pixels is not None:
        features = trainee.patch_features(batch.pixels, batch.positions)
        soft = trainee.soft_tokens(features, batch.rows)
        found.append((batch.picture_slots, soft.flatten(0, 1)))
        extra = extra + 0.5 * trainee.places.loss(soft, batch.rows // network.POOL, batch.lines)
        if batch.cells is not None:
            extra = extra + 0.5 * trainee.cells.loss(soft, batch.cells)
        if batch.letters is not None:
            over_patches, over_tokens = batch.letters
            for read, seen, letters in (
                (trainee.columns, features, over_patches),
                (trainee.tokens, soft, over_tokens),
            ):
                by_row = letters.flatten(0, 1)
                strips = seen.reshape(len(by_row), -1, seen.shape[-1])
                extra = extra + 0.5 * network.column_loss(read(strips, rows=1), by_row)
        if batch.columns is not None:
            for read in (
                trainee.columns(features, batch.rows),
                trainee.tokens(soft, batch.rows // network.POOL),
            ):
                extra = extra + 0.5 * network.column_loss(read, batch.columns)
    if batch.mel is not None:
        inner = trainee.model.model
        out = inner.audio_tower(batch.mel, batch.mel_mask)
        frames, valid = out.last_hidden_state, out.attention_mask
        soft = inner.embed_audio(frames)[valid]
        found.append((batch.clip_slots, soft))
        extra = extra + 0.5 * trainee.words.loss(soft, batch.words)
    return found, extra


def decoder_logits(trainee: Trainee, batch: Batch, soft: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Logits [B·T', V] at the places whose next token is learnt."""
    decoder = trainee.model.model.language_model
    plain = batch.ids
    for name in ("<|image|>", "<|audio|>", "<|video|>"):
        plain = torch.where(plain == special(name), special("<pad>"), plain)
    embedded = decoder.embed_tokens(plain)
    flat = embedded.flatten(0, 1)
    for slots, features in soft:
        flat = flat.index_copy(0, slots, features.to(flat.dtype))
    hidden = decoder(
        inputs_embeds=flat.view_as(embedded),
        per_layer_inputs=decoder.get_per_layer_inputs(plain),
        use_cache=False,
    ).last_hidden_state
    wanted = batch.labels[:, 1:] != -100
    scores = hidden[:, :-1][wanted].float() @ decoder.embed_tokens.weight.float().T
    return 30 * torch.tanh(scores / 30)


@dataclass
class Lesson:
    """What one batch gave: next-token loss, the heads' losses, share of right next tokens."""

    task: str
    loss: Tensor
    heads: Tensor
    right: float


def tower_lesson(trainee: Trainee, batch: Batch) -> Lesson:
    """The throw-away heads alone: first lessons for the towers."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, extra = soft_features(trainee, batch)
    return Lesson(batch.task, extra.detach() * 0, extra, 0.0)


def joint_lesson(trainee: Trainee, looks: Looks, batch: Batch) -> Lesson:
    """Towers and decoder together."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        soft, extra = soft_features(trainee, batch)
    lesson = decoder_lesson(trainee, looks, batch, soft)
    lesson.heads = lesson.heads + extra
    return lesson


def decoder_lesson(
    trainee: Trainee, looks: Looks, batch: Batch, soft: list[tuple[Tensor, Tensor]]
) -> Lesson:
    """The decoder on soft tokens that are given."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = decoder_logits(trainee, batch, soft)
    labels = batch.labels[:, 1:]
    goal = labels[labels != -100]
    right = (logits.argmax(dim=-1) == goal).float().mean().item()
    taught = batch.focus is not None and batch.focus.any()
    extra = LOOKING * looks.loss(batch.focus) if taught else torch.zeros(())
    return Lesson(batch.task, F.cross_entropy(logits.float(), goal), extra, right)


def _groups(trainee: Trainee) -> list[dict]:
    """Towers learn at half the rate of the decoder, places fast; norms and scalars do not decay.

    The table of places starts faint beside what the patches show; at the rate of the tower it
    stayed so for 15,000 steps, and soft tokens told their own row to one of fourteen at best.
    """
    groups: dict[tuple[float, float], list] = {}
    for name, weight in trainee.named_parameters():
        rate = 8.0 if "position_embedding_table" in name else 0.6 if "tower" in name else 1.0
        decay = 0.02 if weight.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(weight)
    return [
        {"params": weights, "scale": rate, "weight_decay": decay}
        for (rate, decay), weights in groups.items()
    ]


def learning_rate(elapsed: float, total: float, top: float, step: int) -> float:
    """Warm up over 100 steps, then fall along a cosine of the wall clock to 3 %."""
    part = min(1.0, elapsed / total)
    return top * min(1.0, (step + 1) / 100) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * part)))


def _lessons(
    options: argparse.Namespace, trainee: Trainee, looks: Looks, batches: Iterator[Batch]
) -> Iterator[Lesson]:
    """One lesson after another, of the kind that the options ask for."""
    if options.still:
        yield from _kept_lessons(options, trainee, looks, batches)
    for batch in batches:
        if options.mixture in HEADS_ONLY:
            yield tower_lesson(trainee, batch)
        else:
            yield joint_lesson(trainee, looks, batch)


def _kept_lessons(
    options: argparse.Namespace, trainee: Trainee, looks: Looks, batches: Iterator[Batch]
) -> Iterator[Lesson]:
    """Lessons of the decoder on kept soft tokens, while the towers stand still.

    Every `still` lessons the kept items grow by `fresh` batches: with too few of them the decoder
    learns them by heart (at seven uses of each it knew 98 % of them and a fifth of new ones).
    """
    rng = random.Random(config.SEED)
    pantry = Pantry(rng, options.tokens)
    shares = MIXTURES[options.mixture]
    fresh = FIRST
    while True:
        for batch in islice(batches, fresh):
            with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
                soft, _ = soft_features(trainee, batch)
            pantry.add(batch, soft)
        fresh = options.fresh
        for _ in range(options.still):
            drawn = pantry.draw(rng.choices(tuple(shares), tuple(shares.values()))[0])
            if drawn is not None:
                yield decoder_lesson(trainee, looks, *drawn)


def train(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    trainee = Trainee()
    optimizer = torch.optim.AdamW(_groups(trainee), lr=options.rate, betas=(0.9, 0.98))
    path = options.work / "joint.pt"
    start = network.resume(trainee, optimizer, path, options.weights)
    seed = start + int(time.time())
    reuse = 1 if options.still else REUSE
    stream = Stream(MIXTURES[options.mixture], seed, options.patches, reuse)
    loader = iter(
        DataLoader(stream, batch_size=None, num_workers=options.workers, prefetch_factor=4)
    )
    begun = saved = time.monotonic()
    meter, step = Meter(), start
    decoder = trainee.model.model.language_model
    with speedup.compiled(trainee.model), watched(decoder.layers) as looks:
        lessons = _lessons(options, trainee, looks, loader)
        while (elapsed := time.monotonic() - begun) < options.minutes * 60:
            rate = learning_rate(
                elapsed + options.offset * 60,
                (options.minutes + options.offset) * 60,
                options.rate,
                step,
            )
            for group in optimizer.param_groups:
                group["lr"] = rate * group["scale"]
            optimizer.zero_grad()
            for _ in range(options.accumulate):
                lesson = next(lessons)
                ((lesson.loss + lesson.heads) / options.accumulate).backward()
                meter.add(lesson.task, lesson.loss.item(), lesson.right)
                if lesson.heads.item():
                    meter.add(f"{lesson.task} head", lesson.heads.item(), 0)
            torch.nn.utils.clip_grad_norm_(trainee.parameters(), 1.0)
            optimizer.step()
            step += 1
            if step % 20 == 0:
                print(f"{step} {elapsed:.0f}s lr {rate:.1e}  {meter.line()}", flush=True)
            if time.monotonic() - saved > 120:
                network.save(trainee, path, {"step": step, "optimizer": optimizer.state_dict()})
                saved = time.monotonic()
    network.save(trainee, path, {"step": step, "optimizer": optimizer.state_dict()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--weights", type=Path, default=Path("assets/demo-model"))
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--offset", type=float, default=0)
    parser.add_argument("--mixture", choices=tuple(MIXTURES), default="main")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--patches", type=int, default=16 * 594)
    parser.add_argument("--accumulate", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    still = "towers stand still; this many decoder steps on kept items for each --fresh batches"
    parser.add_argument("--still", type=int, default=0, help=still)
    parser.add_argument("--fresh", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=6400, help="of a step with --still")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
