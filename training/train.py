"""Train the demo checkpoint: `python -m training.train WORK [--minutes M]`.

WORK holds the training checkpoint; a run goes on from the newest one, or else
from the committed weights. A mixture names the tasks of a stage: "letters" and "sounds" teach one
tower alone through its throw-away head, the others train everything together.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from training import network, speedup
from training.batches import Batch, Stream
from training.network import Trainee
from training.tokenizer import special

HEADS_ONLY = ("letters", "sounds")
MIXTURES = {
    "letters": {"crop": 1.0},
    "sounds": {"hearing": 1.0},
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
        "line": 0.22,
        "crop": 0.12,
        "small": 0.12,
        "see": 0.12,
        "hearing": 0.14,
        "live": 0.14,
        "voice": 0.05,
        "chat": 0.07,
        "card": 0.02,
    },
    "late": {
        "line": 0.2,
        "crop": 0.05,
        "small": 0.05,
        "see": 0.14,
        "hearing": 0.1,
        "live": 0.16,
        "voice": 0.05,
        "chat": 0.06,
        "card": 0.09,
        "box": 0.05,
        "video": 0.05,
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
        if batch.cells is not None:
            extra = extra + 0.5 * trainee.cells.loss(soft, batch.cells)
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


def losses(
    trainee: Trainee, batch: Batch, heads_only: bool = False
) -> tuple[Tensor, Tensor, float]:
    """Next-token loss, auxiliary loss, share of right next tokens.

    With `heads_only` the decoder is left out: first lessons for one tower.
    """
    with torch.autocast("cpu", dtype=torch.bfloat16):
        soft, extra = soft_features(trainee, batch)
        if heads_only:
            return extra.detach() * 0, extra, 0.0
        logits = decoder_logits(trainee, batch, soft)
    labels = batch.labels[:, 1:]
    goal = labels[labels != -100]
    right = (logits.argmax(dim=-1) == goal).float().mean().item()
    return F.cross_entropy(logits.float(), goal), extra, right


def _groups(trainee: Trainee) -> list[dict]:
    """Towers learn at half the rate of the decoder; norms and scalars do not decay."""
    groups: dict[tuple[float, float], list] = {}
    for name, weight in trainee.named_parameters():
        rate = 0.6 if "tower" in name else 1.0
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


def train(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    trainee = Trainee()
    optimizer = torch.optim.AdamW(_groups(trainee), lr=options.rate, betas=(0.9, 0.98))
    path = options.work / "joint.pt"
    start = network.resume(trainee, optimizer, path, options.weights)
    stream = Stream(MIXTURES[options.mixture], start + int(time.time()), options.patches)
    loader = iter(
        DataLoader(stream, batch_size=None, num_workers=options.workers, prefetch_factor=4)
    )
    begun = saved = time.monotonic()
    meter, step = Meter(), start
    heads_only = options.mixture in HEADS_ONLY
    with speedup.compiled(trainee.model):
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
                batch = next(loader)
                loss, extra, right = losses(trainee, batch, heads_only)
                ((loss + extra) / options.accumulate).backward()
                meter.add(batch.task, loss.item() + extra.item() * heads_only, right)
                if extra.item():
                    meter.add(f"{batch.task} head", extra.item(), 0)
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
    train(parser.parse_args())


if __name__ == "__main__":
    main()
