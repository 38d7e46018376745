"""What the worker under test is asked to do, good and bad."""

import os
import time
from typing import Any


class Unportable(Exception):  # noqa: N818 - its name is what the test looks for
    def __reduce__(self) -> Any:
        raise TypeError("no pickle")


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
