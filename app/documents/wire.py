"""The frames between `host` and `worker`: a JSON header and, for pictures, raw bytes after it.

The worker has looked at foreign files and is not trusted: nothing it sends is unpickled, lengths
are bounded, and every value is rebuilt field by field.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from typing import Any

from app.documents.sizing import MOST_PIXELS
from app.documents.types import (
    Box,
    DocumentError,
    DocumentInfo,
    DocumentKind,
    DocumentProblem,
    PageFacts,
    PageLayer,
    PagePicture,
    PageText,
    Preparation,
    PreparedPage,
    ReadingDetail,
    SearchablePdf,
    TextLine,
    TextTable,
)

LENGTHS = struct.Struct(">II")  # of the header and of what follows it
MOST_HEADER = 256 << 20
MOST_PAYLOAD = 3 * MOST_PIXELS


class WireError(Exception):
    """The other side does not keep to the protocol."""


def pack(header: dict[str, Any], payload_bytes: int = 0) -> bytes:
    """The beginning of a frame; `payload_bytes` raw bytes must follow it."""
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    return LENGTHS.pack(len(text), payload_bytes) + text


def lengths(head: bytes) -> tuple[int, int]:
    """Bytes of header and payload, from a frame's first eight.

    Raises:
        WireError: more than any honest frame has.
    """
    header, payload = LENGTHS.unpack(head)
    if header > MOST_HEADER or payload > MOST_PAYLOAD:
        raise WireError(f"a frame of {header} + {payload} bytes")
    return header, payload


def header_of(text: bytes) -> dict[str, Any]:
    """The header.

    Raises:
        WireError: no JSON object.
    """
    try:
        header = json.loads(text)
    except ValueError as problem:
        raise WireError(str(problem)) from problem
    if not isinstance(header, dict):
        raise WireError("a header that is no object")
    return header


# --- what a reply carries ------------------------------------------------------------------------


def error_header(error: DocumentError) -> dict[str, Any]:
    """An error as a reply."""
    return {"error": error.kind.value, "message": error.message, "detail": error.detail}


def error_of(header: dict[str, Any]) -> DocumentError:
    """The error a reply carries."""
    try:
        kind = DocumentProblem(header["error"])
    except ValueError:
        kind = DocumentProblem.BROKEN
    return DocumentError(kind, str(header.get("message", "")), str(header.get("detail", "")))


def plain(value: Any) -> Any:
    """A dataclass of `types` (or a sequence of them) as JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def info_of(value: dict[str, Any]) -> DocumentInfo:
    """A document's facts."""
    return DocumentInfo(
        str(value["path"]),
        DocumentKind(value["kind"]),
        str(value["format"]),
        int(value["pages"]),
        str(value["title"]),
        tuple(str(notice) for notice in value["notices"]),
    )


def facts_of(value: dict[str, Any]) -> PageFacts:
    """A page's facts."""
    return PageFacts(
        int(value["page"]),
        float(value["width"]),
        float(value["height"]),
        bool(value["has_text"]),
        int(value["text_chars"]),
        float(value["letter_height"]),
        bool(value["photo"]),
        ReadingDetail(value["suggested"]),
    )


def picture_of(value: dict[str, Any], payload: bytes) -> PagePicture:
    """A picture whose pixels are the payload.

    Raises:
        WireError: as many bytes as its size says are not there.
    """
    width, height = int(value["width"]), int(value["height"])
    if width < 1 or height < 1 or width * height * 3 != len(payload):
        raise WireError(f"{len(payload)} bytes for {width} by {height} pixels")
    return PagePicture(payload, width, height)


def prepared_of(value: dict[str, Any], payload: bytes) -> PreparedPage:
    """A page's picture with what was done to it."""
    done = value["preparation"]
    outline = None
    if done["outline"] is not None:
        a, b, c, d = ((float(x), float(y)) for x, y in done["outline"])
        outline = (a, b, c, d)
    matrix = tuple(float(number) for number in done["matrix"])
    preparation = Preparation(outline, float(done["angle"]), bool(done["shadow"]), matrix)
    return PreparedPage(picture_of(value, payload), preparation)


def box_of(value: list[Any]) -> Box:
    """A box."""
    left, top, right, bottom = (float(number) for number in value)
    return left, top, right, bottom


def line_of(value: dict[str, Any]) -> TextLine:
    """A line of a text layer."""
    return TextLine(str(value["text"]), box_of(value["box"]), float(value["size"]))


def layer_of(value: dict[str, Any]) -> PageLayer:
    """A page's text layer."""
    return PageLayer(
        tuple(line_of(line) for line in value["lines"]),
        tuple(_table_of(table) for table in value["tables"]),
    )


def _table_of(value: dict[str, Any]) -> TextTable:
    return TextTable(
        tuple(tuple(str(cell) for cell in row) for row in value["rows"]),
        box_of(value["box"]),
        tuple(line_of(line) for line in value["lines"]),
        int(value["at"]),
    )


def page_text_of(value: dict[str, Any]) -> PageText:
    """A page's text."""
    return PageText(
        int(value["page"]),
        str(value["markdown"]),
        str(value["source"]),
        tuple(str(notice) for notice in value["notices"]),
        bool(value["from_layer"]),
    )


def searchable_of(value: dict[str, Any]) -> SearchablePdf:
    """The outcome of a searchable PDF."""
    return SearchablePdf(
        str(value["path"]), int(value["pages"]), int(value["lines"]), int(value["unmatched"])
    )
