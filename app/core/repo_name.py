"""The name of a model on Hugging Face, from what a person writes or pastes."""

from __future__ import annotations

import re

_PAGE = re.compile(r"(?:https?://)?(?:www\.)?huggingface\.co/", re.IGNORECASE)
# One part of a name: letters, digits, "-", "_", ".", at most 96, no mark first or last.
_PART = r"[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?"
_NAME = re.compile(rf"({_PART})/({_PART})", re.ASCII)


def repo_name(words: str) -> str:
    """The name as "owner/name", for such a name or the address of its page, else empty."""
    words = words.strip()
    page = _PAGE.match(words)
    if page:
        path = re.split(r"[?#]", words[page.end() :])[0]
        words = "/".join(path.split("/")[:2])
    odd = ".." in words or "--" in words or words.endswith(".git")
    return words if _NAME.fullmatch(words) and not odd else ""
