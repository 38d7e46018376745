"""Asks the release feed for a newer version and fetches it, on a thread of its own.

Only built in where packaging named a feed, and only used when the person asks or has switched the
daily check on. Nothing about the person or the machine is sent.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from app.core.errors import AppError, ErrorKind
from app.core.updates import Release, is_newer, is_safe_address, parse_feed

if TYPE_CHECKING:
    import httpx2

log = logging.getLogger(__name__)

FEED_LIMIT = 64 << 10
DOWNLOAD_LIMIT = 1 << 30
TIMEOUT_SECONDS = 20.0


class Updates(QObject):
    """Signals: `found(Release)`, `none_found`, `failed(Failure)`, `progress(done, total)` in bytes.

    `fetched(path)`: the file is there, its checksum verified.
    """

    found = Signal(object)
    none_found = Signal()
    progress = Signal(object, object)
    fetched = Signal(str)
    failed = Signal(object)

    def __init__(self, feed: str, version: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._feed = feed
        self._version = version
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="updates")
        self._stopped = Event()

    def check(self) -> None:
        """Ask the feed; `found`, `none_found` or `failed` follows."""
        self._thread.submit(self._guarded, self._check)

    def fetch(self, release: Release, folder: Path) -> None:
        """Download a release into `folder`; `fetched` or `failed` follows."""
        self._thread.submit(self._guarded, lambda: self._fetch(release, folder))

    def stop(self) -> None:
        """End what runs; half a download is removed."""
        self._stopped.set()
        self._thread.shutdown(wait=True, cancel_futures=True)

    # --- on the thread ---------------------------------------------------------------------------

    def _guarded(self, work: Callable[[], None]) -> None:
        import httpx2

        try:
            work()
        except AppError as problem:
            self.failed.emit(problem.failure)
        except httpx2.HTTPStatusError as problem:
            status = problem.response.status_code
            self._fail(f"The server of the new version answered with error {status}.", problem)
        except httpx2.HTTPError as problem:
            self._fail("The server of the new version could not be reached.", problem)
        except OSError as problem:
            self._fail(f"The new version could not be saved: {problem.strerror}.", problem)

    def _fail(self, sentence: str, problem: Exception) -> None:
        log.warning("update: %s (%s)", sentence, problem)
        failure = AppError(sentence, kind=ErrorKind.NETWORK, remedy="Try again later.").failure
        self.failed.emit(failure)

    def _check(self) -> None:
        body = bytearray()
        with _opened(self._feed) as response:
            for piece in response.iter_bytes():
                body += piece
                if len(body) > FEED_LIMIT:
                    raise AppError("The list of versions is too long.", kind=ErrorKind.NETWORK)
        try:
            release = parse_feed(bytes(body))
        except ValueError as problem:
            raise AppError(str(problem), kind=ErrorKind.NETWORK) from problem
        if is_newer(release.version, self._version):
            self.found.emit(release)
        else:
            self.none_found.emit()

    def _fetch(self, release: Release, folder: Path) -> None:
        """Write beside the target first: a file of that name is always whole and verified."""
        target = folder / release.file_name
        draft = target.with_suffix(".part")
        try:
            digest = self._save(release.download, draft)
            if self._stopped.is_set():
                return
            if digest != release.sha256:
                raise AppError(
                    "The downloaded version is not the one that was published; it was removed.",
                    kind=ErrorKind.NETWORK,
                    remedy="Get it from the release page.",
                )
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
        self.fetched.emit(str(target))

    def _save(self, address: str, draft: Path) -> str:
        """Stream a file to disk; its SHA-256, or "" when stopped."""
        digest, done = hashlib.sha256(), 0
        with _opened(address) as response, draft.open("wb") as file:
            total = int(response.headers.get("content-length", 0))
            for piece in response.iter_bytes(1 << 18):
                if self._stopped.is_set():
                    return ""
                done += len(piece)
                if done > DOWNLOAD_LIMIT:
                    raise AppError("The new version is too big.", kind=ErrorKind.NETWORK)
                digest.update(piece)
                file.write(piece)
                self.progress.emit(done, total)
        return digest.hexdigest()


@contextmanager
def _opened(address: str) -> Iterator[httpx2.Response]:
    """A GET over https (or to this machine), redirects included."""
    import httpx2

    client = httpx2.Client(
        follow_redirects=True,
        timeout=TIMEOUT_SECONDS,
        event_hooks={"request": [_only_safe]},
        headers={"user-agent": "Facet"},
    )
    with client, client.stream("GET", address) as response:
        response.raise_for_status()
        yield response


def _only_safe(request: httpx2.Request) -> None:
    """Called for every hop, so that no redirect leads to an open connection."""
    if not is_safe_address(str(request.url)):
        raise AppError(
            "The new version is offered over a connection that is not secure.",
            kind=ErrorKind.NETWORK,
        )
