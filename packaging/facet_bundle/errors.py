"""The one error a build raises on purpose."""

from __future__ import annotations


class PackagingError(Exception):
    """A build or audit cannot go on; the message says what, why and what to do."""
