"""Sound and film inside a message. The multimedia library loads at the first press of play."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Qt, QUrl, Signal
from PySide6.QtWidgets import QHBoxLayout, QSlider, QVBoxLayout, QWidget

from app.core.conversation import Attachment
from app.ui.chat.picture import PictureView
from app.ui.chat.row_context import RowContext
from app.ui.theme import Theme
from app.ui.widgets.buttons import IconButton
from app.ui.widgets.labels import Card, ElidedLabel, Label

if TYPE_CHECKING:
    from PySide6.QtMultimedia import QMediaPlayer
    from PySide6.QtMultimediaWidgets import QVideoWidget


def clock(seconds: float) -> str:
    """Minutes and seconds, as on a player: "1:05"."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes}:{rest:02d}"


class PlayerBar(Card):
    """Play, a slider, and where one is; for a recording, or below a film."""

    opened = Signal(object)

    def __init__(self, theme: Theme, attachment: Attachment, path: str) -> None:
        super().__init__("well")
        self._path = path
        self._seconds = attachment.seconds
        self._player: QMediaPlayer | None = None
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
        """True while it sounds."""
        return self._player is not None and self._player.isPlaying()

    def toggle(self) -> None:
        """Play or pause; the first time, open the file."""
        player = self._open()
        if player.isPlaying():
            player.pause()
        else:
            player.play()

    def _open(self) -> QMediaPlayer:
        if self._player is None:
            from PySide6.QtMultimedia import QAudioOutput, QMediaPlayer

            self._player = QMediaPlayer(self)
            self._player.setAudioOutput(QAudioOutput(self))
            self._player.positionChanged.connect(self._on_position)
            self._player.durationChanged.connect(self._on_duration)
            self._player.playingChanged.connect(self._on_playing)
            self._player.errorOccurred.connect(self._on_error)
            self.opened.emit(self._player)
            self._player.setSource(QUrl.fromLocalFile(self._path))
        return self._player

    def _seek(self, position: int) -> None:
        self._open().setPosition(position)

    def _on_position(self, position: int) -> None:
        if not self._slider.isSliderDown():
            self._slider.setValue(position)
        self._time.setText(f"{clock(position / 1000)} / {clock(self._seconds)}")

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


class VideoPlayer(QWidget):
    """A film: its first picture, then the moving one in its place, with a bar below."""

    def __init__(self, context: RowContext, attachment: Attachment, path: str) -> None:
        super().__init__()
        self._still = PictureView(context, attachment, context.theme.px(280), context.theme.px(200))
        self._still.clicked.disconnect()
        self._still.setAccessibleName(f"Play film {attachment.name}")
        self._still.setToolTip(f"Play {attachment.name}")
        self._screen: QVideoWidget | None = None
        self.bar = PlayerBar(context.theme, attachment, path)
        self._still.clicked.connect(self.bar.toggle)
        self.bar.opened.connect(self._on_opened)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(context.theme.px(4))
        self._column.addWidget(self._still)
        self._column.addWidget(self.bar)

    @property
    def is_playing(self) -> bool:
        """True while it runs."""
        return self.bar.is_playing

    def _on_opened(self, player: QMediaPlayer) -> None:
        from PySide6.QtMultimediaWidgets import QVideoWidget

        self._screen = QVideoWidget()
        self._screen.setAccessibleName("Film")
        self._screen.setFixedSize(QSize(self._still.size()))
        self._column.replaceWidget(self._still, self._screen)
        self._still.hide()
        player.setVideoOutput(self._screen)
