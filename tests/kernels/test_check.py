"""The self-check: what it accepts, what it switches off, what it remembers."""

from __future__ import annotations

import json
from itertools import count

from mlx_gemma4.cli import main
from mlx_gemma4.fusion import PORTABLE, FusionMode
from mlx_gemma4.kernels import check as check_module
from mlx_gemma4.kernels.check import KernelCheck, stored_reports, use_known_kernels
from tests.kernels.conftest import Stopwatch, small_model
from tests.kernels.harness.host import HostBackend, Library


def check(tiny, library, **options) -> KernelCheck:
    options = {"timer": Stopwatch(), "backend": HostBackend(library)} | options
    return KernelCheck(tiny, **options)


def test_right_and_faster_kernels_are_used(tiny, library) -> None:
    done = check(tiny, library)
    assert done.fusion() == PORTABLE, "nothing is used before it is checked"
    report = done.run()
    used = {"run_experts", "route", "residual_norm", "experts_tail", "head_norm_rope"}
    assert report.accepted == used | {"gate_up", "attend_wide"}
    fusion = done.fusion()
    assert fusion.mode is FusionMode.FULL
    assert fusion.run_experts is not PORTABLE.run_experts
    assert fusion.per_layer_gate is PORTABLE.per_layer_gate, "this model has no such gate"


def broken(text: str) -> str:
    return text.replace("gelu_tanh(gate) * up", "gelu_tanh(gate) * gate")


def test_a_wrong_kernel_is_caught_and_only_it_is_off(tiny, instances) -> None:
    done = check(tiny, Library(instances, broken))
    report = done.run()
    assert {name for name in report.fields if report.fault(name)} == {"run_experts", "gate_up"}
    assert report.fault("run_experts") == "differs from its reference"
    fusion = done.fusion()
    assert fusion.run_experts is PORTABLE.run_experts
    assert fusion.route is not PORTABLE.route


class Failing(HostBackend):
    """A compiler that does not like one kernel."""

    def launch(self, kernel, *rest):
        if kernel.name == "route":
            raise RuntimeError("[metal::Device] Unable to build metal library from source")
        return super().launch(kernel, *rest)


def test_a_kernel_that_does_not_compile_is_off(tiny, library) -> None:
    report = check(tiny, library, backend=Failing(library)).run()
    assert report.fault("route") == "does not compile or run"
    assert "run_experts" in report.accepted


def test_a_slower_kernel_is_off(tiny, library) -> None:
    done = check(tiny, library, timer=Stopwatch(3e-6))
    assert done.run().accepted == frozenset()
    assert "not faster" in done.report.fault("route")
    assert done.fusion().route is PORTABLE.route


def test_the_budget_holds_and_the_rest_is_done_next_time(tiny, library, tmp_path) -> None:
    ticks, store = count(), tmp_path / "kernels.json"
    slow = {"clock": lambda: float(next(ticks)), "budget": 3.0, "store": store}
    report = check(tiny, library, **slow).run()
    judged = [v for v in report.verdicts if v.fault != "not checked in time"]
    assert len(judged) == 3
    assert report.fault(report.verdicts[-1].field) == "not checked in time"
    again = check(tiny, library, store=store)
    assert again.report.verdicts == tuple(judged)
    assert not again.finished
    assert again.run().accepted == set(report.fields)
    assert check(tiny, library, store=store).finished


def test_verdicts_are_remembered(tiny, library, tmp_path) -> None:
    store = tmp_path / "kernels.json"
    first = check(tiny, library, store=store).run()
    again = check(tiny, library, store=store)
    assert again.finished
    assert again.report == first
    assert not again.step()
    assert again.fusion().route is not PORTABLE.route
    assert not check(tiny, library, store=store, again=True).finished
    assert not check(small_model("31b"), library, store=store).finished, "another model"
    assert stored_reports(store) == [first]


def test_a_damaged_store_costs_only_another_check(tiny, library, tmp_path) -> None:
    store = tmp_path / "kernels.json"
    for text in ("{", '{"reports": [{"chip": 1}]}', "[]"):
        store.write_text(text)
        assert check(tiny, library, store=store).run().accepted
        assert len(stored_reports(store)) == 1


def test_no_gpu_no_kernels(tiny) -> None:
    done = KernelCheck(tiny)
    assert done.finished
    assert done.fusion() == PORTABLE


def test_loading_uses_what_is_known(tiny, library, tmp_path, monkeypatch) -> None:
    store = tmp_path / "kernels.json"
    before = tiny.language_model.fusion
    assert not use_known_kernels(tiny, store), "no GPU"
    monkeypatch.setattr(check_module, "own_backend", lambda: HostBackend(library))
    assert not use_known_kernels(tiny, store), "not checked yet"
    assert tiny.language_model.fusion is before
    check(tiny, library, store=store).run()
    assert use_known_kernels(tiny, store)
    assert tiny.language_model.fusion.mode is FusionMode.FULL
    tiny.use(before)
    assert not use_known_kernels(object(), store), "no model"


def test_the_command_shows_what_is_kept(tiny, library, tmp_path, capsys) -> None:
    store = tmp_path / "kernels.json"
    assert main(["kernels", "--cache", str(store)]) == 0
    assert "no GPU" in capsys.readouterr().out
    check(tiny, library, store=store, backend=Failing(library)).run()
    assert main(["kernels", "--cache", str(store)]) == 0
    shown = capsys.readouterr().out
    assert "off: does not compile or run" in shown
    assert "used" in shown
    assert main(["kernels", "--cache", str(store), "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert facts["off"] == {"route": "does not compile or run"}
    assert "run_experts" in facts["used"]
