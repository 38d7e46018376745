"""The store: what is saved comes back, is found, survives deletes, crashes and power cuts."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from app.core.conversation import (
    Attachment,
    Audio,
    Conversation,
    ConversationMeta,
    Document,
    Image,
    ImageDetail,
    MediaKind,
    Message,
    MessageState,
    Role,
    SamplingPreset,
    Text,
    Thought,
    ToolCall,
    ToolResult,
    Usage,
    Video,
)
from app.core.errors import AppError, ErrorKind, Failure
from app.store import migrations
from app.store.conversations import ConversationStore


@pytest.fixture
def store(paths):
    made = ConversationStore(paths.database)
    yield made
    made.close()


def every_part() -> tuple:
    file = Attachment("0" * 64, "Ünïcode ‮.png", MediaKind.IMAGE, "image/png", 7, 4, 5, 1.5, 2)
    return (
        Text("Grüße 你好 مرحبا"),
        Image(file, ImageDetail.FINE),
        Audio(file),
        Video(file),
        Document(file, "inside"),
        Thought("hm", 2.5),
        ToolCall("clock", '{"zone": "UTC"}', "1"),
        ToolResult("clock", "12:00", "1"),
    )


def test_every_part_comes_back(store, make_message) -> None:
    meta = ConversationMeta(
        "c",
        "T",
        True,
        "be kind",
        SamplingPreset("Mine", 0.3, 0.5, 7, 0.1, 1.1, 42),
        True,
        ("clock",),
        "{}",
        "/m",
        1.0,
        2.0,
    )
    message = replace(
        make_message(None, *every_part(), role=Role.MODEL),
        state=MessageState.FAILED,
        usage=Usage(1, 2, 3, 0.1, 0.2, 30.0, 4),
        failure=Failure(ErrorKind.GATED, "a", "b", "c"),
        model="E4B",
    )
    store.save_meta(meta)
    store.save_message("c", message)
    loaded = store.load("c")
    assert loaded.meta == meta
    assert loaded.path() == [message]
    assert store.list() == [meta]
    assert store.used_attachments() == {"0" * 64}


def test_tree_and_choices_come_back(store, chat, make_message) -> None:
    again = make_message(chat.path()[0].id, "again", role=Role.MODEL)
    chat.add(again)
    chat.select(chat.path_to(again.id)[0].id)
    store.save_conversation(chat)
    assert store.load("c1").path() == chat.path()
    old = chat.children[chat.path()[0].id][0]
    store.save_choice("c1", chat.path()[0].id, old)
    assert len(store.load("c1").path()) == 4


def test_search_finds_words_prefixes_names_and_unspaced_scripts(store, make_message) -> None:
    texts = {
        "de": "Die Gebäudeversicherung läuft aus",
        "zh": "这张照片里有一只猫",
        "ar": "ما هو لون السيارة",
        "hi": "यह किताब लाल है",
    }
    for name, text in texts.items():
        store.save_meta(ConversationMeta(name, f"Chat {name}", updated=1.0))
        store.save_message(name, make_message(None, text))
    cases = {
        "gebäude": "de",
        "GEBAUDE": "de",
        "läuft aus": "de",
        "照片": "zh",
        "猫": "zh",
        "السيارة": "ar",
        "किताब": "hi",
        "Chat de": "de",
    }
    for query, expected in cases.items():
        assert expected in {hit.conversation_id for hit in store.search(query)}, query
    assert store.search("   ") == []
    assert store.search("nowhere") == []
    for hostile in ('"', "AND OR NOT", "a* OR b", "col:x", "%_\\", "'; DROP TABLE messages"):
        store.search(hostile)
    assert len(store.list()) == 4


def test_search_index_follows_changes_and_deletes(store, chat) -> None:
    store.save_conversation(chat)
    message = chat.path()[0]
    store.save_message("c1", replace(message, parts=(Text("pineapple"),)))
    assert [hit.message_id for hit in store.search("pineapple")] == [message.id]
    assert all(hit.message_id != message.id for hit in store.search("words"))
    store.delete("c1")
    assert store.search("pineapple") == []
    store.restore("c1")
    assert len(store.search("pineapple")) == 1
    store.delete("c1")
    assert store.purge(time.time() + 1) == 1
    assert store.check() == []
    with pytest.raises(KeyError):
        store.load("c1")


def test_interrupted_answers_are_marked_once(store, chat, make_message) -> None:
    store.save_conversation(chat)
    half = make_message(chat.leaf_id, "half an ans", role=Role.MODEL, state=MessageState.STREAMING)
    store.save_message("c1", half)
    assert store.mark_interrupted() == 1
    found = store.load("c1").messages[half.id]
    assert found.state is MessageState.FAILED
    assert found.text == "half an ans"
    assert "interrupted" in found.failure.message
    assert store.mark_interrupted() == 0


def test_a_thousand_messages_load_quickly_enough_to_count(store, make_message) -> None:
    big = Conversation(ConversationMeta("big"))
    parent = None
    for number in range(1000):
        message = make_message(parent, f"message {number} " * 20)
        big.add(message)
        parent = message.id
    store.save_conversation(big)
    assert store.load("big").path() == big.path()


def test_a_newer_file_is_refused_with_words(paths) -> None:
    ConversationStore(paths.database).close()
    db = sqlite3.connect(paths.database)
    db.execute("PRAGMA user_version = 999")
    db.close()
    with pytest.raises(AppError, match="newer version"):
        ConversationStore(paths.database)


def test_a_foreign_file_is_refused_and_left_alone(paths) -> None:
    paths.database.write_bytes(b"this is no database, " * 100)
    with pytest.raises(AppError, match="could not be opened"):
        ConversationStore(paths.database)
    assert paths.database.read_bytes().startswith(b"this is no database")


def test_a_migration_that_fails_changes_nothing(paths, chat) -> None:
    store = ConversationStore(paths.database)
    store.save_conversation(chat)
    store.close()
    bad = (*migrations.STEPS, ("ALTER TABLE messages ADD COLUMN extra TEXT", "NO SUCH STATEMENT"))
    with pytest.raises(AppError):
        ConversationStore(paths.database, bad)
    store = ConversationStore(paths.database)
    assert store.load("c1").path() == chat.path()
    store.close()


_WRITER = """
import sys, time
from pathlib import Path
from app.core.conversation import *
from app.store.conversations import ConversationStore
store = ConversationStore(Path(sys.argv[1]))
store.save_meta(ConversationMeta("c"))
parent = None
for number in range(10_000):
    message = Message(str(number), parent, Role.USER, (Text("x" * 2000),))
    store.save_message("c", message)
    print(number, flush=True)
    parent = message.id
"""


def test_power_cut_keeps_all_that_was_confirmed(paths, tmp_path: Path) -> None:
    """Files as they lie at a random moment (a cut), and again with the journal's end torn off."""
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(paths.database)], stdout=subprocess.PIPE, text=True
    )
    confirmed = -1
    try:
        for moment in range(3):
            for _ in range(40):
                confirmed = int(writer.stdout.readline())
            os.kill(writer.pid, signal.SIGSTOP)
            copy = tmp_path / f"cut-{moment}"
            copy.mkdir()
            for name in ("facet.sqlite3", "facet.sqlite3-wal"):
                shutil.copy(paths.data / name, copy / name)
            os.kill(writer.pid, signal.SIGCONT)
            _check_cut(copy / "facet.sqlite3", confirmed + 1)
            torn = copy / "facet.sqlite3-wal"
            if torn.exists():
                with torn.open("r+b") as journal:
                    journal.truncate(max(0, torn.stat().st_size - 1000))
                _check_cut(copy / "facet.sqlite3", 0)
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()


def _check_cut(database: Path, at_least: int) -> None:
    # A copy, because opening folds the journal in and the next check needs it.
    work = database.parent / "work"
    work.mkdir(exist_ok=True)
    for name in (database.name, f"{database.name}-wal"):
        shutil.copy(database.parent / name, work / name)
    store = ConversationStore(work / database.name)
    assert store.check() == []
    messages = store.load("c").path()
    assert len(messages) >= at_least
    assert [message.id for message in messages] == [str(n) for n in range(len(messages))]
    store.close()
    shutil.rmtree(work)


def test_message_ids_cannot_collide_between_chats(store, chat) -> None:
    store.save_conversation(chat)
    store.save_meta(ConversationMeta("c2"))
    message = Message("own", None, Role.USER, (Text("x"),))
    store.save_message("c2", message)
    assert store.load("c2").path() == [message]
