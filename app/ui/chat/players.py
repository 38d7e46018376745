"""Sound and film inside a message: copies made by a worker are played, never the foreign file.

The multimedia library loads at the first press of play.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QElapsedTimer, QObject, Qt, QTimer, QUrl, Signal
from PySide6.QtGui import QPixmap
from PySide6.QtWidgets import QHBoxLayout, QSlider, QVBoxLayout, QWidget

from app.controllers.play_copies import PlayCopies
from app.core.conversation import Attachment, MediaKind
from app.services.film_strip import FPS, FilmStrip
from app.ui.chat.picture import PictureView
from app.ui.chat.row_context import RowContext
from app.ui.theme import Theme
from app.ui.widgets.buttons import IconButton
from app.ui.widgets.labels import Card, ElidedLabel, Label

if TYPE_CHECKING:
    from PySide6.QtMultimedia import QMediaPlayer


def clock(seconds: float) -> str:
    """Minutes and seconds, as on a player: "1:05"."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes}:{rest:02d}"


class SilentPlayer(QObject):
    """Keeps the time of a film without sound; speaks like a `QMediaPlayer`."""

    positionChanged = Signal(int)  # noqa: N815 - Qt's name
    playingChanged = Signal(bool)  # noqa: N815 - Qt's name

    def __init__(self, seconds: float, parent: QObject) -> None:
        super().__init__(parent)
        self._length = round(seconds * 1000)
        self._before = 0
        self._since = QElapsedTimer()
        self._tick = QTimer(self, interval=1000 // FPS)
        self._tick.timeout.connect(self._on_tick)

    def isPlaying(self) -> bool:
        """True while time passes."""
        return self._tick.isActive()

    def play(self) -> None:
        """Go on, or start again behind the end."""
        self._before = 0 if self._before >= self._length else self._before
        self._since.start()
        self._tick.start()
        self.playingChanged.emit(True)

    def pause(self) -> None:
        """Stay where it is."""
        self._before = self._now()
        self._tick.stop()
        self.playingChanged.emit(False)

    stop = pause

    def setPosition(self, position: int) -> None:
        """Go to a place, in milliseconds."""
        self._before = position
        self._since.restart()
        self.positionChanged.emit(position)

    def _now(self) -> int:
        passed = self._since.elapsed() if self._tick.isActive() else 0
        return min(self._length, self._before + passed)

    def _on_tick(self) -> None:
        self.positionChanged.emit(self._now())
        if self._now() >= self._length:
            self.pause()


class PlayerBar(Card):
    """Play, a slider, and where one is; for a recording, or below a film.

    `moved(seconds)`: a film shows the picture of that moment.
    """

    moved = Signal(float)

    def __init__(self, theme: Theme, attachment: Attachment, copies: PlayCopies) -> None:
        super().__init__("well")
        self._attachment = attachment
        self._copies = copies
        self._seconds = attachment.seconds
        self._player: QMediaPlayer | SilentPlayer | None = None
        self._waiting = False
        self._silent_seconds = 0.0
        self._name = attachment.name
        self.setAccessibleName(f"Player for {attachment.name}")
        self._play = IconButton(theme, "play", f"Play {attachment.name}", token="text")
        self._slider = QSlider(Qt.Orientation.Horizontal)
        self._slider.setAccessibleName("Position")
        self._slider.setRange(0, max(1, round(attachment.seconds * 1000)))
        self._time = Label(clock(attachment.seconds), "caption")
        self._build(theme, attachment)
        self._play.clicked.connect(self.toggle)
        self._slider.sliderMoved.connect(self._seek)
        copies.ready.connect(self._on_ready)

    def _build(self, theme: Theme, attachment: Attachment) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(theme.px(8), theme.px(4), theme.px(12), theme.px(4))
        column.setSpacing(0)
        column.addWidget(ElidedLabel(attachment.name, "caption"))
        row = QHBoxLayout()
        row.addWidget(self._play)
        row.addWidget(self._slider, 1)
        row.addWidget(self._time)
        column.addLayout(row)
        self.setFixedWidth(theme.px(280))

    @property
    def is_playing(self) -> bool:
        """True while it sounds, or is about to."""
        return self._waiting or (self._player is not None and self._player.isPlaying())

    def toggle(self) -> None:
        """Play or pause; the first time, have a copy made to play."""
        if self._player is None:
            if not self._waiting:
                self._waiting = True
                self._time.setText("Preparing …")
                self._copies.ask(self._attachment)
        elif self._player.isPlaying():
            self._player.pause()
        else:
            self._player.play()

    def _on_ready(self, sha256: str, sound: str, pictures: str) -> None:
        if not self._waiting or sha256 != self._attachment.sha256:
            return
        self._waiting = False
        if not sound and not pictures:
            self._time.setText("cannot be played")
            return
        if pictures and self._attachment.kind is MediaKind.VIDEO:
            self._silent_seconds = self.show_pictures(pictures)
        self._player = self._sounding(sound) if sound else SilentPlayer(self._silent_seconds, self)
        self._player.positionChanged.connect(self._on_position)
        self._player.playingChanged.connect(self._on_playing)
        if not sound:
            self._on_duration(round(self._silent_seconds * 1000))
        self._player.play()

    def show_pictures(self, path: str) -> float:
        """A film's pictures are there; returns their seconds. A recording has none."""
        del path
        return 0.0

    def _sounding(self, path: str) -> QMediaPlayer:
        from PySide6.QtMultimedia import QAudioOutput, QMediaPlayer

        player = QMediaPlayer(self)
        player.setAudioOutput(QAudioOutput(self))
        player.durationChanged.connect(self._on_duration)
        player.errorOccurred.connect(self._on_error)
        player.setSource(QUrl.fromLocalFile(path))
        return player

    def _seek(self, position: int) -> None:
        if self._player is not None:
            self._player.setPosition(position)

    def _on_position(self, position: int) -> None:
        if not self._slider.isSliderDown():
            self._slider.setValue(position)
        self._time.setText(f"{clock(position / 1000)} / {clock(self._seconds)}")
        self.moved.emit(position / 1000)

    def _on_duration(self, duration: int) -> None:
        if duration > 0:
            self._seconds = duration / 1000
            self._slider.setRange(0, duration)

    def _on_playing(self, playing: bool) -> None:
        self._play.set_icon("pause" if playing else "play")
        self._play.set_name(f"{'Pause' if playing else 'Play'} {self._name}")

    def _on_error(self, _error: object, words: str) -> None:
        self._time.setText("cannot be played")
        self._time.setToolTip(words)


class FilmBar(PlayerBar):
    """The bar of a film: it also has pictures. `pictures(path)` when they can be shown."""

    pictures = Signal(object)

    def show_pictures(self, path: str) -> float:
        """Open the strip and hand it to the screen."""
        film = FilmStrip(Path(path))
        self.pictures.emit(film)
        return film.seconds


class VideoPlayer(QWidget):
    """A film: its first picture, then the moving one in its place, with a bar below."""

    def __init__(self, context: RowContext, attachment: Attachment) -> None:
        super().__init__()
        self._still = PictureView(context, attachment, context.theme.px(280), context.theme.px(200))
        self._still.clicked.disconnect()
        self._still.setAccessibleName(f"Play film {attachment.name}")
        self._still.setToolTip(f"Play {attachment.name}")
        self._screen: Label | None = None
        self._film: FilmStrip | None = None
        self.bar = FilmBar(context.theme, attachment, context.copies)
        self._still.clicked.connect(self.bar.toggle)
        self.bar.pictures.connect(self._on_pictures)
        self.bar.moved.connect(self._on_moved)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(context.theme.px(4))
        self._column.addWidget(self._still)
        self._column.addWidget(self.bar)

    @property
    def is_playing(self) -> bool:
        """True while it runs."""
        return self.bar.is_playing

    def _on_pictures(self, film: FilmStrip) -> None:
        self._film = film
        self.destroyed.connect(film.close)
        self._screen = Label()
        self._screen.setAccessibleName("Film")
        self._screen.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._screen.setFixedSize(self._still.size())
        self._column.replaceWidget(self._still, self._screen)
        self._still.hide()
        self._on_moved(0.0)

    def _on_moved(self, seconds: float) -> None:
        if self._film is None or self._screen is None:
            return
        picture = QPixmap()
        picture.loadFromData(self._film.jpeg(seconds), "JPEG")
        keep = Qt.AspectRatioMode.KeepAspectRatio
        smooth = Qt.TransformationMode.SmoothTransformation
        self._screen.setPixmap(picture.scaled(self._screen.size(), keep, smooth))
