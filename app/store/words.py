"""Which words a full-text index knows: those of scripts that put spaces between them."""

from __future__ import annotations

# Scripts written without spaces: Thai to Myanmar and Khmer, kana, Han, and their extensions.
_UNSPACED = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x9FFF))
_UNSPACED_HIGH = ((0xF900, 0xFAFF), (0x20000, 0x3FFFF))


def has_word_breaks(word: str) -> bool:
    """The word has a letter and none of a script without spaces."""
    ranges = _UNSPACED + _UNSPACED_HIGH
    has_letter = any(character.isalnum() for character in word)
    return has_letter and not any(
        low <= ord(character) <= high for character in word for low, high in ranges
    )
