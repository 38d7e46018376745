"""Pages in columns made by LibreOffice: their lines are known in the order they are read."""

from __future__ import annotations

import html
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from tests.documents.paper_files import run
from tests.documents.paper_pages import WORDS

ARABIC = (
    *("نهر", "حجر", "صباح", "رسالة", "حديقة", "نافذة", "ورقة", "فضة", "بعيد", "هادئ", "سوق"),
    *("رقم", "سفر", "شتاء", "بسيط", "حمل", "بين", "تبع", "جواب", "ناس", "بلاد", "دائما", "آخر"),
)
_DOCUMENT = """<?xml version="1.0" encoding="UTF-8"?>
<office:document xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
 xmlns:style="urn:oasis:names:tc:opendocument:xmlns:style:1.0"
 xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"
 xmlns:fo="urn:oasis:names:tc:opendocument:xmlns:xsl-fo-compatible:1.0"
 office:version="1.3" office:mimetype="application/vnd.oasis.opendocument.text">
<office:automatic-styles>
 <style:page-layout style:name="Page"><style:page-layout-properties fo:page-width="210mm"
  fo:page-height="297mm" fo:margin="18mm" style:writing-mode="{mode}"/></style:page-layout>
 <style:style style:name="Body" style:family="paragraph"><style:paragraph-properties
  style:writing-mode="{mode}" fo:text-align="{align}" fo:margin-bottom="1.5mm"/>
  <style:text-properties style:font-name="{font}" style:font-name-complex="{font}"
  fo:font-family="{font}" style:font-family-complex="{font}"
  fo:font-size="{size}pt" style:font-size-complex="{size}pt"/></style:style>
 <style:style style:name="Title" style:family="paragraph" style:parent-style-name="Body">
  <style:paragraph-properties fo:text-align="{align}" fo:margin-bottom="4mm"
  style:writing-mode="{mode}"/><style:text-properties fo:font-family="{font}"
  style:font-family-complex="{font}" fo:font-size="18pt" style:font-size-complex="18pt"/>
 </style:style>
 <style:style style:name="Columns" style:family="section"><style:section-properties
  style:writing-mode="{mode}" text:dont-balance-text-columns="false"><style:columns
  fo:column-count="{columns}" fo:column-gap="8mm"/></style:section-properties></style:style>
</office:automatic-styles>
<office:master-styles><style:master-page style:name="Standard" style:page-layout-name="Page"/>
</office:master-styles>
<office:body><office:text>{body}</office:text></office:body></office:document>
"""


def sentence(rng: np.random.Generator, words: tuple[str, ...], number: int) -> str:
    """A sentence with a number of its own: no two are alike."""
    return " ".join([*rng.choice(words, rng.integers(7, 14)), f"{number}."])


def in_columns(
    path: Path,
    *,
    arabic: bool = False,
    columns: int = 2,
    size: float = 6.5,
    abstract: int = 0,
    paragraphs: int = 22,
) -> list[str]:
    """A page with a title, `abstract` sentences over the whole width, then columns; its words."""
    rng = np.random.default_rng(columns + abstract)
    vocabulary = ARABIC if arabic else WORDS
    numbers = iter(range(100, 10_000))
    counts = (
        [abstract, *rng.integers(3, 7, paragraphs)] if abstract else rng.integers(3, 7, paragraphs)
    )
    bodies = [
        " ".join(sentence(rng, vocabulary, next(numbers)) for _ in range(count)) for count in counts
    ]
    texts = [" ".join(rng.choice(vocabulary, 4)), *bodies]
    styles = ["Title", *["Body"] * len(counts)]
    blocks = [
        f'<text:p text:style-name="{style}">{html.escape(text)}</text:p>'
        for style, text in zip(styles, texts, strict=True)
    ]
    above = 2 if abstract else 1
    section = '<text:section text:style-name="Columns" text:name="C">'
    document = _DOCUMENT.format(
        mode="rl-tb" if arabic else "lr-tb",
        align="end" if arabic else "start",
        font="Noto Naskh Arabic" if arabic else "DejaVu Serif",
        size=size,
        columns=columns,
        body="".join([*blocks[:above], section, *blocks[above:], "</text:section>"]),
    )
    path.write_text(document, encoding="utf-8")
    return " ".join(texts).split()


def scanned(pdf: Path, dpi: int = 220) -> Path:
    """Its first page as a picture, the way a scanner gives it."""
    target = pdf.with_suffix("")
    run("pdftoppm", "-r", str(dpi), "-png", "-singlefile", "-gray", str(pdf), str(target))
    return target.with_suffix(".png")


def words_on(pdf: Path) -> list[tuple[str, tuple[float, float, float, float]]]:
    """The words of the first page and where they are, as poppler sees them."""
    page = ElementTree.fromstring(run("pdftotext", "-bbox", "-l", "1", str(pdf), "-"))
    space = "{http://www.w3.org/1999/xhtml}"
    sheet = page.find(f".//{space}page")
    assert sheet is not None
    wide, high = float(sheet.attrib["width"]), float(sheet.attrib["height"])
    found = []
    for word in sheet.iter(f"{space}word"):
        x0, y0, x1, y1 = (float(word.attrib[side]) for side in ("xMin", "yMin", "xMax", "yMax"))
        found.append((word.text or "", (x0 / wide, y0 / high, x1 / wide, y1 / high)))
    return found
