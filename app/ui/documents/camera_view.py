"""Photographing pages: the camera's picture with the page's edges, the shutter, the pages so far.

Space takes a page, Return reads the pages taken, Backspace takes the last one back, Esc goes back.
"""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QHideEvent,
    QImage,
    QKeyEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
    QShowEvent,
)
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from app.controllers.document_camera import MOST_SHOTS, DocumentCamera
from app.live.access import Access, Capture, access_card
from app.ui.documents.words import count
from app.ui.live.preview import CameraPreview
from app.ui.theme import Theme
from app.ui.widgets.announce import announce
from app.ui.widgets.buttons import IconButton, TextButton
from app.ui.widgets.labels import Label

THUMBNAIL_HEIGHT = 48
MOST_THUMBNAILS = 8
WITHOUT = "Pictures of pages can also be dropped or pasted."
AIM = "Hold the camera so that the whole page is in the picture."
FOUND = "The page is found; its edges will be straightened."
KEYS = "Space takes the picture"


class PagePreview(CameraPreview):
    """The camera's picture with the outline that was found in it."""

    def __init__(self, theme: Theme, camera: DocumentCamera) -> None:
        super().__init__(theme, camera.newest_frame)
        self._camera = camera

    def paintEvent(self, event: QPaintEvent) -> None:
        """The picture, then the page's edges."""
        super().paintEvent(event)
        if self._camera.outline is None or self._image is None or not self._camera.on:
            return
        size = self._image.size().scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatio)
        left, top = (self.width() - size.width()) / 2, (self.height() - size.height()) / 2
        corners = [
            QPointF(left + float(x) * size.width(), top + float(y) * size.height())
            for x, y in self._camera.outline
        ]
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        # A dark line under the bright one: seen on paper and on the desk.
        for token, wide in (("scrim", 5), ("accent", 3)):
            painter.setPen(QPen(self._theme.color(token), self._theme.px(wide)))
            painter.drawPolygon(QPolygonF(corners))


class TakenPages(QWidget):
    """The last pages taken, small, the newest on the right."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._pictures: list[QImage] = []
        self.setFixedHeight(theme.px(THUMBNAIL_HEIGHT))
        self.hide()

    def show_pages(self, shots: list[bytes]) -> None:
        """The last of these pages."""
        height = self._theme.px(THUMBNAIL_HEIGHT) * 2
        last = shots[-MOST_THUMBNAILS:]
        smooth = Qt.TransformationMode.SmoothTransformation
        self._pictures = [QImage.fromData(shot).scaledToHeight(height, smooth) for shot in last]
        self.setAccessibleName(f"{count(len(shots), 'page')} taken")
        self.setVisible(bool(shots))
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        """As wide as its pages."""
        gap, height = self._theme.px(6), self._theme.px(THUMBNAIL_HEIGHT)
        wide = [round(height * each.width() / max(1, each.height())) for each in self._pictures]
        return QSize(sum(wide) + gap * max(0, len(wide) - 1), height)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """From the right, as many as fit."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        right = float(min(self.width(), self.sizeHint().width()))
        for picture in reversed(self._pictures):
            wide = self.height() * picture.width() / max(1, picture.height())
            if right - wide < -1:
                return
            box = QRectF(right - wide, 0, wide, self.height())
            painter.drawImage(box, picture)
            painter.setPen(QPen(self._theme.color("hairline"), 1))
            painter.drawRect(box.adjusted(0, 0, -1, -1))
            right -= wide + self._theme.px(6)


class CameraView(QWidget):
    """One of the documents page's views. `back`: to the list; the pages taken stay."""

    back = Signal()

    def __init__(self, theme: Theme, camera: DocumentCamera) -> None:
        super().__init__()
        self._theme, self._camera = theme, camera
        self._build()
        camera.changed.connect(self._show_state)
        camera.tick.connect(self._on_tick)
        camera.outlined.connect(self._on_outlined)
        self._show_state()

    def _build(self) -> None:
        theme, camera = self._theme, self._camera
        self.back_button = TextButton(theme, "Documents", "chip", icon_name="chevron-left")
        self.back_button.setAccessibleName("Back to the documents")
        self.back_button.clicked.connect(self.back)
        head = QHBoxLayout()
        head.setSpacing(theme.px(12))
        head.addWidget(self.back_button)
        head.addWidget(Label("Photograph pages", "title"), 1)
        self.preview = PagePreview(theme, camera)
        self.preview.panel.acted.connect(camera.act)
        self.hint = Label("", "secondary", wrap=True)
        self.hint.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 20, 24, 20)
        column.setSpacing(theme.px(10))
        column.addLayout(head)
        column.addWidget(self.preview, 1)
        column.addWidget(self.hint)
        column.addLayout(self._build_foot())
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Photograph pages")

    def _build_foot(self) -> QHBoxLayout:
        theme, camera = self._theme, self._camera
        self.taken = TakenPages(theme)
        self.undo = IconButton(theme, "undo-2", "Take the last page back", shortcut="Backspace")
        self.undo.clicked.connect(camera.drop_last)
        self.shutter = TextButton(theme, "Take this page", "primary", icon_name="camera")
        self.shutter.setToolTip(KEYS)
        self.shutter.clicked.connect(self.take)
        self.read = TextButton(theme, "Read", icon_name="scan-text")
        self.read.clicked.connect(camera.finish)
        left, right = QHBoxLayout(), QHBoxLayout()
        left.addWidget(self.taken)
        left.addWidget(self.undo)
        left.addStretch()
        right.addStretch()
        right.addWidget(self.read)
        foot = QHBoxLayout()
        foot.setSpacing(theme.px(12))
        foot.addLayout(left, 1)
        foot.addWidget(self.shutter)
        foot.addLayout(right, 1)
        return foot

    # --- what happens ----------------------------------------------------------------------------

    def take(self) -> None:
        """Take the page in view."""
        if self._camera.take():
            announce(self, f"Page {len(self._camera.shots)} taken")

    def _on_tick(self) -> None:
        self.preview.refresh()
        if self.shutter.isEnabled() != self._camera.ready:
            self.shutter.setEnabled(self._camera.ready)

    def _on_outlined(self) -> None:
        self.hint.setText(self._hint())
        self.preview.update()

    def _show_state(self) -> None:
        camera = self._camera
        shots = len(camera.shots)
        asked = camera.access is not Access.NOT_ASKED
        card = access_card(Capture.CAMERA, camera.access, WITHOUT) if asked else None
        self.preview.panel.show_card(card)
        self.preview.set_on(camera.on)
        self.hint.setText(self._hint())
        self.taken.show_pages(camera.shots)
        self.undo.setVisible(bool(shots))
        self.shutter.setVisible(card is None)
        self.shutter.setEnabled(camera.ready)
        self.read.setVisible(bool(shots))
        self.read.setEnabled(not camera.saving)
        self.read.set_text("Saving …" if camera.saving else f"Read {count(shots, 'page')}")

    def _hint(self) -> str:
        camera = self._camera
        if not camera.on:
            return ""
        if len(camera.shots) >= MOST_SHOTS:
            return f"A document holds {MOST_SHOTS} photographs; read these first."
        return f"{FOUND if camera.outline is not None else AIM} {KEYS}."

    # --- Qt --------------------------------------------------------------------------------------

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """See the module."""
        match event.key():
            case Qt.Key.Key_Space if not event.isAutoRepeat():
                self.take()
            case Qt.Key.Key_Return | Qt.Key.Key_Enter:
                self._camera.finish()
            case Qt.Key.Key_Backspace:
                self._camera.drop_last()
            case Qt.Key.Key_Escape:
                self.back.emit()
            case _:
                super().keyPressEvent(event)

    def showEvent(self, event: QShowEvent) -> None:
        """The camera is on while its picture is in view."""
        super().showEvent(event)
        self._camera.open()
        self.setFocus()

    def hideEvent(self, event: QHideEvent) -> None:
        """Another view or page is shown: the camera goes off at once."""
        super().hideEvent(event)
        self._camera.close()
