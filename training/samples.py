"""One training or evaluation item: a conversation of text, pictures and clips with its answers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from training import pictures, speech
from training.espeak import Span
from training.speech import Place
from training.tokenizer import encode, special, spell, token_words


@dataclass(frozen=True)
class Picture:
    """A picture as its patches, uint8 [P, 768]; `rows` counts rows of patches."""

    patches: np.ndarray
    rows: int
    video: bool = False

    @property
    def tokens(self) -> int:
        """Soft tokens it takes."""
        return self.patches.shape[0] // 9


@dataclass(frozen=True)
class Clip:
    """A sound clip as its log-mel frames [F, 128].

    For training also the word over each soft token, and the soft tokens over each word.
    """

    mel: np.ndarray
    words: np.ndarray
    places: tuple[Place, ...] = ()

    @property
    def tokens(self) -> int:
        """Soft tokens it takes."""
        return speech.token_count(self.mel.shape[0])


Part = str | Picture | Clip


@dataclass(frozen=True)
class Turn:
    """What the user sends and what the model shall answer; read text is spelled.

    `marks` says, for each token of the answer, which soft tokens of one picture or clip it is read
    from: bool [answer tokens, soft tokens]; `marked` is that one's number among the turn's media,
    -1 the last of an earlier turn, None where the answer repeats the (one) text: bool [answer
    tokens, text tokens]. `named` says which soft tokens each token of the text names: bool [text
    tokens, soft tokens].
    """

    parts: tuple[Part, ...]
    answer: str
    spelled: bool = False
    marks: np.ndarray | None = None
    marked: int | None = 0
    named: np.ndarray | None = None


@dataclass(frozen=True)
class Lookup:
    """Where a turn's answer is read from: places in the sequence, and the turn's own marks."""

    answer: int
    source: int
    marks: np.ndarray
    text: int
    named: np.ndarray | None


@dataclass
class Sequence:
    """Token ids, labels (-100 where nothing is learnt) and where soft tokens go."""

    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    media: list[tuple[int, Picture | Clip]] = field(default_factory=list)
    lookups: list[Lookup] = field(default_factory=list)

    def add(self, ids: list[int], learn: bool = False) -> None:
        """Append tokens; with `learn`, they are to be predicted."""
        self.ids += ids
        self.labels += ids if learn else [-100] * len(ids)

    def add_media(self, item: Picture | Clip) -> None:
        """Append the run of soft tokens of a medium between its delimiters."""
        if isinstance(item, Clip):
            begin, soft, end = "<|audio>", "<|audio|>", "<audio|>"
        else:
            begin, soft, end = "<|image>", "<|image|>", "<image|>"
            soft = "<|video|>" if item.video else soft
        self.add([special(begin)])
        self.media.append((len(self.ids), item))
        self.add([special(soft)] * item.tokens + [special(end)])


def picture(image: Image.Image, budget: int, video: bool = False) -> Picture:
    """A picture through the published resize rule."""
    resized = pictures.resize(image, budget)
    return Picture(pictures.patches(resized), resized.height // 16, video)


def clip(pcm: np.ndarray, words: tuple[Span, ...], begun: float) -> Clip:
    """A clip through the published front end; its words are spoken from `begun` seconds on."""
    mel = speech.mel(pcm)
    places = speech.word_places(words, begun, mel.shape[0])
    return Clip(mel, speech.word_labels(places, mel.shape[0]), places)


def heard_marks(heard: Clip, text: str) -> np.ndarray | None:
    """Marks of the transcript `text`; None where espeak-ng's words are not those of the text."""
    if len(heard.places) != len(text.split()):
        return None
    marks = [heard.places[index] for index in token_words(text)]
    token = np.arange(heard.tokens)
    return np.stack([(token >= first) & (token < last) for _, first, last in marks])


def sequence(turns: tuple[Turn, ...], generate: bool = False) -> Sequence:
    """The published chat form of `turns`; with `generate`, it ends where the model goes on."""
    out = Sequence()
    out.add([special("<bos>")])
    newline = encode("\n")
    for index, turn in enumerate(turns):
        seen, text = len(out.media), 0
        out.add([special("<|turn>"), *encode("user\n")])
        for part in turn.parts:
            if isinstance(part, str):
                text = len(out.ids)
                out.add(encode(part))
            else:
                out.add_media(part)
        out.add([special("<turn|>"), *newline, special("<|turn>"), *encode("model\n")])
        if generate and index == len(turns) - 1:
            break
        answer = spell(turn.answer) if turn.spelled else encode(turn.answer)
        if turn.marks is not None:
            source = text if turn.marked is None else out.media[seen + turn.marked][0]
            out.lookups.append(Lookup(len(out.ids), source, turn.marks, text, turn.named))
        out.add([*answer, special("<turn|>")], learn=True)
        out.add(newline)
    return out
