"""What a kernel is: a body in a small C dialect, and its text for one kind of GPU.

A body is written once. A prelude turns the dialect into Metal or CUDA (the tests have a third one,
which runs bodies on the CPU): threadgroup memory, barriers, sums over a simdgroup, bit casts. An
entry names the indices a body uses: ``group_x``, ``group_y``, ``thread_id``, ``simd_id``, ``lane``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

SIMD = 32
"""Lanes of a simdgroup (Apple) or warp."""

_COMMENT = re.compile(r"[ \t]*//[^\n]*\n")
_BLANK = re.compile(r"\n{2,}")
_INCLUDE = re.compile(r'^#include "(\w+)\.h"\n', re.MULTILINE)


@dataclass(frozen=True, eq=False)
class Kernel:
    """One launch. Kernels are made once and compared by identity: they are looked up at every call.

    Attributes:
        name: also of the file that holds the body.
        inputs: names of the arrays read. A body may name ``x_shape`` and ``x_strides`` of input x.
        outputs: names of the arrays written, each element exactly once.
        headers: files of functions the body calls.
        switches: preprocessor names for parts that are there or not.
        contiguous: whether inputs must lie row after row (others are copied first).
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    headers: tuple[str, ...] = ()
    switches: tuple[tuple[str, int], ...] = ()
    contiguous: bool = True

    @property
    def label(self) -> str:
        """A name for this choice of switches, fit for an identifier."""
        return "_".join(["facet", self.name, *(str(value) for _, value in self.switches)])

    def body(self) -> str:
        """The body without comments, its switches around it."""
        on = "".join(f"#define {name} {value}\n" for name, value in self.switches)
        off = "".join(f"#undef {name}\n" for name, _ in self.switches)
        return f"{on}{source_text(self.name)}{off}"

    def functions(self) -> str:
        """The functions it calls."""
        return "".join(source_text(name) for name in self.headers)


@cache
def source_text(name: str) -> str:
    """A file of ``source`` without comments; what it includes is put in place.

    MLX copies a kernel's text for every call, so it is kept short.
    """
    text = (files("mlx_gemma4.kernels") / "source" / f"{name}.h").read_text(encoding="utf-8")
    text = _BLANK.sub("\n", _COMMENT.sub("\n", text))
    return _INCLUDE.sub(lambda found: source_text(found[1]), text)
