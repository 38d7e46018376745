"""Kernel bodies compiled as C++: a sanitised program for checks, a library for whole models.

The text is the product's own (``Kernel.body``, ``Kernel.functions``); only the prelude is ours.
What was built is kept in a folder of the system's temporary files, named by a hash of its text.
"""

from __future__ import annotations

import ctypes
import hashlib
import struct
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np

from mlx_gemma4.kernels.backends import Constants, CountingBackend, Output
from mlx_gemma4.kernels.kernel import Kernel

HERE = Path(__file__).parent
BUILDS = Path(tempfile.gettempdir()) / "facet-kernel-builds"
_FLAGS = ("-std=c++17", "-Wall", "-Wextra", "-Wno-sign-compare", "-Wno-unused", "-Werror")
_SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
_TYPES = {
    mx.float32: "float",
    mx.bfloat16: "bfloat16",
    mx.float16: "float16",
    mx.uint32: "uint",
    mx.int32: "int",
    mx.uint8: "uchar",
}
_CARRIERS = {mx.bfloat16: np.uint16, mx.float16: np.uint16}
_PLAIN = {mx.float32: np.float32, mx.uint32: np.uint32, mx.int32: np.int32, mx.uint8: np.uint8}
_MOST_DIMS = 8

Edit = Callable[[str], str]


class HostError(RuntimeError):
    """A kernel did what it must not, in one sentence."""


@dataclass(frozen=True)
class Instance:
    """A kernel with everything that is fixed when it is compiled."""

    kernel: Kernel
    constants: tuple[tuple[str, int | mx.Dtype], ...]
    input_types: tuple[mx.Dtype, ...]
    output_types: tuple[mx.Dtype, ...]

    def text(self, number: int, edit: Edit) -> str:
        """The C++ function of this instance."""
        kernel = self.kernel
        lines = [f"static void body_{number}(const host::Call& call, uint thread) {{"]
        for i, (name, dtype) in enumerate(zip(kernel.inputs, self.input_types, strict=True)):
            lines.append(f"const host::Input<{_TYPES[dtype]}> {name}(call.inputs[{i}]);")
            lines.append(f"const int* {name}_shape = call.inputs[{i}].shape;")
            lines.append(f"const int64_t* {name}_strides = call.inputs[{i}].strides;")
        for i, (name, dtype) in enumerate(zip(kernel.outputs, self.output_types, strict=True)):
            lines.append(f"const host::Output<{_TYPES[dtype]}> {name}(call.outputs[{i}]);")
        for name, value in self.constants:
            if isinstance(value, mx.Dtype):
                lines.append(f"using {name} = {_TYPES[value]};")
            else:
                lines.append(f"constexpr int {name} = {value};")
        entry = (HERE / "host_entry.h").read_text(encoding="utf-8")
        return "\n".join(lines) + "\n" + entry + edit(kernel.body()) + "}\n"


def _same(text: str) -> str:
    return text


def program_text(instances: Sequence[Instance], edit: Edit = _same) -> str:
    """One translation unit with all ``instances``; ``edit`` changes texts (to break them)."""
    headers = dict.fromkeys(edit(text) for i in instances if (text := i.kernel.functions()))
    bodies = [instance.text(number, edit) for number, instance in enumerate(instances)]
    functions = ", ".join(f"body_{i}" for i in range(len(instances)))
    names = ", ".join(f'"{i.kernel.label}"' for i in instances)
    tables = (
        f"static host::Body const host_bodies[] = {{{functions}}};\n"
        f"static const char* const host_names[] = {{{names}}};\n"
    )
    host = (HERE / "host.h").read_text(encoding="utf-8")
    run = (HERE / "host_run.h").read_text(encoding="utf-8")
    return "\n".join([host, *headers, *bodies, tables, run])


def build(text: str, *options: str) -> Path:
    """Compile once; the result is found again by its hash."""
    key = hashlib.sha256(" ".join([text, *options]).encode()).hexdigest()[:20]
    target = BUILDS / key
    if not target.exists():
        BUILDS.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILDS) as folder:
            source, made = Path(folder) / "kernels.cpp", Path(folder) / "made"
            source.write_text(text, encoding="utf-8")
            command = ["g++", *_FLAGS, *options, str(source), "-o", str(made)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise HostError(done.stderr[:4000])
            made.replace(target)
    return target


class _Array(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_uint64),
        ("shape", ctypes.c_int * _MOST_DIMS),
        ("strides", ctypes.c_int64 * _MOST_DIMS),
        ("writers", ctypes.c_void_p),
    )


def _described(array: np.ndarray) -> tuple[int, list[int], list[int]]:
    """Numbers from the first to the last one, shape and strides in numbers."""
    strides = [step // array.itemsize for step in array.strides]
    extent = 1 + sum((n - 1) * s for n, s in zip(array.shape, strides, strict=True))
    pad = [0] * (_MOST_DIMS - array.ndim)
    return (extent if array.size else 0), [*array.shape, *pad], [*strides, *pad]


class Library:
    """Instances compiled to run inside this process, checked but not sanitised."""

    def __init__(self, instances: Sequence[Instance], edit: Edit = _same) -> None:
        text = program_text(instances, edit)
        path = build(text, "-O1", "-DCHECKED=1", "-shared", "-fPIC")
        self._launch = ctypes.CDLL(str(path)).host_launch
        self._launch.restype = ctypes.c_char_p
        self._numbers = {instance: i for i, instance in enumerate(instances)}

    def run(
        self,
        instance: Instance,
        inputs: Sequence[np.ndarray],
        outputs: Sequence[np.ndarray],
        groups: tuple[int, int],
        threads: int,
    ) -> None:
        """Run into ``outputs``.

        Raises:
            HostError: the kernel broke a rule.
        """
        number = self._numbers[instance]
        sides = _arrays(inputs), _arrays(outputs)
        error = self._launch(number, *sides, len(outputs), *groups, threads)
        if error:
            raise HostError(error.decode())


def _arrays(arrays: Sequence[np.ndarray]) -> ctypes.Array[_Array]:
    packed = (_Array * len(arrays))()
    for place, array in zip(packed, arrays, strict=True):
        place.data = array.ctypes.data
        size, shape, strides = _described(array)
        place.size = size
        place.shape[:] = shape
        place.strides[:] = strides
    return packed


class Program:
    """Instances compiled with the address and undefined-behaviour sanitizers, run outside."""

    def __init__(self, instances: Sequence[Instance], edit: Edit = _same) -> None:
        text = program_text(instances, edit)
        self._path = build(text, "-O0", "-DCHECKED=1", "-DAS_PROGRAM=1", *_SANITIZERS)
        self._numbers = {instance: i for i, instance in enumerate(instances)}

    def run(
        self,
        instance: Instance,
        inputs: Sequence[np.ndarray],
        outputs: Sequence[np.ndarray],
        groups: tuple[int, int],
        threads: int,
    ) -> None:
        """As :meth:`Library.run`."""
        counts = (len(inputs), len(outputs))
        head = struct.pack("<6I", self._numbers[instance], *groups, threads, *counts)
        with tempfile.TemporaryDirectory() as folder:
            request, answer = Path(folder) / "request", Path(folder) / "answer"
            parts = [_message(array, with_data=True) for array in inputs]
            parts += [_message(array, with_data=False) for array in outputs]
            request.write_bytes(head + b"".join(parts))
            command = [str(self._path), str(request), str(answer)]
            done = subprocess.run(command, capture_output=True, text=True, env={})
            if done.returncode:
                raise HostError(done.stderr[:2000])
            data = answer.read_bytes()
        at = 0
        for array in outputs:
            array[...] = np.frombuffer(data, array.dtype, array.size, at).reshape(array.shape)
            at += array.nbytes


def _message(array: np.ndarray, *, with_data: bool) -> bytes:
    size, shape, strides = _described(array)
    head = struct.pack("<2Q", array.itemsize, size)
    layout = struct.pack(f"<{_MOST_DIMS}i{_MOST_DIMS}q", *shape, *strides)
    if not with_data:
        return head + layout
    flat = np.lib.stride_tricks.as_strided(array, (size,), (array.itemsize,))
    return head + layout + flat.tobytes()


@dataclass
class Launch:
    """One launch as a backend was asked for it."""

    instance: Instance
    inputs: list[mx.array]
    groups: tuple[int, int]
    threads: int
    outputs: list[Output]


def _instance(
    kernel: Kernel, inputs: Sequence[mx.array], constants: Constants, outputs: Sequence[Output]
) -> Instance:
    return Instance(
        kernel,
        tuple(constants.items()),
        tuple(x.dtype for x in inputs),
        tuple(dtype for _, dtype in outputs),
    )


class RecordingBackend(CountingBackend):
    """Writes down what would be launched, so that it can all be compiled at once."""

    def __init__(self) -> None:
        self.launches: list[Launch] = []

    def launch(
        self,
        kernel: Kernel,
        inputs: Sequence[mx.array],
        constants: Constants,
        groups: tuple[int, int],
        threads: int,
        outputs: Sequence[Output],
    ) -> list[mx.array]:
        """See :class:`mlx_gemma4.kernels.backends.Backend`."""
        instance = _instance(kernel, inputs, constants, outputs)
        self.launches.append(Launch(instance, list(inputs), groups, threads, list(outputs)))
        return super().launch(kernel, inputs, constants, groups, threads, outputs)

    @property
    def instances(self) -> list[Instance]:
        """Each instance once."""
        return list(dict.fromkeys(launch.instance for launch in self.launches))


class HostBackend:
    """Runs kernels with a :class:`Library` or :class:`Program`; evaluates at once."""

    name = "host"

    def __init__(self, compiled: Library | Program) -> None:
        self._compiled = compiled
        self.ran: list[str] = []

    def launch(
        self,
        kernel: Kernel,
        inputs: Sequence[mx.array],
        constants: Constants,
        groups: tuple[int, int],
        threads: int,
        outputs: Sequence[Output],
    ) -> list[mx.array]:
        """See :class:`mlx_gemma4.kernels.backends.Backend`."""
        instance = _instance(kernel, inputs, constants, outputs)
        arrays = [to_numpy(x, contiguous=kernel.contiguous) for x in inputs]
        results = [np.zeros(shape, _carrier(dtype)) for shape, dtype in outputs]
        self._compiled.run(instance, arrays, results, groups, threads)
        self.ran.append(kernel.label)
        pairs = zip(results, outputs, strict=True)
        return [from_numpy(result, dtype) for result, (_, dtype) in pairs]


def _carrier(dtype: mx.Dtype) -> type:
    return _CARRIERS.get(dtype) or _PLAIN[dtype]


def to_numpy(x: mx.array, *, contiguous: bool) -> np.ndarray:
    """The numbers as they lie in memory; 16-bit floats as unsigned integers."""
    if x.dtype in _CARRIERS:
        x = x.view(mx.uint16)
    array = np.array(x, copy=False)
    return np.ascontiguousarray(array) if contiguous else array


def from_numpy(array: np.ndarray, dtype: mx.Dtype) -> mx.array:
    """The opposite of :func:`to_numpy`."""
    made = mx.array(array)
    return made.view(dtype) if dtype in _CARRIERS else made
