"""What the worker under test is asked to do, good and bad."""

import os
import stat
import struct
import time
from typing import Any


class Unportable(Exception):  # noqa: N818 - its name is what the test looks for
    def __reduce__(self) -> Any:
        raise TypeError("no pickle")


class Evil:
    """Asks the other side to make a folder while it reads the answer."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def _answers() -> int:
    """The pipe that the answers go through, behind the back of the worker's own code."""
    pipes = [fd for fd in range(3, 64) if _is_pipe(fd)]
    return pipes[-1]


def _is_pipe(descriptor: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def work(request: tuple[str, Any]) -> Any:
    task, value = request
    match task:
        case "pid":
            return os.getpid()
        case "echo":
            return value
        case "print":
            os.write(1, b"noise from a library\n")
            return "said"
        case "raise":
            raise value
        case "evil":
            return Evil(value)
        case "announce":
            os.write(_answers(), struct.pack("<Q", value))
            time.sleep(3600)
        case "forge":
            os.write(_answers(), struct.pack("<Q", len(value)) + value)
            time.sleep(3600)
        case "unportable":
            raise Unportable("no pickle for me")
        case "sleep":
            time.sleep(value)
        case "signal":
            os.kill(os.getpid(), value)
        case "allocate":
            return len(bytearray(value))
        case "fill":
            held = bytearray(b"x") * value
            time.sleep(5)
            return len(held)
    return None
