"""A page on its way to the model: measured, drawn, cut into tiles, compared with its text layer.

Runs beside the MLX thread: everything here waits for the worker that opens foreign files.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from app.core.commands import ReadDocument
from app.core.events import PageDifference, PageFinished, PageLine
from app.documents.checks import check_text
from app.documents.crosscheck import compare
from app.documents.host import DocumentHost
from app.documents.order import reordered, right_to_left
from app.documents.prompts import ReadingTask
from app.documents.stitch import stitch_page
from app.documents.tiles import TilePlan, plan
from app.documents.types import (
    Box,
    DocumentError,
    PageFacts,
    PageLayer,
    PagePart,
    PagePicture,
    ReadingDetail,
)
from app.engine.page_lines import (
    layer_is_good,
    layer_markdown,
    layer_places,
    layer_text,
    places,
)

MOST_DIFFERENCES = 200
_NO_LAYER = PageLayer()


@dataclass(frozen=True, slots=True)
class LoadedPage:
    """Everything about a page but what the model says.

    pictures: one, or one for each tile; empty where the text layer is used or there is a problem.
    layer: the PDF's own text, empty where there is none or it is not asked for. shape:
    width and height of the page in one unit, letter_height in the same.
    """

    page: int
    detail: ReadingDetail = ReadingDetail.NORMAL
    pictures: tuple[PagePicture, ...] = ()
    layer: PageLayer = _NO_LAYER
    use_layer: bool = False
    segments: tuple[Box, ...] = ()
    tiles: TilePlan | None = None
    shape: tuple[float, float] = (1.0, 1.0)
    letter_height: float = 0.0
    problem: DocumentError | None = None
    seconds: float = 0.0

    @property
    def soft_tokens(self) -> int:
        """The budget of one picture."""
        return self.detail.soft_tokens or 0

    def from_layer(self, job_id: str) -> PageFinished:
        """The page as the PDF's own text has it."""
        return PageFinished(
            job_id,
            self.page,
            layer_markdown(self.layer),
            seconds=self.seconds,
            source="layer",
            lines=layer_places(self.layer.all_lines),
        )

    def finished(
        self,
        job_id: str,
        texts: Sequence[str],
        ends: Sequence[str],
        tokens: int,
        seconds: float,
    ) -> PageFinished:
        """The page as the model read it: stitched, looked through, compared with the text layer.

        Args:
            job_id: of the job.
            texts: of the picture, or of each tile.
            ends: why each of them ended: "stop", "length" or "loop".
            tokens: generated in all.
            seconds: from the first look to the last word.
        """
        stitched = stitch_page(texts, self.tiles)
        text = stitched.text.strip()
        problems = check_text(text, complete=all(end == "stop" for end in ends))
        notices = [problem.message for problem in problems]
        if stitched.doubtful:
            notices.append("The parts of this page could not be joined with certainty.")
        return PageFinished(
            job_id,
            self.page,
            text,
            tokens=tokens,
            seconds=seconds,
            notices=tuple(dict.fromkeys(notices)),
            detail=self.detail.value,
            incomplete=any(problem.kind in ("loop", "cut") for problem in problems),
            differences=self._differences(text),
            lines=self._places(text),
        )

    def _differences(self, text: str) -> tuple[PageDifference, ...]:
        if not self.layer.all_lines:
            return ()
        found = compare(text, layer_text(self.layer.all_lines)).differences[:MOST_DIFFERENCES]
        return tuple(PageDifference(d.start, d.end, d.layer) for d in found)

    def _places(self, text: str) -> tuple[PageLine, ...]:
        """Where lines stand: the text layer knows, else the lines of writing found by looking."""
        if self.layer.all_lines:
            return layer_places(self.layer.all_lines)
        segments = self.segments
        if segments and right_to_left(text):
            segments = reordered(segments, self.letter_height, self.shape)
        return places(text, segments, *self.shape)


class HostKeeper:
    """The worker that opens documents, kept from job to job: starting one takes a second."""

    def __init__(self, make: Callable[[], DocumentHost] = DocumentHost) -> None:
        self._make = make
        self._host: DocumentHost | None = None

    def get(self) -> DocumentHost:
        """The worker, made with the first document."""
        if self._host is None:
            self._host = self._make()
        return self._host

    def drop(self) -> None:
        """End it, whatever it does; the next document gets a new one."""
        host, self._host = self._host, None
        if host is not None:
            host.close()


# What the text layer can answer by itself; anything else has to be looked at.
_TEXT_TASKS = (ReadingTask.PAGE, ReadingTask.TEXT)


class PageLoader:
    """Prepares pages of one job. `load` never raises for what a file contains."""

    def __init__(
        self, host: DocumentHost, job: ReadDocument, auto: Callable[[PageFacts], ReadingDetail]
    ) -> None:
        self._host, self._job, self._auto = host, job, auto

    def load(self, page: int) -> LoadedPage:
        """Measure the page, then take its text layer or draw what the model is to look at."""
        started = time.perf_counter()
        try:
            loaded = self._loaded(page)
        except DocumentError as problem:
            loaded = LoadedPage(page, problem=problem)
        return replace(loaded, seconds=time.perf_counter() - started)

    def _loaded(self, page: int) -> LoadedPage:
        host, job = self._host, self._job
        facts = host.facts(job.path, page)
        layer = _NO_LAYER
        if facts.has_text and job.text_layer != "ignore":
            layer = host.layer(job.path, page)
        good = layer_is_good(layer)
        if good and job.text_layer == "use" and job.task in _TEXT_TASKS:
            return LoadedPage(page, layer=layer, use_layer=True)
        detail = self._detail(facts)
        prepared = page not in job.as_is
        segments: tuple[Box, ...] = ()
        if detail is ReadingDetail.TILES or not good:
            segments = host.segments(job.path, page, prepared=prepared)
        tiles = None
        if detail is ReadingDetail.TILES:
            tiles = plan(facts.width, facts.height, facts.letter_height, segments)
        return LoadedPage(
            page,
            detail,
            self._pictures(page, detail, tiles.parts if tiles else (), prepared=prepared),
            layer if good else _NO_LAYER,
            segments=() if good else segments,
            tiles=tiles,
            shape=(facts.width, facts.height),
            letter_height=facts.letter_height,
        )

    def _detail(self, facts: PageFacts) -> ReadingDetail:
        wanted = ReadingDetail(self._job.detail)
        return self._auto(facts) if wanted is ReadingDetail.AUTO else wanted

    def _pictures(
        self,
        page: int,
        detail: ReadingDetail,
        tiles: Sequence[PagePart],
        *,
        prepared: bool,
    ) -> tuple[PagePicture, ...]:
        parts: Sequence[PagePart | None] = tiles or (None,)
        return tuple(
            self._host.picture(
                self._job.path, page, soft_tokens=detail.soft_tokens, prepared=prepared, part=part
            ).picture
            for part in parts
        )
