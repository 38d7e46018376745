"""What the worker for foreign files does. No MLX, no Qt: it starts fast and may be killed."""

from __future__ import annotations

from typing import Any


def work(request: tuple[str, Any, tuple[Any, ...]]) -> Any:
    """One request: ("describe", query, ()), or ("image" | "sound" | "video", path, arguments)."""
    task, subject, arguments = request
    match task:
        case "describe":
            from app.engine.describe import describe_file

            return describe_file(subject)
        case "image":
            from mlx_gemma4.media.images import load_image

            return load_image(subject)
        case "sound":
            from mlx_gemma4.media.sound import load_sound

            return load_sound(subject)
        case "video":
            from mlx_gemma4.media.video import sample_video

            return sample_video(subject, *arguments)
        case _:
            raise ValueError(f"unknown task {task}")
