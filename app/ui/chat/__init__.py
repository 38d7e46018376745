"""The chat page: transcript, composer, Markdown, media."""
