"""The essentials of a running conversation in a small window that stays on top.

Shown while live mode runs and its page is out of sight, so that what is captured always has a
visible mark. Dragged by its body; the page comes back with the expand button.
"""

from __future__ import annotations

from PySide6.QtCore import QPoint, QSize, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QGuiApplication, QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from app.controllers.live_controller import LiveController
from app.live import reports
from app.live.access import Access, Capture
from app.live.buffers import Frame
from app.live.reports import Report
from app.ui.live.level_meter import LevelMeter
from app.ui.live.preview import CameraPreview
from app.ui.live.state_badge import STARTING, StateBadge, look_of
from app.ui.theme import Theme
from app.ui.widgets.buttons import IconButton
from app.ui.widgets.labels import Card, Label

_REFRESH_MS = 66
_WIDTH = 320


class FloatingCard(QWidget):
    """See the module docstring. `expand_wanted`: the page should come back."""

    expand_wanted = Signal()

    def __init__(
        self, theme: Theme, controller: LiveController, parent: QWidget | None = None
    ) -> None:
        flags = (
            Qt.WindowType.Tool
            | Qt.WindowType.FramelessWindowHint
            | Qt.WindowType.WindowStaysOnTopHint
        )
        super().__init__(parent, flags)
        self._theme, self._controller = theme, controller
        self._grip: QPoint | None = None
        self._state: reports.StateChanged | None = None
        self._placed = self._muted = False
        self.setAttribute(Qt.WidgetAttribute.WA_ShowWithoutActivating)
        self.setAttribute(Qt.WidgetAttribute.WA_TranslucentBackground)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setWindowTitle("Facet Live")
        self.setAccessibleName("Live, small window")
        self._build()
        self._timer = QTimer(self, interval=_REFRESH_MS)
        self._timer.timeout.connect(self._refresh)
        controller.report.connect(self._on_report)
        controller.access_changed.connect(self._on_access)
        controller.running_changed.connect(self._on_running)

    def _build(self) -> None:
        theme = self._theme
        card = Card()
        column = QVBoxLayout(card)
        column.setContentsMargins(*[theme.px(12)] * 4)
        column.setSpacing(theme.px(8))
        self.preview = CameraPreview(theme, self._newest, compact=True)
        column.addWidget(self.preview)
        row = QHBoxLayout()
        self.badge, self.meter = StateBadge(theme), LevelMeter(theme)
        row.addWidget(self.badge)
        row.addWidget(self.meter, 1)
        column.addLayout(row)
        self.caption = Label(role="secondary", wrap=True)
        self.caption.hide()
        column.addWidget(self.caption)
        column.addLayout(self._build_buttons())
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(card)
        self.setFixedWidth(theme.px(_WIDTH))

    def _build_buttons(self) -> QHBoxLayout:
        theme = self._theme
        self.mute_button = IconButton(theme, "mic", "Mute")
        self.stop_button = IconButton(theme, "square", "Stop the answer")
        self.end_button = IconButton(theme, "phone-off", "End", token="danger")
        self.expand_button = IconButton(theme, "maximize-2", "Back to the page")
        self.mute_button.clicked.connect(self._mute)
        self.stop_button.clicked.connect(self._controller.interrupt)
        self.end_button.clicked.connect(self._controller.stop)
        self.expand_button.clicked.connect(self.expand_wanted)
        row = QHBoxLayout()
        row.addWidget(self.mute_button)
        row.addWidget(self.stop_button)
        row.addStretch()
        row.addWidget(self.expand_button)
        row.addWidget(self.end_button)
        return row

    # -- shown and hidden ---------------------------------------------------------------------

    def appear(self) -> None:
        """Show it in the corner of the screen, or where it was last dragged to."""
        if self._controller.session is None:
            return
        self._on_camera()
        self._timer.start()
        self.adjustSize()
        if not self._placed and (screen := QGuiApplication.primaryScreen()):
            free = screen.availableGeometry()
            self.move(free.right() - self.width() - 24, free.top() + 24)
        self.show()
        self.setFocus()

    def vanish(self) -> None:
        """The page is in sight again."""
        self._timer.stop()
        self.hide()

    def _on_running(self, running: bool) -> None:
        self._muted, self._state = False, None
        self.meter.clear()
        self._say("")
        self.badge.set_look(STARTING)
        if not running:
            self.vanish()

    # -- what it shows ------------------------------------------------------------------------

    def _newest(self) -> Frame | None:
        session = self._controller.session
        return session.pipeline.frames.peek() if session else None

    def _refresh(self) -> None:
        self.preview.refresh()

    @Slot(object, object)
    def _on_access(self, _capture: Capture, _access: Access) -> None:
        self._on_camera()
        self._show_state()

    def _on_camera(self) -> None:
        on = self._controller.camera_on
        self.preview.set_on(on)
        self.preview.setVisible(on)
        self.adjustSize()

    def _on_report(self, report: Report) -> None:
        match report:
            case reports.StateChanged():
                self._muted = report.muted
                self.mute_button.set_icon("mic-off" if report.muted else "mic")
                self._state = report
                self._show_state()
            case reports.LiveNotice():
                self._show_state()
            case reports.Level():
                self.meter.add(report.level_db, report.threshold_db, speech=report.speech)
            case reports.CaptionMoved():
                self._say(report.text)
            case reports.TurnOpened() | reports.ReplyDone():
                self._say("")

    def _show_state(self) -> None:
        if self._state is not None:
            look = look_of(self._state, microphone=self._controller.microphone_on)
            self.badge.set_look(look)

    def _say(self, words: str) -> None:
        self.caption.setText(words)
        if self.caption.isVisibleTo(self) != bool(words):
            self.caption.setVisible(bool(words))
            self.adjustSize()

    def _mute(self) -> None:
        self._controller.mute(not self._muted)

    # -- hands --------------------------------------------------------------------------------

    def sizeHint(self) -> QSize:
        """As small as its content."""
        return QSize(self._theme.px(_WIDTH), super().sizeHint().height())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Esc stops the answer."""
        if event.key() == Qt.Key.Key_Escape:
            self._controller.interrupt()
        else:
            super().keyPressEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Take hold of it."""
        self._grip = event.globalPosition().toPoint() - self.pos()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drag it."""
        if self._grip is not None:
            self._placed = True
            self.move(event.globalPosition().toPoint() - self._grip)

    def mouseReleaseEvent(self, _event: QMouseEvent) -> None:
        """Let go."""
        self._grip = None

    def mouseDoubleClickEvent(self, _event: QMouseEvent) -> None:
        """Back to the page."""
        self.expand_wanted.emit()
