"""Measurements of this library beside mlx-lm and mlx-vlm; see ``mlx-gemma4 bench --help``."""
