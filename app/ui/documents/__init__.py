"""The documents page: the list, pages beside their text, questions about them."""
