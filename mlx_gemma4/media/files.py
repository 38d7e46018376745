"""The checks every foreign file passes before a decoder sees it."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from mlx_gemma4.errors import MediaError


def path_of(source: object, what: str) -> Path:
    """The path that ``source`` is.

    Args:
        source: what a caller gave as a file.
        what: "picture", "recording" or "video".

    Raises:
        MediaError: it is something else.
    """
    if isinstance(source, (str, PathLike)):
        return Path(source)
    raise MediaError(
        f"A {what} cannot be made of {type(source).__name__}; give the path of a file."
    )


def check_file(path: Path, what: str) -> str:
    """Make sure a file can be read and is not empty.

    Args:
        path: the file.
        what: what the user thinks it is: "picture", "recording" or "video".

    Returns:
        Its quoted name, for messages.

    Raises:
        MediaError: missing, empty, unreadable, or a folder.
    """
    name = f'"{path.name}"'
    try:
        if path.is_dir():
            raise MediaError(f"{name} is a folder; choose a {what} in it.")
        with path.open("rb") as file:
            if not file.read(1):
                raise MediaError(f"{name} is empty (0 bytes); copy or download it again.")
    except FileNotFoundError:
        raise MediaError(f"{name} is not there any more; choose the {what} again.") from None
    except PermissionError:
        raise MediaError(f"{name} may not be read; change its permissions or copy it.") from None
    except OSError as error:
        reason = error.strerror or "the disk reports an error"
        raise MediaError(f"{name} cannot be read ({reason}); copy it to another place.") from error
    return name
