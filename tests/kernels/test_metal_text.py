"""The text MLX hands to Metal's compiler, checked by clang with address spaces as real types.

Tracing a call needs no Metal, and the trace holds the whole text: signature, attributes, constants.
The stub declares only what the kernels use of Metal, so anything else is an error.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import mlx.core as mx

from mlx_gemma4.kernels import FUNCTIONS
from mlx_gemma4.kernels.backends import MetalBackend
from tests.kernels.harness.host import Launch, RecordingBackend
from tests.kernels.test_kernels import all_cases

STUB = Path(__file__).parent / "harness" / "metal_stub.h"
_NAME = re.compile(r"\[\[kernel\]\] void (custom_kernel_\w+)\(")


def launches() -> list[Launch]:
    """One launch of each instance that the cases make."""
    recording = RecordingBackend()
    for case in all_cases():
        case.call(lambda *a, f=FUNCTIONS[case.field]: f(recording, *a))
    found = list({launch.instance: launch for launch in recording.launches}.values())
    mx.eval([launch.inputs for launch in found])
    return found


def metal_text(launch: Launch, *, known: bool) -> str:
    """The text of one launch; small arrays whose numbers are ``known`` are passed as constants."""
    backend, found = MetalBackend(), []

    def look(node) -> None:
        if node["type"] == "primitive" and node["name"] == "CustomKernel":
            found.append(node["arguments"][1])

    def call(*inputs: mx.array) -> list[mx.array]:
        given = launch.inputs if known else inputs
        return backend.launch(
            launch.instance.kernel,
            given,
            dict(launch.instance.constants),
            launch.groups,
            launch.threads,
            launch.outputs,
        )

    mx.export_function(look, call, *([mx.zeros(1)] if known else launch.inputs))
    assert len(found) == 1, "one call is one launch"
    return found[0]


def compiled(texts: list[str], folder: Path) -> str:
    """What clang says about all ``texts`` in one file."""
    parts = [f'#include "{STUB}"\n']
    for number, text in enumerate(texts):
        (name,) = _NAME.findall(text)
        parts.append(f"namespace n{number} {{\n{text}\nauto* const use = &{name};\n}}\n")
    source = folder / "kernels.cpp"
    source.write_text("".join(parts), encoding="utf-8")
    flags = ["-std=c++14", "-fsyntax-only", "-Wall", "-Wno-unknown-attributes", "-Werror"]
    flags += ["-Wno-unused", "-Wno-sign-compare", "-Wno-ignored-attributes"]
    command = ["clang++", *flags, str(source)]
    return subprocess.run(command, capture_output=True, text=True).stderr


def test_every_instance_compiles(tmp_path) -> None:
    # Arrays of fewer than 8 numbers are in the constant address space once their numbers are known.
    made = [metal_text(launch, known=known) for launch in launches() for known in (True, False)]
    assert any("const constant uint32_t* experts" in text for text in made)
    assert any("const device uint32_t* experts" in text for text in made)
    assert compiled(made, tmp_path) == ""


def test_the_check_sees_what_metal_would_refuse(tmp_path) -> None:
    text = metal_text(launches()[0], known=False)
    (tmp_path / "a").mkdir()
    unknown = text.replace("gelu_tanh(gate)", "metal::erf(gate)")
    assert "no member named 'erf'" in compiled([unknown], tmp_path / "a")
    # A pointer that forgets its address space.
    mixed = text.replace(
        "const uint expert =", "const thread float* wrong = hidden; const uint expert ="
    )
    assert "cannot initialize" in compiled([mixed], tmp_path / "a")


def test_texts_are_short() -> None:
    # MLX copies and compares the text at every call.
    assert max(len(metal_text(launch, known=False)) for launch in launches()) < 12_000
