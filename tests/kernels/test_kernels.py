"""Every kernel, type, packing and odd shape against its reference, sanitised and race-checked."""

from __future__ import annotations

import mlx.core as mx
import pytest

from mlx_gemma4.chains import Heads
from mlx_gemma4.config import RopeSpec
from mlx_gemma4.fusion import PORTABLE
from mlx_gemma4.kernels import FUNCTIONS
from mlx_gemma4.kernels.cases import Case, difference, in_float32
from mlx_gemma4.layers import ExpertLinear, FusedLinear, Linear, Quantization
from mlx_gemma4.masks import Reach
from mlx_gemma4.rope import Rope
from tests.kernels.harness.host import HostBackend, Program, RecordingBackend

PACKINGS = {
    "4-bit g64": Quantization(64, 4),
    "4-bit g32": Quantization(32, 4),
    "8-bit g64": Quantization(64, 8),
    "8-bit g32": Quantization(32, 8),
    "mxfp4": Quantization(32, 4, "mxfp4"),
    "dense": None,
}
F32, BF16, F16 = mx.float32, mx.bfloat16, mx.float16


class Maker:
    """Random arrays and layers of one type, the same every time."""

    def __init__(self, dtype: mx.Dtype = F32, seed: int = 0) -> None:
        self.dtype = dtype
        self._key = mx.random.key(seed)

    def __call__(self, *shape: int, scale: float = 1.0) -> mx.array:
        self._key, key = mx.random.split(self._key)
        return (mx.random.normal(shape, key=key) * scale).astype(self.dtype)

    def fill(self, layer, packing: Quantization | None):
        weight = self(*layer.weight.shape, scale=layer.weight.shape[-1] ** -0.5)
        layer.weight = weight
        if packing is not None:
            packed, scales, *biases = mx.quantize(
                weight, group_size=packing.group_size, bits=packing.bits, mode=packing.mode
            )
            layer.weight, layer.scales, layer.quantization = packed, scales, packing
            if biases:
                layer.biases = biases[0]
        return layer

    def experts(self, count: int, columns: int, rows: int, packing: Quantization | None):
        return self.fill(ExpertLinear(count, columns, rows), packing)

    def linear(self, columns: int, rows: int, packing: Quantization | None):
        return self.fill(Linear(columns, rows), packing)


def expert_case(
    tokens: int,
    packing: str,
    dtype: mx.Dtype = F32,
    *,
    count: int = 6,
    top: int = 2,
    hidden: int = 192,
    wide: int = 64,
    chosen: mx.array | None = None,
) -> Case:
    make, how = Maker(dtype), PACKINGS[packing]
    gate_up, down = (
        make.experts(count, hidden, 2 * wide, how),
        make.experts(count, wide, hidden, how),
    )
    if chosen is None:
        chosen = mx.argsort(make(tokens, count), axis=-1)[:, :top]
    weights = mx.softmax(make(tokens, top).astype(F32), axis=-1)
    arguments = (make(tokens, hidden), chosen, weights, gate_up, down)
    return Case("run_experts", f"{tokens} tokens {packing} {dtype}", arguments)


def route_case(
    tokens: int, packing: str, dtype: mx.Dtype = F32, count: int = 128, top: int = 8
) -> Case:
    make = Maker(dtype)
    proj = make.linear(192, count, PACKINGS[packing])
    scales = mx.abs(make(count)) + 0.5
    arguments = (make(tokens, 192), proj, scales, 192**-0.5, top)
    return Case("route", f"{tokens} x {count} {packing} {dtype}", arguments)


def norm_cases(columns: int, dtype: mx.Dtype = F32, rows: int = 1) -> list[Case]:
    make, eps = Maker(dtype), 1e-6
    x, y, z = (make(1, rows, columns) for _ in range(3))
    w = [make(columns) for _ in range(6)]
    scale = make(1)
    label = f"{rows} x {columns} {dtype}"
    return [
        Case("residual_norm", label, (x, y, w[0], eps, None, ())),
        Case("residual_norm", label, (x, y, w[0], eps, scale, (w[1],))),
        Case("residual_norm", label, (x, y, w[0], eps, None, tuple(w[1:4]))),
        Case("experts_tail", label, (x, y, z, tuple(w[:3]), eps, scale, (w[3],))),
    ]


def head_case(
    heads: Heads, dims: int, dtype: mx.Dtype = F32, *, time: int = 1, batch: int = 1
) -> Case:
    make = Maker(dtype)
    pairs = dims // 2 if dims < 512 else dims // 8
    rope = Rope(RopeSpec(theta=1e4, rotated_pairs=pairs, factor=1.0), dims)
    k_weight = make(dims) if heads.groups else None
    arguments = (
        make(batch, time, heads.packed, dims),
        make(dims),
        k_weight,
        rope.turns(77, time),
        heads,
        1e-6,
    )
    return Case("head_norm_rope", f"{heads} {dims} {dtype}", arguments)


def wide_case(
    queries: int,
    groups: int,
    keys: int,
    dtype: mx.Dtype = F32,
    dims: int = 512,
    *,
    spare: int | None = None,
) -> Case:
    """``spare``: hand over the whole buffer, with so many rows behind those that are seen."""
    make = Maker(dtype)
    buffer = make(1, 2 * groups, keys + (spare or 5), dims, scale=dims**-0.25)
    k, v = mx.split(buffer, 2, axis=1)
    q = make(1, queries, 1, dims, scale=dims**-0.25)
    label = f"{queries}:{groups} {keys} keys {dtype}"
    if spare is None:
        return Case("attend_wide", label, (q, k[:, :, :keys], v[:, :, :keys], None))
    bias = mx.where(mx.arange(keys + spare) < keys, 0.0, -mx.inf).astype(dtype)[None]
    reach = Reach(mx.array([keys - 1], mx.int32), bias)
    return Case("attend_wide", f"{label}, {spare} spare", (q, k, v, reach))


def gate_cases(packing: str, dtype: mx.Dtype = F32, wide: int = 72) -> list[Case]:
    make, how = Maker(dtype), PACKINGS[packing]
    fused = FusedLinear(192, [("gate_proj", wide), ("up_proj", wide)])
    gate = make.linear(192, wide, how)
    label = f"{wide} {packing} {dtype}"
    return [
        Case("gate_up", label, (make(1, 1, 192), make.fill(fused, how))),
        Case("per_layer_gate", label, (make(1, 1, 192), gate, make(1, 1, wide))),
    ]


def all_cases() -> list[Case]:
    cases = []
    for packing in PACKINGS:
        cases += [expert_case(1, packing), expert_case(5, packing)]
        cases += [route_case(2, packing), *gate_cases(packing)]
    for dtype in (BF16, F16):
        for packing in ("4-bit g64", "8-bit g32", "mxfp4", "dense"):
            cases += [expert_case(1, packing, dtype), expert_case(3, packing, dtype)]
            cases += [route_case(1, packing, dtype), *gate_cases(packing, dtype)]
        cases += norm_cases(192, dtype)
        cases += [head_case(Heads(4, 2, False), 64, dtype), wide_case(4, 2, 200, dtype)]
    # Odd sizes: rows that fill no simdgroup or threadgroup, columns that fill no simdgroup's words.
    cases += [
        expert_case(1, "4-bit g32", hidden=96, wide=32, count=3, top=3),
        expert_case(7, "8-bit g32", hidden=96, wide=32, count=3, top=1),
        expert_case(1, "dense", hidden=40, wide=24, count=5, top=4),
        expert_case(9, "dense", hidden=40, wide=24, count=5, top=4),
        *gate_cases("dense", wide=1),
        *gate_cases("4-bit g32", wide=7),
        route_case(1, "dense", count=33, top=1),
        route_case(3, "4-bit g64", count=9, top=8),
        route_case(1, "dense", count=300, top=32),
        *norm_cases(8),
        *norm_cases(1001, rows=3),
        head_case(Heads(3, 1, True), 64, time=5, batch=2),
        head_case(Heads(5, 0, False), 192, time=2),
        head_case(Heads(2, 2, False), 512, time=3),
        wide_case(3, 1, 1),
        wide_case(2, 2, 128, dims=96),
        wide_case(8, 1, 129),
        wide_case(4, 2, 5, spare=251),
        wide_case(3, 1, 256, spare=1),
        wide_case(2, 1, 30, BF16, spare=70),
    ]
    return cases


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return all_cases()


@pytest.fixture(scope="module")
def program(cases) -> Program:
    recording = RecordingBackend()
    for case in cases:
        case.call(lambda *a, f=FUNCTIONS[case.field]: f(recording, *a))
    return Program(recording.instances)


NUMBERS = range(len(all_cases()))


@pytest.mark.parametrize("number", NUMBERS)
def test_equals_its_reference(cases, program, number) -> None:
    case = cases[number]
    host = HostBackend(program)
    got = case.call(lambda *a: FUNCTIONS[case.field](host, *a))
    wanted = in_float32(case).call(getattr(PORTABLE, case.field))
    assert host.ran, "the kernel handed over to its reference"
    assert difference(case, got, wanted) <= 1
