"""What the scripted engine says: rules as data, read from JSON or taken from the built-in script.

A rule matches the last user message; the first match wins. Delays make the engine as slow as a
real one where a test or a figure needs that.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.core.errors import ErrorKind


@dataclass(frozen=True, slots=True)
class Failing:
    """How a job breaks: after so many words, with a failure, by dying, or by not obeying Cancel."""

    after_words: int = 0
    kind: ErrorKind = ErrorKind.INTERNAL
    message: str = ""
    die: bool = False
    hang_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Rule:
    """match: a regular expression, tried anywhere in the message, capitals ignored."""

    match: str
    answer: str = ""
    thought: str = ""
    tool: str = ""
    arguments: str = "{}"
    repeat: int = 1
    failing: Failing | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """All rules and the pace: seconds per word, per prompt token, to load and to open."""

    rules: tuple[Rule, ...] = ()
    word_s: float = 0.0
    prompt_token_s: float = 0.0
    load_s: float = 0.0
    open_s: float = 0.0
    context_tokens: int = 8192
    hears: bool = True
    sees: bool = True
    uses_tools: bool = True
    pages: tuple[str, ...] = field(default=("# Page\n\nA page read by the scripted engine.",))

    def rule_for(self, text: str) -> Rule | None:
        """The first rule that matches."""
        for rule in self.rules:
            if re.search(rule.match, text, re.IGNORECASE):
                return rule
        return None


_TABLE = """Here is the table:

| Fruit | Colour | Price |
|---|---|---:|
| Apple | red | 1.20 |
| Banana | yellow | 0.35 |
| Plum | blue | 2.10 |
"""
_CODE = """This function adds two numbers:

```python
def add(a: int, b: int) -> int:
    return a + b
```
"""
_FORMULA = r"""The roots are

$$x_{1,2} = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a}$$

where $a \neq 0$.
"""
_BOXES = """I see two things:

```json
[{"box_2d": [120, 80, 520, 460], "label": "cup"},
 {"box_2d": [560, 500, 900, 940], "label": "spoon"}]
```
"""

BUILT_IN: dict[str, Script] = {
    "default": Script(
        rules=(
            Rule(r"\btable\b", _TABLE),
            Rule(r"\bcode\b|function", _CODE),
            Rule(r"formula|latex", _FORMULA),
            Rule(r"where|boxes|point at", _BOXES),
            Rule(r"puzzle|think", "It is 42.", "First I add the numbers. Then I check the sum."),
            Rule(r"what time", tool="clock"),
            Rule(r"\blong\b", "All work and no play makes a very long answer. ", repeat=200),
            Rule(
                r"break please",
                "This goes well until",
                failing=Failing(3, message="The script told me to fail."),
            ),
            Rule(r"die please", "Dying in a", failing=Failing(2, die=True)),
            Rule(r"hang please", "Hanging", failing=Failing(1, hang_s=60.0)),
        ),
        word_s=0.01,
    ),
    "instant": Script(),
}


def load_script(name: str) -> Script:
    """A built-in script by name, or one from a JSON file. Raises ValueError with one sentence."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    try:
        data = json.loads(Path(name).read_text(encoding="utf-8"))
        return script_from_json(data)
    except (OSError, ValueError, TypeError, AttributeError) as problem:
        raise ValueError(f"The script {name!r} cannot be used: {problem}.") from problem


def script_from_json(data: dict[str, Any]) -> Script:
    """A script from plain data; keys are the fields' names."""
    values = dict(data)
    values["rules"] = tuple(_rule(rule) for rule in values.get("rules", ()))
    if "pages" in values:
        values["pages"] = tuple(values["pages"])
    return Script(**values)


def _rule(data: dict[str, Any]) -> Rule:
    values = dict(data)
    if values.get("failing"):
        failing = dict(values["failing"])
        failing["kind"] = ErrorKind(failing.get("kind", "internal"))
        values["failing"] = Failing(**failing)
    return Rule(**values)
