"""Subcommands of `facet` that need no display; one module each, imported when called."""
