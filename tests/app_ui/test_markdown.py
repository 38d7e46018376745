"""Markdown: rendered in full, harmless in every way, the same whether streamed or not."""

import random
import socket

import pytest
from PySide6.QtCore import QPoint, Qt, QUrl
from PySide6.QtGui import QGuiApplication, QTextDocument
from PySide6.QtWidgets import QToolButton

from app.ui.chat.document_writer import CODE_LANGUAGE
from app.ui.chat.highlight import highlight
from app.ui.chat.markdown import MarkdownStream, is_safe_link, parse_blocks
from app.ui.chat.rich_text import RichText
from app.ui.theme import Theme

SAMPLE = """# A mug

Plain *text* with **bold**, `code`, a [link](https://example.org) and $E = mc^2$.

1. One
2. Two
   - inner
3. Three

> Quoted.

```python
def add(a, b):
    return a + b
```
```
plain
```

| a | b |
|:--|--:|
| 1 | 2 |

---

$$\\frac{1}{2}$$

العربية من اليمين إلى اليسار

हिन्दी का वाक्य

中文句子。

- [x] done
- last

The end.
"""


def layout_of(text: RichText) -> list[tuple[object, ...]]:
    block, found = text.document().begin(), []
    while block.isValid():
        fmt = block.blockFormat()
        found.append(
            (block.text(), fmt.topMargin(), fmt.bottomMargin(), fmt.leftMargin(), fmt.indent())
        )
        block = block.next()
    return found


@pytest.fixture
def make(theme: Theme, qtbot):
    def build(width: int = 560) -> RichText:
        text = RichText(theme)
        qtbot.addWidget(text)
        text.set_width(width)
        return text

    return build


def test_streamed_equals_whole(make) -> None:
    whole = make()
    whole.set_markdown(SAMPLE)
    pick = random.Random(1)
    for _ in range(3):
        streamed, end = make(), 0
        while end < len(SAMPLE):
            end += pick.randint(1, 17)
            streamed.set_markdown(SAMPLE[:end])
        assert layout_of(streamed) == layout_of(whole)
        assert streamed.height() == whole.height()


def test_only_the_last_block_is_written_again(make) -> None:
    text = make()
    paragraphs = "\n\n".join(f"Paragraph {n} is done." for n in range(200))
    text.set_markdown(paragraphs)
    before = text.writer.blocks_written
    for end in range(1, 11):
        text.set_markdown(paragraphs + " more words"[:end])
    assert text.writer.blocks_written - before <= 10


def test_parsing_of_a_stream_is_bounded() -> None:
    stream, text = MarkdownStream(), ""
    for number in range(300):
        text += f"Paragraph number {number}.\n\n"
        stream.update(text)
    assert stream.parsed_characters < 4 * len(text)


def test_reference_links_hold_backwards() -> None:
    stream = MarkdownStream()
    stream.update("See [here][x].\n\nMore.\n\n")
    keep, blocks = stream.update("See [here][x].\n\nMore.\n\n[x]: https://example.org\n")
    assert keep == 0
    children = blocks[0].tokens[1].children
    assert any(token.type == "link_open" for token in children)


def test_html_is_only_text(make) -> None:
    text = make()
    hostile = "<script>alert(1)</script> <img src=https://evil.example/x.png> <b>bold</b>"
    text.set_markdown(hostile)
    assert text.toPlainText() == hostile
    assert "￼" not in text.document().toPlainText()


def test_nothing_is_loaded_from_anywhere(make, monkeypatch) -> None:
    def refuse(*_args: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    text = make()
    text.set_markdown("![alt](https://evil.example/x.png) ![](file:///etc/passwd)")
    assert "alt" in text.toPlainText()
    image = QTextDocument.ResourceType.ImageResource.value
    for address in ("https://evil.example/x.png", "file:///etc/passwd", "/etc/passwd"):
        assert text.loadResource(image, QUrl(address)) is None


@pytest.mark.parametrize(
    "target", ["javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", "//x", "smb://a/b"]
)
def test_dangerous_links_are_dead(make, target: str) -> None:
    assert not is_safe_link(target)
    text = make()
    text.set_markdown(f"[click]({target})")
    block = text.document().begin()
    iterator = block.begin()
    while not iterator.atEnd():
        assert not iterator.fragment().charFormat().isAnchor()
        iterator += 1


def test_a_link_only_tells_its_target(make, qtbot, monkeypatch) -> None:
    from PySide6.QtGui import QDesktopServices

    opened: list[object] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", opened.append)
    text = make()
    text.set_markdown("[a long link](https://example.org/a)")
    text.show()
    place = QPoint(20, 9)
    with qtbot.waitSignal(text.link_clicked) as told:
        qtbot.mouseClick(text.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert told.args == ["https://example.org/a"]
    assert opened == []


def test_the_copy_button_copies_exactly_the_code(make, qtbot) -> None:
    text = make()
    code = "if a -> b:\n\treturn  'x'\n\n# end"
    text.set_markdown(f"Look:\n\n```python\n{code}\n```\n")
    text.show()
    buttons = [b for b in text.findChildren(QToolButton) if b.accessibleName() == "Copy code"]
    assert len(buttons) == 1
    buttons[0].click()
    assert QGuiApplication.clipboard().text() == code


def test_code_is_coloured_and_unchanged() -> None:
    code = "def f(x):\n    return 'a' + str(1)  # note\n"
    runs = highlight(code, "python")
    assert "".join(text for text, _ in runs) == code
    assert {"code_keyword", "code_string", "code_number", "code_comment"} <= {t for _, t in runs}
    assert highlight(code, "no-such-language") == ((code, "text"),)


def test_code_blocks_know_their_language(make) -> None:
    text = make()
    text.set_markdown(SAMPLE)
    block, languages = text.document().begin(), []
    while block.isValid():
        if block.blockFormat().hasProperty(CODE_LANGUAGE):
            languages.append(block.blockFormat().stringProperty(CODE_LANGUAGE))
        block = block.next()
    assert languages == ["python", "text"]


def test_formulas_become_pictures_and_bad_ones_stay_text(make) -> None:
    text = make()
    text.set_markdown("Good $x^2$, \\(y\\) and bad $\\frac{$ costs $5 and $6.")
    shown = text.document().toPlainText()
    assert shown.count("￼") == 2
    assert "$5 and $6" in shown


def test_right_to_left_paragraphs_run_right_to_left(make) -> None:
    text = make()
    text.set_markdown("Hello\n\nمرحبا بالعالم")
    first = text.document().begin()
    assert first.textDirection() == Qt.LayoutDirection.LeftToRight
    assert first.next().textDirection() == Qt.LayoutDirection.RightToLeft


@pytest.mark.parametrize(
    "sentence",
    [
        "中文的句子也应该能够正确换行。" * 12,
        "हिन्दी में यह एक लंबा वाक्य है। " * 12,
        "هذه جملة طويلة. " * 20,
    ],
    ids=["chinese", "hindi", "arabic"],
)
def test_scripts_wrap_within_the_measure_and_copy_whole(make, theme: Theme, sentence: str) -> None:
    text = make()
    text.set_markdown(sentence)
    layout = text.document().begin().layout()
    assert layout.lineCount() > 1
    for number in range(layout.lineCount()):
        assert layout.lineAt(number).naturalTextWidth() <= theme.measure() + 1
    text.selectAll()
    assert text.textCursor().selectedText() == sentence.strip()


ODD = ("", "\n\n\n", "```", "|", "| a |\n|-", "$$", "> " * 500, "[" * 5000, "*" * 3000)
ODDER = ("\x00\ufffe", "- " * 400, "`" * 999, "\\(" * 500)


@pytest.mark.parametrize("text", [*ODD, *ODDER])
@pytest.mark.timeout(20)
def test_odd_input_is_shown_in_bounded_time(make, text: str) -> None:
    make().set_markdown(text)


def test_a_huge_text_is_one_plain_paragraph() -> None:
    assert len(parse_blocks("# x\n\n" * 70_000)) == 1
