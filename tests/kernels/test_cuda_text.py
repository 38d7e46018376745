"""The CUDA text of every instance, put together as MLX does it, checked by clang against a stub."""

from __future__ import annotations

import subprocess
from pathlib import Path

import mlx.core as mx

from mlx_gemma4.kernels.kernel import source_text
from tests.kernels.harness.host import Launch
from tests.kernels.test_metal_text import launches

STUB = Path(__file__).parent / "harness" / "cuda_stub.h"
_TYPES = {
    mx.float32: "float",
    mx.bfloat16: "bfloat16_t",
    mx.float16: "float16_t",
    mx.uint32: "uint32_t",
    mx.int32: "int32_t",
    mx.uint8: "uint8_t",
}


def cuda_text(launch: Launch, number: int) -> str:
    """Pointers, shapes and strides as arguments where the body names them; constants inside."""
    instance = launch.instance
    kernel = instance.kernel
    source = source_text("cuda_entry") + kernel.body()
    arguments = []
    for name, dtype in zip(kernel.inputs, instance.input_types, strict=True):
        arguments.append(f"const {_TYPES[dtype]}* {name}")
        for suffix, kind in (("shape", "Shape"), ("strides", "Strides")):
            if f"{name}_{suffix}" in source:
                arguments.append(f"const __grid_constant__ {kind} {name}_{suffix}")
    for name, dtype in zip(kernel.outputs, instance.output_types, strict=True):
        arguments.append(f"{_TYPES[dtype]}* {name}")
    constants = [
        f"using {name} = {_TYPES[value]};"
        if isinstance(value, mx.Dtype)
        else f"constexpr int {name} = {value};"
        for name, value in instance.constants
    ]
    head = f"__global__ void kernel_{number}({', '.join(arguments)}) {{"
    return "\n".join([kernel.functions(), head, *constants, source, "}"])


def test_every_instance_compiles(tmp_path) -> None:
    prelude = source_text("cuda").replace("#include <cuda_fp16.h>", f'#include "{STUB}"')
    parts = [
        f"namespace n{number} {{\n{cuda_text(launch, number)}\n}}\n"
        for number, launch in enumerate(launches())
    ]
    source = tmp_path / "kernels.cpp"
    source.write_text(prelude + "".join(parts), encoding="utf-8")
    flags = ["-std=c++17", "-fsyntax-only", "-Wall", "-Werror", "-Wno-unused", "-Wno-sign-compare"]
    done = subprocess.run(["clang++", *flags, str(source)], capture_output=True, text=True)
    assert done.stderr == ""
