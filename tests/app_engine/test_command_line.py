"""`facet` without a display: help that teaches, one-sentence errors, doctor, picture, no mlx."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

from app.store.instance import InstanceLock


def facet(*words: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def test_help_names_every_option_and_command() -> None:
    done = facet("--help")
    assert done.returncode == 0
    options = ["--model", "--data-dir", "--open", "--in-process", "--log-level", "--screenshot"]
    for word in (*options, "doctor", "live", "ocr", "transcribe", "examples"):
        assert word in done.stdout
    wrong = facet("--log-level", "loud")
    assert wrong.returncode == 2
    assert "invalid choice" in wrong.stderr


def test_doctor_prints_json_and_packs_a_zip(tmp_path: Path) -> None:
    done = facet(
        "doctor", "--json", "--data-dir", str(tmp_path), "--zip", str(tmp_path / "report.zip")
    )
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    titles = [section["title"] for section in report["sections"]]
    assert titles == ["Versions", "Machine", "Models", "Engine", "Permissions", "Devices"]
    engine = {each["name"]: each for each in report["sections"][3]["findings"]}
    assert engine["Device"]["value"] in ("CPU", "Metal", "CUDA")
    assert engine["Arithmetic"]["ok"] is True
    assert zipfile.is_zipfile(tmp_path / "report.zip")


def test_doctor_says_why_it_cannot_write(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    target = str(blocked / "x.zip")
    done = facet("doctor", "--no-engine", "--data-dir", str(tmp_path), "--zip", target)
    assert done.returncode == 2
    assert "could not be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_start_is_refused_in_one_sentence(tmp_path: Path) -> None:
    lock = InstanceLock(tmp_path / "facet.lock")
    lock.acquire()
    try:
        done = facet("--data-dir", str(tmp_path), "--script", "instant")
    finally:
        lock.release()
    assert done.returncode == 2
    assert "already running" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_window_opens_and_leaves_nothing_behind(tmp_path: Path) -> None:
    picture = tmp_path / "window.png"
    done = facet(
        "--data-dir", str(tmp_path / "d"), "--script", "instant", "--screenshot", str(picture)
    )
    assert done.returncode == 0, done.stderr
    assert picture.stat().st_size > 5000
    log = (tmp_path / "d" / "logs" / "facet.log").read_text()
    assert "ERROR" not in log
    assert "WARNING" not in log
