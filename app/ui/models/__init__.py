"""The models page and the first-start page."""
