"""JSON: by page, and by the person's schema where the model answered with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.documents import markdown as md
from app.documents.export.files import writable, write_string
from app.documents.export.text import plain_text
from app.documents.types import PageText

_NOTHING = object()


def write_json(pages: Sequence[PageText], target: Path, title: str = "") -> tuple[Path, ...]:
    """One JSON file: title and pages with Markdown, plain text, tables, fields and notices."""
    content = {"title": writable(title), "pages": [page_object(page) for page in pages]}
    write_string(target, json.dumps(content, ensure_ascii=False, indent=2) + "\n")
    return (target,)


def page_object(page: PageText) -> dict[str, Any]:
    """One page. "fields" is there only when the text is a JSON answer."""
    text = writable(page.markdown)
    fields = read_fields(text, _NOTHING)
    found: dict[str, Any] = {"page": page.page + 1}
    if page.source:
        found["source"] = writable(page.source)
    if fields is not _NOTHING:
        found["fields"] = fields
    else:
        blocks = md.blocks(text)
        tables = [block for block in blocks if isinstance(block, md.Table)]
        found["markdown"] = text
        found["text"] = plain_text(blocks)
        found["tables"] = [[list(row) for row in table.rows] for table in tables]
    found["notices"] = list(page.notices)
    return found


def read_fields(text: str, missing: Any = None) -> Any:
    """The object or list a model answered with, also inside a ``` block; else `missing`."""
    bare = text.strip()
    if bare.startswith("```"):
        bare = bare.partition("\n")[2].rpartition("```")[0].strip()
    if not bare.startswith(("{", "[")):
        return missing
    try:
        return json.loads(bare)
    except (ValueError, RecursionError):
        return missing
