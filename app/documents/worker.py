"""The process that opens foreign files. Started by `host`, never imported by it.

It answers one request after another on its standard input and output, and ends when its input
closes or its parent is gone. A file may make it hang, grow or crash: then the host ends it.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, Any

from app.documents import wire
from app.documents.reader import DocumentReader
from app.documents.types import DocumentError, DocumentProblem

log = logging.getLogger(__name__)

PARENT_CHECK_SECONDS = 0.5
EXIT_ORPHAN = 70
BACKGROUND = 5  # niceness: a window that waits for a core stutters
# Address space beyond the allowed memory: libraries, thread stacks and maps that are not touched.
ADDRESS_SPACE_EXTRA = 3 << 30


def main(arguments: list[str]) -> int:
    """Serve until the input ends. arguments: bytes of memory allowed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch_parent, args=(os.getppid(),), daemon=True).start()
    limit_process(int(arguments[0]))
    requests, replies = _private_pipes()
    reader = DocumentReader()
    _send(replies, {"ok": "ready"})
    while (request := _receive(requests)) is not None:
        header, payload = answer(reader, request)
        _send(replies, header, payload)
    return 0


def answer(reader: DocumentReader, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The reply to one request: never raises for what a file contains."""
    try:
        method: Callable[..., tuple[Any, bytes]] = getattr(reader, "do_" + request.pop("do"))
        value, payload = method(**request)
    except DocumentError as error:
        return wire.error_header(error), b""
    except MemoryError:
        message = "This file needs more memory than a document may take."
        return wire.error_header(DocumentError(DocumentProblem.TOO_LARGE, message)), b""
    except Exception as problem:
        # Libraries raise anything at all on hostile files; the sentence is the same.
        log.exception("request failed")
        return wire.error_header(_explained(problem)), b""
    return {"ok": value}, payload


def _explained(problem: Exception) -> DocumentError:
    """The sentence for an error no reader of ours has worded: the disk's, or a library's."""
    detail = f"{type(problem).__name__}: {problem}"[:2000]
    if isinstance(problem, OSError) and problem.strerror:
        reason = problem.strerror.lower()
        message = f"It could not be read or written ({reason}); free space or use another folder."
    else:
        message = "This file is damaged and cannot be read; copy or download it again."
    return DocumentError(DocumentProblem.BROKEN, message, detail)


def limit_process(memory_bytes: int) -> None:
    """After the window and the model, without core dumps, in no more memory than allowed.

    macOS ignores the limit of the address space.
    """
    import resource

    os.nice(BACKGROUND)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        space = memory_bytes + ADDRESS_SPACE_EXTRA
        resource.setrlimit(resource.RLIMIT_AS, (space, space))


def _private_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Input and output for frames alone: what libraries print goes to standard error."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    return requests, replies


def _receive(requests: IO[bytes]) -> dict[str, Any] | None:
    head = requests.read(wire.LENGTHS.size)
    if len(head) < wire.LENGTHS.size:
        return None
    length, _ = wire.lengths(head)
    return wire.header_of(requests.read(length))


def _send(replies: IO[bytes], header: dict[str, Any], payload: bytes = b"") -> None:
    replies.write(wire.pack(header, len(payload)))
    replies.write(payload)
    replies.flush()


def _watch_parent(parent: int) -> None:
    """A worker stuck in a file must not outlive the app."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os._exit(EXIT_ORPHAN)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
