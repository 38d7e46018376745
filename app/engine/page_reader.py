"""The model that reads pages: one session, whose instruction is prefilled once.

Every page is a turn of its own over that instruction: the session goes back to the instruction's
end for each one, so the cost of a page is its picture and its text. Runs on the MLX thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from app.core.commands import ReadDocument
from app.core.errors import AppError, ErrorKind
from app.documents.prompts import ReadingTask, instruction
from app.documents.suggest import letter_at
from app.documents.types import PageFacts, PagePicture, ReadingDetail
from app.engine.chat import LoadedModel
from app.engine.document_pages import LoadedPage
from app.engine.documents import Piece
from app.engine.jobs import JobContext
from mlx_gemma4.constrain import Constraint
from mlx_gemma4.errors import MediaError, PromptError
from mlx_gemma4.generate import Finish, GenerateOptions
from mlx_gemma4.messages import Image, Message, Text
from mlx_gemma4.reply import Delta
from mlx_gemma4.sampling import SamplingOptions
from mlx_gemma4.session import Cancelled, ReplyOptions, Session, Watch

SNAPSHOT_BYTES = 256 << 20
MOST_TOKENS = 8192
"""Of one picture; a page of small print has about 3,000."""
DEMO_INSTRUCTION = "Read the page."
"""What the demo checkpoint was taught; it knows no longer instructions."""
DEMO_LETTER = 36.0
"""Pixels of a letter's body below which more detail is taken; where none are found, they are small.
Tried on the sample page: at 30 a letter was read wrong, at 36 and 40 none."""


class PageReader:
    """See `app.engine.documents.Recogniser`."""

    def __init__(self, loaded: LoadedModel, job: ReadDocument, context: JobContext) -> None:
        if not loaded.info.capabilities.image:
            raise AppError(
                f"{loaded.info.label} cannot see pictures, so it cannot read pages.",
                kind=ErrorKind.NO_MODEL,
                remedy="Choose a Gemma 4 model with vision under Models.",
            )
        self._session = Session(
            loaded.model,
            loaded.processor,
            SNAPSHOT_BYTES,
            context=loaded.context_tokens or None,
            kv_bits=loaded.kv_bits,
        )
        self._loaded, self._job = loaded, job
        self._options = _options(job, self._session.context)
        self._watch = Watch(cancelled=context.cancelled)
        self._pages = 0
        self._prefix = ""

    @property
    def session(self) -> Session:
        """The session, for its counters."""
        return self._session

    def encode(self, page: LoadedPage) -> None:
        """Encode the page's first picture, so that its turn finds the soft tokens ready."""
        with contextlib.suppress(MediaError):  # the page itself says so when its turn comes
            self._session.encode_ahead(Image(_pixels(page.pictures[0]), page.soft_tokens))

    def read(self, page: LoadedPage, part: int) -> Iterator[Piece]:
        """Answer the instruction for one picture. Raises AppError where it does not fit."""
        self._pages += 1
        text = _instruction(self._loaded, self._job, tile=len(page.pictures) > 1)
        picture = Image(_pixels(page.pictures[part]), page.soft_tokens)
        turn = Message(f"page {self._pages}", "user", (Text(text), picture))
        try:
            self._hold(text)
            self._session.sync([turn], watch=self._watch)
            yield from _pieces(self._session.reply(self._options))
        except Cancelled:
            return
        except (PromptError, MediaError) as problem:
            raise AppError(
                str(problem),
                kind=ErrorKind.CONTEXT_FULL,
                remedy="Read this page with less detail, or in tiles.",
            ) from problem

    def _hold(self, text: str) -> None:
        """Run the instruction alone once: its end is a point the session goes back to."""
        if text != self._prefix:
            self._prefix = text
            self._session.sync([Message(f"instruction {text}", "user", (Text(text),))])


def auto_detail(loaded: LoadedModel, facts: PageFacts) -> ReadingDetail:
    """The detail a page suggests; the demo knows only letters about as large as it was taught."""
    if not loaded.model.config.label:
        return facts.suggested
    for detail in (ReadingDetail.QUICK, ReadingDetail.LIGHT):
        if letter_at(detail, facts.width, facts.height, facts.letter_height) >= DEMO_LETTER:
            return detail
    return ReadingDetail.NORMAL


def _pieces(events: Iterator[object]) -> Iterator[Piece]:
    """Pieces of a reply; leaving it early stops the decoding."""
    try:
        for event in events:
            if isinstance(event, Delta) and event.channel == "answer":
                yield Piece(event.text)
            elif isinstance(event, Finish):
                yield Piece(finish=event.reason, tokens=event.usage.generated_tokens)
    finally:
        events.close()  # type: ignore[attr-defined]  # a generator of the session


def _instruction(loaded: LoadedModel, job: ReadDocument, *, tile: bool) -> str:
    if loaded.model.config.label:
        return DEMO_INSTRUCTION
    task = ReadingTask(job.task)
    return instruction(task, language=job.language, schema=job.json_schema, tile=tile)


def _options(job: ReadDocument, context: int) -> ReplyOptions:
    """Always the likeliest token: reading is copying."""
    schema = job.json_schema if job.task == ReadingTask.FIELDS else ""
    return ReplyOptions(
        GenerateOptions(
            max_tokens=min(MOST_TOKENS, context),
            sampling=SamplingOptions(temperature=0.0),
            constraint=Constraint.json_schema(schema) if schema else None,
        )
    )


def _pixels(picture: PagePicture) -> np.ndarray:
    return np.frombuffer(picture.rgb, np.uint8).reshape(picture.height, picture.width, 3)
