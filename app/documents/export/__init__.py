"""Pages that were read as files: each writer takes `PageText`s and replaces its target at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path

from app.documents.types import DocumentError, DocumentProblem, PageText


class ExportFormat(StrEnum):
    """What pages can be written as; for PDF see `DocumentHost.searchable_pdf`."""

    MARKDOWN = "md"
    TEXT = "txt"
    DOCX = "docx"
    HTML = "html"
    CSV = "csv"
    XLSX = "xlsx"
    JSON = "json"
    PDF = "pdf"

    @property
    def label(self) -> str:
        """The plain words for it."""
        return _LABELS[self]


_LABELS = {
    ExportFormat.MARKDOWN: "Markdown",
    ExportFormat.TEXT: "Plain text",
    ExportFormat.DOCX: "Word document",
    ExportFormat.HTML: "Web page",
    ExportFormat.CSV: "Tables as CSV",
    ExportFormat.XLSX: "Tables as Excel workbook",
    ExportFormat.JSON: "JSON",
    ExportFormat.PDF: "Searchable PDF",
}
_Writer = Callable[[Sequence[PageText], Path, str], tuple[Path, ...]]


def export(
    file_format: ExportFormat, pages: Sequence[PageText], target: Path, *, title: str = ""
) -> tuple[Path, ...]:
    """Write pages to a file; CSV may write several, numbered beside the target.

    Returns:
        The files written.

    Raises:
        DocumentError: nothing to write (no table for CSV and XLSX, PDF).
        OSError: the disk is full or the folder may not be written; old files are untouched.
    """
    return _writer(file_format)(pages, target, title)


def _writer(file_format: ExportFormat) -> _Writer:
    match file_format:
        case ExportFormat.MARKDOWN:
            from app.documents.export.text import write_markdown as writer
        case ExportFormat.TEXT:
            from app.documents.export.text import write_text as writer
        case ExportFormat.DOCX:
            from app.documents.export.docx import write_docx as writer
        case ExportFormat.HTML:
            from app.documents.export.html import write_html as writer
        case ExportFormat.CSV:
            from app.documents.export.tables import write_csv as writer
        case ExportFormat.XLSX:
            from app.documents.export.tables import write_xlsx as writer
        case ExportFormat.JSON:
            from app.documents.export.json import write_json as writer
        case ExportFormat.PDF:
            message = "A searchable PDF is made from the document itself, not from its text alone."
            raise DocumentError(DocumentProblem.UNSUPPORTED, message)
    return writer
