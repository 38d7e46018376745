"""The settings dialog, generated from the schema in app.core.settings."""
