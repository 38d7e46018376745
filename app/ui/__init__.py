"""The window: widgets, pages and the theme. Talks to controllers only; imports no mlx."""
