"""Chats out and in again: everything comes back, exports are inert, foreign files are refused."""

import json
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from app.core.conversation import PRESETS, Image, MediaKind, Role, Text, Thought
from app.core.errors import AppError
from app.store.attachments import AttachmentStore
from app.store.transfer import export, read, to_html, to_markdown

HOSTILE = (
    '<script>alert(1)</script><img src="https://example.com/x.png" onerror=x> [a](javascript:x)'
)


@pytest.fixture
def store(tmp_path: Path) -> AttachmentStore:
    return AttachmentStore(tmp_path / "attachments")


def test_json_round_trip_with_versions_and_files(chat, make_message, store, tmp_path: Path) -> None:
    picture = replace(store.add_bytes(b"pixels", "p.png"), kind=MediaKind.IMAGE)
    chat.add(make_message(chat.path()[1].id, Image(picture), "look"))
    target = tmp_path / "chat.json"
    export(chat, target, store.path)
    other = AttachmentStore(tmp_path / "elsewhere")
    again = read(target, "fresh", other)
    assert again.id == "fresh"
    assert [m.parts for m in again.walk()] == [m.parts for m in chat.walk()]
    assert len(again.messages) == len(chat.messages)
    assert not set(again.messages) & set(chat.messages)
    assert other.path(picture).read_bytes() == b"pixels"
    twice = read(target, "second", other)
    assert not set(twice.messages) & set(again.messages)


def test_what_holds_for_a_chat_comes_back_but_for_its_tools(chat, store, tmp_path: Path) -> None:
    kept = {
        "title": "Forms",
        "pinned": True,
        "system_prompt": "Be brief.",
        "preset": PRESETS[1],
        "think": True,
        "json_schema": '{"type": "object"}',
        "model": "/models/gemma",
        "created": 12.5,
    }
    chat.update_meta(**kept, tools=("clock",), allowed_tools=("clock",))
    target = tmp_path / "chat.json"
    export(chat, target, store.path)
    again = read(target, "fresh", store).meta
    assert {name: getattr(again, name) for name in kept} == kept
    assert (again.tools, again.allowed_tools) == ((), ())
    decided = {*kept, "id", "updated", "tools", "allowed_tools"}
    assert {entry.name for entry in fields(again)} == decided


def test_a_file_attached_a_thousand_times_is_stored_once(
    chat, make_message, store, tmp_path: Path, monkeypatch
) -> None:
    picture = replace(store.add_bytes(b"pixels", "p.png"), kind=MediaKind.IMAGE)
    other = replace(picture, name="p.jpeg")
    chat.add(make_message(chat.leaf_id, *[Image(picture)] * 1000, Image(other)))
    target = tmp_path / "chat.json"
    export(chat, target, store.path)
    elsewhere = AttachmentStore(tmp_path / "elsewhere")
    stored: list[str] = []
    add_bytes = elsewhere.add_bytes
    monkeypatch.setattr(
        elsewhere, "add_bytes", lambda data, name: (stored.append(name), add_bytes(data, name))[1]
    )
    read(target, "fresh", elsewhere)
    assert stored == ["p.png", "p.jpeg"]
    assert elsewhere.path(picture).read_bytes() == elsewhere.path(other).read_bytes() == b"pixels"


def test_a_content_of_a_hundred_endings_is_refused(
    chat, make_message, store, tmp_path: Path
) -> None:
    picture = replace(store.add_bytes(b"pixels", "p.png"), kind=MediaKind.IMAGE)
    endless = [Image(replace(picture, name=f"p.{number}")) for number in range(100)]
    chat.add(make_message(chat.leaf_id, Image(picture), *endless))
    target = tmp_path / "chat.json"
    export(chat, target, store.path)
    with pytest.raises(AppError, match="it is damaged"):
        read(target, "fresh", AttachmentStore(tmp_path / "elsewhere"))
    assert not [path for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()]


def test_markdown_is_readable(chat, make_message) -> None:
    chat.add(make_message(chat.leaf_id, Thought("hm\nso", 3.0), "Yes.", role=Role.MODEL))
    text = to_markdown(chat)
    assert text.startswith("# Lease\n\n## You\n\nwords 0\n\n## Gemma\n\nwords 1")
    assert "> *Thought for 3 s*\n>\n> hm\n> so" in text


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.found.append((tag, dict(attributes)))


def test_html_is_inert(chat, make_message) -> None:
    chat.update_meta(title=HOSTILE)
    chat.add(make_message(chat.leaf_id, HOSTILE, Thought(HOSTILE), role=Role.MODEL))
    page = to_html(chat)
    parser = _Tags()
    parser.feed(page)
    tags = {tag for tag, _ in parser.found}
    assert tags <= {"html", "head", "meta", "title", "style", "body", "h1", "h2", "pre", "p"}
    assert not any(name in ("src", "href", "onerror") for _, a in parser.found for name in a)
    assert "default-src 'none'" in page


REASONS = {
    "it is no chat exported by Facet.",
    "it is no chat exported by Facet, or it is damaged.",
    "it was written by a newer Facet.",
    "there is no message in it.",
    "it is damaged.",
}


def in_a_circle(messages: list[dict]) -> list[dict]:
    return [{**message, "parent_id": messages[i - 1]["id"]} for i, message in enumerate(messages)]


def dated(messages: list[dict], when: float) -> list[dict]:
    return [{**message, "created": when} for message in messages]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: "[]",
        lambda data: "{",
        lambda data: json.dumps({**data, "version": 9}),
        lambda data: json.dumps({**data, "messages": [{"id": 1}]}),
        lambda data: json.dumps({**data, "messages": None}),
        lambda data: json.dumps({**data, "meta": {}}),
        lambda data: json.dumps({**data, "meta": []}),
        lambda data: json.dumps({**data, "meta": None}),
        lambda data: json.dumps({**data, "meta": {**data["meta"], "created": 10**400}}),
        lambda data: json.dumps({**data, "messages": []}),
        lambda data: json.dumps({**data, "messages": in_a_circle(data["messages"])}),
        lambda data: json.dumps({**data, "messages": [*data["messages"], data["messages"][0]]}),
        lambda data: json.dumps({**data, "messages": dated(data["messages"], float("nan"))}),
        lambda data: json.dumps({**data, "messages": dated(data["messages"], 10**400)}),
        lambda data: json.dumps({**data, "messages": [{**data["messages"][0], "parts": [{}]}]}),
        lambda data: json.dumps({**data, "chosen": [1]}),
        lambda data: json.dumps({**data, "attachments": 5}),
        lambda data: "[" * 100_000,
    ],
)
def test_foreign_files_are_refused_in_one_sentence(chat, store, tmp_path: Path, damage) -> None:
    target = tmp_path / "chat.json"
    export(chat, target, store.path)
    target.write_text(damage(json.loads(target.read_text())))
    with pytest.raises(AppError, match="cannot be imported") as caught:
        read(target, "x", store)
    reason = caught.value.failure.message.removeprefix("“chat.json” cannot be imported: ")
    assert reason in REASONS


def test_half_a_letter_does_not_spoil_a_chat(chat, make_message, store, tmp_path: Path) -> None:
    chat.add(make_message(chat.leaf_id, "both halves 𝄞, one half HALF"))
    target = tmp_path / "chat.json"
    export(chat, target, store.path)
    target.write_text(target.read_text().replace("HALF", "\\ud800").replace("Lease", "\\udc00"))
    again = read(target, "x", store)
    assert again.path()[-1].text == "both halves 𝄞, one half \ufffd"
    assert again.meta.title == "\ufffd"


def test_a_forged_hash_in_an_import_is_refused(chat, make_message, store, tmp_path: Path) -> None:
    picture = replace(store.add_bytes(b"pixels", "p.png"), kind=MediaKind.IMAGE)
    chat.add(make_message(chat.leaf_id, Image(picture)))
    target = tmp_path / "chat.json"
    export(chat, target, store.path)
    for forged in ("../../../etc/cron.d/x", "b" * 64):
        target.write_text(target.read_text().replace(picture.sha256, forged))
        with pytest.raises(AppError):
            read(target, "x", store)
        export(chat, target, store.path)


def test_unknown_endings_and_folders_get_words(chat, store, tmp_path: Path) -> None:
    with pytest.raises(AppError, match="no export format"):
        export(chat, tmp_path / "chat.exe", store.path)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(AppError, match="could not be written"):
        export(chat, blocked / "chat.md", store.path)


def test_text_parts_survive_exotic_letters(make_message, chat, store, tmp_path: Path) -> None:
    chat.add(make_message(chat.leaf_id, Text("\u202e\u0000\ud7ff 𝄞 \n\t")))
    target = tmp_path / "chat.json"
    export(chat, target, store.path)
    assert read(target, "x", store).path()[-1].text == "\u202e\u0000\ud7ff 𝄞 \n\t"
