"""Checks of a finished bundle. Each module has functions that return findings; none means good."""
