"""What the app reads of its own build."""

import json

import pytest
from facet_bundle import about

from app.core import build_facts as module


@pytest.fixture
def assets(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "assets_dir", lambda: tmp_path)
    (tmp_path / "about").mkdir()
    return tmp_path


def test_from_source_there_are_no_facts(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "assets_dir", lambda: tmp_path)
    assert module.build_facts() == module.BuildFacts()
    assert module.third_party_notices() == ""


def test_a_preview_says_that_it_is_one(assets):
    facts = {"version": "1.2.3", "preview": True, "notice": about.PREVIEW_NOTICE}
    (assets / "about" / "build.json").write_text(json.dumps(facts))
    (assets / "about" / about.NOTICES).write_text("texts")
    assert module.build_facts().preview
    assert "NOT FOR REDISTRIBUTION" in module.build_facts().notice
    assert module.third_party_notices() == "texts"


def test_broken_facts_are_logged_and_empty(assets, caplog):
    (assets / "about" / "build.json").write_text("{")
    assert module.build_facts() == module.BuildFacts()
    assert "build facts" in caplog.text
