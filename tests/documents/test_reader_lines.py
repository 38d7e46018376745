"""The text layer as Markdown, and which words stand in which line of writing."""

from app.documents.types import PageLayer, TextLine
from app.engine.page_lines import layer_is_good, layer_markdown, places


def line(text: str, top: float, size: float = 0.012, left: float = 0.1) -> TextLine:
    return TextLine(text, (left, top, left + 0.01 * len(text), top + 0.014), size)


def page(*lines: TextLine) -> PageLayer:
    return PageLayer(tuple(lines))


def test_headings_paragraphs_and_parted_words() -> None:
    lines = [
        line("The lease", 0.05, 0.024),
        line("The tenant pays the rent on the first work-", 0.10),
        line("ing day of every month.", 0.116),
        line("A new paragraph with a * star and a | bar.", 0.16),
        line("• a point", 0.18),
        line("• another", 0.196),
        line("# not a heading", 0.24),
    ]
    assert layer_markdown(page(*lines)).split("\n\n") == [
        "# The lease",
        "The tenant pays the rent on the first working day of every month.",
        r"A new paragraph with a \* star and a \| bar.",
        "- a point",
        "- another",
        r"\# not a heading",
    ]


def test_the_next_column_begins_a_paragraph() -> None:
    lines = [line("end of the left column", 0.9), line("top of the right", 0.1, left=0.6)]
    assert len(layer_markdown(page(*lines)).split("\n\n")) == 2


def test_a_layer_must_be_of_real_characters() -> None:
    assert layer_is_good(page(line("A page with more than enough words to stand for itself.", 0.1)))
    assert layer_is_good(page(line("عقد الإيجار بين المالك والمستأجر لمدة سنة واحدة كاملة", 0.1)))
    assert not layer_is_good(page(line("Page 3", 0.1)))
    assert not layer_is_good(page(line("\ue001\ue002\ue003" * 30, 0.1)))
    assert not layer_is_good(page(line("\ufffd" * 60, 0.1)))
    assert not layer_is_good(page())


def test_words_are_dealt_out_to_the_lines_found() -> None:
    boxes = [(0.1, 0.10, 0.5, 0.14), (0.1, 0.20, 0.9, 0.22), (0.1, 0.23, 0.9, 0.25)]
    text = (
        "# Rent paid\n\nThe tenant pays on the first day of each month, and the rest is "
        "kept on an account of its own until the very end of it all."
    )
    placed = places(text, boxes, 595, 842)
    assert placed[0].text == "Rent paid"
    assert placed[1].text.startswith("The tenant")
    assert " ".join(each.text for each in placed) == text.replace("# ", "").replace("\n\n", " ")
    assert places("", boxes, 1, 1) == ()
    assert places("words", [], 1, 1) == ()
