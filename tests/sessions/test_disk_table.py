"""The per-layer embedding table on disk: the same logits, none of the memory, clear errors."""

import gc
import os
import shutil

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten
from session_checks import agrees, greedy, next_logits, picture, say, sound
from test_assistants import random_assistant

from mlx_gemma4 import load
from mlx_gemma4.disk_table import DiskTable, stored_table
from mlx_gemma4.drafter import load_assistant
from mlx_gemma4.drafter_lookup import PromptLookup
from mlx_gemma4.errors import Gemma4Error, WeightsError
from mlx_gemma4.file_headers import StoredTensor, stored_tensors
from mlx_gemma4.generate import GenerateOptions, generate
from mlx_gemma4.messages import Audio, Image, message
from mlx_gemma4.plan import GIB, Machine, plan
from mlx_gemma4.published import published_config
from mlx_gemma4.row_file import RowFile
from mlx_gemma4.sampling import SamplingOptions
from mlx_gemma4.session import Session
from mlx_gemma4.testing import random_checkpoint
from mlx_gemma4.weights import checkpoint_files

GREEDY = SamplingOptions(greedy=True)
TEXT = "The cat sat on the mat and the dog sat on the cat. " * 3
KINDS = ("float32", "bfloat16", "4-bit", "8-bit", "mxfp4")


def rewritten(folder, kind):
    """The text matrices of a checkpoint in another type, in two files."""
    path = folder / "model.safetensors"
    stored, tensors = mx.load(str(path)), {}
    for name, array in stored.items():
        packs = "language_model" in name and array.ndim == 2 and name.endswith("weight")
        if kind == "bfloat16" or not packs or kind == "float32":
            tensors[name] = array.astype(mx.bfloat16) if kind == "bfloat16" else array
            continue
        stem = name.removesuffix("weight")
        if kind == "mxfp4":
            parts = mx.quantize(array, group_size=32, bits=4, mode="mxfp4")
        else:
            parts = mx.quantize(array, group_size=32, bits=int(kind[0]))
        suffixes = ("weight", "scales", "biases")[: len(parts)]
        tensors |= {stem + suffix: a for suffix, a in zip(suffixes, parts, strict=True)}
    mx.eval(tensors)
    path.unlink()
    names = sorted(tensors)
    for number, some in enumerate((names[::2], names[1::2])):
        mx.save_safetensors(
            str(folder / f"model-{number}.safetensors"), {n: tensors[n] for n in some}
        )
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}

    def get(arch, kind="float32"):
        if (arch, kind) not in made:
            folder = tmp_path_factory.mktemp("disk") / f"{arch}-{kind}"
            made[arch, kind] = rewritten(random_checkpoint(folder, arch), kind)
        return made[arch, kind]

    return get


@pytest.fixture
def own(folders, tmp_path):
    """A folder this test may damage."""
    return shutil.copytree(folders("e2b"), tmp_path / "own")


def both(folder, dtype=None):
    return [load(folder, dtype=dtype, ple_on_disk=choice) for choice in ("off", "on")]


def same_logits(memory, disk, processor):
    inputs = processor.inputs([message("user", Image(picture(2)), Audio(sound(1, 0.5)), TEXT)])
    return mx.array_equal(memory.forward_logits(inputs), disk.forward_logits(inputs)).item()


@pytest.mark.parametrize("arch", ["e2b", "e4b"])
@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_the_same_to_the_bit(arch, kind, folders):
    (memory, processor), (disk, _) = both(folders(arch, kind))
    assert isinstance(disk.language_model.embed_tokens_per_layer, DiskTable)
    assert same_logits(memory, disk, processor)


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "4-bit"])
def test_logits_are_the_same_in_bfloat16(kind, folders):
    (memory, processor), (disk, _) = both(folders("e2b", kind), mx.bfloat16)
    assert disk.language_model.embed_tokens_per_layer(mx.array([[3]])).dtype == mx.bfloat16
    assert same_logits(memory, disk, processor)


def test_the_table_is_not_in_memory(folders):
    for kind in KINDS:
        (memory, _), (disk, _) = both(folders("e2b", kind))
        table = disk.language_model.embed_tokens_per_layer
        held = dict(tree_flatten(disk.parameters()))
        assert not any("embed_tokens_per_layer" in name for name in held)
        dropped = set(dict(tree_flatten(memory.parameters()))) - set(held)
        assert {name.rpartition(".")[0] for name in dropped} == {
            "language_model.embed_tokens_per_layer"
        }
        stored = stored_table(checkpoint_files(folders("e2b", kind))).values()
        assert table.nbytes == sum(tensor.nbytes for tensor in stored) > 0


def test_loading_allocates_no_table(tmp_path, monkeypatch):
    """With a table much larger than everything else: MLX's own count of bytes in use."""
    import mlx_gemma4.testing as testing

    monkeypatch.setattr(testing, "VOCAB_SIZE", 20_000)
    raw = testing.tiny_json

    def wide(arch):
        config = raw(arch)
        sizes = {"vocab_size": 20_000, "vocab_size_per_layer_input": 20_000}
        return config | {"vocab_size": 20_000, "text_config": config["text_config"] | sizes}

    monkeypatch.setattr(testing, "tiny_json", wide)
    folder = random_checkpoint(tmp_path / "wide", "e2b")
    table = 20_000 * 64 * 8 * 4
    used = {}
    for choice in ("off", "on"):
        gc.collect()  # what earlier tests left must not go while it is counted
        mx.clear_cache()
        before = mx.get_active_memory()
        mx.reset_peak_memory()
        model, processor = load(folder, ple_on_disk=choice)
        used[choice] = mx.get_active_memory() - before
        answer = generate(
            model, processor, processor.inputs([message("user", "Hi")]), GenerateOptions(3)
        )
        assert answer.usage.generated_tokens
        used[choice, "peak"] = mx.get_peak_memory() - before
        del model
    assert used["off"] - used["on"] == pytest.approx(table, rel=0.05)
    assert used["on", "peak"] < used["off"] - 0.5 * table


def test_a_live_session_is_the_same(folders):
    sessions = [Session(*pair) for pair in both(folders("e2b", "8-bit"))]
    texts = []
    for session in sessions:
        session.sync([message("system", "Be brief."), message("user", Image(picture(1)), TEXT)])
        said = say(session, 20)
        session.push_frame(picture(3))
        pcm = sound(2, 1.3)
        for start in range(0, len(pcm), 1777):
            session.push_audio(pcm[start : start + 1777])
        mark = session.mark()
        say(session, 5)
        session.rollback(mark)
        session.push_text("And now?")
        texts.append((said, say(session, 20), session.cut_reply(4), session.ids.tolist()))
    assert texts[0] == texts[1]
    memory, disk = sessions
    assert mx.array_equal(next_logits(memory, memory._model), next_logits(disk, disk._model))
    assert agrees(disk, disk._model)


@pytest.mark.parametrize("kind", ["float32", "4-bit"])
def test_drafts_read_the_table_too(kind, folders, tmp_path):
    pairs = both(folders("e2b", kind))
    assistant = load_assistant(random_assistant(tmp_path / "assistant", pairs[0][0], "e2b"))
    for draft in (None, PromptLookup(ngram=1), assistant):
        replies = []
        for model, processor in pairs:
            options = GenerateOptions(40, sampling=GREEDY, loop_guard=False, draft=draft)
            replies.append(
                generate(model, processor, processor.inputs([message("user", TEXT)]), options)
            )
        assert replies[0].text == replies[1].text
        assert (replies[1].usage.draft_blocks > 0) == (draft is not None)


def test_a_file_that_is_moved_deleted_or_replaced_is_still_read(own):
    model, processor = load(own, ple_on_disk="on")
    inputs = processor.inputs([message("user", TEXT)])
    before = model.forward_logits(inputs)
    for file in own.glob("*.safetensors"):
        file.rename(own / f"moved-{file.name}")
        file.write_bytes(b"something else")
    assert mx.array_equal(model.forward_logits(inputs), before)
    shutil.rmtree(own)
    assert mx.array_equal(model.forward_logits(inputs), before)


@pytest.mark.parametrize("damage", ["cut", "rewritten"])
def test_a_file_changed_in_place_ends_the_reply_with_one_sentence(damage, own):
    model, processor = load(own, ple_on_disk="on")
    session = Session(model, processor)
    session.sync([message("user", TEXT)])
    events = session.reply(greedy(30))
    for _ in range(3):
        next(events)
    for file in own.glob("*.safetensors"):
        if damage == "cut":
            os.truncate(file, 4000)
        else:
            file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(WeightsError, match=r"can no longer be read.*load the model again"):
        list(events)
    assert session._runner.cache.offset == session.tokens  # nothing half done
    with pytest.raises(WeightsError):
        session.sync([message("user", "Hello?")])


def test_a_disk_that_fails_is_named(own, monkeypatch):
    model, processor = load(own, ple_on_disk="on")

    def failing(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(WeightsError, match="Input/output error"):
        model.forward_logits(processor.inputs([message("user", "Hi")]))


def test_headers_that_lie_are_refused(own, tmp_path):
    tensor = stored_table(checkpoint_files(own))["weight"]
    beyond = StoredTensor(tensor.file, tensor.dtype, tensor.shape, 1 << 40, tensor.nbytes)
    with pytest.raises(WeightsError, match="cut short"):
        RowFile(beyond)
    gone = StoredTensor(tmp_path / "none", "F32", (4, 4), 0, 64)
    with pytest.raises(WeightsError, match="none can no longer be read"):
        RowFile(gone)
    header = b'{"a":{"dtype":"F32","shape":[4,4],"data_offsets":[0,60]}}'
    file = tmp_path / "odd.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))
    with pytest.raises(WeightsError, match="odd.safetensors is damaged"):
        list(stored_tensors(file))
    with pytest.raises(WeightsError, match="cannot be read by row"):
        DiskTable({"weight": StoredTensor(file, "F64", (2, 2), 0, 32)}, None, mx.float32)


def test_rows_come_in_the_order_asked_for(tmp_path):
    table = np.arange(500 * 6, dtype=np.float32).reshape(500, 6)
    mx.save_safetensors(str(tmp_path / "t.safetensors"), {"t": mx.array(table)})
    rows = RowFile(dict(stored_tensors(tmp_path / "t.safetensors"))["t"])
    for count in (1, 2, 63, 64, 700):
        wanted = np.random.default_rng(count).integers(0, 500, count)
        assert np.array_equal(rows.read(wanted).view(np.float32), table[wanted])
    for outside in (-1, 500):
        with pytest.raises(IndexError):
            rows.read(np.array([3, outside]))


@pytest.mark.parametrize("arch", ["12b", "26b"])
def test_models_without_the_table_ignore_the_choice(arch, folders):
    (memory, processor), (disk, _) = both(folders(arch))
    inputs = processor.inputs([message("user", TEXT)])
    assert mx.array_equal(memory.forward_logits(inputs), disk.forward_logits(inputs))


# The planner


def mac(gigabytes):
    return Machine("Apple M", gigabytes * GIB, gigabytes * GIB, metal=True)


@pytest.mark.parametrize(("arch", "saved"), [("e2b", 1.32e9), ("e4b", 1.59e9)])
def test_the_planner_knows_what_it_saves(arch, saved):
    config = published_config(arch)
    held, left = (
        plan(config, quant="4bit", ple_on_disk=choice, machine=mac(64)) for choice in ("off", "on")
    )
    assert left.on_disk == pytest.approx(saved, rel=0.01)
    assert held.weights - left.weights == left.on_disk
    assert held.total - left.total == left.on_disk
    assert held.on_disk == 0


def test_text_weights_of_e2b_in_4_bits_take_less_than_1_6_gb():
    from dataclasses import replace

    text_only = replace(published_config("e2b"), vision=None, audio=None)
    assert plan(text_only, quant="4bit", ple_on_disk="on", machine=mac(8)).weights <= 1.6e9


def test_auto_leaves_the_table_on_disk_only_where_memory_is_tight():
    config = published_config("e4b")
    small, large = mac(8), mac(32)
    assert plan(config, quant="4bit", ple_on_disk="auto", machine=large).on_disk == 0
    tight = plan(config, quant="4bit", machine=small)
    auto = plan(config, quant="4bit", ple_on_disk="auto", machine=small)
    assert auto.on_disk > 0
    assert auto.total < tight.total
    assert (
        plan(published_config("31b"), quant="4bit", ple_on_disk="auto", machine=small).on_disk == 0
    )


def test_advice_names_the_table_where_it_helps():
    advised = plan(published_config("e4b"), quant="8bit", machine=mac(16)).advice
    assert advised[0] == "With its per-layer table kept on disk it fits."


def test_a_folder_is_planned_and_loaded_alike(folders, monkeypatch):
    folder = folders("e2b", "4-bit")
    planned = plan(folder, ple_on_disk="on")
    stored = stored_table(checkpoint_files(folder)).values()
    assert planned.on_disk == sum(tensor.nbytes for tensor in stored)
    model, _ = load(folder)
    assert not isinstance(model.language_model.embed_tokens_per_layer, DiskTable)
    monkeypatch.setattr("mlx_gemma4.plan.this_machine", lambda: Machine("", GIB, GIB, metal=False))
    model, _ = load(folder)
    assert isinstance(model.language_model.embed_tokens_per_layer, DiskTable)


def test_auto_never_hides_what_is_wrong_with_a_folder(tmp_path):
    with pytest.raises(Gemma4Error):
        load(tmp_path)
