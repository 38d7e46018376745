"""Makes docs/screenshots: every page in light and dark, narrow and wide, and two hard variants.

Run by `./run screenshots [FOLDER]`, together with those of the documents and the live page. The
real window with the scripted engine in a thread; only the facts about the machine are fixed, so
that pictures differ where the window differs.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image as PilImage
from PIL import ImageDraw

if TYPE_CHECKING:
    from app.ui.theme import Mode

PROJECT = Path(__file__).parents[2]
SIZES = {"880": (880, 600), "1440": (1440, 900)}
GB = 1 << 30
COLOURS = 192
TITLES = (
    ("Lease, second draft", 0.0, True),
    ("Kitchen measurements", 0.1, False),
    ("What the letter from the town says", 0.2, False),
    ("Names for a grey cat", 1.1, False),
    ("Tides, explained", 1.3, False),
    ("Train to Lisbon", 4.0, False),
)
ANSWER = """A **ceramic mug** on a wooden table, with a spoon beside it. The mug is dark green and
holds about 0.3 litres; steam suggests that it was filled a moment ago.

| Thing | Colour | Where |
|:------|:-------|:------|
| Mug | dark green | left of the middle |
| Spoon | silver | right, handle towards you |

To measure the volume from height $h$ and radius $r$, use $V = \\pi r^2 h$:

```python
def volume(radius: float, height: float) -> float:
    \"\"\"Litres, from centimetres.\"\"\"
    return 3.1416 * radius**2 * height / 1000
```
"""
MARKS = """```json
[{"box_2d": [330, 190, 760, 450], "label": "mug"},
 {"box_2d": [640, 560, 760, 880], "label": "spoon"}]
```"""
GERMAN = """Die **Grundstücksverkehrsgenehmigungszuständigkeitsübertragungsverordnung** regelt, wer
über Genehmigungen entscheidet. Zuständig ist das Landwirtschaftsministerium."""


def make_picture(path: Path) -> None:
    """A mug and a spoon on a table, drawn."""
    picture = PilImage.new("RGB", (960, 640), "#D9C2A3")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, 960, 300), fill="#E9E4DC")
    for x in range(0, 960, 120):
        draw.line((x, 300, x - 60, 640), fill="#CDB391", width=3)
    draw.ellipse((175, 430, 455, 500), fill="#B99F7E")
    draw.rounded_rectangle((190, 220, 400, 480), 40, fill="#2F5D4A")
    draw.ellipse((190, 195, 400, 250), fill="#24483A")
    draw.arc((350, 270, 440, 400), -90, 90, fill="#2F5D4A", width=22)
    draw.ellipse((540, 415, 640, 485), fill="#C9CDD2")
    draw.line((630, 450, 845, 450), fill="#C9CDD2", width=16)
    picture.save(path, quality=92)


class Stage:
    """A running window with content, and a camera."""

    def __init__(self, folder: Path, target: Path, script: str = "instant") -> None:
        from PySide6.QtWidgets import QApplication

        from app.controllers.model_controller import ModelController
        from app.main import AppOptions, build_app
        from app.pages import add_pages
        from app.services.machine import MachineFacts
        from app.ui.main_window import MainWindow

        self.target = target
        self.qt = QApplication.instance() or QApplication(["facet"])
        options = AppOptions(data_dir=str(folder / "data"), in_process=True, script=script)
        self.app = build_app(options)
        facts = MachineFacts("Apple M3", "macOS 15.5", 16 * GB, 9 * GB, 212 * GB)
        state = self.app.state
        models = ModelController(
            self.app.engine, self.app.downloads, state.settings, facts=lambda: facts
        )
        self.state = replace(state, models=models)
        self.window = MainWindow(self.state)
        self.app.engine.start()
        add_pages(self.app, self.window)
        self.picture = folder / "Mug on the table.jpg"
        make_picture(self.picture)

    def wait(self, test: Callable[[], bool], seconds: float = 20.0) -> None:
        """Let Qt work until `test` holds."""
        end = time.monotonic() + seconds
        while not test():
            if time.monotonic() > end:
                raise TimeoutError("the window did not get where it should")
            self.qt.processEvents()
            time.sleep(0.005)

    def settle(self, seconds: float = 0.25) -> None:
        """Let timers and thumbnails finish."""
        end = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() > end)

    def fill(self) -> None:
        """A loaded model and a list of chats."""
        from app.core.conversation import ConversationMeta, Message, Role, Text

        models = self.state.models
        models.load("/models/gemma-4-e4b-it-4bit")
        self.wait(lambda: models.loaded is not None)
        assert models.loaded is not None
        models.loaded = replace(models.loaded, label="Gemma 4 E4B", quantisation="4-bit")
        models.state_changed.emit()
        for number, (title, days, pinned) in enumerate(TITLES):
            when = time.time() - days * 86400
            meta = ConversationMeta(f"c{number}", title, pinned, created=when, updated=when)
            self.state.conversations.update(meta)
            message = Message(f"m{number}", None, Role.USER, (Text(title),), created=when)
            self.app.library.save_message(meta.id, message)

    def talk(self, words: str, answer: str, *, picture: bool) -> str:
        """One turn whose answer is set; returns the answer's id."""
        from app.core.conversation import Text, Thought, Usage

        chat = self.state.chat
        if picture:
            chat.drafts.add_file(str(self.picture))
            self.wait(lambda: bool(chat.drafts.items()) and chat.drafts.all_settled)
        chat.send(words)
        self.wait(lambda: not chat.busy)
        last = chat.messages()[-1]
        parts = (Thought("The picture shows a mug. I name what I see.", 3.0), Text(answer))
        usage = Usage(412, 280, 131, 0.3, 4.2, 38.0, 6 * GB)
        chat.conversation.replace(replace(last, parts=parts, usage=usage))
        chat.message_changed.emit(last.id)
        return last.id

    def shoot(self, name: str) -> None:
        """Save what the window shows, in few colours."""
        self.settle()
        grabbed = self.window.grab()
        from PySide6.QtCore import QBuffer, QIODevice

        buffer = QBuffer()
        buffer.open(QIODevice.OpenModeFlag.WriteOnly)
        grabbed.save(buffer, "PNG")
        picture = PilImage.open(io.BytesIO(buffer.data().data())).convert("RGB")
        few = picture.quantize(COLOURS, dither=PilImage.Dither.NONE)
        self.target.mkdir(parents=True, exist_ok=True)
        few.save(self.target / f"{name}.png", optimize=True)

    def close(self) -> None:
        """End engine and library."""
        self.window.close()
        self.app.close()


@contextmanager
def stage(target: Path, script: str = "") -> Iterator[Stage]:
    """A stage in a folder of its own; `script`: JSON for the scripted engine."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "script.json"
        file.write_text(script)
        made = Stage(Path(folder), target, str(file) if script else "instant")
        try:
            yield made
        finally:
            made.close()


def looks() -> Iterator[tuple[str, Mode, tuple[int, int]]]:
    themes: tuple[Mode, ...] = ("light", "dark")
    for theme in themes:
        for width, size in SIZES.items():
            yield f"{theme}-{width}", theme, size


def each_look(show: Stage, name: str) -> None:
    for suffix, theme, size in looks():
        show.window.theme.set_mode(theme)
        show.window.resize(*size)
        show.shoot(f"{name}-{suffix}")


def make_all(target: Path) -> None:
    """Every picture."""
    with stage(target) as show:
        window = show.window
        window.show()
        show.wait(lambda: any(row.plan for row in show.state.models.rows()))
        each_look(show, "first-start")
        show.fill()
        window.new_chat()
        each_look(show, "empty-chat")
        _composer(show)
        show.talk("What is in this picture?", ANSWER, picture=True)
        each_look(show, "chat")
        show.talk("Where are they?", MARKS, picture=False)
        each_look(show, "marks")
        for page in ("models", "settings", "doctor"):
            window.show_page(page)
            show.settle(1.0)
            each_look(show, page)
        _variants(show)


def _composer(show: Stage) -> None:
    """Files that wait, one of them refused, and a form for the next reply; usual and large text."""
    samples = PROJECT / "assets" / "samples"
    files = [show.picture, samples / "command.flac", samples / "page.pdf"]
    chat, composer = show.state.chat, show.window.chat_page.composer
    show.window.open_files([str(path) for path in files])
    show.wait(lambda: len(chat.drafts.items()) == len(files) and chat.drafts.all_settled)
    chat.set_json_schema('{"type": "object"}', once=True)
    composer.set_text("Which things are here?")
    each_look(show, "composer")
    show.window.theme.set_scale(2.0)
    for suffix, size in SIZES.items():
        show.window.resize(*size)
        show.settle(1.0)
        show.shoot(f"composer-200-dark-{suffix}")
    show.window.theme.set_scale(1.0)
    for draft in chat.drafts.items():
        chat.drafts.remove(draft.id)
    chat.set_json_schema("")
    composer.set_text("")


FRUIT = [
    {"name": "Apples", "price": 2.4, "origin": "South Tyrol", "ripe": True},
    {"name": "Bananas", "price": 1.35, "origin": "Ecuador", "ripe": True},
    {"name": "Plums", "price": 3.1, "origin": "Alsace", "ripe": False},
]
TOOLS_SCRIPT = {
    "rules": [
        {"match": "17 %", "tool": "calculator", "arguments": '{"expression": "1249 * 0.17"}'},
        {"match": "fruit", "answer": json.dumps(FRUIT)},
    ]
}


def tools_and_tables(target: Path) -> None:
    """A tool that is asked for, one that was used, and an answer as a table."""
    from app.controllers.chat_tools import Decision

    with stage(target, json.dumps(TOOLS_SCRIPT)) as show:
        chat = show.state.chat
        show.window.show()
        show.fill()
        show.window.new_chat()
        chat.set_model(show.state.models.loaded)
        chat.set_tools(["clock", "calculator"])
        chat.send("How much is 17 % of 1,249?")
        show.wait(lambda: chat.tools.asked(chat.messages()[-1].id) is not None)
        each_look(show, "tool-asked")
        chat.decide(chat.messages()[-1].id, Decision.ONCE)
        show.wait(lambda: not chat.busy)
        show.window.new_chat()
        chat.set_json_schema('{"type": "array", "items": {"type": "object"}}')
        chat.send("List the fruit on this receipt.")
        show.wait(lambda: not chat.busy)
        each_look(show, "json-table")


def _variants(show: Stage) -> None:
    """Long German words, 200 % text, a drop, an answer that failed."""
    from app.core.conversation import MessageState
    from app.core.errors import ErrorKind, Failure

    window, state = show.window, show.state
    window.theme.set_mode("light")
    window.new_chat()
    answer = show.talk("Was regelt die Verordnung?", GERMAN, picture=False)
    for suffix, size in SIZES.items():
        window.resize(*size)
        show.shoot(f"chat-german-light-{suffix}")
        window.theme.set_scale(2.0)
        show.shoot(f"chat-german-200-light-{suffix}")
        for page in ("models", "settings", "doctor"):
            window.show_page(page)
            for theme in ("light", "dark"):
                window.theme.set_mode(theme)
                show.settle(1.0)
                show.shoot(f"{page}-200-{theme}-{suffix}")
        window.theme.set_mode("light")
        window.show_page("chat")
        window.theme.set_scale(1.0)
    failure = Failure(
        ErrorKind.OUT_OF_MEMORY,
        "The engine stopped: it ran out of memory.",
        "It was restarted and your message is kept. Try again, with a smaller model or a shorter "
        "chat memory.",
        "exit code -9",
    )
    message = state.chat.conversation[answer]
    state.chat.conversation.replace(replace(message, state=MessageState.FAILED, failure=failure))
    state.chat.message_changed.emit(answer)
    show.shoot("chat-error-light-1440")
    window.overlay.show_words("Show this picture to Gemma 4 E4B", "image")
    show.shoot("drop-light-1440")


def main() -> int:
    """`./run screenshots [FOLDER]`."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PROJECT / "docs" / "screenshots"
    from tests.documents.screens import render_all as render_documents
    from tests.live.screens import render_all as render_live

    make_all(target)
    tools_and_tables(target)
    render_documents(target)
    render_live(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
