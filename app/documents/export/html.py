"""A web page that is complete in itself and can neither load nor run anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from app.documents import markdown as md
from app.documents.export.files import writable, write_string
from app.documents.types import PageText

_HEAD = """<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46em; margin: 2em auto; padding: 0 1em; }}
section + section {{ border-top: 1px solid #ccc; margin-top: 2em; padding-top: 1em; }}
table {{ border-collapse: collapse; margin: 1em 0; }}
td, th {{ border: 1px solid #bbb; padding: .25em .6em; text-align: start; vertical-align: top; }}
pre, .math {{ font-family: ui-monospace, monospace; }}
.note {{ color: #8a4b00; }} .page {{ color: #777; font-size: .8em; }}
</style>
</head>
<body>
"""


def write_html(pages: Sequence[PageText], target: Path, title: str = "") -> tuple[Path, ...]:
    """One HTML file."""
    parts = [_HEAD.format(title=_safe(title or target.stem))]
    if title:
        parts.append(f'<h1 dir="auto">{_safe(title)}</h1>\n')
    for page in pages:
        name = f"{_safe(page.source)}, page" if page.source else "Page"
        parts.append(f'<section>\n<p class="page">{name} {page.page + 1}</p>\n')
        parts += [f'<p class="note">{_safe(notice)}</p>\n' for notice in page.notices]
        parts += [html_of(block) + "\n" for block in md.blocks(page.markdown)]
        parts.append("</section>\n")
    write_string(target, "".join(parts) + "</body>\n</html>\n")
    return (target,)


def html_of(block: md.Block) -> str:
    """One block."""
    match block:
        case md.Heading():
            return f'<h{block.level} dir="auto">{_spans(block.spans)}</h{block.level}>'
        case md.Paragraph():
            tag = "blockquote" if block.quote else "p"
            return f'<{tag} dir="auto">{_spans(block.spans)}</{tag}>'
        case md.ListBlock():
            return "".join(_list(block.items))
        case md.Table():
            return _table(block)
        case md.Formula():
            return f'<p class="math">{_safe(block.latex)}</p>'
        case md.Code():
            return f"<pre>{_safe(block.text)}</pre>"
        case md.Rule():
            return "<hr>"


def _safe(text: str) -> str:
    return escape(writable(text))


def _spans(spans: md.Spans) -> str:
    return "".join(_span(span) for span in spans)


def _span(span: md.Span) -> str:
    text = _safe(span.text).replace("\n", "<br>")
    if span.math:
        return f'<span class="math">{text}</span>'
    for wanted, tag in ((span.code, "code"), (span.italic, "em"), (span.bold, "strong")):
        if wanted:
            text = f"<{tag}>{text}</{tag}>"
    return text


def _list(items: Sequence[md.ListItem]) -> Iterator[str]:
    """Nested lists from levels: one open list for each level down to the item's own."""
    tags: list[str] = []
    for item in items:
        while len(tags) > item.level + 1:
            yield f"</li></{tags.pop()}>"
        if len(tags) == item.level + 1:
            yield "</li>"
        while len(tags) <= item.level:
            tag = "ul" if item.number is None else "ol"
            start = f' start="{item.number}"' if item.number not in (None, 1) else ""
            yield f"<{tag}{start}>"
            tags.append(tag)
            if len(tags) <= item.level:
                yield "<li>"
        yield f'<li dir="auto">{_spans(item.spans)}'
    while tags:
        yield f"</li></{tags.pop()}>"


def _table(table: md.Table) -> str:
    rows = []
    for index, row in enumerate(table.rows):
        tag = "th" if index == 0 and table.head else "td"
        cells = (f'<{tag} dir="auto">{_lines(cell)}</{tag}>' for cell in row)
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _lines(text: str) -> str:
    return _safe(text).replace("\n", "<br>")
