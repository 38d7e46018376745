"""What a release feed says, and whether it is newer than this build. No network here.

The feed is one JSON object, published beside the releases:
`{"version": "1.2.0", "page": "https://…", "download": "https://….dmg", "sha256": "…"}`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_VERSION = re.compile(r"\d{1,6}(\.\d{1,6}){0,3}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Release:
    """A release on offer. page: what is new, for people; download: the disk image."""

    version: str
    page: str
    download: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Name for the downloaded disk image; never a path."""
        return f"Facet-{self.version}.dmg"


def parse_feed(body: bytes) -> Release:
    """The release of a feed. Raises ValueError (one sentence) where it says something else."""
    try:
        read = json.loads(body)
        release = Release(*(str(read[key]) for key in ("version", "page", "download", "sha256")))
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        raise ValueError("The list of versions cannot be read.") from problem
    if not _VERSION.fullmatch(release.version) or not _SHA256.fullmatch(release.sha256):
        raise ValueError("The list of versions names no version or no checksum.")
    if not (is_safe_address(release.page) and is_safe_address(release.download)):
        raise ValueError("The list of versions points to an address that is not secure.")
    return release


def is_safe_address(address: str) -> bool:
    """Whether an address is encrypted, or lies on this machine."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (
        parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
    )


def is_newer(offered: str, own: str) -> bool:
    """Whether version `offered` comes after `own`; a development copy ("0") takes no updates."""
    mine = _VERSION.match(own)
    if own == "0" or mine is None:
        return False
    return _numbers(offered) > _numbers(mine.group())


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in version.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
