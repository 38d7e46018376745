"""Downloads from a server that misbehaves: every byte is checked, every failure has its words."""

import contextlib
import os
import threading
import time
from pathlib import Path

import pytest

from mlx_gemma4.hub import discard, unfinished
from mlx_gemma4.hub_download import (
    DownloadError,
    Patience,
    Progress,
    download,
)
from tests.hub.server import COMMIT, Hub

REPO = "owner/name"
QUICK = Patience(stall=0.5, attempts=3, first_wait=0.01, longest_wait=0.05)
PLENTY = 100 << 30


def get(hub: Hub, cache: Path, **options: object) -> Path:
    options.setdefault("patience", QUICK)
    options.setdefault("free_bytes", lambda _: PLENTY)
    return download(REPO, endpoint=hub.url, cache=cache, token="none", **options)


def check_complete(hub: Hub, folder: Path) -> None:
    wanted = {name for name in hub.files if "/" not in name and not name.endswith(".gguf")}
    assert {path.name for path in folder.iterdir()} == wanted
    for name in wanted:
        assert (folder / name).read_bytes() == hub.files[name]
    assert folder.name == COMMIT
    assert not list(folder.parents[1].glob("blobs/*.part"))


def failure(hub: Hub, cache: Path, **options: object) -> DownloadError:
    with pytest.raises(DownloadError) as caught:
        get(hub, cache, **options)
    assert "\n" not in str(caught.value)
    assert not list(cache.glob("*/snapshots/*"))
    return caught.value


def test_a_download_in_the_layout_other_programs_read(hub, cache) -> None:
    from huggingface_hub import try_to_load_from_cache

    stages: list[Progress] = []
    folder = get(hub, cache, on_progress=stages.append)
    check_complete(hub, folder)
    assert try_to_load_from_cache(REPO, "model.safetensors", cache_dir=cache) == str(
        folder / "model.safetensors"
    )
    total = sum(len(hub.files[path.name]) for path in folder.iterdir())
    assert stages[0].stage == "listing"
    assert stages[-1] == Progress("done", total, total)
    done = [progress.done for progress in stages]
    assert done == sorted(done)
    # Again: only the listing is asked for.
    hub.asked.clear()
    assert get(hub, cache) == folder
    assert hub.asked == [("listing", "")]


def test_broken_connections_go_on_where_they_broke(hub, cache) -> None:
    hub.behaviour.drop = 5
    hub.behaviour.drop_after = 400_000
    check_complete(hub, get(hub, cache))
    ranges = hub.bytes_sent("model.safetensors")
    assert len(ranges) == 6
    assert ranges[0] == ""
    starts = [int(r.removeprefix("bytes=").rstrip("-")) for r in ranges[1:]]
    assert starts == sorted(set(starts))


def test_a_cut_after_no_byte_at_all_gives_up_and_keeps_the_part(hub, cache) -> None:
    hub.behaviour.drop = -1
    hub.behaviour.drop_after = 0
    problem = failure(hub, cache)
    assert problem.reason == "network"
    assert "resume" in str(problem)


def damaged_end(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize("damage", [damaged_end, lambda data: data[:-1000], lambda data: b""])
def test_downloading_again_repairs_a_damaged_model(hub, cache, damage) -> None:
    folder = get(hub, cache)
    blob = (folder / "model.safetensors").resolve()
    blob.write_bytes(damage(blob.read_bytes()))
    hub.asked.clear()
    stages: list[Progress] = []
    check_complete(hub, get(hub, cache, on_progress=stages.append))
    assert hub.asked == [("listing", ""), ("model.safetensors", "")]
    assert ("checking", "tokenizer.json") in {(each.stage, each.file) for each in stages}
    assert all(0 <= each.done <= each.total for each in stages)
    assert stages[-1] == Progress("done", stages[-1].total, stages[-1].total)


def test_checking_what_is_there_can_be_stopped_and_loses_nothing(hub, cache) -> None:
    folder = get(hub, cache)
    stages: list[Progress] = []

    def stop() -> bool:
        return bool(stages) and (stages[-1].stage, stages[-1].file) == (
            "checking",
            "model.safetensors",
        )

    with pytest.raises(DownloadError) as caught:
        get(hub, cache, on_progress=stages.append, cancelled=stop)
    assert caught.value.reason == "cancelled"
    check_complete(hub, folder)


def test_downloading_again_takes_nothing_from_other_programs(hub, cache) -> None:
    folder = get(hub, cache)
    other = folder / "onnx" / "model.onnx"
    other.parent.mkdir()
    other.write_text("of another program")
    (folder / "model.gguf").symlink_to("../../blobs/other")
    (folder / "config.json").unlink()
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to("../../blobs/nothing")
    assert get(hub, cache) == folder
    for name in ("config.json", "README.md", "model.safetensors"):
        assert (folder / name).read_bytes() == hub.files[name]
    assert other.read_text() == "of another program"
    assert (folder / "model.gguf").is_symlink()
    assert [path.name for path in folder.parent.iterdir()] == [COMMIT]


@pytest.mark.parametrize("steps", range(6))
def test_a_kill_while_publishing_leaves_a_whole_snapshot(hub, cache, monkeypatch, steps) -> None:
    folder = get(hub, cache)
    left = iter(range(steps))
    replace = Path.replace

    def until_killed(path: Path, target: Path) -> Path:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(Path, "replace", until_killed)
        patch.setattr(Path, "rename", until_killed)
        get(hub, cache)
    check_complete(hub, folder)
    assert (folder.parents[1] / "refs" / "main").read_text() == COMMIT
    assert get(hub, cache) == folder
    assert [path.name for path in folder.parent.iterdir()] == [COMMIT]


@pytest.mark.parametrize("ignore_range", [False, True])
def test_pause_and_resume(hub, cache, ignore_range: bool) -> None:
    seen: list[int] = []
    hub.behaviour.slow_s = 0.002

    def stop() -> bool:
        return bool(seen) and seen[-1] > 1_000_000

    with pytest.raises(DownloadError) as caught:
        get(hub, cache, on_progress=lambda p: seen.append(p.done), cancelled=stop)
    assert caught.value.reason == "cancelled"
    (part,) = cache.glob("*/blobs/*.part")
    size = part.stat().st_size
    assert size >= 1_000_000
    assert unfinished(cache)[REPO] > size
    hub.behaviour.ignore_range = ignore_range
    hub.asked.clear()
    check_complete(hub, get(hub, cache))
    assert hub.bytes_sent("model.safetensors") == [f"bytes={size}-"]
    assert unfinished(cache) == {}


def test_a_silent_connection_is_noticed_and_replaced(hub, cache) -> None:
    hub.behaviour.stall = 1
    started = time.monotonic()
    check_complete(hub, get(hub, cache))
    assert time.monotonic() - started < 10
    assert len(hub.bytes_sent("model.safetensors")) == 2


def test_a_wrong_hash_is_tried_once_more(hub, cache) -> None:
    hub.behaviour.corrupt = 1
    check_complete(hub, get(hub, cache))
    hub.behaviour.corrupt = -1
    problem = failure(hub, cache.with_name("second"))
    assert problem.reason == "corrupt"
    assert not list(cache.with_name("second").glob("*/blobs/*.part"))


def test_more_bytes_than_announced_are_never_kept(hub, cache) -> None:
    hub.behaviour.longer = 1
    check_complete(hub, get(hub, cache))


def test_a_wrong_range_is_not_glued_on(hub, cache) -> None:
    hub.behaviour.drop, hub.behaviour.wrong_range = 1, 1
    check_complete(hub, get(hub, cache))


def test_a_part_longer_than_the_file_starts_over(hub, cache) -> None:
    blobs = cache / "models--owner--name" / "blobs"
    blobs.mkdir(parents=True)
    import hashlib

    digest = hashlib.sha256(hub.files["model.safetensors"]).hexdigest()
    (blobs / f"{digest}.part").write_bytes(bytes(4_000_000))
    check_complete(hub, get(hub, cache))


@pytest.mark.parametrize(
    ("status", "code", "reason", "words"),
    [
        (401, "RepoNotFound", "unauthorised", "sign-in"),
        (401, "GatedRepo", "gated", "accept its licence"),
        (403, "GatedRepo", "gated", "accept its licence"),
        (403, "", "unauthorised", "may not download"),
        (404, "RepoNotFound", "not_found", "check the name"),
        (418, "", "network", "status 418"),
        (429, "", "network", "answered 429"),
        (500, "", "network", "answered 500"),
    ],
)
def test_every_refusal_has_its_words(hub, cache, status, code, reason, words) -> None:
    hub.behaviour.status, hub.behaviour.status_times = status, -1
    hub.behaviour.error_code = code
    problem = failure(hub, cache)
    assert problem.reason == reason
    assert words in str(problem)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_troubles_pass(hub, cache, status: int) -> None:
    hub.behaviour.status, hub.behaviour.status_times = status, 2
    hub.behaviour.retry_after = "1"
    stages: list[Progress] = []
    check_complete(hub, get(hub, cache, on_progress=stages.append))
    assert any(str(status) in progress.problem for progress in stages)


@pytest.mark.parametrize("where", ["html", "html_listing"])
def test_a_captive_portal_is_recognised(hub, cache, where: str) -> None:
    setattr(hub.behaviour, where, -1)
    problem = failure(hub, cache)
    assert "web page" in str(problem)


def test_offline(hub, cache, monkeypatch) -> None:
    hub.url = "http://127.0.0.1:9"
    problem = failure(hub, cache)
    assert problem.reason == "offline"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert failure(hub, cache).reason == "offline"


def test_space_is_checked_before_and_during(hub, cache) -> None:
    problem = failure(hub, cache, free_bytes=lambda _: (1 << 30) + 1000)
    assert problem.reason == "disk_full"
    assert hub.bytes_sent("model.safetensors") == []
    answers = iter([PLENTY, 5])
    hub.files["model.safetensors"] = bytes(70 << 20)
    hub.listing()  # so that the server has the hashes at hand
    problem = failure(hub, cache, free_bytes=lambda _: next(answers))
    assert problem.reason == "disk_full"
    assert list(cache.glob("*/blobs/*.part"))


def test_an_unwritable_cache_gets_words(hub, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(DownloadError, match="cannot be written"):
        get(hub, blocked)


def test_something_else_than_gemma_is_refused_before_its_weights(hub, cache) -> None:
    hub.files["config.json"] = b'{"model_type": "llama"}'
    assert failure(hub, cache).reason == "foreign"
    assert hub.bytes_sent("model.safetensors") == []
    del hub.files["model.safetensors"]
    assert "no safetensors" in str(failure(hub, cache))


def test_hostile_names_never_leave_the_folder(hub, cache, tmp_path: Path) -> None:
    hub.files["../../../evil.json"] = b"{}"
    hub.files["..\\evil.json"] = b"{}"
    hub.files["sub/evil.json"] = b"{}"
    get(hub, cache)
    assert not list(tmp_path.rglob("*evil*"))
    for repo in ("../x/y", "a", "a/b/c", "a/..", "a/b?c"):
        with pytest.raises(DownloadError):
            download(repo, endpoint=hub.url, cache=cache)


def test_two_downloads_at_once_are_one(hub, cache) -> None:
    hub.behaviour.stall = 1
    first = threading.Thread(target=lambda: contextlib.suppress(DownloadError) and get(hub, cache))
    first.start()
    assert hub.stalled.wait(5)
    with pytest.raises(DownloadError) as caught:
        get(hub, cache)
    assert caught.value.reason == "busy"
    first.join(15)
    check_complete(hub, get(hub, cache))


def test_discard_frees_what_was_begun(hub, cache) -> None:
    hub.behaviour.drop, hub.behaviour.drop_after = -1, 0
    failure(hub, cache)
    freed = discard(REPO, cache)
    assert freed > 0
    assert not list(cache.rglob("*.part"))
    assert not (cache / "models--owner--name").exists()


def test_no_mlx_is_imported() -> None:
    import subprocess
    import sys

    code = (
        "import sys, mlx_gemma4.hub, mlx_gemma4.hub_download;"
        "print([m for m in sys.modules if m.split('.')[0] in ('mlx', 'transformers', 'torch')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "[]"
