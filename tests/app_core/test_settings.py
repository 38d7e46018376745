"""Settings: declared once, checked everywhere, a bad value never costs the others."""

import json
from pathlib import Path

import pytest

from app.core.settings import Settings, checked, spec, specs
from app.store.settings_file import load_settings, save_settings


def test_every_setting_explains_itself() -> None:
    names = [each.name for each in specs()]
    assert len(names) == len(set(names)) > 20
    for each in specs():
        assert each.title
        assert each.group
        assert checked(each.name, each.default) == each.default
        if each.choices:
            assert each.default in [value for value, _ in each.choices]


def test_values_are_checked_with_words() -> None:
    settings = Settings().changed(text_size=150, theme="dark", model_folders=["/a"])
    assert (settings.text_size, settings.theme, settings.model_folders) == (150, "dark", ("/a",))
    for name, value, words in (
        ("text_size", 500, "between 80 and 200"),
        ("text_size", True, "cannot be True"),
        ("text_size", "100", "cannot be"),
        ("theme", "pink", "must be one of system, light, dark"),
        ("model_folders", [1], "cannot be"),
        ("live_fps", 10**400, "cannot be"),
        ("live_fps", True, "cannot be"),
    ):
        with pytest.raises(ValueError, match=words):
            settings.changed(**{name: value})
    with pytest.raises(KeyError):
        spec("nothing")


def test_file_round_trip_and_defaults(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    assert load_settings(path) == (Settings(), [])
    changed = Settings().changed(theme="dark", recent_files=("ä.png",))
    save_settings(path, changed)
    assert load_settings(path) == (changed, [])
    assert [p.name for p in tmp_path.iterdir()] == ["settings.json"]


def test_one_bad_value_falls_back_alone(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    values = {"theme": "dark", "text_size": 9999, "unknown_here": 1}
    path.write_text(json.dumps({"version": 1, "values": values}))
    settings, problems = load_settings(path)
    assert settings == Settings(theme="dark")
    assert len(problems) == 1
    assert "Text size" in problems[0]


@pytest.mark.parametrize("version", [1, 2])
def test_what_a_newer_version_has_written_is_kept(tmp_path: Path, version: int) -> None:
    path = tmp_path / "settings.json"
    newer = {"theme": "dark", "wallpaper": {"name": "waves", "tint": [1, 2]}, "haptics": True}
    path.write_text(json.dumps({"version": version, "values": newer}))
    settings, problems = load_settings(path)
    assert (settings, problems) == (Settings(theme="dark"), [])
    save_settings(path, settings.changed(theme="light"))
    save_settings(path, settings.changed(text_size=150))
    written = json.loads(path.read_text())
    assert written["version"] == version
    assert {name: written["values"][name] for name in newer} == newer
    assert load_settings(path) == (Settings(theme="dark", text_size=150), [])


def test_an_older_file_is_carried_over_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"version": 0, "values": {"look": "dark"}}')
    settings, problems = load_settings(path, {0: lambda values: {"theme": values["look"]}})
    assert (settings, problems) == (Settings(theme="dark"), [])
    save_settings(path, settings)
    written = json.loads(path.read_text())
    assert written["version"] == 1
    assert "look" not in written["values"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"version": 1}',
        '{"version": "x", "values": {}}',
        '{"version": 0, "values": {}}',
        '{"version": -1, "values": {}}',
        '{"version": 1e999, "values": {}}',
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_kept_aside(tmp_path: Path, content: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(content)
    settings, problems = load_settings(path)
    assert settings == Settings()
    assert "damaged" in problems[0]
    assert [p.read_text() for p in tmp_path.iterdir()] == [content]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch) -> None:
    import os

    path = tmp_path / "settings.json"
    save_settings(path, Settings(theme="dark"))

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_settings(path, Settings(theme="light"))
    monkeypatch.undo()
    assert load_settings(path)[0].theme == "dark"
    assert len(list(tmp_path.iterdir())) == 1
