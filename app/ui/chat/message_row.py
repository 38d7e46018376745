"""One message on the screen: what both speakers' rows share, and the row of the person."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QEnterEvent, QFocusEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QApplication, QHBoxLayout, QVBoxLayout, QWidget

from app.core.conversation import Audio, Document, Image, MediaPart, Message, Video
from app.ui.chat.picture import PictureView
from app.ui.chat.players import PlayerBar, VideoPlayer
from app.ui.chat.rich_text import RichText
from app.ui.chat.row_bar import BarContent, RowBar
from app.ui.chat.row_context import RowContext
from app.ui.chat.transcript_model import spoken_text
from app.ui.widgets.labels import Card, ElidedLabel, IconLabel, Label

ROW_GAP = 8
# Room between the content and the focus ring around it.
FOCUS_GAP = 8
CARD_SHARE = 0.85
THUMBNAIL = 120
MAX_SPOKEN = 4_000


class MessageRow(QWidget):
    """Base of both rows. `action(name, message_id)` asks the page to do something.

    Names: copy, regenerate, edit, branch, info, previous, next, mend.
    """

    action = Signal(str, str)
    link_clicked = Signal(str)
    height_changed = Signal()

    def __init__(self, context: RowContext, message: Message, parent: QWidget) -> None:
        super().__init__(parent)
        self.context = context
        self.message = message
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(FOCUS_GAP, FOCUS_GAP, FOCUS_GAP, context.theme.px(ROW_GAP))
        self.column.setSpacing(context.theme.px(ROW_GAP))
        self.bar = RowBar(context.theme, self)
        self.bar.pressed.connect(self._on_pressed)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    # --- for the view --------------------------------------------------------------------------

    def set_width(self, width: int) -> None:
        """Lay out for the column's width."""
        self.setFixedWidth(width)
        self.lay_out(width - 2 * FOCUS_GAP)

    def fit(self) -> int:
        """Take the height the content needs and return it."""
        self.column.invalidate()
        height = self.column.sizeHint().height()
        if self.column.hasHeightForWidth():
            height = self.column.heightForWidth(self.width())
        if height != self.height():
            self.setFixedHeight(height)
        self.column.activate()
        return height

    def set_message(self, message: Message) -> None:
        """Show a newer state."""
        self.message = message
        self.setAccessibleName(spoken_text(message)[:MAX_SPOKEN])
        self.show_message(message)
        self._refresh_bar()

    def is_in_use(self) -> bool:
        """True while it must not be taken away: focus, selected text or a running player."""
        if self.has_inside(QApplication.focusWidget()):
            return True
        if any(text.textCursor().hasSelection() for text in self.findChildren(RichText)):
            return True
        players = [*self.findChildren(PlayerBar), *self.findChildren(VideoPlayer)]
        return any(player.is_playing for player in players)

    def has_inside(self, widget: QWidget | None) -> bool:
        """True when `widget` is this row or lies in it."""
        return widget is not None and (widget is self or self.isAncestorOf(widget))

    # --- for the two kinds of row ----------------------------------------------------------------

    def lay_out(self, width: int) -> None:
        """Give children the widths they need."""
        raise AssertionError("each kind of row lays itself out")

    def show_message(self, message: Message) -> None:
        """Show the parts of `message`."""
        raise AssertionError("each kind of row shows its own parts")

    def bar_buttons(self) -> list[tuple[str, str, str]]:
        """(icon, name, action) of the buttons under the message."""
        return []

    def bar_figures(self) -> str:
        """The few words beside the buttons."""
        return ""

    def media_widget(self, part: MediaPart) -> QWidget:
        """A picture, player or file chip for a part of a message."""
        theme = self.context.theme
        match part:
            case Image():
                side = theme.px(THUMBNAIL)
                return PictureView(self.context, part.attachment, side * 2, side)
            case Audio():
                return PlayerBar(theme, part.attachment, self.context.copies)
            case Video():
                return VideoPlayer(self.context, part.attachment)
            case Document():
                return self._file_chip(part)

    def _file_chip(self, part: Document) -> QWidget:
        theme = self.context.theme
        chip = Card("well")
        row = QHBoxLayout(chip)
        row.setContentsMargins(theme.px(8), theme.px(4), theme.px(12), theme.px(4))
        row.addWidget(IconLabel(theme, "file-text"))
        row.addWidget(ElidedLabel(part.attachment.name, "secondary"), 1)
        if part.attachment.pages:
            row.addWidget(Label(f"{part.attachment.pages} pages", "caption"))
        chip.setFixedWidth(theme.px(240))
        chip.setAccessibleName(f"Document {part.attachment.name}")
        return chip

    # --- the bar under the message ---------------------------------------------------------------

    def enterEvent(self, event: QEnterEvent) -> None:
        """Show the buttons under the pointer."""
        super().enterEvent(event)
        self.bar.reveal(True)

    def leaveEvent(self, event: QEvent) -> None:
        """Hide them again, unless the keyboard is here."""
        super().leaveEvent(event)
        self.bar.reveal(self.has_inside(QApplication.focusWidget()))

    def focusInEvent(self, event: QFocusEvent) -> None:
        """The keyboard came: show the buttons and the ring."""
        super().focusInEvent(event)
        self.bar.reveal(True)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """The keyboard left; the buttons stay if it went to one of them."""
        super().focusOutEvent(event)
        self.bar.reveal(self.has_inside(QApplication.focusWidget()) or self.underMouse())
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the focus ring."""
        super().paintEvent(event)
        if self.hasFocus():
            painter = QPainter(self)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(self.context.theme.color("accent"), 2))
            painter.drawRoundedRect(self.rect().adjusted(1, 1, -1, -1), 8, 8)

    def _refresh_bar(self) -> None:
        version = self.context.version_of(self.message.id)
        self.bar.set_content(BarContent(tuple(self.bar_buttons()), version, self.bar_figures()))

    def _on_pressed(self, action: str) -> None:
        self.action.emit(action, self.message.id)


class UserRow(MessageRow):
    """The person's words in a quiet card on the right, files above them."""

    def __init__(self, context: RowContext, message: Message, parent: QWidget) -> None:
        super().__init__(context, message, parent)
        theme = context.theme
        self._card = Card("card", self)
        self._inner = QVBoxLayout(self._card)
        self._inner.setContentsMargins(*[theme.px(12), theme.px(8)] * 2)
        self._inner.setSpacing(theme.px(8))
        self._text = RichText(theme, self._card)
        self._text.setAccessibleName("Your message")
        self._text.link_clicked.connect(self.link_clicked)
        for part in message.parts:
            if isinstance(part, MediaPart):
                self._inner.addWidget(self.media_widget(part), 0, Qt.AlignmentFlag.AlignLeft)
        self._inner.addWidget(self._text)
        self.column.addWidget(self._card, 0, Qt.AlignmentFlag.AlignRight)
        self.column.addWidget(self.bar, 0, Qt.AlignmentFlag.AlignRight)
        self.set_message(message)

    def show_message(self, message: Message) -> None:
        """Only the text can differ; the files of a sent message stay."""
        self._text.setVisible(bool(message.text))
        self._text.set_plain(message.text)

    def lay_out(self, width: int) -> None:
        """As wide as the words need, up to 85 % of the column."""
        room = round(width * CARD_SHARE) - 2 * self.context.theme.px(12) - 2
        self._text.shrink_to(min(room, self.context.theme.measure()))

    def bar_buttons(self) -> list[tuple[str, str, str]]:
        """Copy and edit."""
        return [("copy", "Copy", "copy"), ("pencil", "Edit and send again", "edit")]
