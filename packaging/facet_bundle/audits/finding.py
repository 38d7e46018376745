"""One thing an audit found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """`audit` names the check, `where` the file, `what` the fault."""

    audit: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.audit}: {self.where}: {self.what}"
