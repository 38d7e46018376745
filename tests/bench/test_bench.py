"""The benchmark command on tiny shapes: its counts, its arithmetic, its reports, its errors."""

import json

import mlx.core as mx
import numpy as np
import pytest

from mlx_gemma4.bench import peers, timing
from mlx_gemma4.bench.counts import FULL_GOALS, PORTABLE_GOALS
from mlx_gemma4.bench.graph import count_graph, wide_sorts
from mlx_gemma4.bench.live import answer_clips, live_section, picture, speech
from mlx_gemma4.bench.memory import score_ratio
from mlx_gemma4.bench.report import Figure, Report, Section, machine, write
from mlx_gemma4.bench.session import repeated_picture_runs, session_section
from mlx_gemma4.bench.shapes import PACKING, random_model, shape_json, with_tokenizer
from mlx_gemma4.bench.shapes import tiny_json as bench_json
from mlx_gemma4.bench.steps import count_step, decode_count, host_seconds, sampler_sorts
from mlx_gemma4.bench.timing import (
    Engine,
    Speed,
    engines_for,
    interleaved,
    measure,
    ratio,
    speed_section,
)
from mlx_gemma4.bench.traffic import distinct_experts, weight_bytes
from mlx_gemma4.cli import main
from mlx_gemma4.errors import PromptError
from mlx_gemma4.fusion import FusionMode
from mlx_gemma4.published import published_config
from mlx_gemma4.session import Session
from mlx_gemma4.testing import tiny_json

KERNELS = [
    ("e2b", 712, 425),
    ("e4b", 854, 511),
    ("12b", 754, 450),
    ("26b", 925, 375),
    ("31b", 940, 560),
]


@pytest.fixture
def no_peers(monkeypatch):
    monkeypatch.setattr(peers, "_MODULES", {"mlx-lm": "no_such_engine", "mlx-vlm": "nor_this"})


def text_only(arch: str) -> dict:
    """A tiny checkpoint's configuration without towers."""
    return tiny_json(arch) | {"vision_config": None, "audio_config": None}


def test_a_graph_is_counted_without_views_and_with_fused_operations_as_one():
    x, w = mx.ones((4, 8)), mx.ones((8,))
    count = count_graph(lambda: [mx.fast.rms_norm(x, w, 1e-6).reshape(8, 4) @ mx.ones((4, 2))])
    assert count.by_kind["RMSNorm"] == 1
    assert count.kernels < count.nodes
    before = mx.fast.rms_norm
    with pytest.raises(RuntimeError, match="stop"):
        count_graph(_fails)
    assert mx.fast.rms_norm is before


def _fails():
    raise RuntimeError("stop")


def test_a_layer_more_costs_more_kernels():
    short, long = text_only("31b"), text_only("31b")
    for config, layers in ((short, 3), (long, 5)):
        text = config["text_config"]
        config["text_config"] = text | {
            "num_hidden_layers": layers,
            "layer_types": ["sliding_attention"] * (layers - 1) + ["full_attention"],
        }
    assert count_step("facet", long).kernels > count_step("facet", short).kernels + 10


@pytest.mark.parametrize(("name", "portable", "full"), KERNELS)
def test_kernels_per_token_of_every_size(name, portable, full):
    """Achieved counts: raise one only with a reason."""
    counts = {mode: decode_count("facet", name, mode=mode).kernels for mode in FusionMode}
    assert counts[FusionMode.PORTABLE] == portable
    assert counts[FusionMode.FULL] <= full
    assert counts[FusionMode.OFF] > portable > counts[FusionMode.FULL]
    if name in PORTABLE_GOALS:
        assert portable <= PORTABLE_GOALS[name]
        assert full <= FULL_GOALS[name]


@pytest.mark.parametrize("name", ["e2b", "26b"])
@pytest.mark.parametrize("mode", [FusionMode.PORTABLE, FusionMode.FULL])
def test_a_step_as_one_function_launches_the_same_kernels(name, mode):
    built, replayed = (
        count_step("facet", bench_json(name), mode=mode, replays=replays)
        for replays in (False, True)
    )
    assert replayed.kernels == built.kernels
    assert replayed.by_kind["ScatterAxis"] == built.by_kind["SliceUpdate"] > 0
    if mode is FusionMode.FULL:
        assert replayed.by_kind["CustomKernel"] == built.by_kind["CustomKernel"] > 100


def test_a_replayed_step_costs_the_host_less():
    """By a factor of two or three; the bound leaves room for a loaded machine."""
    built, replayed = (
        host_seconds("facet", "26b", FusionMode.FULL, replays=replays) for replays in (False, True)
    )
    assert 0 < replayed < built


def test_sorts_are_counted_by_width_inside_compiled_regions_too():
    @mx.compile
    def sampler(logits):
        return mx.argpartition(logits, kth=4, axis=-1)[..., :4] + mx.argsort(logits[..., :50])[0, 0]

    assert wide_sorts(sampler, 1000) == 1
    assert wide_sorts(lambda x: mx.sort(mx.sort(x)), 100) == 2
    assert sampler_sorts("facet", 20_000) == 0


@pytest.mark.parametrize(
    ("name", "gigabytes"), [("e2b", 1.28), ("e4b", 2.61), ("26b", 2.15), ("31b", 17.27)]
)
def test_bytes_per_token_are_those_of_the_published_shapes(name, gigabytes):
    assert weight_bytes(published_config(name)) / 1e9 == pytest.approx(gigabytes, abs=0.01)


def test_blocks_read_the_experts_they_hit():
    assert distinct_experts(128, 8, 1) == 8
    assert distinct_experts(128, 8, 4) == pytest.approx(29.1, abs=0.1)
    config = published_config("26b")
    one = weight_bytes(config)
    for width, each, once in ((4, 2.12, 1.99), (8, 3.61, 3.04)):
        unshared = weight_bytes(config, width, read_once=False)
        assert unshared / one == pytest.approx(each, abs=0.01)
        assert weight_bytes(config, width) / one == pytest.approx(once, abs=0.01)


@pytest.mark.parametrize("depth", range(2, 8))
def test_a_reduced_depth_has_both_kinds_of_layers_with_own_keys(depth):
    text = shape_json("e2b", depth)["text_config"]
    own = text["layer_types"][: depth - text["num_kv_shared_layers"]]
    assert set(own) == {"sliding_attention", "full_attention"}


def test_impossible_shapes_are_refused():
    with pytest.raises(PromptError, match="no size"):
        shape_json("7b")
    with pytest.raises(PromptError, match="between 2 and 35"):
        shape_json("e2b", 36)


@pytest.mark.parametrize("arch", ["e2b", "26b"])
def test_shared_tensors_are_the_rows_of_the_fused_matrices(arch):
    model = random_model(text_only(arch), packing=PACKING)
    tensors = peers.shared_tensors(model)
    layer = model.language_model.layers[0]
    fused = layer.self_attn.qkv_proj
    parts = [tensors[f"language_model.layers.0.self_attn.{n}.scales"] for n in fused.part_names]
    assert mx.array_equal(mx.concatenate(parts), fused.scales)
    gate = tensors["language_model.layers.0.mlp.gate_proj.weight"]
    assert gate.dtype == mx.uint32
    if arch == "26b":
        name = "language_model.layers.0.experts.switch_glu.up_proj.weight"
        rows = tensors[name].shape[1]
        whole = layer.experts.gate_up_proj.weight
        assert mx.array_equal(tensors[name], whole[:, rows:])


@pytest.mark.skipif(not peers.available("mlx-lm"), reason="mlx-lm is optional")
@pytest.mark.parametrize("arch", ["e2b", "26b"])
def test_mlx_lm_says_the_same_on_the_same_arrays(arch):
    config = text_only(arch)
    model = random_model(config)
    engines = [e for e in engines_for(model, config) if e.name in ("facet", "mlx-lm")]
    runs = interleaved(engines, np.arange(100, 130, dtype=np.int32), 6, 1)
    assert runs["mlx-lm"][0].tokens == runs["facet"][0].tokens


def test_ratios_compare_what_ran_one_after_the_other():
    def runs(*speeds):
        return [Speed(speed, (speed, 2 * speed), 1, 1, ()) for speed in speeds]

    slow_minute = (0.3, 0.3, 0.3, 1.0, 1.0)
    ours, theirs = runs(*(3 * s for s in slow_minute)), runs(*(2 * s for s in slow_minute))
    assert ratio(ours, theirs, "prefill") == pytest.approx(1.5)
    assert ratio(ours, theirs, "decode") == pytest.approx(1.5)
    assert ratio(runs(1, 30, 3), runs(2, 2, 100), "decode") == 0.5


def test_engines_take_turns_and_another_one_begins_each_round(monkeypatch):
    order = []
    monkeypatch.setattr(timing, "_tokens_of_a_burst", lambda engine, _: 4 + (engine.name == "b"))

    def engine(name):
        def tokens(prompt, count, cache):
            order.append(name.upper())
            for token in range(count):
                order.append(name)
                yield token

        return Engine(name, dict, tokens, lambda _: 0)

    speeds = interleaved([engine(name) for name in "ab"], np.arange(9, dtype=np.int32), 6, 2)
    assert "".join(order) == "AaBb" + "aaaabbbb" + "aabb" + "BbAa" + "bbbbaaaa" + "bbaa"
    assert all(len(run.decode) == 2 for runs in speeds.values() for run in runs)
    assert speeds["a"][0].tokens == tuple(range(7))


def test_missing_peers_are_left_out_and_said(no_peers):
    section = speed_section(text_only("e2b"), prompt=20, decode=2, repeats=2, title="Speed")
    assert [row["engine"] for row in section.rows] == ["facet"]
    assert not section.figures
    said = " ".join(section.notes)
    assert "mlx-lm is not installed" in said
    assert "mlx-vlm is not installed" in said


def test_transient_memory_leaves_out_weights_and_cache(no_peers):
    model = random_model(text_only("e2b"))
    (engine,) = engines_for(model, {})
    cache = engine.make_cache()
    list(engine.tokens(np.arange(100, 400, dtype=np.int32), 2, cache))
    assert engine.cache_bytes(cache) == cache.nbytes > 0
    speed = measure(engine, np.arange(100, 400, dtype=np.int32), 0)
    assert 0 < speed.transient < speed.peak


def test_sliding_prefill_scores_are_within_the_goal_of_the_exact_band():
    assert 1.0 <= score_ratio("facet", "e2b", prompt=4096) <= 1.3


def test_a_warm_turn_runs_nothing_twice_and_a_known_picture_is_not_encoded():
    section = session_section(text_only("e2b"), tokens=300, repeats=2)
    values = {figure.name: figure.value for figure in section.figures}
    assert values["tokens run on a turn beyond the new ones"] <= 0
    assert values["tokens run after an edit, new ones included"] <= 256
    by_turn = {(row["turn"].partition(",")[0], row["engine"]): row for row in section.rows}
    cold, warm = by_turn["cold", "facet"], by_turn["warm", "facet"]
    assert warm["rows run"] * 4 < cold["rows run"]
    # The peer sees the same prompts, without our reply of four tokens.
    assert by_turn["cold", "mlx-lm"]["rows run"] == cold["rows run"] - 4
    assert by_turn["warm", "mlx-lm"]["rows run"] * 4 < cold["rows run"]
    assert repeated_picture_runs() == 0


def test_a_live_turn_is_measured_without_and_with_frames(no_peers):
    config, processor = with_tokenizer(tiny_json("e2b"))
    model = random_model(config)
    answer = answer_clips(Session(model, processor), [speech(0.4), speech(0.4, seed=1)], 2)
    assert answer.wait > 0
    assert (answer.ids == config["audio_token_id"]).sum() == 20
    assert (answer.ids == config["image_token_id"]).sum() > 60
    section = live_section(tiny_json("e2b"), repeats=1, seconds=(0.2, 0.6))
    assert len(section.rows) == 3
    assert section.figures[0].name == "long over short clip"
    assert "mlx-vlm is not installed" in " ".join(section.notes)


def test_frames_differ_and_speech_repeats():
    assert not np.array_equal(picture(1), picture(2))
    assert np.array_equal(speech(0.1), speech(0.1))


def test_a_report_is_written_as_json_and_markdown(tmp_path):
    figures = [Figure("speed", 2.0, 1.5, "least"), Figure("waste", 1, 0), Figure("size", 3.0)]
    rows = [{"engine": "facet", "tok/s": 1234.5}, {"engine": "other", "tok/s": None}]
    report = Report("bench", machine(), [Section("One", {"seed": 0}, rows, figures, ["Note."])])
    write(report, tmp_path / "deep" / "result")
    read = json.loads((tmp_path / "deep" / "result.json").read_text())
    assert [f["met"] for f in read["sections"][0]["figures"]] == [True, False, None]
    assert read["machine"]["mlx"]
    written = (tmp_path / "deep" / "result.md").read_text()
    assert "| other | – |" in written
    assert "| speed | 2 | ≥ 1.5 | yes |" in written
    assert "* Note." in written


@pytest.mark.parametrize(
    "arguments",
    [
        ["--shape", "7b"],
        ["--depth", "1"],
        ["--depth", "99"],
        ["--prompt", "0"],
        ["--repeats", "-3"],
        ["--decode", "many"],
        ["--live", "--shape", "31b"],
    ],
)
def test_bad_arguments_are_one_sentence(arguments, capsys):
    try:
        code = main(["bench", *arguments])
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1


def test_the_command_prints_json(no_peers, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("mlx_gemma4.bench.shapes.shape_json", lambda *_, **__: text_only("e2b"))
    out = str(tmp_path / "x")
    arguments = ["bench", "--prompt", "12", "--decode", "2", "--repeats", "1"]
    assert main([*arguments, "--json", "--out", out]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["sections"][0]["rows"][0]["engine"] == "facet"
    assert json.loads((tmp_path / "x.json").read_text()) == printed
