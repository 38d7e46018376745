"""Qt adapters without widgets: the engine's supervisor, downloads, the library on disk."""
