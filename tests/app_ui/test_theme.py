"""Colours can be read, sizes scale, nothing moves when motion is reduced."""

import dataclasses

import pytest
from PySide6.QtGui import QColor

from app.ui.theme import DARK, LIGHT, Theme, Tokens, parse_color

GROUNDS = ("window", "sidebar", "surface", "sunken")
TEXTS = (
    "text",
    "secondary",
    "faint",
    "accent",
    "ok",
    "warn",
    "danger",
    "code_keyword",
    "code_string",
    "code_number",
    "code_comment",
    "code_name",
)


def luminance(color: QColor) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color.getRgbF()]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one: QColor, other: QColor) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("tokens", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("text", TEXTS)
def test_text_can_be_read_on_every_ground(tokens: Tokens, ground: str, text: str) -> None:
    assert contrast(tokens.color(text), tokens.color(ground)) >= 4.5


@pytest.mark.parametrize("tokens", [LIGHT, DARK], ids=["light", "dark"])
def test_controls_and_filled_buttons_can_be_seen(tokens: Tokens) -> None:
    for ground in GROUNDS:
        assert contrast(tokens.color("control"), tokens.color(ground)) >= 3
        assert contrast(tokens.color("accent"), tokens.color(ground)) >= 3
    assert contrast(tokens.color("on_accent"), tokens.color("accent")) >= 4.5


def test_both_sets_name_every_token() -> None:
    for tokens in (LIGHT, DARK):
        for field in dataclasses.fields(Tokens):
            assert tokens.color(field.name).isValid()


def test_eight_digits_are_red_green_blue_alpha() -> None:
    color = parse_color("#11223344")
    assert (color.red(), color.green(), color.blue(), color.alpha()) == (0x11, 0x22, 0x33, 0x44)


def test_text_size_scales_fonts_and_lengths(theme: Theme) -> None:
    theme.set_scale(2.0)
    assert theme.font("body").pixelSize() == 26
    assert theme.px(28) == 56
    theme.set_scale(9.0)
    assert theme.scale == 2.0


def test_dark_and_light_by_choice(theme: Theme) -> None:
    seen: list[bool] = []
    theme.changed.connect(lambda: seen.append(theme.is_dark))
    theme.set_mode("dark")
    theme.set_mode("dark")
    assert seen == [True]
    assert theme.color("window") == QColor("#1C1C1E")


def test_reduced_motion_has_no_duration(theme: Theme) -> None:
    theme.set_reduced_motion(True)
    assert theme.duration(150) == 0
    theme.set_reduced_motion(False)
    assert theme.duration(150) == 150


def test_a_line_holds_seventy_two_characters(theme: Theme) -> None:
    from PySide6.QtGui import QFontMetricsF

    line = ("the quick brown fox jumps over a lazy dog " * 2)[:72]
    width = QFontMetricsF(theme.font("body")).horizontalAdvance(line)
    assert theme.measure() == pytest.approx(width, rel=0.05)
