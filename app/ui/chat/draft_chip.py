"""A file waiting in the composer: picture, name, how finely to look, and what is wrong with it."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QImage, QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QMenu, QToolButton, QVBoxLayout, QWidget

from app.controllers.drafts import Draft, DraftState
from app.controllers.picture_controller import image_of
from app.core.conversation import ImageDetail, MediaKind
from app.ui.icons import icon_pixmap
from app.ui.theme import MIN_HIT_AREA, Theme
from app.ui.widgets.buttons import IconButton
from app.ui.widgets.labels import Card, ElidedLabel, Label

THUMBNAIL = 44
CHIP_WIDTH = 220
REFUSED_WIDTH = 340
LONG_SECONDS = 30.0
WITH_SOUND = (MediaKind.AUDIO, MediaKind.VIDEO)
KIND_ICONS = {
    MediaKind.IMAGE: "image",
    MediaKind.AUDIO: "music",
    MediaKind.VIDEO: "film",
    MediaKind.DOCUMENT: "file-text",
    MediaKind.UNKNOWN: "file",
}
STATE_WORDS = {
    DraftState.COPYING: "Copying …",
    DraftState.PREPARING: "Taking out the sound …",
    DraftState.LOOKING: "Looking …",
}


class Thumbnail(QWidget):
    """A square cut of a picture, or an icon for what has none."""

    def __init__(self, theme: Theme, image: QImage | None, icon_name: str) -> None:
        super().__init__()
        self._theme = theme
        self._image = image
        self._icon_name = icon_name
        side = theme.px(THUMBNAIL)
        self.setFixedSize(side, side)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw it with round corners."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        shape = QPainterPath()
        shape.addRoundedRect(QRectF(self.rect()), 6, 6)
        painter.fillPath(shape, self._theme.color("sunken"))
        painter.setClipPath(shape)
        if self._image is None:
            size = self._theme.px(20)
            corner = (self.width() - size) // 2
            painter.drawPixmap(
                corner, corner, icon_pixmap(self._theme, self._icon_name, "secondary", 20)
            )
            return
        side = min(self._image.width(), self._image.height())
        source = QRectF(0, 0, side, side)
        source.moveCenter(QRectF(self._image.rect()).center())
        painter.drawImage(QRectF(self.rect()), self._image, source)


class DetailButton(QToolButton):
    """How finely a picture is looked at: Auto, Quick … Finest."""

    chosen = Signal(object)

    def __init__(self, detail: ImageDetail, *, show_details: bool) -> None:
        super().__init__()
        self.setProperty("kind", "chip")
        self.setText(f"{detail.label} ▾")
        self.setAccessibleName(f"Detail of the picture: {detail.label}")
        self.setToolTip("How finely the picture is looked at")
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self)
        for choice in ImageDetail:
            words = choice.label
            if show_details and choice.budget:
                words = f"{choice.label} ({choice.budget} tokens)"
            action = menu.addAction(words)
            action.setCheckable(True)
            action.setChecked(choice is detail)
            action.triggered.connect(lambda _checked, choice=choice: self.chosen.emit(choice))
        self.setMenu(menu)


class DraftChip(Card):
    """One draft. `removed(id)`, `detail_chosen(id, detail)`, `transcribe_wanted(id)`."""

    removed = Signal(str)
    detail_chosen = Signal(str, object)
    transcribe_wanted = Signal(str)

    def __init__(self, theme: Theme, draft: Draft, *, show_details: bool) -> None:
        super().__init__("well")
        self._theme = theme
        self._draft = draft
        self.refused = refused = bool(draft.refused)
        self.setAccessibleName(f"Attached {draft.name}")
        row = QHBoxLayout(self)
        row.setContentsMargins(*[theme.px(4)] * 4)
        row.setSpacing(theme.px(8))
        image = image_of(draft.thumbnail, draft.thumbnail_width, draft.thumbnail_height)
        kind = draft.attachment.kind if draft.attachment else MediaKind.UNKNOWN
        row.addWidget(Thumbnail(theme, image, "circle-alert" if refused else KIND_ICONS[kind]))
        row.addLayout(self._build_words(show_details=show_details), 1)
        if draft.attachment and draft.attachment.kind in WITH_SOUND and self._is_long:
            write = IconButton(theme, "message-square-text", f"Transcribe {draft.name}", size=16)
            write.clicked.connect(lambda: self.transcribe_wanted.emit(draft.id))
            row.addWidget(write)
        remove = IconButton(theme, "x", f"Remove {draft.name}", size=14)
        remove.clicked.connect(lambda: self.removed.emit(draft.id))
        row.addWidget(remove)
        self.fit(theme.px(REFUSED_WIDTH))

    def fit(self, room: int) -> None:
        """As wide as its kind wants, and no wider than `room` pixels."""
        wanted = self._theme.px(REFUSED_WIDTH if self.refused else CHIP_WIDTH)
        width = min(wanted, room)
        self.setFixedWidth(width)
        self.setMinimumHeight(max(0, self.layout().heightForWidth(width)))

    @property
    def _is_long(self) -> bool:
        """Longer than a model hears at a time."""
        attachment = self._draft.attachment
        return attachment is not None and attachment.seconds > LONG_SECONDS

    def sizeHint(self) -> QSize:
        """At least as high as the thumbnail."""
        hint = super().sizeHint()
        return hint.expandedTo(QSize(0, self._theme.px(MIN_HIT_AREA + 24)))

    def _build_words(self, *, show_details: bool) -> QVBoxLayout:
        draft = self._draft
        column = QVBoxLayout()
        column.setSpacing(0)
        column.addWidget(ElidedLabel(draft.name, "secondary"))
        if draft.refused:
            column.addWidget(Label(draft.refused, "danger", wrap=True))
        elif draft.state in STATE_WORDS:
            column.addWidget(Label(STATE_WORDS[draft.state], "caption"))
        elif draft.attachment is not None and draft.attachment.kind is MediaKind.IMAGE:
            detail = DetailButton(draft.detail, show_details=show_details)
            detail.chosen.connect(lambda choice: self.detail_chosen.emit(draft.id, choice))
            # Aligned: a button that cannot grow would else keep the whole column narrow.
            column.addWidget(detail, 0, Qt.AlignmentFlag.AlignLeft)
        else:
            column.addWidget(Label(self._facts(), "caption"))
        return column

    def _facts(self) -> str:
        attachment = self._draft.attachment
        if attachment is None:
            return ""
        if attachment.pages:
            return "1 page" if attachment.pages == 1 else f"{attachment.pages} pages"
        if attachment.seconds:
            return f"{attachment.seconds:.0f} s"
        return f"{max(1, attachment.size // 1000):,} KB"
