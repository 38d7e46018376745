"""What was read against a PDF's own text layer, word by word: differences to look at.

Compared are letters and digits in their logical order, so Markdown's marks, line breaks, hyphens at
line ends, ligatures and the direction of writing make no difference.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from difflib import SequenceMatcher

MOST_WORDS = 12_000  # of each side
# Numbers with their points; single characters of scripts without spaces; other words.
_WORD = re.compile(
    r"\d+(?:[.,:/\u2019'\-]\d+)*|[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af]|[^\W_]+"
)
_HYPHEN = re.compile(r"(?<=\w)[-\u00ad\u2010]\s*\n\s*(?=[^\W\d_])")
_INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_TAG = re.compile(r"</?[a-zA-Z][^<>\n]{0,200}>")


@dataclass(frozen=True, slots=True)
class Difference:
    """kind: "changed", "extra" (only read) or "missing" (only in the layer).

    start, end: in the read text, in characters; equal for "missing".
    """

    kind: str
    read: str
    layer: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """agreement: share of words on both sides that have their partner, 0 to 1."""

    agreement: float
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class _Word:
    key: str
    shown: str
    start: int
    end: int


def compare(read: str, layer: str) -> CrossCheck:
    """Differences between what a model read and what the text layer says."""
    ours = _words(read)[:MOST_WORDS]
    theirs = _words(_HYPHEN.sub("", layer))[:MOST_WORDS]
    if not ours and not theirs:
        return CrossCheck(1.0)
    matcher = SequenceMatcher(
        None, [word.key for word in ours], [word.key for word in theirs], autojunk=False
    )
    matched = sum(block.size for block in matcher.get_matching_blocks())
    found: list[Difference] = []
    for tag, i, i_end, j, j_end in matcher.get_opcodes():
        if tag != "equal":
            found += _difference(read, ours, theirs[j:j_end], i, i_end)
    return CrossCheck(2 * matched / (len(ours) + len(theirs)), tuple(found))


def _words(text: str) -> list[_Word]:
    """Words with their places in `text`; tags and invisible characters are jumped over."""
    blank = _TAG.sub(lambda found: " " * len(found[0]), text)
    words = []
    for found in _WORD.finditer(_INVISIBLE.sub("_", blank)):
        key = unicodedata.normalize("NFKC", found[0]).casefold()
        words.append(_Word(key, found[0], found.start(), found.end()))
    return _joined(words, text)


def _joined(words: list[_Word], text: str) -> list[_Word]:
    """Pieces that only an invisible character parts are one word."""
    joined: list[_Word] = []
    for word in words:
        last = joined[-1] if joined else None
        between = text[last.end : word.start] if last else ""
        if last and between and not _INVISIBLE.sub("", between):
            joined[-1] = _Word(last.key + word.key, last.shown + word.shown, last.start, word.end)
        else:
            joined.append(word)
    return joined


def _difference(
    read: str, ours: list[_Word], theirs: list[_Word], start: int, end: int
) -> list[Difference]:
    """One stretch that differs; the same letters cut into words otherwise are no difference."""
    mine = ours[start:end]
    if "".join(word.key for word in mine) == "".join(word.key for word in theirs):
        return []
    layer = " ".join(word.shown for word in theirs)
    if not mine:
        at = ours[start - 1].end if start else 0
        return [Difference("missing", "", layer, at, at)]
    place = mine[0].start, mine[-1].end
    kind = "changed" if theirs else "extra"
    return [Difference(kind, read[place[0] : place[1]], layer, *place)]
