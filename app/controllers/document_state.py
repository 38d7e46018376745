"""A document as the window knows it: its record, its pages, and how fast pages are read."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.documents.types import ReadingDetail
from app.store.documents import DocumentRecord, PageRecord, PageState

# A prompt token costs about a twentieth of a generated one (research/performance.md); tiles are
# four pictures or more, and their overlap is read twice.
PROMPT_SHARE = 0.05
TILES = 4
TILE_OVERLAP = 1.3
TEXT_TOKENS = 400


@dataclass(slots=True)
class OpenDocument:
    """A document in memory.

    live: what the model has said of a page so far. arriving: pages that are read and being saved.
    job_id: the reading job under way, or empty. password: typed by the person, never stored.
    """

    record: DocumentRecord
    pages: list[PageRecord] = field(default_factory=list)
    live: dict[int, str] = field(default_factory=dict)
    arriving: dict[int, PageRecord] = field(default_factory=dict)
    job_id: str = ""
    password: str = ""

    @property
    def id(self) -> str:
        """The document's id."""
        return self.record.id

    @property
    def opened(self) -> bool:
        """Its pages are known."""
        return bool(self.pages)

    @property
    def wanted(self) -> tuple[int, ...]:
        """Pages the engine is to read, in order."""
        return tuple(page.page for page in self.pages if page.wanted)

    @property
    def done(self) -> int:
        """How many pages have a text."""
        return sum(page.state is PageState.DONE for page in self.pages)

    @property
    def unread(self) -> tuple[int, ...]:
        """Pages without a text that nobody has asked for."""
        idle = (PageState.NEW, PageState.FAILED)
        return tuple(page.page for page in self.pages if page.state in idle)

    def text(self, page: int) -> str:
        """What to show of a page: while it is read, what has come so far."""
        live = self.live.get(page)
        return live if live is not None else self.pages[page].shown


@dataclass(frozen=True, slots=True)
class Progress:
    """How far reading is: `done` of `total` wanted pages, seconds left (0: not known yet)."""

    done: int
    total: int
    seconds_left: float = 0.0


class Pace:
    """Seconds a page takes, learned from the pages the model has read."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._work = 0.0
        self._tokens = 0
        self._pages = 0

    def learn(self, page: PageRecord) -> None:
        """A page was read."""
        if page.source != "model" or not page.seconds or not page.detail:
            return
        self._pages += 1
        self._tokens += page.tokens
        self._seconds += page.seconds
        self._work += _work(ReadingDetail(page.detail), page.tokens)

    def seconds(self, detail: ReadingDetail) -> float:
        """About how long a page of this detail takes; 0 while none was read."""
        if not self._pages:
            return 0.0
        tokens = self._tokens / self._pages
        return _work(detail, tokens) * self._seconds / max(self._work, 1e-9)


def _work(detail: ReadingDetail, text_tokens: float) -> float:
    """Cost of a page in generated tokens."""
    tokens = text_tokens or TEXT_TOKENS
    budget = detail.soft_tokens or 280
    if detail is ReadingDetail.TILES:
        return TILES * budget * PROMPT_SHARE + tokens * TILE_OVERLAP
    return budget * PROMPT_SHARE + tokens
