"""The harness itself: each kind of defect, put into a real kernel, is found and named."""

from __future__ import annotations

import pytest

from mlx_gemma4.chains import Heads
from mlx_gemma4.kernels import FUNCTIONS
from mlx_gemma4.kernels.cases import Case
from mlx_gemma4.kernels.kernel import source_text
from tests.kernels.harness.host import HostBackend, HostError, Library, Program, RecordingBackend
from tests.kernels.test_kernels import expert_case, head_case, norm_cases, route_case

_, _SUM = source_text("reduce").split("if (lane == 0)")
FIRST = "if (lane == 0)" + _SUM[: _SUM.index("result =")]
LAST = _SUM[_SUM.index("result =") : _SUM.rindex("}")]
PICK = "best = SIMD_MAX(best);"
NORM, EXPERTS, ROUTE = norm_cases(1001)[1], expert_case(5, "4-bit g64"), route_case(1, "dense")
HEADS = head_case(Heads(3, 1, False), 64)

# (what is wrong, a case, what stands in the kernel, what to put there, words of the message)
DEFECTS = [
    ("no barrier", NORM, FIRST, FIRST.replace("BARRIER();", ""), "race|before it is written"),
    ("scratch used again too soon", NORM, LAST, LAST.replace("BARRIER();", ""), "race"),
    ("barrier in a branch", ROUTE, "BARRIER();", "if (simd_id < 3) { BARRIER(); }", "barrier"),
    ("lanes part ways", ROUTE, PICK, f"if (lane < 9) {PICK}", "part ways"),
    ("past the end of an input", EXPERTS, "* COLUMNS;", "* COLUMNS + 1;", "reads number"),
    ("past the end of an output", NORM, "out[base + c]", "out[base + c + 1]", "writes number"),
    ("past shared memory", ROUTE, "logits[first + r] =", "logits[first + r + 1] =", "shared"),
    ("written twice", EXPERTS, "out[t * WIDE + first + r]", "out[first + r]", "written twice"),
    ("never written", HEADS, "q[to + DIMS / 2] = T(b);", "", "never written"),
    ("not set", EXPERTS, "ids[a] = experts[a];", "if (a) ids[a] = 0;", "before it is written"),
]


def run(case: Case, make, edit) -> None:
    recording = RecordingBackend()
    case.call(lambda *a: FUNCTIONS[case.field](recording, *a))
    host = HostBackend(make(recording.instances, edit))
    case.call(lambda *a: FUNCTIONS[case.field](host, *a))


def replacing(old: str, new: str, seen: list[str]):
    def edit(text: str) -> str:
        if old in text:
            seen.append(text)
        return text.replace(old, new, 1)

    return edit


@pytest.mark.parametrize("defect", DEFECTS, ids=[defect[0] for defect in DEFECTS])
def test_defects_are_named(defect) -> None:
    _, case, old, new, words = defect
    seen: list[str] = []
    with pytest.raises(HostError, match=words):
        run(case, Library, replacing(old, new, seen))
    assert seen, "the defect was put in"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        # Past a thread's own array: only the sanitizers see that.
        ("float value[EACH];", "float value[EACH - 1];", "AddressSanitizer|out of bounds"),
        ("uint c = thread_id", "int big = 2147483647; big += int(EACH); uint c = thread_id",
         "signed integer overflow"),
    ],
)  # fmt: skip
def test_sanitizers_are_on(old, new, words) -> None:
    seen: list[str] = []
    with pytest.raises(HostError, match=words):
        run(NORM, Program, replacing(old, new, seen))
    assert seen
