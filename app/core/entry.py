"""How a child process finds its work: by name, so that its modules load in the child alone."""

from __future__ import annotations

import importlib
from typing import Any


def run_entry(name: str, *arguments: Any) -> Any:
    """Call `package.module:function`; its result. The target of every process the app spawns."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)(*arguments)
