from dataclasses import dataclass
from enum import StrEnum


@dataclass
class Checked:
    text: str
    notices: tuple = ()
    incomplete: bool = False


def check_page(text, finish="stop"):
    n = {
        "stop": (),
        "length": ("The text breaks off: the page is longer than one reading.",),
        "loop": ("The model began to repeat itself here and was stopped.",),
    }[finish]
    return Checked(text.strip(), n, bool(n))


def compare(text, layer):
    return ()


def layer_is_good(layer):
    return sum(len(l.text) for l in layer) > 20


def layer_markdown(layer):
    return "\n".join(l.text for l in layer)


def place_lines(text, segments):
    lines = [l for l in text.splitlines() if l.strip()]
    return list(zip(lines, list(segments) + [None] * len(lines)))


def plan_tiles(facts):
    from app.documents.types import PagePart

    return [PagePart((0, 0, 1, 0.55)), PagePart((0, 0.45, 1, 1))]


def stitch(texts):
    return "\n".join(texts)


class Task(StrEnum):
    PAGE = "page"
    SCHEMA = "schema"
    TABLE = "table"
    HANDWRITING = "handwriting"
    CHART = "chart"
    FORMULA = "formula"


def instruction(task, language="", json_schema=""):
    return "Read the page."
