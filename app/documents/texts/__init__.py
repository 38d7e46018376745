"""Documents that are text already, as Markdown. Runs in the worker only."""

from __future__ import annotations

from pathlib import Path


def read_text(path: Path, file_format: str) -> str:
    """The Markdown of a document of this format (one of `sniff.TEXTS`).

    Raises:
        DocumentError: damaged or too large.
    """
    match file_format:
        case "docx":
            from app.documents.texts.docx import read_docx

            return read_docx(path)
        case "xlsx":
            from app.documents.texts.xlsx import read_xlsx

            return read_xlsx(path)
        case "pptx":
            from app.documents.texts.pptx import read_pptx

            return read_pptx(path)
        case "html":
            from app.documents.texts.html import read_html

            return read_html(path)
        case "csv":
            from app.documents.texts.plain import read_csv

            return read_csv(path)
    from app.documents.texts.plain import read_plain

    return read_plain(path)
