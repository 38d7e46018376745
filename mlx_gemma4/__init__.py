"""Gemma 4 in MLX: text, pictures, sound and video in, streamed text out.

    from mlx_gemma4 import load, generate
    model, processor = load("mlx-community/gemma-4-e2b-it-4bit")

Importing this package loads nothing heavy: names are resolved on first use, so that
``mlx_gemma4.config``, ``mlx_gemma4.hub`` and ``mlx_gemma4.plan`` work without MLX.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlx_gemma4.config import Gemma4Config as Gemma4Config
    from mlx_gemma4.errors import Gemma4Error as Gemma4Error
    from mlx_gemma4.generate import GenerateOptions as GenerateOptions
    from mlx_gemma4.generate import Reply as Reply
    from mlx_gemma4.generate import generate as generate
    from mlx_gemma4.generate import stream as stream
    from mlx_gemma4.inputs import AudioClip as AudioClip
    from mlx_gemma4.inputs import ImagePatches as ImagePatches
    from mlx_gemma4.inputs import ModelInputs as ModelInputs
    from mlx_gemma4.loading import load as load
    from mlx_gemma4.messages import Message as Message
    from mlx_gemma4.model import Gemma4 as Gemma4
    from mlx_gemma4.processor import Processor as Processor
    from mlx_gemma4.sampling import SamplingOptions as SamplingOptions

_HOME = {
    "AudioClip": "inputs",
    "Gemma4": "model",
    "Gemma4Config": "config",
    "Gemma4Error": "errors",
    "GenerateOptions": "generate",
    "ImagePatches": "inputs",
    "Message": "messages",
    "ModelInputs": "inputs",
    "Processor": "processor",
    "Reply": "generate",
    "SamplingOptions": "sampling",
    "generate": "generate",
    "load": "loading",
    "stream": "generate",
}


class _Package(ModuleType):
    """A package in which the function ``generate`` wins over the submodule of the same name.

    Python binds a submodule to its package's attribute when it is imported; without this,
    ``from mlx_gemma4 import generate`` would mean different things before and after that import.
    """

    def __getattr__(self, name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        super().__setattr__(name, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted(_HOME)


sys.modules[__name__].__class__ = _Package
