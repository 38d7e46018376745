"""What `--model` names, looked at before anything else is begun. Imports no MLX."""

from __future__ import annotations

from mlx_gemma4.config import Gemma4Config
from mlx_gemma4.hub import find


def checkpoint(path_or_repo: str) -> str:
    """The folder of a checkpoint, given by it or by the name of a downloaded repository.

    Raises:
        HubError: there is no such folder or repository. ConfigError: it is none for Gemma 4.
    """
    folder = find(path_or_repo)
    Gemma4Config.from_path(folder)
    return str(folder)
