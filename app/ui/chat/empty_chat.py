"""An empty chat: one line of greeting and three things to try with this model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from app.core.events import Capabilities
from app.ui.theme import Theme
from app.ui.widgets.labels import IconLabel, Label
from app.ui.widgets.scrolled import scrolled

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
SOUND_ENDINGS = (".wav", ".flac", ".mp3", ".m4a")
NARROW = 560


@dataclass(frozen=True)
class Suggestion:
    """A card: icon, title, one line, the words it asks and the sample file it brings."""

    icon: str
    title: str
    line: str
    prompt: str
    sample: str = ""


# Three of the things that the demo model's training has reached (assets/demo-model/scores.json);
# boxes are below their goal, so nobody is sent to them.
_DEMO_PICTURE = "shapes.png"
_DEMO_LINE = "line.png"
_DEMO_SOUND = "command.flac"


def suggestions(
    takes: Capabilities | None, samples: Path, *, demo: bool = False
) -> list[Suggestion]:
    """Three cards the loaded model can really do; text only where nothing is loaded."""
    if demo:
        return [
            _look(samples / _DEMO_PICTURE),
            _read(samples / _DEMO_LINE),
            _listen(samples / _DEMO_SOUND),
        ]
    cards: list[Suggestion] = []
    takes = takes or Capabilities()
    picture = _sample(samples, IMAGE_ENDINGS, ("photo", "object", "mug", "picture", "scene"))
    page = _sample(samples, IMAGE_ENDINGS, ("page", "letter", "receipt", "scan"))
    sound = _sample(samples, SOUND_ENDINGS, ("",))
    if takes.image:
        line = "A sample picture is ready to ask about."
        cards.append(
            Suggestion("image", "Look at a picture", line, "What is in this picture?", picture)
        )
        line = "Small print, tables and letters as text."
        cards.append(Suggestion("scan-text", "Read a page", line, "Read this page.", page))
    if takes.audio:
        line = "A short recording, word for word."
        prompt = "Write down what is said."
        cards.append(Suggestion("audio-lines", "Listen to a recording", line, prompt, sound))
    cards += [
        Suggestion("pencil", "Write a letter", "Kind, short and clear.", "Help me write a letter."),
        Suggestion("lightbulb", "Explain something", "In plain words.", "Explain how tides work."),
        Suggestion("table", "Compare things", "Side by side.", "Compare tea and coffee."),
    ]
    return cards[:3]


def _look(picture: Path) -> Suggestion:
    """The demo's card for a picture of two shapes."""
    line = "A sample picture; the demo names its shapes."
    return Suggestion("image", "Look at a picture", line, "What do you see?", str(picture))


def _read(picture: Path) -> Suggestion:
    """The demo's card for a printed line."""
    line = "A printed line; the demo writes it down."
    return Suggestion("scan-text", "Read a line", line, "Read the text.", str(picture))


def _listen(sound: Path) -> Suggestion:
    """The demo's card for a spoken command."""
    line = "A short command; the demo writes it down."
    return Suggestion("audio-lines", "Listen to a recording", line, "What is said?", str(sound))


def _sample(folder: Path, endings: tuple[str, ...], words: tuple[str, ...]) -> str:
    """The first sample with one of the endings, one named by `words` before any other."""
    files = sorted(p for p in folder.glob("**/*") if p.suffix.lower() in endings)
    named = [path for path in files if any(word in path.stem.lower() for word in words)]
    return str((named or files or [""])[0])


class SuggestionCard(QPushButton):
    """One card."""

    def __init__(self, theme: Theme, suggestion: Suggestion) -> None:
        super().__init__()
        self.suggestion = suggestion
        self.setProperty("kind", "suggestion")
        self.setAccessibleName(f"{suggestion.title}. {suggestion.line}")
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        column = QVBoxLayout(self)
        column.setContentsMargins(*[theme.px(16)] * 4)
        column.setSpacing(theme.px(4))
        column.addWidget(IconLabel(theme, suggestion.icon, "accent", 20))
        title = Label(suggestion.title, wrap=True)
        line = Label(suggestion.line, "secondary", wrap=True)
        for label in (title, line):
            label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
            column.addWidget(label)
        column.addStretch()


class EmptyChat(QWidget):
    """Greeting and cards; `chosen(Suggestion)`."""

    chosen = Signal(object)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.greeting = Label("What would you like to know?", "title", wrap=True)
        self.greeting.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._cards = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._cards.setSpacing(theme.px(12))
        holder = QWidget()
        holder.setLayout(self._cards)
        holder.setMaximumWidth(theme.measure() + theme.px(156))
        self._holder = holder
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(24, 24, 24, 24)
        column.addStretch(2)
        column.addWidget(self.greeting)
        column.addSpacing(theme.px(16))
        center = QHBoxLayout()
        center.addStretch(1)
        center.addWidget(holder, 100)
        center.addStretch(1)
        column.addLayout(center)
        column.addStretch(3)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolled(inner, "New chat"))

    def set_suggestions(self, cards: list[Suggestion]) -> None:
        """Offer these."""
        while (item := self._cards.takeAt(0)) is not None:
            item.widget().hide()
            item.widget().deleteLater()
        for suggestion in cards:
            card = SuggestionCard(self._theme, suggestion)
            card.clicked.connect(lambda _checked=False, s=suggestion: self.chosen.emit(s))
            self._cards.addWidget(card, 1)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Cards side by side, or below each other where it is narrow."""
        super().resizeEvent(event)
        narrow = self.width() < self._theme.px(NARROW)
        direction = QBoxLayout.Direction.TopToBottom if narrow else QBoxLayout.Direction.LeftToRight
        self._cards.setDirection(direction)

    def changeEvent(self, event: QEvent) -> None:
        """A new text size changes how wide the cards may be."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange:
            self._holder.setMaximumWidth(self._theme.measure() + self._theme.px(156))
