"""Measure what the demo checkpoint can do, on items it has never seen.

The items lie in a folder with `items.json` and the media it names (the repository's
`tests/data/demo-eval`). Answers are greedy; each task has its own score.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_gemma4.errors import Gemma4Error, MediaError

EXAMPLES = """\
examples:
  mlx-gemma4 eval-demo
  mlx-gemma4 eval-demo --task lines --task hearing --limit 20 --wrong
  mlx-gemma4 eval-demo --model ./demo-4bit --json
"""
_ROOT = Path(__file__).resolve().parent.parent
_DEFAULT_MODEL = _ROOT / "assets" / "demo-model"
_DEFAULT_ITEMS = _ROOT / "tests" / "data" / "demo-eval"
_MAX_TOKENS = 120


@dataclass(frozen=True, slots=True)
class Item:
    """One question of the set.

    Attributes:
        task: which row of the table it counts for.
        turns: user turns in order; each is a tuple of ("text" | "image" | "audio" | "video", value)
            where media are paths.
        history: the right answers to all turns but the last, given as earlier model turns.
        answer: the right answer to the last turn.
        budget: most soft tokens of its pictures; None for what the checkpoint says.
    """

    task: str
    turns: tuple[tuple[tuple[str, Any], ...], ...]
    history: tuple[str, ...]
    answer: str
    budget: int | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """How a task is scored: its title, its measure and whether less is better."""

    title: str
    measure: str
    score: Callable[[list[tuple[str, str]]], float]
    goal: str


def edit_distance(a: Iterable[Any], b: Iterable[Any]) -> int:
    """Levenshtein distance: insertions, deletions and substitutions each cost 1."""
    wanted = list(b)
    row = list(range(len(wanted) + 1))
    for i, left in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, right in enumerate(wanted, 1):
            change = previous + (left != right)
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, change)
    return row[-1]


def character_error_rate(pairs: list[tuple[str, str]]) -> float:
    """Edits over all characters of the right answers; `pairs` are (answered, right)."""
    total = sum(len(right) for _, right in pairs)
    return sum(edit_distance(said, right) for said, right in pairs) / max(1, total)


def word_error_rate(pairs: list[tuple[str, str]]) -> float:
    """Edits over all words of the right answers, without case and punctuation."""
    split = [(_words(said), _words(right)) for said, right in pairs]
    total = sum(len(right) for _, right in split)
    return sum(edit_distance(said, right) for said, right in split) / max(1, total)


def exact_share(pairs: list[tuple[str, str]]) -> float:
    """Share of answers equal to the right one but for case and a final full stop."""
    same = [_plain(said) == _plain(right) for said, right in pairs]
    return sum(same) / max(1, len(same))


def mean_overlap(pairs: list[tuple[str, str]]) -> float:
    """Mean intersection over union of the answered and the right box; 0 without a readable box."""
    return sum(_overlap(_box(said), _box(right)) for said, right in pairs) / max(1, len(pairs))


def _words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


def _plain(text: str) -> str:
    return text.strip().lower().rstrip(".")


def _box(text: str) -> tuple[float, float, float, float] | None:
    """[y0, x0, y1, x1] of the first entry of a JSON list, None if there is none."""
    try:
        y0, x0, y1, x1 = json.loads(text)[0]["box_2d"]
        return float(y0), float(x0), float(y1), float(x1)
    except (ValueError, TypeError, LookupError):
        return None


def _overlap(a: tuple[float, ...] | None, b: tuple[float, ...] | None) -> float:
    if a is None or b is None:
        return 0.0
    high = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    wide = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = high * wide
    union = _area(a) + _area(b) - both
    return both / union if union > 0 else 0.0


def _area(box: tuple[float, ...]) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


TASKS: dict[str, Task] = {
    "lines": Task("OCR lines", "character error rate", character_error_rate, "<= 3 %"),
    "seeing": Task("seeing", "exact", exact_share, ">= 95 %"),
    "hearing": Task("hearing", "word error rate", word_error_rate, "<= 5 %"),
    "live": Task("seeing and hearing at once", "exact", exact_share, ">= 90 %"),
    "pages": Task("OCR pages", "character error rate", character_error_rate, "<= 6 %"),
    "boxes": Task("boxes", "mean IoU", mean_overlap, ">= 60 %"),
    "video": Task("video", "exact", exact_share, ">= 85 %"),
    "chat": Task("chat", "exact", exact_share, ">= 95 %"),
    "flite": Task("hearing, flite voices", "word error rate", word_error_rate, "none"),
    "office": Task("OCR, LibreOffice", "character error rate", character_error_rate, "none"),
}


def read_items(folder: Path) -> list[Item]:
    """The set in `folder`.

    Raises:
        MediaError: there is no readable set.
    """
    path = folder / "items.json"
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["items"]
        return [_item(folder, entry) for entry in entries]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise MediaError(
            f"There is no readable evaluation set in {folder}; pass its folder with --items."
        ) from error


def _item(folder: Path, entry: dict[str, Any]) -> Item:
    turns = tuple(
        tuple((kind, value if kind == "text" else folder / value) for kind, value in turn)
        for turn in entry["turns"]
    )
    history, budget = tuple(entry.get("history", ())), entry.get("budget")
    return Item(entry["task"], turns, history, entry["answer"], budget)


def choose(items: list[Item], tasks: list[str] | None, limit: int | None) -> list[Item]:
    """Only `tasks` (all if None), at most `limit` items of each, in the set's order."""
    taken: dict[str, int] = {}
    chosen = []
    for item in items:
        if tasks is None or item.task in tasks:
            taken[item.task] = taken.get(item.task, 0) + 1
            if limit is None or taken[item.task] <= limit:
                chosen.append(item)
    return chosen


def scores(results: list[tuple[Item, str]]) -> dict[str, tuple[int, float]]:
    """Number of items and score of each task, in the table's order."""
    table = {}
    for name, task in TASKS.items():
        pairs = [(said.strip(), item.answer) for item, said in results if item.task == name]
        if pairs:
            table[name] = (len(pairs), task.score(pairs))
    return table


def messages_of(item: Item) -> tuple[Any, ...]:
    """The item as messages, ending with the user's last turn."""
    from mlx_gemma4 import messages as m

    def image(value: Any) -> m.Image:
        return m.Image(value, item.budget)

    kinds = {"text": m.Text, "image": image, "audio": m.Audio, "video": m.Video}
    found = []
    for index, turn in enumerate(item.turns):
        parts = tuple(kinds[kind](value) for kind, value in turn)
        found.append(m.Message(id=f"u{index}", role="user", parts=parts))
        if index < len(item.history):
            answer = (m.Text(item.history[index]),)
            found.append(m.Message(id=f"m{index}", role="model", parts=answer))
    return tuple(found)


def evaluate(model: Any, processor: Any, items: list[Item]) -> Iterator[tuple[Item, str]]:
    """Each item with the model's greedy answer."""
    from mlx_gemma4.generate import GenerateOptions, generate
    from mlx_gemma4.sampling import SamplingOptions

    options = GenerateOptions(
        max_tokens=_MAX_TOKENS, sampling=SamplingOptions(greedy=True), loop_guard=False
    )
    for item in items:
        inputs = processor.inputs(messages_of(item))
        yield item, generate(model, processor, inputs, options).text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--model", default=str(_DEFAULT_MODEL), help="checkpoint folder")
    parser.add_argument("--items", type=Path, default=_DEFAULT_ITEMS, help="evaluation set")
    parser.add_argument("--task", action="append", choices=tuple(TASKS), help="only this task")
    parser.add_argument("--limit", type=int, help="at most this many items of each task")
    parser.add_argument("--wrong", action="store_true", help="also print every wrong answer")
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")


def run(args: argparse.Namespace) -> int:
    """Measure and print the table."""
    items = choose(read_items(args.items), args.task, args.limit)
    if not items:
        raise Gemma4Error("The evaluation set holds no item of this task; choose another --task.")
    from mlx_gemma4.loading import load

    model, processor = load(args.model)
    begun = time.monotonic()
    results = []
    for item, said in evaluate(model, processor, items):
        results.append((item, said))
        if args.wrong and said.strip() != item.answer:
            _say(f"{item.task}: {said.strip()!r} should be {item.answer!r}")
    report(scores(results), time.monotonic() - begun, as_json=args.json)
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def report(table: dict[str, tuple[int, float]], seconds: float, *, as_json: bool) -> None:
    """Print scores as a table, or as JSON for scripts."""
    if as_json:
        flat = {name: {"items": n, "score": round(score, 4)} for name, (n, score) in table.items()}
        _say(json.dumps({"scores": flat, "seconds": round(seconds, 1)}, indent=2))
        return
    _say(f"{'task':28} {'items':>5}  {'measure':22} {'score':>7}  goal")
    for name, (count, score) in table.items():
        task = TASKS[name]
        _say(f"{task.title:28} {count:5}  {task.measure:22} {score * 100:5.1f} %  {task.goal}")
    _say(f"{sum(count for count, _ in table.values())} items in {seconds:.0f} s")
