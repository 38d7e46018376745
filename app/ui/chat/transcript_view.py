"""The transcript: thousands of messages, widgets for the visible ones only.

Rows off the screen are a height in a list, estimated until they were shown once. A row that turns
out higher or lower never moves what the reader looks at. Streamed changes are collected and drawn
at most 30 times a second, one row each. The view follows the end until the reader scrolls up.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from itertools import accumulate
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QModelIndex, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QAbstractScrollArea, QApplication, QFrame, QWidget

from app.core.conversation import Message
from app.ui.chat.transcript_model import TranscriptModel
from app.ui.theme import Theme
from app.ui.widgets.buttons import TextButton

if TYPE_CHECKING:
    from app.ui.chat.message_row import MessageRow

FRAME_MS = 33
SIDE_MARGIN = 16
TOP_MARGIN = 16
BOTTOM_MARGIN = 24
OVERSCAN = 240
EXTRA_COLUMN = 156
# Height of a row never shown: one text line per so many characters, plus what surrounds it.
ESTIMATE_LINE = 19
ESTIMATE_FRAME = 60
STICK_DISTANCE = 24
RowFactory = Callable[[Message, QWidget], "MessageRow"]


class TranscriptView(QAbstractScrollArea):
    """Shows a `TranscriptModel` through row widgets made by `make_row`."""

    follows_end = Signal(bool)

    def __init__(
        self,
        theme: Theme,
        model: TranscriptModel,
        make_row: RowFactory,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._theme = theme
        self._model = model
        self._make_row = make_row
        self._heights: list[int] = []
        self._tops: list[int] = [0]
        self._shown: dict[int, MessageRow] = {}
        self._dirty: set[int] = set()
        self._sticks = True
        self._placing = False
        self.updates_drawn = 0
        self.rows_made = 0
        self._frame_timer = QTimer(self, singleShot=True, interval=FRAME_MS)
        self._frame_timer.timeout.connect(self.flush)
        self._build()
        self._connect()

    def _build(self) -> None:
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        # Always there, so that showing it can never change the width and with it every height.
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Conversation")
        self.viewport().setAutoFillBackground(False)
        self.verticalScrollBar().setAccessibleName("Scroll the conversation")
        self.verticalScrollBar().setSingleStep(self._theme.px(20))
        self._pill = TextButton(self._theme, "New", "pill", icon_name="arrow-down", parent=self)
        self._pill.setAccessibleName("Jump to the newest message")
        self._pill.hide()

    def _connect(self) -> None:
        self._model.rowsInserted.connect(self._on_inserted)
        self._model.rowsAboutToBeRemoved.connect(self._on_removed)
        self._model.dataChanged.connect(self._on_changed)
        self._model.modelReset.connect(self._reset)
        self._theme.changed.connect(self._reset)
        self._pill.clicked.connect(self.scroll_to_end)
        self.verticalScrollBar().valueChanged.connect(self._on_scrolled)

    # --- what callers ask ----------------------------------------------------------------------

    def row_widget(self, row: int) -> MessageRow | None:
        """The widget of `row` while it is near the screen."""
        return self._shown.get(row)

    def shown_rows(self) -> list[int]:
        """Rows that have a widget now."""
        return sorted(self._shown)

    @property
    def sticks_to_end(self) -> bool:
        """True while new text keeps the end in view."""
        return self._sticks

    def scroll_to_end(self) -> None:
        """Go to the newest message and follow it."""
        self._set_sticks(True)
        self._place()

    def scroll_to_row(self, row: int) -> None:
        """Bring the top of `row` into view (a search hit)."""
        self._set_sticks(False)
        for _ in range(3):
            # Heights near the target become exact only once it is on the screen.
            self.verticalScrollBar().setValue(self._tops[row] - TOP_MARGIN)
            self._place()

    def focus_row(self, row: int) -> None:
        """Bring `row` into view and give it the keyboard."""
        if not 0 <= row < len(self._heights):
            return
        top, bottom = self._tops[row], self._tops[row + 1]
        offset = self.verticalScrollBar().value()
        if row not in self._shown or top < offset or bottom > offset + self.viewport().height():
            self.scroll_to_row(row)
        widget = self._shown.get(row)
        if widget is not None:
            widget.setFocus(Qt.FocusReason.TabFocusReason)

    def wanted_width(self) -> int:
        """Width of the column of messages where there is room for it."""
        return self._theme.measure() + self._theme.px(EXTRA_COLUMN)

    def column_width(self) -> int:
        """Width of the column of messages."""
        return max(200, min(self.wanted_width(), self.viewport().width() - 2 * SIDE_MARGIN))

    def rebuild(self) -> None:
        """Make the visible rows anew (the theme or what is shown of each message changed)."""
        self._reset()

    # --- the model changes ---------------------------------------------------------------------

    def _on_inserted(self, _parent: QModelIndex, first: int, last: int) -> None:
        self._heights[first:first] = [
            self._estimate(self._model.message(row)) for row in range(first, last + 1)
        ]
        self._measure_tops()
        self._place()

    def _on_removed(self, _parent: QModelIndex, first: int, last: int) -> None:
        del self._heights[first : last + 1]
        for row in [row for row in self._shown if row >= first]:
            self._drop(row)
        self._dirty = {row for row in self._dirty if row < first}
        self._measure_tops()
        self._place()

    def _on_changed(self, first: QModelIndex, last: QModelIndex) -> None:
        self._dirty.update(range(first.row(), last.row() + 1))
        if not self._frame_timer.isActive():
            self._frame_timer.start()

    def _reset(self) -> None:
        for row in list(self._shown):
            self._drop(row)
        rows = range(self._model.rowCount())
        self._heights = [self._estimate(self._model.message(row)) for row in rows]
        self._measure_tops()
        self._place()

    def flush(self) -> None:
        """Draw the changes collected since the last frame now."""
        rows, self._dirty = self._dirty, set()
        self._placing = True
        for row in rows:
            widget = self._shown.get(row)
            if widget is not None:
                widget.set_message(self._model.message(row))
                self.updates_drawn += 1
                self._take_height(row, widget)
        self._placing = False
        if rows:
            self._measure_tops()
            self._place()

    # --- heights and places --------------------------------------------------------------------

    def _estimate(self, message: Message) -> int:
        lines = 1 + len(message.text) // 70 + message.text.count("\n")
        media = 132 * len(message.attachments)
        return self._theme.px(ESTIMATE_FRAME + ESTIMATE_LINE * lines + media)

    def _measure_tops(self) -> None:
        self._tops = list(accumulate(self._heights, initial=TOP_MARGIN))

    def _take_height(self, row: int, widget: MessageRow) -> bool:
        height = widget.fit()
        if height == self._heights[row]:
            return False
        self._heights[row] = height
        return True

    def _place(self) -> None:
        """Make the visible rows, correct their heights, move them where they belong."""
        if self._placing:
            return
        self._placing = True
        try:
            # A corrected height can bring further rows into view; three rounds always suffice,
            # because a round only adds rows below or above those already exact.
            for _ in range(3):
                anchor = self._anchor()
                changed = self._make_visible()
                if changed:
                    self._measure_tops()
                self._restore(anchor)
                if not changed:
                    break
            self._move_rows()
        finally:
            self._placing = False
        self._place_pill()

    def _anchor(self) -> tuple[int, int]:
        """The first visible row, and how far its top lies above the viewport's."""
        offset = self.verticalScrollBar().value()
        row = max(0, bisect.bisect_right(self._tops, offset) - 1)
        row = min(row, max(0, len(self._heights) - 1))
        return row, offset - self._tops[row]

    def _restore(self, anchor: tuple[int, int]) -> None:
        bar = self.verticalScrollBar()
        total = self._tops[-1] + BOTTOM_MARGIN
        bar.setRange(0, max(0, total - self.viewport().height()))
        bar.setPageStep(self.viewport().height())
        bar.setEnabled(bar.maximum() > 0)
        if self._sticks:
            bar.setValue(bar.maximum())
        elif anchor[0] < len(self._heights):
            bar.setValue(self._tops[anchor[0]] + anchor[1])

    def _visible_range(self) -> range:
        if not self._heights:
            return range(0)
        offset = self.verticalScrollBar().value()
        if self._sticks:
            offset = max(0, self._tops[-1] + BOTTOM_MARGIN - self.viewport().height())
        first = max(0, bisect.bisect_right(self._tops, offset - OVERSCAN) - 1)
        bottom = offset + self.viewport().height() + OVERSCAN
        last = min(len(self._heights), bisect.bisect_left(self._tops, bottom))
        return range(first, max(first + 1, last))

    def _make_visible(self) -> bool:
        wanted = self._visible_range()
        changed = False
        for row in [row for row in self._shown if row not in wanted]:
            if not self._shown[row].is_in_use():
                self._drop(row)
        for row in wanted:
            if row not in self._shown:
                changed |= self._show(row)
        return changed

    def _show(self, row: int) -> bool:
        widget = self._make_row(self._model.message(row), self.viewport())
        widget.height_changed.connect(self._on_row_height)
        widget.set_width(self.column_width())
        self._shown[row] = widget
        self.rows_made += 1
        changed = self._take_height(row, widget)
        widget.show()
        return changed

    def _drop(self, row: int) -> None:
        widget = self._shown.pop(row)
        if widget.isAncestorOf(QApplication.focusWidget() or self.window()):
            self.setFocus()
        widget.hide()
        widget.deleteLater()

    def _move_rows(self) -> None:
        left = (self.viewport().width() - self.column_width()) // 2
        offset = self.verticalScrollBar().value()
        for row, widget in self._shown.items():
            widget.move(left, self._tops[row] - offset)

    def _on_row_height(self) -> None:
        """A row grew or shrank by itself (a fold opened); not while we lay it out ourselves."""
        if self._placing:
            return
        row = next((r for r, widget in self._shown.items() if widget is self.sender()), None)
        if row is not None and self._take_height(row, self._shown[row]):
            self._measure_tops()
            self._place()

    # --- scrolling -----------------------------------------------------------------------------

    def _on_scrolled(self, value: int) -> None:
        if self._placing:
            return
        self._set_sticks(value >= self.verticalScrollBar().maximum() - STICK_DISTANCE)
        self._place()

    def _set_sticks(self, sticks: bool) -> None:
        if sticks != self._sticks:
            self._sticks = sticks
            self.follows_end.emit(sticks)

    def _place_pill(self) -> None:
        bar = self.verticalScrollBar()
        away = not self._sticks and bar.maximum() - bar.value() > self.viewport().height() // 2
        self._pill.setVisible(away)
        if away:
            self._pill.adjustSize()
            x = (self.width() - self._pill.width()) // 2
            self._pill.move(x, self.height() - self._pill.height() - 8)
            self._pill.raise_()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Lay the visible rows out for the new width; the others when they come into view."""
        super().resizeEvent(event)
        if self._placing:
            return
        self._placing = True
        for row, widget in self._shown.items():
            widget.set_width(self.column_width())
            self._take_height(row, widget)
        self._placing = False
        self._measure_tops()
        self._place()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Home, End, pages and arrows scroll; Alt with an arrow goes from message to message."""
        bar = self.verticalScrollBar()
        match event.key():
            case Qt.Key.Key_Home:
                bar.setValue(0)
            case Qt.Key.Key_End:
                self.scroll_to_end()
            case Qt.Key.Key_Up if event.modifiers() & Qt.KeyboardModifier.AltModifier:
                self._step_focus(-1)
            case Qt.Key.Key_Down if event.modifiers() & Qt.KeyboardModifier.AltModifier:
                self._step_focus(1)
            case _:
                super().keyPressEvent(event)

    def viewportEvent(self, event: QEvent) -> bool:
        """Rows are children of the viewport; their layout requests are ours to ignore."""
        if event.type() == QEvent.Type.LayoutRequest:
            return True
        return super().viewportEvent(event)

    def scrollContentsBy(self, _dx: int, _dy: int) -> None:
        """Rows are moved by `_place`, not by blitting."""

    def _step_focus(self, step: int) -> None:
        focus = QApplication.focusWidget()
        rows = [row for row, widget in self._shown.items() if widget.has_inside(focus)]
        current = rows[0] if rows else (len(self._heights) if step < 0 else -1)
        self.focus_row(current + step)
