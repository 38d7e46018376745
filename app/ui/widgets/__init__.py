"""Small widgets used by every page."""
