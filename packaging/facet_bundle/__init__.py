"""Builds, audits and archives Facet.app; `packaging/build.py` is the command."""
