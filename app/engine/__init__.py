"""The engine process: the only part of the app that knows MLX. No Qt in here."""
