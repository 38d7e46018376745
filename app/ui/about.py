"""About Facet, and the licences of what it is built with."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QLabel, QPlainTextEdit, QVBoxLayout, QWidget

from app.core.build_facts import build_facts, third_party_notices
from app.core.paths import assets_dir
from app.ui.icons import app_icon
from app.ui.theme import Theme
from app.ui.widgets.buttons import TextButton
from app.ui.widgets.labels import Label


def version() -> str:
    """The app's version; "0" where it runs without being installed."""
    import importlib.metadata

    try:
        return importlib.metadata.version("facet")
    except importlib.metadata.PackageNotFoundError:
        return "0"


class AboutBox(QDialog):
    """Icon, name, version, one sentence."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("About Facet")
        self.setAccessibleName("About Facet")
        column = QVBoxLayout(self)
        column.setContentsMargins(*[theme.px(32)] * 4)
        column.setSpacing(theme.px(8))
        picture = QLabel()
        picture.setPixmap(app_icon().pixmap(96, 96))
        picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        close = TextButton(theme, "Close", "primary")
        close.clicked.connect(self.accept)
        words = (
            "Talk to Gemma 4, show it what the camera sees, and drop pictures, recordings, videos "
            "and documents on it. Everything stays on your own computer."
        )
        labels = (
            Label("Facet", "title"),
            Label(f"Version {version()}", "secondary"),
            Label(words, wrap=True),
            Label("Apache License 2.0. Gemma is a trademark of Google.", "caption"),
        )
        column.addWidget(picture)
        for label in labels:
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
            column.addWidget(label)
        if notice := build_facts().notice:
            column.addWidget(Label(notice, "caption", wrap=True))
        column.addWidget(close, 0, Qt.AlignmentFlag.AlignCenter)
        self.setFixedWidth(theme.px(360))


class LicencesBox(QDialog):
    """The licence texts that travel with the app."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Licences")
        self.setAccessibleName("Licences")
        text = QPlainTextEdit()
        text.setReadOnly(True)
        text.setAccessibleName("Licence texts")
        text.setPlainText(licence_text())
        close = TextButton(theme, "Close", "primary")
        close.clicked.connect(self.accept)
        column = QVBoxLayout(self)
        column.addWidget(text)
        column.addWidget(close, 0, Qt.AlignmentFlag.AlignRight)
        self.resize(theme.px(560), theme.px(480))


def licence_text() -> str:
    """In the bundle every text; from source each installed package with the name of its licence."""
    import importlib.metadata

    icons = (assets_dir() / "icons" / "LICENSE").read_text(encoding="utf-8")
    if notices := third_party_notices():
        return f"{notices}\n\nIcons\n\n{icons}"
    lines = []
    for package in importlib.metadata.distributions():
        meta = package.metadata.json
        licence = str(meta.get("license_expression") or meta.get("license") or "").split("\n")[0]
        lines.append(f"{package.name} {package.version}: {licence[:80] or 'see its own files'}")
    return f"Python packages\n\n{chr(10).join(sorted(set(lines)))}\n\nIcons\n\n{icons}"
