"""The model under training, its throw-away heads, and a starting point that learns fast."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.gemma4 import Gemma4ForConditionalGeneration

from training import config
from training.phrases import vocabulary
from training.shapes import COLOURS, NUMBERS, RELATIONS, SHAPES
from training.tokenizer import CHARACTERS

BLANK = 0
POOL = 3
LINES = 8
"""Of a page, at most."""
BINS = 50
"""Of a corner's place: the decoder writes digits, so it must tell places apart, not add them up."""
BOX = 8.0
"""Weight of the mean error of boxes, in picture sizes; at 2 it stayed at a tenth of the picture."""


def _soften_attention(model: nn.Module) -> None:
    """Start q and k norms at d^-1/4: scores have scale 1 here, so unit norms would be peaky."""
    for name, weight in model.named_parameters():
        if name.endswith(("q_norm.weight", "k_norm.weight")):
            nn.init.constant_(weight, weight.shape[0] ** -0.25)


def _spread_positions(table: Tensor) -> None:
    """Start the position table as sines of both axes, so that far positions are never noise."""
    _, count, width = table.shape
    place = torch.arange(count)[:, None].float()
    rate = torch.exp(-math.log(2000.0) * torch.arange(width // 4) / (width // 4))
    wave = torch.cat([torch.sin(place * rate), torch.cos(place * rate)], dim=-1)
    with torch.no_grad():
        table.zero_()
        table[0, :, : width // 2] = 0.15 * wave
        table[1, :, width // 2 :] = 0.15 * wave


def build() -> Gemma4ForConditionalGeneration:
    """A fresh model with seeded weights."""
    torch.manual_seed(config.SEED)
    settings = config.model_config()
    model = Gemma4ForConditionalGeneration._from_config(settings, attn_implementation="eager")  # noqa: SLF001
    _soften_attention(model)
    _spread_positions(model.model.vision_tower.patch_embedder.position_embedding_table)
    return model


class ColumnReader(nn.Module):
    """Reads the columns of the vision tower's patch features: two frames per 16 px column."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.VISION_WIDTH)
        self.head = nn.Linear(config.VISION_WIDTH, 2 * CHARACTERS)

    def forward(self, features: Tensor, rows: int) -> Tensor:
        """Patch features [B, rows·columns, H] to log-probabilities [2·columns, B, V]."""
        batch, count, width = features.shape
        columns = features.reshape(batch, rows, count // rows, width).float().mean(dim=1)
        scores = self.head(self.norm(columns)).reshape(batch, -1, CHARACTERS)
        return scores.log_softmax(dim=-1).transpose(0, 1)


class TokenReader(nn.Module):
    """Reads the columns of projected soft tokens: six frames per token of 48 px.

    Pooling averages three columns of patches; this head asks that the average still tells which
    letter stood where, as the decoder sees nothing else.
    """

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(config.TEXT_WIDTH, 2 * POOL * CHARACTERS)

    def forward(self, soft: Tensor, rows: int) -> Tensor:
        """Soft tokens [B, rows·columns, D] to log-probabilities [6·columns, B, V]."""
        batch, count, width = soft.shape
        columns = soft.reshape(batch, rows, count // rows, width).float().mean(dim=1)
        scores = self.head(columns).reshape(batch, -1, CHARACTERS)
        return scores.log_softmax(dim=-1).transpose(0, 1)


class CellReader(nn.Module):
    """Says of each projected soft token which colour and shape lies there, and in which box.

    Also what the thing there is left of, right of, above or below, how many things there are, its
    place from the left and where its middle is: the tower sees the whole picture at once, so the
    decoder need only look it up. Of a soft token over a side of a box it says where that side is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.colour = nn.Linear(config.TEXT_WIDTH, len(COLOURS) + 1)
        self.shape = nn.Linear(config.TEXT_WIDTH, len(SHAPES) + 1)
        self.box = nn.Linear(config.TEXT_WIDTH, 4)
        self.sides = nn.Linear(config.TEXT_WIDTH, len(RELATIONS))
        self.count = nn.Linear(config.TEXT_WIDTH, len(NUMBERS))
        self.place = nn.Linear(config.TEXT_WIDTH, len(NUMBERS))
        self.middle = nn.Linear(config.TEXT_WIDTH, 1)
        self.corners = nn.Linear(config.TEXT_WIDTH, 4 * BINS)

    def loss(self, soft: Tensor, cells: Tensor) -> Tensor:
        """Cross-entropy for soft tokens [B, n, D] and labels [B, n, CELL_LABELS].

        Empty cells count less; the others are asked where a shape lies.
        """
        total = torch.zeros(())
        for index, head in enumerate((self.colour, self.shape)):
            scores = head(soft.float())
            weight = torch.ones(scores.shape[-1])
            weight[0] = 0.3
            total = total + F.cross_entropy(
                scores.flatten(0, 1), cells[..., index].flatten().long(), weight
            )
        edges = cells[..., -4:]
        known = edges > 0
        if known.any():
            bins = ((edges[known] - 1) * BINS).long().clamp(0, BINS - 1)
            places = self.corners(soft.float()).unflatten(-1, (4, BINS))
            total = total + F.cross_entropy(places[known], bins)
        there = cells[..., 0] > 0
        if not there.any():
            return total
        soft, cells = soft[there].float(), cells[there]
        told = cells[:, 2:-4].split([4, len(RELATIONS), 1, 1, 1], dim=-1)
        box, sides, count, place, middle = told
        total = total + BOX * (self.box(soft) - box).abs().mean()
        clear = (sides >= 0).float()
        wrong = F.binary_cross_entropy_with_logits(
            self.sides(soft), sides.clamp(min=0), clear, reduction="sum"
        )
        total = total + wrong / clear.sum().clamp(min=1)
        total = total + F.binary_cross_entropy_with_logits(self.middle(soft), middle)
        total = total + F.cross_entropy(self.place(soft), place[:, 0].long())
        return total + F.cross_entropy(self.count(soft), count[:, 0].long())


class PlaceReader(nn.Module):
    """Says of each projected soft token where in the picture it is, and on which line of a page.

    The decoder sees one row of tokens after another and not how long a row is: without this it
    reads a line twice or leaves one out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.here = nn.Linear(config.TEXT_WIDTH, 2)
        self.line = nn.Linear(config.TEXT_WIDTH, LINES)

    def loss(self, soft: Tensor, rows: int, lines: Tensor | None) -> Tensor:
        """Mean error of places of soft tokens [B, n, D], and cross-entropy of their lines [B, n].

        Lines are numbered from 1; 0 is none and not asked.
        """
        columns = soft.shape[1] // rows
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        places = torch.stack([(y + 0.5) / rows, (x + 0.5) / columns], dim=-1).flatten(0, 1)
        total = BOX * (self.here(soft.float()) - places).abs().mean()
        if lines is None:
            return total
        on_line = lines > 0
        return total + F.cross_entropy(self.line(soft[on_line].float()), lines[on_line] - 1)


class WordReader(nn.Module):
    """Says of each projected soft token of a clip which word was just heard."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(config.TEXT_WIDTH, len(vocabulary()) + 1)

    def loss(self, soft: Tensor, words: Tensor) -> Tensor:
        """Cross-entropy for soft tokens [n, D] and labels [n]; silence counts less."""
        weight = torch.ones(self.head.out_features)
        weight[0] = 0.3
        return F.cross_entropy(self.head(soft.float()), words, weight)


class Trainee(nn.Module):
    """The model with its throw-away heads; one state dict for checkpoints."""

    def __init__(self) -> None:
        super().__init__()
        self.model = build()
        self.columns = ColumnReader()
        self.words = WordReader()
        self.tokens = TokenReader()
        self.cells = CellReader()
        self.places = PlaceReader()

    def patch_features(self, pixels: Tensor, positions: Tensor) -> Tensor:
        """Unpooled features [B, P, H] of the vision tower for uint8 patches [B, P, 768]."""
        tower = self.model.model.vision_tower
        padding = torch.zeros(positions.shape[:2], dtype=torch.bool)
        embedded = tower.patch_embedder(pixels.float() / 255, positions, padding)
        return tower.encoder(
            inputs_embeds=embedded, attention_mask=None, pixel_position_ids=positions
        ).last_hidden_state

    def soft_tokens(self, features: Tensor, rows: int) -> Tensor:
        """Pooled and projected vision features [B, n, D]; the tower's own pooling, unpadded."""
        batch, count, width = features.shape
        columns = count // rows
        grid = features.reshape(batch, rows // POOL, POOL, columns // POOL, POOL, width)
        pooled = grid.float().mean(dim=(2, 4)).reshape(batch, -1, width) * width**0.5
        return self.model.model.embed_vision(pooled)


def column_loss(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the columns' characters; the many empty columns count less."""
    weight = torch.ones(CHARACTERS)
    weight[BLANK] = 0.3
    return F.nll_loss(log_probabilities.permute(1, 2, 0), labels, weight=weight)


def resume(trainee: Trainee, optimizer: torch.optim.Optimizer, path: Path, committed: Path) -> int:
    """Load the training checkpoint at `path`, or else the committed weights; the step reached."""
    if path.exists():
        stored = torch.load(path)
        trainee.load_state_dict(stored["weights"], strict=False)
        if "optimizer" in stored:
            optimizer.load_state_dict(stored["optimizer"])
        return stored["step"]
    weights = committed / "model.safetensors"
    if weights.exists():
        stored = {name: value.float() for name, value in load_file(weights).items()}
        missing, _ = trainee.model.load_state_dict(stored, strict=False)
        if set(missing) - {"lm_head.weight"}:
            raise ValueError(f"{weights} does not fit config.py: it lacks {missing[:3]}")
    return 0


def save(trainee: Trainee, path: Path, extra: dict) -> None:
    """Write a training checkpoint so that a kill at any moment leaves a whole one."""
    draft = path.with_suffix(".part")
    weights = {k.replace("_orig_mod.", ""): v for k, v in trainee.state_dict().items()}
    torch.save({"weights": weights, **extra}, draft)
    draft.replace(path)
