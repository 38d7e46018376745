"""A hostile file ends its worker, never the engine, and never takes longer than allowed."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from app.core.commands import Describe
from app.core.conversation import MediaKind
from app.core.events import Described, EngineStopped, JobFinished
from app.engine.file_looker import FileLooker
from app.engine.media_worker import MediaWorker
from mlx_gemma4.errors import MediaError
from mlx_gemma4.media.images import load_image
from mlx_gemma4.session import Cancelled


@pytest.fixture
def looker() -> Iterator[FileLooker]:
    made = FileLooker(seconds=30)
    yield made
    made.close()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 255, (60, 80, 3), np.uint8)).save(path)
    return path


def test_a_file_that_never_ends_opening_is_given_up_and_the_next_is_looked_at(
    tmp_path: Path, photo: Path
) -> None:
    endless = tmp_path / "endless.png"
    os.mkfifo(endless)  # opening it for reading waits for a writer that never comes
    looker = FileLooker(seconds=12)
    try:
        answer = looker.describe(Describe("q", str(endless), "holiday.png"))
        assert answer.kind is MediaKind.UNKNOWN
        assert "holiday.png” takes too long" in answer.problem
        assert "Convert" in answer.remedy
        assert looker.describe(Describe("r", str(photo))).width == 80
    finally:
        looker.close()


def test_a_picture_that_needs_too_much_memory_is_given_up(tmp_path: Path) -> None:
    huge = tmp_path / "huge.png"
    Image.new("L", (10_000, 10_000)).save(huge)
    reader = MediaWorker(memory_bytes=200 << 20)
    try:
        with pytest.raises(MediaError, match="more memory"):
            reader.image(str(huge))
        assert reader.image(np.zeros((4, 4, 3), np.uint8)).shape == (4, 4, 3)
    finally:
        reader.close()


def test_pixels_sound_and_films_come_through_unchanged(photo: Path, film: Path) -> None:
    reader = MediaWorker()
    try:
        assert np.array_equal(reader.image(photo), load_image(photo))
        video = reader.video(film, 4)
        assert len(video.frames) == 4
        assert video.duration == pytest.approx(2.0, abs=0.2)
        with pytest.raises(MediaError, match="has no sound"):
            reader.sound(film)
    finally:
        reader.close()


def test_a_cancelled_job_takes_its_request_back(tmp_path: Path) -> None:
    endless = tmp_path / "endless.png"
    os.mkfifo(endless)
    reader = MediaWorker()
    reader.cancelled = lambda: True
    try:
        with pytest.raises(Cancelled):
            reader.image(endless)
    finally:
        reader.close()


def test_the_engine_outlives_a_file_that_kills_its_decoder(
    make_driver, tmp_path: Path, photo: Path, no_leaks
) -> None:
    """The scripted engine's process answers `Describe` through the same worker."""
    driver = make_driver().started()
    endless = tmp_path / "endless.wav"
    os.mkfifo(endless)
    driver.client.ask(Describe("hang", str(endless)))
    driver.client.ask(Describe("fine", str(photo)))
    assert isinstance(driver.load(), JobFinished)  # nothing waits for the file
    engine = psutil.Process(driver.client.pid)
    driver.wait(lambda: bool(engine.children()))
    engine.children()[0].kill()
    driver.wait(lambda: len(driver.of(Described)) == 2, 60)
    answers = {event.query_id: event for event in driver.of(Described)}
    assert "makes its decoder crash" in answers["hang"].problem
    assert answers["fine"].width == 80
    assert driver.of(EngineStopped) == []
    driver.client.stop()


@pytest.fixture
def film(tmp_path: Path) -> Path:
    import cv2

    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    for shade in range(20):
        writer.write(np.full((48, 64, 3), shade * 10, np.uint8))
    writer.release()
    return path
