"""Character formats of message text, made from the theme."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtGui import QFont, QTextCharFormat

from app.ui.chat.markdown import is_safe_link
from app.ui.theme import Theme

if TYPE_CHECKING:
    from markdown_it.token import Token

HEADING_SIZES = {1: 18, 2: 16, 3: 14}


class InlineFormats:
    """Formats of body text, headings, code and what inline Markdown adds to them."""

    def __init__(self, theme: Theme) -> None:
        self._theme = theme

    def body(self) -> QTextCharFormat:
        """Plain message text."""
        fmt = QTextCharFormat()
        fmt.setFont(self._theme.font("body"))
        fmt.setForeground(self._theme.color("text"))
        return fmt

    def strong(self, base: QTextCharFormat | None = None) -> QTextCharFormat:
        """Bold text on top of `base`."""
        fmt = QTextCharFormat(base if base is not None else self.body())
        fmt.setFontWeight(QFont.Weight.DemiBold)
        return fmt

    def heading(self, level: int) -> QTextCharFormat:
        """Headings: semibold, three sizes."""
        font = self._theme.font("body")
        font.setPixelSize(self._theme.px(HEADING_SIZES.get(level, 13)))
        font.setWeight(QFont.Weight.DemiBold)
        fmt = self.body()
        fmt.setFont(font)
        return fmt

    def code(self, token: str) -> QTextCharFormat:
        """Code in the colour of a theme token."""
        fmt = QTextCharFormat()
        fmt.setFont(self._theme.font("code"))
        fmt.setForeground(self._theme.color(token))
        return fmt

    def opened(self, token: Token, base: QTextCharFormat) -> QTextCharFormat | None:
        """The format inside an opening inline token; None when `token` opens nothing."""
        if token.nesting <= 0:
            return None
        fmt = QTextCharFormat(base)
        match token.type:
            case "strong_open":
                fmt.setFontWeight(QFont.Weight.DemiBold)
            case "em_open":
                fmt.setFontItalic(True)
            case "s_open":
                fmt.setFontStrikeOut(True)
            case "link_open":
                self._link(fmt, str(token.attrGet("href") or ""))
            case _:
                pass
        return fmt

    def text_of(self, token: Token, base: QTextCharFormat) -> tuple[str, QTextCharFormat]:
        """Text and format of a token without content of its own below it."""
        match token.type:
            case "softbreak":
                return " ", base
            case "hardbreak":
                return "\u2028", base
            case "code_inline":
                fmt = self.code("text")
                fmt.setBackground(self._theme.color("sunken"))
                return token.content, fmt
            case "image":
                fmt = QTextCharFormat(base)
                self._link(fmt, str(token.attrGet("src") or ""))
                return token.content or "picture", fmt
            case _:
                return token.content, base

    def _link(self, fmt: QTextCharFormat, target: str) -> None:
        """Make a link of a safe address; anything else stays text with its target as a hint."""
        fmt.setToolTip(target)
        if is_safe_link(target):
            fmt.setAnchor(True)
            fmt.setAnchorHref(target)
            fmt.setForeground(self._theme.color("accent"))
            fmt.setFontUnderline(True)
