"""The checks every foreign file passes before a decoder sees it."""

from __future__ import annotations

from pathlib import Path

from mlx_gemma4.errors import MediaError


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
