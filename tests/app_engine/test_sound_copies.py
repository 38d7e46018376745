"""Sound that only Qt can decode: a WAV beside the attachment, made outside the window's process."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from app.controllers.chat_stream import prompt_messages
from app.controllers.drafts import Draft, Drafts, DraftState
from app.core.commands import Describe, EngineOptions, PromptMedia
from app.core.conversation import Audio, MediaKind, Message, Role, Video
from app.core.paths import AppPaths, sound_copy
from app.engine.describe import describe_file
from app.services.engine_client import EngineClient
from app.services.library import Library
from app.services.sound_copies import SoundCopies, needs_copy
from app.store.attachments import AttachmentStore
from tests.app_engine.conftest import wait_until

PICTURES = "color=c=red:s=64x48:r=10"


def ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True)


def tone(path: Path, *more: str) -> Path:
    ffmpeg("-f", "lavfi", "-i", "sine=frequency=440:duration=1.5", *more, str(path))
    return path


def film(path: Path, *, sound: bool) -> Path:
    track = ["-f", "lavfi", "-i", "sine=frequency=440:duration=1.5"] if sound else []
    ffmpeg("-f", "lavfi", "-i", f"{PICTURES}:d=1.5", *track, "-shortest", str(path))
    return path


@pytest.fixture
def copies() -> Iterator[SoundCopies]:
    made = SoundCopies()
    yield made
    made.close()


@pytest.fixture
def library(qt, tmp_path: Path) -> Iterator[Library]:
    made = Library(AppPaths.below(tmp_path / "data"))
    yield made
    made.close()


@pytest.fixture
def drafts(library: Library) -> Iterator[Drafts]:
    """The composer's files over a real library and the scripted engine."""
    engine = EngineClient(EngineOptions(script="instant"), in_process=True)
    engine.start()
    yield Drafts(library, engine)
    engine.stop()


def settled(drafts: Drafts, path: Path) -> tuple[Draft, set[DraftState]]:
    states: set[DraftState] = set()
    drafts.changed.connect(lambda: states.update(draft.state for draft in drafts.items()))
    drafts.add_file(str(path))
    wait_until(lambda: drafts.all_settled, 60)
    return drafts.items()[-1], states


def test_which_files_need_one(tmp_path: Path) -> None:
    for name in ("a.m4a", "a.aac", "a.mp4", "a.mkv"):
        assert needs_copy(tone(tmp_path / name).read_bytes()[:16]), name
    for name in ("a.wav", "a.mp3", "a.flac", "a.ogg"):
        assert not needs_copy(tone(tmp_path / name).read_bytes()[:16]), name
    assert not needs_copy(b"\x00\x00\x00\x18ftypheic....")
    assert not needs_copy(b"")


def test_an_m4a_becomes_16_khz_mono(copies, tmp_path: Path) -> None:
    source = tone(tmp_path / "memo.m4a", "-ac", "2", "-ar", "44100")
    assert copies.make(source)
    pcm, rate = soundfile.read(sound_copy(source), dtype="float32")
    assert (rate, pcm.ndim) == (16_000, 1)
    assert pcm.size / rate == pytest.approx(1.5, abs=0.1)
    assert np.argmax(np.abs(np.fft.rfft(pcm))) * rate / pcm.size == pytest.approx(440, abs=5)


def test_what_qt_cannot_decode_leaves_nothing_behind(copies, tmp_path: Path) -> None:
    silent = film(tmp_path / "silent.mp4", sound=False)
    broken = tmp_path / "broken.m4a"
    broken.write_bytes(tone(tmp_path / "whole.m4a").read_bytes()[:200])
    before = {path.name for path in tmp_path.iterdir()}
    assert not copies.make(silent)
    assert not copies.make(broken)
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_dropped_m4a_is_ready_without_any_other_decoder(
    drafts, library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memo = tone(tmp_path / "memo.m4a")
    monkeypatch.setenv("PATH", "")
    draft, states = settled(drafts, memo)
    assert draft.state is DraftState.READY, draft.problem
    assert DraftState.PREPARING in states
    assert draft.attachment is not None
    assert draft.attachment.kind is MediaKind.AUDIO
    assert draft.attachment.seconds == pytest.approx(1.5, abs=0.1)
    question = Message("m", None, Role.USER, (Audio(draft.attachment),))
    (asked,) = prompt_messages("", [question], library.attachment_path)
    assert isinstance(asked.parts[0], PromptMedia)
    assert asked.parts[0].sound_path.endswith(".sound.wav")


def test_a_film_with_sound_and_one_without(drafts, library, tmp_path: Path) -> None:
    loud, _ = settled(drafts, film(tmp_path / "loud.mp4", sound=True))
    mute, _ = settled(drafts, film(tmp_path / "mute.mp4", sound=False))
    paths = []
    for draft in (loud, mute):
        assert draft.attachment is not None
        question = Message("m", None, Role.USER, (Video(draft.attachment),))
        (asked,) = prompt_messages("", [question], library.attachment_path)
        assert isinstance(asked.parts[0], PromptMedia)
        paths.append(asked.parts[0].sound_path)
    assert paths[0].endswith(".sound.wav")
    assert paths[1] == ""


def test_the_library_of_the_engine_reads_the_copy_and_falls_back(tmp_path: Path) -> None:
    """Where Qt made no copy, other decoders may; a film box with sound alone is sound."""
    source = tone(tmp_path / "memo.mp4", "-vn")
    assert describe_file(Describe("q", str(source))).problem  # no picture, no copy
    assert shutil.which("ffmpeg")
    soundfile.write(sound_copy(source), np.zeros(16_000), 16_000)
    answer = describe_file(Describe("q", str(source)))
    assert (answer.kind, answer.seconds) == (MediaKind.AUDIO, 1.0)
    memo = tone(tmp_path / "other.m4a")
    assert describe_file(Describe("q", str(memo))).seconds == pytest.approx(1.5, abs=0.1)


def test_the_copy_goes_with_its_attachment(tmp_path: Path) -> None:
    store = AttachmentStore(tmp_path / "kept")
    attachment = store.add_bytes(b"some film", "film.mp4")
    copy = sound_copy(store.path(attachment))
    copy.write_bytes(b"its sound")
    store.collect({attachment.sha256}, older_than=-1)
    assert copy.exists()
    store.collect(set(), older_than=-1)
    assert not copy.exists()
