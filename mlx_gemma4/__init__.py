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
    from mlx_gemma4.constrain import Constraint as Constraint
    from mlx_gemma4.drafter import load_assistant as load_assistant
    from mlx_gemma4.drafter_lookup import PromptLookup as PromptLookup
    from mlx_gemma4.errors import Gemma4Error as Gemma4Error
    from mlx_gemma4.generate import Finish as Finish
    from mlx_gemma4.generate import GenerateOptions as GenerateOptions
    from mlx_gemma4.generate import Reply as Reply
    from mlx_gemma4.generate import Usage as Usage
    from mlx_gemma4.generate import generate as generate
    from mlx_gemma4.generate import stream as stream
    from mlx_gemma4.inputs import AudioClip as AudioClip
    from mlx_gemma4.inputs import ImagePatches as ImagePatches
    from mlx_gemma4.inputs import ModelInputs as ModelInputs
    from mlx_gemma4.loading import load as load
    from mlx_gemma4.messages import Audio as Audio
    from mlx_gemma4.messages import Image as Image
    from mlx_gemma4.messages import Message as Message
    from mlx_gemma4.messages import Text as Text
    from mlx_gemma4.messages import ToolCall as ToolCall
    from mlx_gemma4.messages import Video as Video
    from mlx_gemma4.messages import message as message
    from mlx_gemma4.model import Gemma4 as Gemma4
    from mlx_gemma4.prefill import Progress as Progress
    from mlx_gemma4.processor import Processor as Processor
    from mlx_gemma4.reply import Delta as Delta
    from mlx_gemma4.sampling import SamplingOptions as SamplingOptions
    from mlx_gemma4.session import ReplyOptions as ReplyOptions
    from mlx_gemma4.session import Session as Session
    from mlx_gemma4.tools import Tool as Tool
    from mlx_gemma4.tools import run_with_tools as run_with_tools

_HOME = {
    "Audio": "messages",
    "AudioClip": "inputs",
    "Constraint": "constrain",
    "Delta": "reply",
    "Finish": "generate",
    "Gemma4": "model",
    "Gemma4Config": "config",
    "Gemma4Error": "errors",
    "GenerateOptions": "generate",
    "Image": "messages",
    "ImagePatches": "inputs",
    "Message": "messages",
    "ModelInputs": "inputs",
    "Processor": "processor",
    "Progress": "prefill",
    "PromptLookup": "drafter_lookup",
    "Reply": "generate",
    "ReplyOptions": "session",
    "SamplingOptions": "sampling",
    "Session": "session",
    "Text": "messages",
    "Tool": "tools",
    "ToolCall": "messages",
    "Usage": "generate",
    "Video": "messages",
    "generate": "generate",
    "load": "loading",
    "load_assistant": "drafter",
    "message": "messages",
    "run_with_tools": "tools",
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
