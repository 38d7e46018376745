"""What a measurement is and how it is written: JSON for machines, a Markdown table for people."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import mlx.core as mx

from mlx_gemma4.bench.peers import versions

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with the bound it should keep.

    Attributes:
        name: what was measured.
        value: the number.
        goal: the bound; ``None`` when the number is only told.
        at: whether the value should be at ``most`` or at ``least`` the goal.
    """

    name: str
    value: float
    goal: float | None = None
    at: Literal["most", "least"] = "most"

    @property
    def met(self) -> bool | None:
        """Whether the goal is kept; ``None`` without one."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.at == "most" else self.value >= self.goal


@dataclass(frozen=True, slots=True)
class Section:
    """The result of one mode.

    Attributes:
        title: of the section.
        settings: how it was run, seeds included.
        rows: one dictionary per row; all have the keys of the first.
        figures: numbers with their goals.
        notes: sentences a reader needs.
    """

    title: str
    settings: dict[str, Any]
    rows: Sequence[dict[str, Cell]] = ()
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """All sections of one run, with the command and the machine they belong to."""

    command: str
    machine: dict[str, Any]
    sections: Sequence[Section] = field(default_factory=tuple)

    def to_json(self) -> str:
        """The report as JSON; each figure says whether its goal is kept."""
        plain = asdict(self)
        for section, written in zip(self.sections, plain["sections"], strict=True):
            for figure, target in zip(section.figures, written["figures"], strict=True):
                target["met"] = figure.met
        return json.dumps(plain, indent=1)

    def to_markdown(self) -> str:
        """The report as Markdown."""
        facts = ", ".join(f"{key} {value}" for key, value in self.machine.items())
        parts = [f"`{self.command}`", facts, *map(_section, self.sections)]
        return "\n\n".join(parts) + "\n"


def machine() -> dict[str, Any]:
    """Where and with what versions this process runs."""
    return {
        "system": platform.system(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        "memory_gb": round(_memory() / 1e9, 1),
        "device": mx.default_device().type.name,
        "python": platform.python_version(),
        "mlx": version("mlx"),
        **versions(),
    }


def write(report: Report, prefix: Path) -> None:
    """Write ``PREFIX.md`` and ``PREFIX.json``."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    prefix.with_name(prefix.name + ".md").write_text(report.to_markdown(), encoding="utf-8")
    prefix.with_name(prefix.name + ".json").write_text(report.to_json() + "\n", encoding="utf-8")


def table(rows: Sequence[dict[str, Cell]]) -> str:
    """Rows as a Markdown table; empty for no rows."""
    if not rows:
        return ""
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns)]
    lines += [[_text(row.get(column)) for column in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _section(section: Section) -> str:
    settings = ", ".join(f"{key} {value}" for key, value in section.settings.items())
    figures: list[dict[str, Cell]] = [
        {"figure": f.name, "value": f.value, "goal": _goal(f), "kept": _YES_NO[f.met]}
        for f in section.figures
    ]
    notes = "\n".join(f"* {note}" for note in section.notes)
    parts = (f"## {section.title}", settings, table(section.rows), table(figures), notes)
    return "\n\n".join(part for part in parts if part)


_YES_NO = {True: "yes", False: "no", None: ""}


def _goal(figure: Figure) -> str:
    if figure.goal is None:
        return ""
    return f"{'≤' if figure.at == 'most' else '≥'} {_text(figure.goal)}"


def _text(value: Cell) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else value


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
