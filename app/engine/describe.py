"""What is this file? Found out from its bytes, in a worker process (see `file_looker`).

The window sends a path and gets back kind, size and a thumbnail as pixels, or one sentence why the
file cannot be used and what would work instead.
"""

from __future__ import annotations

import contextlib
import logging
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from app.core.commands import Describe
from app.core.conversation import MediaKind
from app.core.events import Described
from app.core.paths import sound_copy
from mlx_gemma4.errors import Gemma4Error, MediaError

if TYPE_CHECKING:
    import numpy as np

    from app.documents.pdf import PdfSource
    from app.documents.types import DocumentError

log = logging.getLogger(__name__)

HEAD_BYTES = 4096
TEXT_BYTES = 1 << 20
# Enough for the model's context; a longer text is cut here and the cut is said.
TEXT_CHARACTERS = 400_000
# Of a PDF looked at for tables, which takes up to 0.1 s a page: ten times as long as the mere text.
TABLE_PAGES = 20
_PICTURE_BRANDS = (b"heic", b"heix", b"mif1", b"avif", b"msf1", b"hevc")
_OFFICE = {"word/": "docx", "xl/": "xlsx", "ppt/": "pptx"}
_MEDIA_TYPES = {
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
}


def describe_file(query: Describe) -> Described:
    """The answer to `Describe`; never raises for a bad file."""
    path = Path(query.path)
    name = query.name or path.name
    try:
        with path.open("rb") as source:
            head = source.read(HEAD_BYTES)
    except OSError as problem:
        return _refused(query, f"“{name}” cannot be read: {problem.strerror}.", "")
    if not head:
        return _refused(query, f"“{name}” is empty.", "Copy or download it again.")
    kind, media_type = sniff(head, path)
    try:
        match kind:
            case MediaKind.IMAGE:
                return _image(query, path, media_type)
            case MediaKind.AUDIO:
                return _audio(query, path, media_type)
            case MediaKind.VIDEO:
                return _video(query, path, media_type)
            case MediaKind.DOCUMENT if media_type == "application/pdf":
                return _pdf(query, path)
            case MediaKind.DOCUMENT:
                return _document(query, path, media_type)
    except Gemma4Error as problem:
        return _refused(query, _renamed(str(problem), path.name, name), "")
    return _refused(
        query,
        f"“{name}” is no picture, recording, video or document Facet can read.",
        "Pictures (JPEG, PNG, HEIC), sound (WAV, MP3, M4A), video (MP4, MOV), PDF, Word, Excel, "
        "PowerPoint and text files work.",
    )


def sniff(head: bytes, path: Path) -> tuple[MediaKind, str]:
    """Kind and media type by the first bytes, not by the name; zip files are looked into."""
    for magic, media_type in _MAGIC_PICTURES:
        if head.startswith(magic):
            return MediaKind.IMAGE, media_type
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return MediaKind.IMAGE, "image/webp"
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return MediaKind.VIDEO, "video/x-msvideo"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return MediaKind.VIDEO, "video/webm"
    if head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xF6 == 0xF0:
        return MediaKind.AUDIO, "audio/aac"
    if head.startswith(b"#!AMR"):
        return MediaKind.AUDIO, "audio/amr"
    if _is_sound(head):
        return MediaKind.AUDIO, "audio/wav" if head[:4] == b"RIFF" else "audio/mpeg"
    if head.startswith(b"%PDF-"):
        return MediaKind.DOCUMENT, "application/pdf"
    if head.startswith(b"PK\x03\x04"):
        return _office(path)
    if _is_text(head):
        return MediaKind.DOCUMENT, "text/plain"
    return MediaKind.UNKNOWN, ""


_MAGIC_PICTURES = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)


def _iso_media(head: bytes) -> tuple[MediaKind, str]:
    brand = head[8:12]
    if brand.startswith((b"M4A", b"M4B")):
        return MediaKind.AUDIO, "audio/mp4"
    if any(brand.startswith(known) for known in _PICTURE_BRANDS):
        return MediaKind.IMAGE, "image/heic"
    return MediaKind.VIDEO, "video/quicktime" if brand == b"qt  " else "video/mp4"


def _is_sound(head: bytes) -> bool:
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return True
    if head[:4] in (b"fLaC", b"OggS", b"caff", b"FORM") or head[:3] == b"ID3":
        return True
    # MPEG audio frame sync: eleven set bits, a valid layer, no reserved bit rate.
    return (
        len(head) > 2
        and head[0] == 0xFF
        and head[1] & 0xE6 in (0xE2, 0xE4, 0xE6)
        and head[2] >> 4 != 0xF
    )


def _is_text(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    if b"\x00" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as problem:
        # A character cut at the end of the sample is fine.
        return problem.start >= len(head) - 3
    return True


def _office(path: Path) -> tuple[MediaKind, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()[:200]
    except (zipfile.BadZipFile, OSError, ValueError):
        return MediaKind.UNKNOWN, ""
    for start, suffix in _OFFICE.items():
        if any(name.startswith(start) for name in names):
            return MediaKind.DOCUMENT, _MEDIA_TYPES[suffix]
    return MediaKind.UNKNOWN, ""


def _image(query: Describe, path: Path, media_type: str) -> Described:
    from mlx_gemma4.media.images import load_image

    pixels = load_image(path)
    height, width = pixels.shape[:2]
    return _with_thumbnail(
        query,
        Described(query.query_id, query.path, MediaKind.IMAGE, media_type, width, height),
        pixels,
    )


def _audio(query: Describe, path: Path, media_type: str) -> Described:
    from mlx_gemma4.media.sound import load_sound

    copy = sound_copy(path)
    seconds = load_sound(copy if copy.exists() else path).seconds
    return Described(
        query.query_id,
        query.path,
        MediaKind.AUDIO,
        media_type,
        seconds=seconds,
        has_sound=True,
    )


def _video(query: Describe, path: Path, media_type: str) -> Described:
    from mlx_gemma4.media.video import sample_video

    copy = sound_copy(path)
    try:
        video = sample_video(path, num_frames=1, budget=280)
    except MediaError:
        if not copy.exists():
            raise
        # A film's container around nothing but sound.
        return _audio(query, path, media_type.replace("video/", "audio/"))
    height, width = video.size
    facts = Described(
        query.query_id,
        query.path,
        MediaKind.VIDEO,
        media_type,
        width,
        height,
        seconds=video.duration,
        has_sound=copy.exists(),
    )
    return _with_thumbnail(query, facts, video.frames[0])


def _pdf(query: Describe, path: Path) -> Described:
    import pypdfium2

    from app.documents.pdf import PdfSource
    from app.documents.types import DocumentError

    name = query.name or path.name
    try:
        with contextlib.closing(PdfSource(path, "")) as source:
            width, height = source.size(0)
            scale = query.thumbnail / max(width, height)
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            pixels = source.draw(0, *size)
            text = _pdf_text(source)
    except DocumentError as problem:
        log.info("pdf: %s", problem)
        return _refused(query, _renamed(problem.message, path.name, name), _pdf_remedy(problem))
    except (pypdfium2.PdfiumError, ValueError, OSError) as problem:
        log.info("pdf: %s", problem)
        return _refused(query, f"“{name}” is a PDF that cannot be opened.", "")
    pages = source.info.pages
    facts = Described(
        query.query_id, query.path, MediaKind.DOCUMENT, "application/pdf", pages=pages, text=text
    )
    return _with_thumbnail(query, facts, pixels)


def _pdf_remedy(problem: DocumentError) -> str:
    from app.documents.types import DocumentProblem

    if problem.kind is DocumentProblem.PASSWORD:
        return "Read it under Documents, which asks for it, or save a copy without one."
    return ""


def _pdf_text(source: PdfSource) -> str:
    """The text layer of all pages, cut at `TEXT_CHARACTERS`; empty for a scan.

    Pages with tables are Markdown, so that every figure keeps its row and column.
    """
    texts: list[str] = []
    length = 0
    for number in range(source.info.pages):
        text = _page_text(source, number, tables=number < TABLE_PAGES)
        if text:
            texts.append(text)
            length += len(text)
        if length > TEXT_CHARACTERS:
            break
    return "\n\n".join(texts)[:TEXT_CHARACTERS]


def _page_text(source: PdfSource, number: int, *, tables: bool) -> str:
    from app.documents.types import DocumentError
    from app.engine.page_lines import layer_markdown, layer_text

    try:
        if not tables:
            return layer_text(source.lines(number)).strip()
        layer = source.layer(number)
    except DocumentError as problem:  # one damaged page does not spoil the others
        log.info("pdf: %s", problem)
        return ""
    return layer_markdown(layer) if layer.tables else layer_text(layer.lines).strip()


def _document(query: Describe, path: Path, media_type: str) -> Described:
    if media_type == "text/plain":
        text = decode_text(path.read_bytes()[:TEXT_BYTES])[:TEXT_CHARACTERS]
        return Described(query.query_id, query.path, MediaKind.DOCUMENT, media_type, text=text)
    from app.documents.sniff import find_format
    from app.documents.texts import read_text
    from app.documents.types import DocumentError

    try:
        text = read_text(path, find_format(path))[:TEXT_CHARACTERS]
    except DocumentError as problem:
        message = _renamed(problem.message, path.name, query.name or path.name)
        return _refused(query, message, "Save it anew, or as PDF, and attach that.")
    return Described(query.query_id, query.path, MediaKind.DOCUMENT, media_type, text=text)


def decode_text(data: bytes) -> str:
    """Text of unknown encoding: UTF-16 with its mark, UTF-8, else Windows-1252."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _with_thumbnail(query: Describe, facts: Described, pixels: np.ndarray) -> Described:
    from dataclasses import replace

    from PIL import Image

    if query.thumbnail <= 0:
        return facts
    picture = Image.fromarray(pixels)
    picture.thumbnail((query.thumbnail, query.thumbnail))
    rgba = picture.convert("RGBA")
    return replace(
        facts,
        thumbnail=rgba.tobytes(),
        thumbnail_width=rgba.width,
        thumbnail_height=rgba.height,
    )


def _renamed(message: str, stored: str, name: str) -> str:
    """Attachments are stored under their hash; the person knows another name."""
    return message.replace(stored, name)


def _refused(query: Describe, problem: str, remedy: str) -> Described:
    return Described(query.query_id, query.path, MediaKind.UNKNOWN, problem=problem, remedy=remedy)
