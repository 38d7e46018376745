"""Controllers without widgets: the scripted engine in, state and the disk out."""

import hashlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image as PilImage

from app.controllers.drafts import DraftState, refusal
from app.controllers.library_controller import group_by_date
from app.controllers.model_controller import ModelState, recommend, verdict_words
from app.core.conversation import (
    ConversationMeta,
    Image,
    ImageDetail,
    MediaKind,
    MessageState,
    Role,
    Text,
    preset_named,
)
from app.core.errors import AppError, ErrorKind
from app.core.events import Capabilities, EngineState, Fit, PlanResult
from app.core.known_models import known_model, known_models
from app.core.paths import AppPaths
from app.main import App, AppOptions, build_app
from app.services.engine_client import Timing
from app.services.library import Library
from app.store.conversations import ConversationStore
from tests.app_engine.conftest import wait_until

DAY = 86400.0


def start(folder: Path, *, in_process: bool = True, script: str = "default") -> App:
    options = AppOptions(data_dir=str(folder / "data"), script=script, in_process=in_process)
    app = build_app(options, Timing(cancel_grace=1.0))
    app.state.models._settings.set("load_at_start", False)
    app.engine.start()
    wait_until(lambda: app.engine.state is EngineState.RUNNING)
    app.state.models.load("scripted")
    wait_until(lambda: app.state.models.state is ModelState.READY)
    return app


@pytest.fixture
def app(qt, tmp_path: Path) -> Iterator[App]:
    made = start(tmp_path)
    yield made
    made.close()


def say(app: App, text: str) -> str:
    chat = app.state.chat
    chat.send(text)
    wait_until(lambda: not chat.busy)
    return chat.messages()[-1].id


def stored(app: App):
    app.library.flush()
    store = ConversationStore(app.paths.database)
    try:
        return store.load(app.state.chat.conversation.id)
    finally:
        store.close()


def test_a_question_is_answered_titled_and_saved(app: App) -> None:
    seen: list[str] = []
    app.state.chat.message_changed.connect(seen.append)
    answer = say(app, "show me a table of fruit")
    chat = app.state.chat
    question, reply = chat.messages()
    assert (question.role, reply.role, reply.id) == (Role.USER, Role.MODEL, answer)
    assert reply.state is MessageState.DONE
    assert reply.text.endswith("| Plum | blue | 2.10 |\n")
    assert reply.usage.generated > 10
    assert set(seen) == {answer}
    assert app.state.conversations.conversations()[0].title == "show me a table of fruit"
    assert stored(app).messages == chat.conversation.messages
    assert chat.send("   ") is None


def test_thoughts_are_kept_apart_with_their_time(app: App) -> None:
    answer = app.state.chat.conversation[say(app, "a puzzle")]
    assert answer.text == "It is 42."
    assert answer.thought.text.startswith("First I add")
    assert answer.thought.seconds > 0


def test_regenerate_edit_versions_and_branch(app: App) -> None:
    chat = app.state.chat
    first = say(app, "one")
    say(app, "two")
    again = chat.regenerate(first)
    wait_until(lambda: not chat.busy)
    assert chat.conversation.version_of(again) == (2, 2)
    assert len(chat.messages()) == 2
    chat.select_version(again, -1)
    assert [m.text for m in chat.messages() if m.role is Role.USER] == ["one", "two"]
    chat.select_version(first, -5)
    question = chat.messages()[2]
    edited = chat.edit(question.id, "three")
    wait_until(lambda: not chat.busy)
    assert chat.conversation.version_of(edited) == (2, 2)
    assert chat.messages()[-1].text == "You wrote: three"
    loaded = stored(app)
    assert loaded.path() == chat.messages()
    old = chat.conversation.id
    new = chat.branch(first)
    assert chat.conversation.id == new
    assert chat.messages()[0].text == "one"
    assert stored(app).path() == chat.messages()
    chat.open_conversation(old)
    assert chat.messages() == loaded.path()


def test_stop_keeps_what_was_said(app: App) -> None:
    chat = app.state.chat
    chat.send("long")
    wait_until(lambda: len(chat.messages()[-1].text) > 50)
    chat.stop()
    wait_until(lambda: not chat.busy)
    answer = chat.messages()[-1]
    assert answer.state is MessageState.STOPPED
    assert answer.text
    assert stored(app).messages[answer.id] == answer


def test_a_failure_stays_with_its_message_and_can_be_tried_again(app: App) -> None:
    chat = app.state.chat
    answer = chat.conversation[say(app, "break please")]
    assert answer.state is MessageState.FAILED
    assert answer.failure.message == "The script told me to fail."
    assert answer.text == "This goes well "
    app.state.models.unload()
    wait_until(lambda: app.state.models.state is ModelState.NONE)
    refused = chat.conversation[chat.retry(answer.id)]
    wait_until(lambda: not chat.busy)
    assert chat.conversation[refused.id].failure.kind is ErrorKind.NO_MODEL


def test_answers_go_on_while_another_chat_is_open(app: App) -> None:
    chat = app.state.chat
    chat.send("table")
    first = chat.conversation
    wait_until(lambda: bool(chat.messages()[-1].text))
    chat.new_conversation()
    assert not chat.busy
    assert chat.messages() == []
    wait_until(lambda: first[first.leaf_id].state is MessageState.DONE)
    chat.open_conversation(first.id)
    assert chat.messages()[-1].text.endswith("| Plum | blue | 2.10 |\n")


def test_files_become_parts_with_their_facts(app: App, tmp_path: Path) -> None:
    chat = app.state.chat
    PilImage.new("RGB", (40, 30), "red").save(tmp_path / "Foto.png")
    (tmp_path / "words.txt").write_text("Some words")
    picture = chat.drafts.add_file(str(tmp_path / "Foto.png"))
    chat.drafts.add_file(str(tmp_path / "words.txt"))
    bad = chat.drafts.add_bytes(b"\x89PNG\r\n\x1a\nbroken", "broken.png")
    gone = chat.drafts.add_file(str(tmp_path / "gone.png"))
    assert not chat.drafts.all_settled
    wait_until(lambda: chat.drafts.all_settled)
    states = {draft.id: draft.state for draft in chat.drafts.items()}
    assert states[bad] is states[gone] is DraftState.REFUSED
    assert "broken.png" in next(d.problem for d in chat.drafts.items() if d.id == bad)
    chat.drafts.set_detail(picture, ImageDetail.FINE)
    (tmp_path / "Foto.png").unlink()
    chat.drafts.remove(bad)
    chat.drafts.remove(gone)
    say(app, "look")
    question = chat.messages()[0]
    image, document, text = question.parts
    assert isinstance(image, Image)
    assert (image.detail, image.attachment.width, image.attachment.height) == (
        ImageDetail.FINE,
        40,
        30,
    )
    assert document.text == "Some words"
    assert text == Text("look")
    kept = Path(chat.attachment_path(image))
    assert hashlib.sha256(kept.read_bytes()).hexdigest() == image.attachment.sha256
    assert chat.drafts.items() == []
    assert "picture" not in chat.messages()[1].text
    assert "image “Foto.png”" in chat.messages()[1].text
    finer = chat.set_detail(question.id, 0, ImageDetail.FINEST)
    wait_until(lambda: not chat.busy)
    assert chat.conversation[finer].parts[0].detail is ImageDetail.FINEST
    assert chat.conversation.version_of(finer) == (2, 2)


def test_what_a_model_cannot_take_is_said_with_a_way_out() -> None:
    deaf = Capabilities(image=True, video=True)
    assert "cannot hear" in refusal(MediaKind.AUDIO, deaf, "26B-A4B")
    assert "E2B" in refusal(MediaKind.AUDIO, deaf, "26B-A4B")
    assert refusal(MediaKind.IMAGE, deaf, "26B-A4B") == ""
    assert "cannot see" in refusal(MediaKind.IMAGE, Capabilities(), "")
    assert refusal(MediaKind.DOCUMENT, Capabilities(), "") == ""


def test_a_file_the_loaded_model_cannot_take_is_marked(qt, tmp_path: Path) -> None:
    script = tmp_path / "deaf.json"
    script.write_text(json.dumps({"hears": False, "sees": False}))
    app = start(tmp_path, script=str(script))
    PilImage.new("RGB", (4, 4)).save(tmp_path / "p.png")
    drafts = app.state.chat.drafts
    drafts.add_file(str(tmp_path / "p.png"))
    wait_until(lambda: drafts.all_settled)
    assert "cannot see" in drafts.items()[0].refused
    app.state.models.unload()
    wait_until(lambda: app.state.models.state is ModelState.NONE)
    assert drafts.items()[0].refused == ""
    app.close()


def test_list_delete_undo_search_pins(app: App) -> None:
    conversations, chat = app.state.conversations, app.state.chat
    say(app, "the first about apples")
    first = chat.conversation.id
    chat.new_conversation()
    say(app, "the second about pears")
    second = chat.conversation.id
    assert [meta.id for meta in conversations.conversations()] == [second, first]
    conversations.set_pinned(first, True)
    assert [meta.id for meta in conversations.conversations()] == [first, second]
    conversations.rename(second, "  Pears \n and more ")
    assert conversations.meta(second).title == "Pears and more"
    conversations.rename(second, "  ")
    assert conversations.meta(second).title == "Pears and more"
    found: list = []
    conversations.search_done.connect(lambda query, hits: found.append(hits))
    conversations.search("apples")
    wait_until(lambda: bool(found))
    assert {hit.conversation_id for hit in found[0]} == {first}
    conversations.delete(first)
    assert [meta.id for meta in conversations.conversations()] == [second]
    assert conversations.can_undo
    assert conversations.undo_delete() == first
    assert not conversations.can_undo
    assert len(conversations.conversations()) == 2
    chat.open_conversation(first)
    assert chat.messages()[0].text == "the first about apples"


def test_groups_by_date() -> None:
    now = time.mktime((2026, 3, 20, 12, 0, 0, 0, 0, -1))
    ages = {"a": 0.1, "b": 1.0, "c": 5.0, "d": 40.0}
    metas = [ConversationMeta(name, updated=now - age * DAY) for name, age in ages.items()]
    metas.append(ConversationMeta("p", pinned=True, updated=now - 300 * DAY))
    titles = [(group.title, len(group.items)) for group in group_by_date(metas, now)]
    assert titles == [
        ("Today", 1),
        ("Yesterday", 1),
        ("Last 7 days", 1),
        ("February 2026", 1),
        ("Pinned", 1),
    ]


def test_export_and_import(app: App, tmp_path: Path) -> None:
    say(app, "hello there")
    conversations, chat = app.state.conversations, app.state.chat
    for ending in ("md", "html", "json"):
        conversations.export(chat.conversation.id, str(tmp_path / f"chat.{ending}"))
    assert "You wrote: hello there" in (tmp_path / "chat.md").read_text()
    new = conversations.import_chat(str(tmp_path / "chat.json"))
    before = [m.parts for m in chat.messages()]
    chat.open_conversation(new)
    assert [m.parts for m in chat.messages()] == before
    (tmp_path / "bad.json").write_text(json.dumps({"format": "other"}))
    with pytest.raises(AppError, match="no chat exported by Facet"):
        conversations.import_chat(str(tmp_path / "bad.json"))


def test_per_chat_choices_are_saved_and_reach_the_engine(app: App) -> None:
    chat = app.state.chat
    chat.set_system_prompt("be brief")
    chat.set_preset(preset_named("Precise"))
    chat.set_think(True)
    chat.set_json_schema("{}")
    sent: list = []
    submit = app.engine.submit
    app.engine.submit = lambda job: (sent.append(job), submit(job))
    say(app, "hi")
    (job,) = sent
    assert job.messages[0].role is Role.SYSTEM
    assert job.options.preset.temperature == 0.0
    assert job.options.think
    meta = stored(app).meta
    assert (meta.system_prompt, meta.think, meta.json_schema) == ("be brief", True, "{}")
    first_id = job.messages[0].id
    chat.set_system_prompt("be long")
    say(app, "again")
    assert sent[1].messages[0].id != first_id


def test_context_meter(app: App) -> None:
    uses: list = []
    app.state.chat.context_changed.connect(uses.append)
    say(app, "some words")
    wait_until(lambda: bool(uses) and uses[-1].tokens > 5)
    assert uses[-1].context == 8192
    assert 0 < uses[-1].share < 0.1


def test_a_streaming_answer_is_on_disk_within_a_second(app: App) -> None:
    chat = app.state.chat
    chat.send("long")
    wait_until(lambda: bool(chat.messages()[-1].text))
    shown = chat.messages()[-1].text
    deadline = time.monotonic() + 1.0
    wait_until(lambda: time.monotonic() > deadline)
    saved = stored(app).messages[chat.messages()[-1].id]
    assert saved.text.startswith(shown)
    assert saved.state is MessageState.STREAMING
    chat.stop()
    wait_until(lambda: not chat.busy)


def test_the_engine_dies_and_the_model_comes_back(qt, tmp_path: Path, no_leaks) -> None:
    app = start(tmp_path, in_process=False)
    chat, models = app.state.chat, app.state.models
    chat.send("long")
    wait_until(lambda: bool(chat.messages()[-1].text))
    os.kill(app.engine.pid, signal.SIGKILL)
    wait_until(lambda: chat.messages()[-1].state is MessageState.FAILED)
    failure = chat.messages()[-1].failure
    assert failure.kind is ErrorKind.ENGINE_STOPPED
    assert failure.message == "The engine was stopped by the system."
    assert "kept" in failure.remedy
    wait_until(lambda: models.state is ModelState.READY)
    answer = chat.retry(chat.messages()[-1].id)
    wait_until(lambda: chat.conversation[answer].state is MessageState.STREAMING)
    chat.stop()
    wait_until(lambda: not chat.busy)
    app.close()


def test_a_model_that_kills_the_engine_is_not_loaded_again(app: App) -> None:
    from app.core.events import EngineStopped

    models = app.state.models
    models.load("scripted")
    assert models.state is ModelState.LOADING
    models._on_event(EngineStopped(-9, True, "It died.", ErrorKind.OUT_OF_MEMORY))
    assert models.state is ModelState.FAILED
    assert models.failure.message == "It died."
    assert models._wanted == ""


def test_a_model_under_way_when_the_engine_dies_is_loaded_once_more(app: App) -> None:
    from app.core.events import EngineStopped

    models = app.state.models
    death = EngineStopped(-9, True, "It died.", ErrorKind.ENGINE_STOPPED)
    models.load("scripted")
    models._on_event(death)
    assert (models.state, models.failure, models._wanted) == (ModelState.NONE, None, "scripted")
    models._reload()
    assert models.state is ModelState.LOADING
    models._on_event(death)
    assert models.state is ModelState.FAILED, "it is what ends the engine"
    assert models._wanted == ""


def test_loading_can_be_stopped(qt, tmp_path: Path) -> None:
    slow = tmp_path / "slow.json"
    slow.write_text('{"load_s": 1.5}')
    app = start(tmp_path, script=str(slow))
    models, seen = app.state.models, []
    models.progress.connect(lambda fraction, _stage: seen.append(fraction))
    models.load("another")
    wait_until(lambda: bool(seen))
    models.cancel_load()
    wait_until(lambda: models.state is ModelState.NONE)
    assert models.loaded is None  # the one before was freed to make room
    models.load("scripted")
    wait_until(lambda: models.state is ModelState.READY)
    assert app.engine.state is EngineState.RUNNING
    app.close()


def test_models_are_listed_with_verdicts_and_one_is_recommended(app: App) -> None:
    models = app.state.models
    models.refresh()
    wait_until(lambda: sum(row.plan is not None for row in models.rows()) >= len(known_models()))
    rows = {row.key: row for row in models.rows()}
    assert set(rows) >= {model.repo for model in known_models()}
    assert verdict_words(rows["mlx-community/gemma-4-e2b-it-4bit"].plan)
    gib = 1 << 30
    picks = {size: recommend(size * gib).label for size in (8, 16, 24, 32, 64)}
    assert [name.split()[2] for name in picks.values()] == ["E2B", "E4B", "12B", "26B-A4B", "31B"]
    assert recommend(4 * gib).label == picks[8]
    for model in known_models():
        assert model.size > 3e9 or model.size == 0
        assert known_model(model.repo.upper()) is model


def test_verdicts_in_words() -> None:
    def plan(fit: Fit, advice: str = "") -> PlanResult:
        return PlanResult(fit, 0, 0, 0, 0, 0, 23 << 30, 16 << 30, advice)

    assert verdict_words(plan(Fit.FITS)) == "runs well"
    assert verdict_words(plan(Fit.TIGHT)) == "tight: close other apps"
    assert verdict_words(plan(Fit.WONT)) == "needs 23 GB"
    assert verdict_words(plan(Fit.WONT, "Take 4-bit.")) == "Take 4-bit."
    assert verdict_words(None) == ""


def test_settings_are_saved_and_refused_with_words(app: App) -> None:
    settings = app.state.settings
    changed, failed = [], []
    settings.changed.connect(changed.append)
    settings.failed.connect(failed.append)
    assert settings.set("theme", "dark")
    assert settings.set("theme", "dark")
    assert not settings.set("text_size", 1000)
    for number in range(15):
        settings.remember_file(f"/f{number}")
    assert settings.settings.recent_files[0] == "/f14"
    assert len(settings.settings.recent_files) == 12
    assert changed[0] == "theme"
    assert "between 80 and 200" in failed[0]
    assert json.loads(app.paths.settings_file.read_text())["values"]["theme"] == "dark"
    assert settings.reset("theme")
    assert settings.settings.theme == "system"


def test_interrupted_answers_are_restored_with_words(qt, tmp_path: Path) -> None:
    app = start(tmp_path)
    chat = app.state.chat
    chat.send("long")
    wait_until(lambda: len(chat.messages()[-1].text) > 20)
    chat.save_now()
    app.library.flush()
    conversation = chat.conversation.id
    library = Library(AppPaths.below(tmp_path / "data"))  # as after a kill: nothing was closed
    assert library.interrupted == 1
    answer = library.load(conversation).path()[-1]
    assert answer.state is MessageState.FAILED
    assert len(answer.text) > 20
    library.close()
    app.close()


def test_doctor_collects_everything_and_packs_no_chat(app: App, tmp_path: Path) -> None:
    import zipfile

    say(app, "a secret sentence")
    doctor = app.state.doctor
    doctor.run()
    wait_until(lambda: not doctor.busy)
    text = doctor.text()
    for title in ("Versions", "Machine", "Models", "Engine", "Permissions", "Devices"):
        assert f"\n{title}\n" in text
    assert "Script: no kernels to check" in text
    doctor.save_zip(str(tmp_path / "d.zip"))
    with zipfile.ZipFile(tmp_path / "d.zip") as archive:
        everything = b"".join(archive.read(name) for name in archive.namelist())
        assert {"report.txt", "report.json"} <= set(archive.namelist())
    assert b"secret" not in everything
    assert str(Path.home()).encode() + b"/" not in everything


def test_delete_all_data(qt, tmp_path: Path) -> None:
    app = start(tmp_path)
    say(app, "gone soon")
    app.close()
    app.delete_all_data()
    assert list(app.paths.data.iterdir()) == []
