"""A small hub on this machine that can misbehave on purpose.

Speaks the three requests a download makes: the listing, and the file with or without a range.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PAGE = b"<html><body>Please sign in to the hotel's network</body></html>"


@dataclass
class Behaviour:
    """What goes wrong. Counters are used up; -1 means always.

    status: for listing and files alike. drop: connections that break after `drop_after` bytes.
    """

    status: int = 200
    status_times: int = 0
    error_code: str = ""
    retry_after: str = ""
    drop: int = 0
    drop_after: int = 1000
    longer: int = 0
    corrupt: int = 0
    html: int = 0
    html_listing: int = 0
    stall: int = 0
    slow_s: float = 0.0
    ignore_range: bool = False
    wrong_range: int = 0

    def take(self, name: str) -> bool:
        """Use one of a counter."""
        left = getattr(self, name)
        if left == 0:
            return False
        if left > 0:
            setattr(self, name, left - 1)
        return True


@dataclass
class Hub:
    """One repository with its files, and a log of what was asked."""

    files: dict[str, bytes]
    behaviour: Behaviour = field(default_factory=Behaviour)
    asked: list[tuple[str, str]] = field(default_factory=list)
    stalled: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def listing(self) -> bytes:
        siblings = []
        for name, data in self.files.items():
            entry: dict[str, object] = {"rfilename": name, "size": len(data)}
            digest = _digest(data, lfs=name.endswith(".safetensors"))
            entry["blobId"] = digest[:40]
            if name.endswith(".safetensors"):
                entry["lfs"] = {"sha256": digest, "size": len(data), "pointerSize": 130}
            siblings.append(entry)
        return json.dumps({"id": "owner/name", "sha": COMMIT, "siblings": siblings}).encode()

    def bytes_sent(self, name: str) -> list[str]:
        return [header for asked, header in self.asked if asked == name]


@functools.cache
def _digest(data: bytes, *, lfs: bool) -> str:
    if lfs:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Broken connections are what these tests are about."""


@contextlib.contextmanager
def running(hub: Hub):
    """Serve on a free port of the loopback interface."""
    server = _Server(("127.0.0.1", 0), _handler(hub))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        hub.release.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(hub: Hub) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if hub.behaviour.status != 200 and hub.behaviour.take("status_times"):
                self._refuse()
            elif path.startswith("/api/models/"):
                self._listing()
            else:
                self._file(path.rsplit("/", 1)[-1])

        def _refuse(self) -> None:
            self.send_response(hub.behaviour.status)
            if hub.behaviour.error_code:
                self.send_header("X-Error-Code", hub.behaviour.error_code)
            if hub.behaviour.retry_after:
                self.send_header("Retry-After", hub.behaviour.retry_after)
            self._end(b"{}", "application/json")

        def _end(self, body: bytes, kind: str) -> None:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _listing(self) -> None:
            hub.asked.append(("listing", ""))
            self.send_response(200)
            if hub.behaviour.take("html_listing"):
                self._end(PAGE, "text/html; charset=utf-8")
            else:
                self._end(hub.listing(), "application/json")

        def _file(self, name: str) -> None:
            wanted = self.headers.get("Range", "")
            hub.asked.append((name, wanted))
            data = hub.files.get(name)
            if data is None:
                self.send_response(404)
                self._end(b"", "text/plain")
                return
            if hub.behaviour.take("html"):
                self.send_response(200)
                self._end(PAGE, "text/html; charset=utf-8")
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            start = 0 if hub.behaviour.ignore_range else start
            self._send(name, data, start)

        def _send(self, name: str, data: bytes, start: int) -> None:
            big = name.endswith(".safetensors")
            body = data[start:]
            if big and hub.behaviour.take("corrupt"):
                body = body[:-1] + bytes([body[-1] ^ 1])
            if big and hub.behaviour.take("longer"):
                body += b"more than announced"
            self.send_response(206 if start else 200)
            if start:
                shift = 5 if hub.behaviour.take("wrong_range") else 0
                place = f"bytes {start - shift}-{len(data) - 1}/{len(data)}"
                self.send_header("Content-Range", place)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if big and hub.behaviour.take("drop"):
                self.wfile.write(body[: hub.behaviour.drop_after])
                self.wfile.flush()
                self.connection.close()
                self.close_connection = True
                return
            self._pour(body, stall=big and hub.behaviour.take("stall"))

        def _pour(self, body: bytes, *, stall: bool) -> None:
            with contextlib.suppress(OSError):
                step = 64 << 10
                for place in range(0, len(body), step):
                    if hub.behaviour.slow_s:
                        time.sleep(hub.behaviour.slow_s)
                    self.wfile.write(body[place : place + step])
                    if stall:
                        self.wfile.flush()
                        hub.stalled.set()
                        hub.release.wait(20)
                        self.close_connection = True
                        return

    return Handler
