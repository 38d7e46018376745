"""PDFs with tables, printed by LibreOffice from files that other libraries wrote; cells known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docx
import openpyxl
from docx.enum.section import WD_ORIENT
from docx.enum.text import WD_TAB_ALIGNMENT, WD_TAB_LEADER
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Cm, Pt
from openpyxl.styles import Alignment, Border, Font, Side

from tests.documents.reader_files import WORDS

Rows = list[list[str]]
_THIN = Side(style="thin")
_BOX = Border(left=_THIN, right=_THIN, top=_THIN, bottom=_THIN)

RENT = [
    ["Month", "Rent", "Paid"],
    ["May", "950", "yes"],
    ["June", "950", "no"],
    ["July", "975", ""],
]
SIGNS = [["Sign", "Meaning"], ["a|b", "bar_and *star*"], ["<b> & co", "x \\ y ~~z~~ [a](b)"],
         ["$5 and $6", "`code`"]]  # fmt: skip
LONG = [
    ["Item", "What it is for", "Euro"],
    ["Deposit", "Kept on an account of its own until the flat is handed over", "2520.00"],
    ["Garden", "Shared by all who live in the house", "12.50"],
    ["Repairs", "Borne by the tenant up to eighty euros for each of them, all others by the owner",
     "80.00"],
]  # fmt: skip
ARABIC = [["الشهر", "الإيجار", "مدفوع"], ["مايو", "950", "نعم"], ["يونيو", "975", "لا"]]
SALES = [
    ["Region", "2022", "2023", "Change"],
    ["North", "1,204.50", "1,310.75", "+8.8%"],
    ["South", "987.00", "1,002.10", "+1.5%"],
    ["East", "455.20", "430.00", "-5.5%"],
    ["West", "1,760.00", "1,911.35", "+8.6%"],
]
TEAM = [
    ["Name", "Town", "Telephone"],
    ["Ada Brook", "Leeds", "0113 496 0001"],
    ["Ben Castle", "York", "01904 496 002"],
    ["Cleo Dale", "Hull", "01482 496 003"],
]


@dataclass
class Case:
    """A file to print and the tables that must be found on its first page, in order."""

    name: str
    tables: list[Rows]
    source: Path = field(default_factory=Path)


def document(
    path: Path, tables: Sequence[Rows], style: str = "Table Grid", *, landscape: bool = False
) -> Any:
    """A Word file: a heading, and each table after a paragraph; not saved yet."""
    made = docx.Document()
    if landscape:
        section = made.sections[0]
        section.orientation = WD_ORIENT.LANDSCAPE
        section.page_width, section.page_height = section.page_height, section.page_width
    made.add_heading("Lease and costs", 1)
    for rows in tables:
        made.add_paragraph(WORDS)
        table = made.add_table(len(rows), len(rows[0]), style)
        for row, texts in zip(table.rows, rows, strict=True):
            for cell, text in zip(row.cells, texts, strict=True):
                cell.text = text
    made.add_paragraph(WORDS)
    return made


def borders(table: Any, **sides: str) -> None:
    """Set the lines of a Word table: "single", "double" or "nil" for top, insideV …"""
    found = OxmlElement("w:tblBorders")
    for side in ("top", "left", "bottom", "right", "insideH", "insideV"):
        line = OxmlElement(f"w:{side}")
        line.set(qn("w:val"), sides.get(side, "nil"))
        line.set(qn("w:sz"), "6")
        found.append(line)
    table._tbl.tblPr.append(found)


def sheet(path: Path, rows: Rows, *, ruled: bool, wrap: int = 0) -> None:
    """A spreadsheet; amounts stand on the right as numbers do. wrap: a column that wraps."""
    book = openpyxl.Workbook()
    page: Any = book.active
    for i, row in enumerate(rows, 1):
        for j, text in enumerate(row, 1):
            cell = page.cell(i, j, text)
            amount = any(map(str.isdigit, text)) and i > 1
            cell.alignment = Alignment(
                horizontal="right" if amount else "left", wrap_text=j == wrap, vertical="top"
            )
            cell.font = Font(bold=i == 1)
            if wrap and i > 1:
                page.row_dimensions[i].height = 44  # nobody wraps again what is only printed
            if ruled:
                cell.border = _BOX
    for letter in "ABCD":
        page.column_dimensions[letter].width = 16
    if wrap:
        page.column_dimensions["ABCD"[wrap - 1]].width = 30
    book.save(path)


def cases(folder: Path) -> list[Case]:
    """All files, written but not printed."""
    made = [*_documents(folder), *_sheets(folder)]
    assert len({case.name for case in made}) == len(made)
    return made


def _documents(folder: Path) -> list[Case]:
    def save(name: str, tables: list[Rows], made: Any) -> Case:
        path = folder / f"{name}.docx"
        made.save(path)
        return Case(name, tables, path)

    def plain(name: str, *tables: Rows, style: str = "Table Grid") -> Case:
        return save(name, list(tables), document(folder, tables, style))

    found = [
        plain("ruled", RENT),
        plain("signs", SIGNS),
        plain("wrapped", LONG),
        plain("three", RENT, SALES, TEAM),
        plain("list", SALES, style="Light List Accent 1"),
        plain("grid", SALES, style="Medium Grid 1 Accent 1"),
        plain("shading", SALES, style="Light Shading"),
        plain("colour", SALES, style="Colorful Grid Accent 2"),
    ]
    found.append(save("landscape", [LONG], document(folder, [LONG], landscape=True)))
    found += [_merged(folder, save), _broken(folder, save), _arabic(folder, save)]
    kinds: list[tuple[str, Rows, dict[str, str]]] = [
        ("bare", SALES, {}),
        ("rules", TEAM, {"top": "single", "bottom": "single", "insideH": "single"}),
        ("frame", TEAM, dict.fromkeys(("top", "left", "bottom", "right", "insideV"), "single")),
        ("double", RENT, dict.fromkeys(
            ("top", "left", "bottom", "right", "insideV", "insideH"), "double")),
        ("dotted", RENT, dict.fromkeys(
            ("top", "left", "bottom", "right", "insideV", "insideH"), "dotted")),
        ("open", RENT, dict.fromkeys(("insideV", "insideH"), "single")),
    ]  # fmt: skip
    for name, rows, lines in kinds:
        made = document(folder, [rows], "Normal Table")
        borders(made.tables[0], **lines)
        found.append(save(name, [rows], made))
    return found


def _merged(folder: Path, save: Any) -> Case:
    """A head over two columns, and a first cell over two rows."""
    rows = [["Tenant", "Costs", "Costs"], ["Tenant", "2022", "2023"], ["Ada", "11", "12"],
            ["Ben", "21", "22"], ["Sum", "32", "34"]]  # fmt: skip
    made = document(folder, [rows])
    table = made.tables[0]
    for first, last, text in (((0, 0), (1, 0), "Tenant"), ((0, 1), (0, 2), "Costs")):
        table.cell(*last).text = ""
        table.cell(*first).text = ""
        table.cell(*first).merge(table.cell(*last)).text = text
    rows[1][0] = rows[0][2] = ""
    return save("merged", [rows], made)


def _broken(folder: Path, save: Any) -> Case:
    """Cells of several short lines that were meant."""
    rows = [["Who", "Where"], ["Ada Brook\nBen Castle", "1 Mill Lane\nLeeds\nLS1 1AA"],
            ["Cleo Dale", "2 High Street\nYork\nYO1 1AA"]]  # fmt: skip
    return save("broken", [rows], document(folder, [rows]))


def _arabic(folder: Path, save: Any) -> Case:
    made = document(folder, [ARABIC])
    made.tables[0]._tbl.tblPr.append(OxmlElement("w:bidiVisual"))
    for row in made.tables[0].rows:
        for cell in row.cells:
            for paragraph in cell.paragraphs:
                paragraph._p.get_or_add_pPr().append(OxmlElement("w:bidi"))
                paragraph.runs[0].font.size = Pt(12)
    return save("arabic", [ARABIC], made)


def _sheets(folder: Path) -> list[Case]:
    found = []
    wrapped = [["Item", "For", "Euro"], *LONG[1:]]
    for name, rows, ruled, wrap in (
        ("sheet-lines", SALES, True, 0),
        ("sheet-bare", SALES, False, 0),
        ("sheet-wrapped", wrapped, True, 2),
        ("sheet-holes", [*SALES[:3], ["East", "", "430.00", ""], SALES[4]], False, 0),
        ("sheet-bare-wrapped", wrapped, False, 2),
    ):
        path = folder / f"{name}.xlsx"
        sheet(path, rows, ruled=ruled, wrap=wrap)
        found.append(Case(name, [rows], path))
    return found


def prose(folder: Path) -> list[Path]:
    """Pages without a table that look a little like one."""
    return [_contents(folder), _form(folder), _letter(folder), _list(folder), _boxes(folder)]


def _saved(made: Any, path: Path) -> Path:
    made.save(path)
    return path


def _contents(folder: Path) -> Path:
    made = docx.Document()
    made.add_heading("Contents", 1)
    for leader in (WD_TAB_LEADER.DOTS, WD_TAB_LEADER.SPACES):
        for number, title in enumerate(("Lease", "Rent and costs", "Deposit", "Repairs", "End"), 1):
            line = made.add_paragraph(f"{number}\t{title}\t{number * 7 - 4}")
            line.paragraph_format.tab_stops.add_tab_stop(Cm(1))
            line.paragraph_format.tab_stops.add_tab_stop(Cm(15), WD_TAB_ALIGNMENT.RIGHT, leader)
    return _saved(made, folder / "contents.docx")


def _form(folder: Path) -> Path:
    made = docx.Document()
    for label, other in (("Name:", "Date of birth:"), ("Street:", "Number:"), ("Town:", "Code:")):
        made.add_paragraph(f"{label} ____________________\t\t{other} ______________")
    for label, value in (("Tenant:", "Ada Brook"), ("Rent:", "950"), ("Deposit:", "2520"),
                         ("From:", "1.5.2024")):  # fmt: skip
        line = made.add_paragraph(f"{label}\t{value}")
        line.paragraph_format.tab_stops.add_tab_stop(Cm(8))
    return _saved(made, folder / "form.docx")


def _letter(folder: Path) -> Path:
    made = docx.Document()
    for left, right in (("Ada Brook", "Ben Castle"), ("1 Mill Lane", "2 High Street"),
                        ("LS1 1AA Leeds", "YO1 1AA York")):  # fmt: skip
        line = made.add_paragraph(f"{left}\t{right}")
        line.paragraph_format.tab_stops.add_tab_stop(Cm(9))
    made.add_paragraph(WORDS + " " + WORDS)
    return _saved(made, folder / "letter.docx")


def _list(folder: Path) -> Path:
    made = docx.Document()
    for number in range(1, 9):
        line = made.add_paragraph(f"{number}.\tThe tenant pays the rent in month {number}.")
        line.paragraph_format.tab_stops.add_tab_stop(Cm(3))
    return _saved(made, folder / "list-of-points.docx")


def _boxes(folder: Path) -> Path:
    """Two boxes of prose side by side and one above: lines, but no table."""
    made = docx.Document()
    table = made.add_table(2, 2, "Table Grid")
    table.cell(0, 0).merge(table.cell(0, 1)).text = WORDS * 2
    for column in (0, 1):
        table.cell(1, column).text = (WORDS + " ") * 4
    return _saved(made, folder / "boxes.docx")
