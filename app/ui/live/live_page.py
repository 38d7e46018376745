"""The live page: camera, state, captions and the few buttons; see the Live section of the design.

Shows what the controller reports and tells it what was pressed; decides nothing itself. Keys: hold
Space to talk, Esc stops the answer, M mutes, C switches the camera.
"""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPoint, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QHideEvent, QKeyEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import (
    QApplication,
    QBoxLayout,
    QHBoxLayout,
    QLayout,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from app.controllers.live_controller import LiveController
from app.live import reports
from app.live.access import Access, Capture, access_card
from app.live.buffers import Frame
from app.live.reports import Report
from app.ui.live.device_menu import DeviceMenu
from app.ui.live.level_meter import ClipRing, LevelMeter
from app.ui.live.preview import AccessPanel, CameraPreview
from app.ui.live.state_badge import OFF, STARTING, StateBadge, look_of
from app.ui.live.talk_view import TalkView
from app.ui.theme import Theme
from app.ui.widgets.announce import announce
from app.ui.widgets.buttons import IconButton, TextButton
from app.ui.widgets.labels import Card, Label
from app.ui.widgets.meter import ContextMeter
from app.ui.widgets.scrolled import scrolled

_REFRESH_MS = 33
_SIDE_BY_SIDE = 820
_ROOM_FOR_NOTHING = 420
"""Height of a page that has room for a camera that is off."""
_SOUND_TOKENS = 25
"""Soft tokens a second of sound takes (one per 40 ms)."""
START_WORDS = (
    "Talk with the model, and show it things through the camera. Sound and pictures stay on this "
    "Mac and are not stored unless you ask for it."
)


_LASTING = frozenset({"ear", "ear_lost", "cannot_hear", "half_duplex", "speaker"})
"""Kinds of notices that stay true after the next question."""


class LivePage(QWidget):
    """See the module docstring. `out_of_sight(bool)`: it was hidden or shown while it runs."""

    out_of_sight = Signal(bool)

    def __init__(
        self, theme: Theme, controller: LiveController, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._theme, self._controller = theme, controller
        self._state: reports.StateChanged | None = None
        self._began = 0.0
        self._muted = False
        self._lasting = ""
        self.setProperty("kind", "page")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._build()
        self._refresh = QTimer(self, interval=_REFRESH_MS)
        self._refresh.timeout.connect(self.preview.refresh)
        controller.report.connect(self._on_report)
        controller.access_changed.connect(self._on_access)
        controller.running_changed.connect(self._on_running)
        controller.failed.connect(self._on_failed)
        controller.context_changed.connect(self._on_context)
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        app.applicationStateChanged.connect(self._on_app_state)
        self._on_running(False)

    # -- building -----------------------------------------------------------------------------

    def _build(self) -> None:
        theme = self._theme
        row = self._row = QBoxLayout(QBoxLayout.Direction.LeftToRight, self)
        row.setContentsMargins(*[theme.px(16)] * 4)
        row.setSpacing(theme.px(16))
        # What is needed side by side must not keep the window from becoming narrow.
        row.setSizeConstraint(QLayout.SizeConstraint.SetNoConstraint)
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(theme.px(12))
        self.preview = CameraPreview(theme, self._newest_frame)
        self.preview.panel.acted.connect(
            lambda what: self._act(self._controller.keeper.camera, what)
        )
        column.addWidget(self.preview, 3)
        column.addWidget(self._build_words())
        column.addLayout(self._build_buttons())
        column.addStretch(0)
        row.addWidget(scrolled(inner, "Live"), 3)
        self.talk_view = TalkView(theme)
        self.talk_view.edited.connect(self._controller.talk_edited)
        row.addWidget(self.talk_view, 2)

    def _build_words(self) -> Card:
        theme = self._theme
        card = Card()
        card.setMinimumHeight(theme.px(190))
        column = QVBoxLayout(card)
        column.setContentsMargins(*[theme.px(12)] * 4)
        column.setSpacing(theme.px(6))
        column.addLayout(self._build_state_row())
        self.microphone_panel = AccessPanel(theme, card)
        self.microphone_panel.acted.connect(lambda what: self._act(Capture.MICROPHONE, what))
        column.addWidget(self.microphone_panel)
        self.said = Label(role="secondary", wrap=True)
        self.caption = Label(role="section", wrap=True)
        self.caption.setTextFormat(Qt.TextFormat.RichText)  # always given escaped text
        self.notice = Label(role="warn", wrap=True)
        self.timing = Label(role="caption", wrap=True)
        for label in (self.said, self.caption, self.notice, self.timing):
            column.addWidget(label)
            label.hide()
        self.intro = Label(START_WORDS, "secondary", wrap=True)
        self.start_button = TextButton(theme, "Start talking", "primary", icon_name="mic")
        self.start_button.clicked.connect(lambda: self._controller.start())
        column.addWidget(self.intro)
        column.addWidget(self.start_button, 0, Qt.AlignmentFlag.AlignLeft)
        column.addStretch()
        column.addLayout(self._build_ask_row())
        return card

    def _build_state_row(self) -> QHBoxLayout:
        theme = self._theme
        row = QHBoxLayout()
        self.badge = StateBadge(theme)
        self.meter = LevelMeter(theme)
        self.ring = ClipRing(theme)
        self.context = ContextMeter(theme)
        self.info = IconButton(theme, "info", "Show the stages of each answer")
        self.info.setCheckable(True)
        self.info.toggled.connect(self._show_timing)
        row.addWidget(self.badge)
        row.addWidget(self.meter, 1)
        for widget in (self.ring, self.context, self.info):
            row.addWidget(widget)
        return row

    def _build_ask_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.ask_line = QLineEdit()
        self.ask_line.setPlaceholderText("Or type a question …")
        self.ask_line.setAccessibleName("Type a question")
        self.ask_line.returnPressed.connect(self._ask)
        row.addWidget(self.ask_line, 1)
        return row

    def _build_buttons(self) -> QHBoxLayout:
        theme = self._theme
        row = QHBoxLayout()
        row.setSpacing(theme.px(8))
        self.mute_button = TextButton(theme, "Mute", icon_name="mic")
        self.camera_button = TextButton(theme, "Camera", icon_name="camera")
        self.talk_button = TextButton(theme, "Hold to talk", icon_name="hand")
        self.stop_button = TextButton(theme, "Stop", icon_name="square")
        self.end_button = TextButton(theme, "End", "danger", icon_name="phone-off", token="danger")
        self.mute_button.setToolTip("Mute (M)")
        self.camera_button.setToolTip("Camera (C)")
        self.talk_button.setToolTip("Hold to talk (hold Space)")
        self.stop_button.setToolTip("Stop the answer (Esc)")
        self.mute_button.clicked.connect(lambda: self._mute(not self._muted))
        self.camera_button.clicked.connect(self._toggle_camera)
        self.talk_button.pressed.connect(self._controller.press_talk)
        self.talk_button.released.connect(self._controller.release_talk)
        self.stop_button.clicked.connect(self._controller.interrupt)
        self.end_button.clicked.connect(self._controller.stop)
        self._buttons = (
            self.mute_button,
            self.camera_button,
            self.talk_button,
            self.stop_button,
            self.end_button,
        )
        for button in self._buttons:
            row.addWidget(button)
        row.addStretch()
        self.words_button = IconButton(theme, "message-square-text", "What was said and sent")
        self.words_button.setCheckable(True)
        self.words_button.toggled.connect(self._arrange)
        row.addWidget(self.words_button)
        self.device_button = IconButton(theme, "sliders-horizontal", "Microphone, speaker, camera")
        self.device_button.hide()
        row.addWidget(self.device_button)
        return row

    def use_devices(self, menu: DeviceMenu) -> None:
        """Offer a choice of devices."""
        menu.setParent(self.device_button, Qt.WindowType.Popup)
        self.device_button.clicked.connect(lambda: self._show_devices(menu))
        self.device_button.show()

    def _show_devices(self, menu: DeviceMenu) -> None:
        menu.fill()
        corner = self.device_button.mapToGlobal(self.device_button.rect().topRight())
        size = menu.sizeHint()
        menu.popup(corner - QPoint(size.width(), size.height() + self._theme.px(4)))

    # -- what the user does -------------------------------------------------------------------

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Space, Esc, M and C."""
        if event.isAutoRepeat():
            return
        match event.key():
            case Qt.Key.Key_Space:
                self._controller.press_talk()
            case Qt.Key.Key_Escape:
                self._controller.interrupt()
            case Qt.Key.Key_M:
                self._mute(not self._muted)
            case Qt.Key.Key_C:
                self._toggle_camera()
            case _:
                super().keyPressEvent(event)

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        """Space comes up."""
        if event.key() == Qt.Key.Key_Space and not event.isAutoRepeat():
            self._controller.release_talk()
        else:
            super().keyReleaseEvent(event)

    def focusOutEvent(self, event: QEvent) -> None:
        """Nobody can let go of Space in another window."""
        self._controller.release_talk()
        super().focusOutEvent(event)  # type: ignore[arg-type]

    def minimumSizeHint(self) -> QSize:
        """The icons of the buttons; the rest wraps and scrolls."""
        return QSize(self._theme.px(280), self._theme.px(240))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Another width, another arrangement."""
        super().resizeEvent(event)
        self._arrange()

    def _arrange(self) -> None:
        """The transcript stands beside the card where there is room, else where the camera was."""
        wide = self.width() >= self._theme.px(_SIDE_BY_SIDE)
        words = self.words_button.isChecked()
        ways = QBoxLayout.Direction
        self._row.setDirection(ways.LeftToRight if wide else ways.TopToBottom)
        self._row.setStretch(0, 3 if wide or not words else 0)
        self.words_button.setVisible(not wide)
        self.talk_view.setVisible(wide or words)
        seen = self._controller.camera_on or not self.preview.panel.isHidden()
        roomy = seen or self.height() >= self._theme.px(_ROOM_FOR_NOTHING)
        self.preview.setVisible(roomy and (wide or not words))
        self.preview.setMaximumHeight(round(self.width() * (0.6 if wide else 1) * 9 / 16))
        self._fit_buttons(wide)

    def _fit_buttons(self, wide: bool) -> None:
        """Icons alone where the words do not fit beside each other."""
        gap, beside = self._theme.px(8), self.talk_view.minimumSizeHint().width() if wide else 0
        room = self.width() - 2 * self._theme.px(16) - (beside and beside + self._theme.px(16))
        icons = [b for b in (self.words_button, self.device_button) if not b.isHidden()]
        needed = sum(button.full_width + gap for button in self._buttons)
        needed += sum(button.width() + gap for button in icons)
        for button in self._buttons:
            button.set_compact(needed > room)

    def showEvent(self, event: QShowEvent) -> None:
        """Back in sight."""
        super().showEvent(event)
        self.out_of_sight.emit(False)

    def hideEvent(self, event: QHideEvent) -> None:
        """Another page, or the window is gone: what is captured needs a mark elsewhere."""
        super().hideEvent(event)
        self.out_of_sight.emit(self._controller.session is not None)

    def _mute(self, muted: bool) -> None:
        self._show_muted(muted)
        self._controller.mute(muted)

    def _show_muted(self, muted: bool) -> None:
        self._muted = muted
        self.mute_button.set_text("Unmute" if muted else "Mute")
        self.mute_button.set_icon("mic-off" if muted else "mic")

    def _toggle_camera(self) -> None:
        if self._controller.session:
            self._controller.use_camera(not self._controller.camera_on)

    def _ask(self) -> None:
        self._controller.ask(self.ask_line.text())
        self.ask_line.clear()

    def _act(self, capture: Capture, action: str) -> None:
        match action:
            case "ask":
                self._controller.ask_permission(capture)
            case "settings":
                self._controller.open_settings(capture)
            case "retry":
                self._controller.look_again()

    def _on_app_state(self, state: Qt.ApplicationState) -> None:
        if state == Qt.ApplicationState.ApplicationActive:
            self._controller.look_again()

    # -- what is reported ---------------------------------------------------------------------

    def _newest_frame(self) -> Frame | None:
        session = self._controller.session
        return session.pipeline.frames.peek() if session else None

    def _on_running(self, running: bool) -> None:
        for widget in (*self._buttons, self.ask_line):
            widget.setEnabled(running)
        self.intro.setVisible(not running)
        self.start_button.setVisible(not running)
        self.meter.clear()
        self.ring.set_seconds(0)
        self._lasting = ""
        if running:
            self._began = 0.0
            self._say(self.notice, "")
            self.talk_view.clear_talk()
            self.preview.clear_seen()
            self._refresh.start()
            self.badge.set_look(STARTING)
            self.setFocus()
        else:
            self._refresh.stop()
            self._state = None
            self.badge.set_look(OFF)
            self.preview.set_on(False)
            self.preview.panel.show_card(None)
            self.microphone_panel.show_card(None)
            self.preview.clear_seen()
            self.context.hide()
            for label in (self.said, self.caption, self.notice):
                self._say(label, "")
            self._mute(False)

    def _on_failed(self, message: str) -> None:
        self._say(self.notice, message)

    def _on_context(self, tokens: int, context: int) -> None:
        self.context.set_use(tokens, context, show_details=False)

    def _on_access(self, capture: Capture, access: Access) -> None:
        running = self._controller.session is not None
        card = access_card(capture, access) if running else None
        if capture is not Capture.MICROPHONE:
            self.preview.panel.show_card(card)
            on = self._controller.camera_on
            self.preview.set_on(on)
            self.camera_button.set_text("Camera off" if on else "Camera")
            self.camera_button.set_icon("camera-off" if on else "camera")
            self._arrange()
        else:
            self.microphone_panel.show_card(card)
        self._show_state()

    def _on_report(self, report: Report) -> None:
        match report:
            case reports.StateChanged():
                self._state = report
                if report.muted != self._muted:
                    self._show_muted(report.muted)
                self._show_state()
            case reports.Level():
                self.meter.add(report.level_db, report.threshold_db, speech=report.speech)
                self.ring.set_seconds(report.clip_s)
            case reports.CaptionMoved():
                self._show_caption(report)
            case reports.FrameSent():
                self._began = self._began or report.t
                self.preview.add_seen(report.thumbnail)
                self.talk_view.add_frame(report, report.t - self._began)
            case reports.LiveNotice():
                if report.kind in _LASTING:
                    self._lasting = report.text
                self._say(self.notice, report.text)
                announce(self, report.text)
                self._show_state()
            case reports.Timing():
                self._show_stages(report)
            case _:
                self._show_talk(report)

    def _show_talk(self, report: Report) -> None:
        talk = self._controller.talk
        self.talk_view.show_talk(talk)
        match report:
            case reports.TurnOpened():
                self._say(self.said, report.typed)
                self._say(self.caption, "")
                self._say(self.notice, self._lasting)
            case reports.TurnClosed():
                clips = "1 clip" if report.clips == 1 else f"{report.clips} clips"
                tokens = round(report.seconds * _SOUND_TOKENS)
                self.talk_view.add_sent(
                    f"{report.seconds:.1f} s of sound, {clips} · {tokens} tokens"
                )
            case reports.FrameUsed() if report.skipped:
                self.talk_view.frame_skipped(report.taken)
            case reports.Transcript() if report.text:
                self._say(self.said, f"“{report.text}”")
            case reports.ReplyText() if not self.caption.text():
                self._say(self.caption, _escaped(report.text))

    def _show_state(self) -> None:
        if self._state is None:
            return
        look = look_of(self._state, microphone=self._controller.microphone_on)
        if look != self.badge.look:
            self.badge.set_look(look)
            announce(self, look.word)

    def _show_caption(self, report: reports.CaptionMoved) -> None:
        """The piece being spoken; words not yet out are faint."""
        out = report.text[: report.characters]
        rest = report.text[report.characters :]
        cut = rest.find(" ")
        out, rest = (report.text, "") if cut < 0 else (out + rest[:cut], rest[cut:])
        faint = self._theme.color("faint").name()
        words = f"{_escaped(out)}<span style='color:{faint}'>{_escaped(rest)}</span>"
        self._say(self.caption, words)

    def _show_stages(self, timing: reports.Timing) -> None:
        stages = (
            f"end of speech → your turn {_ms(timing.endpoint_s)} · encode {_ms(timing.encode_s)} · "
            f"prefill {_ms(timing.prefill_s)} · first token {_ms(timing.first_token_s)} · "
            f"first sound {_ms(timing.first_sound_s)}"
        )
        self.timing.setText(stages)
        self._show_timing(self.info.isChecked())
        self.talk_view.add_sent(stages)

    def _show_timing(self, on: bool) -> None:
        self.timing.setVisible(on and bool(self.timing.text()))

    @staticmethod
    def _say(label: Label, text: str) -> None:
        label.setText(text)
        label.setVisible(bool(text))


def _ms(seconds: float) -> str:
    return "–" if seconds < 0 else f"{seconds * 1000:.0f} ms"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
