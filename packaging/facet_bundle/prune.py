"""Applies packaging/prune.toml: which files stay out of the bundle, each with its reason."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from facet_bundle import facts


def pattern(glob: str) -> re.Pattern[str]:
    """A path glob as a regular expression: `**` crosses folders, `*`, `?` and `[...]` do not."""
    out, position = [], 0
    while position < len(glob):
        if glob.startswith("**/", position):
            out.append("(?:.*/)?")
            position += 3
        elif glob.startswith("**", position):
            out.append(".*")
            position += 2
        elif glob[position] == "[":
            end = glob.index("]", position) + 1
            out.append(glob[position:end])
            position = end
        else:
            out.append({"*": "[^/]*", "?": "[^/]"}.get(glob[position], re.escape(glob[position])))
            position += 1
    return re.compile("".join(out) + r"\Z")


@dataclass(slots=True)
class Rule:
    """One entry of prune.toml with what it dropped so far."""

    reason: str
    drop: list[re.Pattern[str]]
    keep: list[re.Pattern[str]]
    optional: bool = False
    files: int = 0
    bytes: int = field(default=0)

    def drops(self, path: str) -> bool:
        """Whether this rule leaves `path` out."""
        return any(p.match(path) for p in self.drop) and not any(p.match(path) for p in self.keep)


class Pruner:
    """All rules of one platform."""

    def __init__(self, rules: list[Rule]) -> None:
        self.rules = rules

    @classmethod
    def load(cls, platform: str, file: Path = facts.PACKAGING / "prune.toml") -> Pruner:
        """The rules of `file` that hold for `platform`."""
        with file.open("rb") as handle:
            entries = tomllib.load(handle)["drop"]
        return cls(
            [
                Rule(
                    entry["reason"],
                    [pattern(glob) for glob in entry["paths"]],
                    [pattern(glob) for glob in entry.get("keep", [])],
                    entry.get("optional", False),
                )
                for entry in entries
                if entry.get("platform", platform) == platform
            ]
        )

    def drops(self, path: str, size: int) -> bool:
        """Whether any rule leaves `path` out; counts it for the report."""
        for rule in self.rules:
            if rule.drops(path):
                rule.files += 1
                rule.bytes += size
                return True
        return False

    def idle_rules(self) -> list[str]:
        """Reasons of rules that dropped nothing: the wheels changed and the rule is stale."""
        return [rule.reason for rule in self.rules if not rule.files and not rule.optional]
