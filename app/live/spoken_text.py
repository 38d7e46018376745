"""From a streamed reply to pieces worth speaking: first a clause, then sentences.

Each piece remembers which characters of the reply it covers, so that an interrupted reply can be
cut to what was heard. Markdown marks, code, links and pictures are not read out.
"""

import re
from dataclasses import dataclass

_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s)|[。！？]|\n")
_CLAUSE_END = re.compile(r"[,;:](?=\s)|\s[–—-](?=\s)|[，、；：]")
_ABBREVIATION = re.compile(
    r"(?:\b(?:[A-Za-z]|Dr|Mr|Mrs|Ms|St|No|vs|etc|e\.g|i\.e|z\.B|bzw|ca|Nr|usw)|\d)\.$"
)
_LONGEST = 300
"""Characters after which a piece is cut at a space even without punctuation."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Text to speak, made from `raw`, the characters [start, start + len(raw)) of the reply."""

    text: str
    start: int
    raw: str

    @property
    def stop(self) -> int:
        """Where the next piece begins in the reply."""
        return self.start + len(self.raw)

    def reach(self, words: int) -> int:
        """Characters of the reply that are out after `words` spoken words, cut between words.

        Marks that are not read out make more words in `raw` than in `text`: then it is scaled.
        """
        ends = [match.end() for match in re.finditer(r"\S+", self.raw)]
        spoken = len(self.text.split())
        count = round(words * len(ends) / spoken) if spoken else 0
        return self.start + ends[min(count, len(ends)) - 1] if count else self.start


class SpeechSplitter:
    """Takes reply text as it streams in and gives pieces as soon as they are whole."""

    def __init__(self, first_words: int = 3) -> None:
        self._first_words = first_words
        self._text = ""
        self._at = 0
        self._spoke = False
        self._in_code = False

    def feed(self, delta: str) -> list[Piece]:
        """Add reply text; gives the pieces that became complete."""
        self._text += delta
        pieces = []
        while (stop := self._next_stop()) is not None:
            pieces += self._take(stop)
        return pieces

    def finish(self) -> list[Piece]:
        """The reply is over: the rest is a piece of its own."""
        return self._take(len(self._text)) if self._at < len(self._text) else []

    def _next_stop(self) -> int | None:
        rest = self._text[self._at :]
        if rest.startswith("```"):
            end = rest.find("```", 3)
            return self._at + end + 3 if end >= 0 else None
        fence = rest.find("```")
        seen = rest[:fence] if fence > 0 else rest
        stop = self._sentence_stop(seen)
        if stop is None and not self._spoke:
            stop = self._clause_stop(seen)
        if stop is None and fence > 0:
            stop = fence
        if stop is None and len(seen) > _LONGEST:
            stop = seen.rfind(" ", 0, _LONGEST) + 1 or _LONGEST
        return None if stop is None else self._at + stop

    def _sentence_stop(self, text: str) -> int | None:
        for match in _SENTENCE_END.finditer(text):
            ends_sentence = match.group()[0] != "." or not _ABBREVIATION.search(
                text[: match.start() + 1]
            )
            if ends_sentence:
                return match.end()
        return None

    def _clause_stop(self, text: str) -> int | None:
        for match in _CLAUSE_END.finditer(text):
            if len(speakable(text[: match.end()]).split()) >= self._first_words:
                return match.end()
        return None

    def _take(self, stop: int) -> list[Piece]:
        start, self._at = self._at, stop
        text = speakable(self._text[start:stop])
        if not re.search(r"\w", text):
            return []
        self._spoke = True
        return [Piece(text, start, self._text[start:stop])]


_CLEANERS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"```.*?(?:```|$)", re.S), " "),
    (re.compile(r"!\[[^\]]*\]\([^)]*\)"), " "),
    (re.compile(r"\[([^\]]+)\]\([^)]*\)"), r"\1"),
    (re.compile(r"<[^>\s][^>]*>"), " "),
    (re.compile(r"(?:https?://|www\.)\S*[^\s.,;:!?)]"), " "),
    (re.compile(r"\$\$.*?\$\$", re.S), " "),
    (re.compile(r"^\s{0,3}#{1,6}\s+", re.M), ""),
    (re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+", re.M), ""),
    (re.compile(r"^\s*\|?[\s:|-]*-{3,}[\s:|-]*$", re.M), ""),
    (re.compile(r"[*_~`|#>]+"), " "),
    (re.compile(r"[\U0001F000-\U0001FAFF\u2600-\u27BF\uFE0F\u200D]"), " "),
    (re.compile(r"\s+"), " "),
    (re.compile(r"\s+([,.;:!?])"), r"\1"),
)


def speakable(text: str) -> str:
    """The words of a piece of Markdown, without marks, code, addresses and emoji."""
    for pattern, replacement in _CLEANERS:
        text = pattern.sub(replacement, text)
    return text.strip()
