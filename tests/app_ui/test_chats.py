"""More than one chat at a time: what belongs to which, and what is kept when one goes elsewhere."""

import pytest
from PySide6.QtCore import Qt

from app.core.conversation import MessageState
from tests.app_ui.talking import ask, write_and_send

# Never ends by itself while a test looks at it.
ENDLESS = {"match": "long", "answer": "All work and no play makes one answer. ", "repeat": 2000}


@pytest.fixture
def script() -> dict[str, object]:
    return {"word_s": 0.01, "rules": [ENDLESS]}


def start_long_answer(window, qtbot) -> str:
    """Ask for a long answer and wait for its first words; the chat's id."""
    write_and_send(window, qtbot, "a long answer please")
    chat = window.state.chat
    qtbot.waitUntil(lambda: bool(chat.messages()[-1].text), timeout=30_000)
    return chat.conversation.id


def wait_until_idle(window, qtbot) -> None:
    streams = window.state.chat._answers._streams
    qtbot.waitUntil(lambda: not streams, timeout=30_000)


def test_a_pin_and_a_name_given_in_the_list_outlive_the_next_message(window, qtbot) -> None:
    ask(window, qtbot, "hello")
    chat_id, library = window.state.chat.conversation.id, window.state.conversations
    library.set_pinned(chat_id, True)
    library.rename(chat_id, "Kept name")
    assert window.windowTitle() == "Kept name – Facet"
    assert window.chat_page.header.title._title == "Kept name"
    ask(window, qtbot, "one more thing")
    window.state.chat.set_think(True)
    known = library.meta(chat_id)
    assert (known.pinned, known.title, known.think) == (True, "Kept name", True)
    window.state.chat.new_conversation()
    window.open_chat(chat_id)
    assert window.state.chat.conversation.meta == known


def test_a_chat_answered_behind_keeps_the_name_given_meanwhile(window, qtbot) -> None:
    chat_id = start_long_answer(window, qtbot)
    window.new_chat()
    window.state.conversations.rename(chat_id, "Renamed behind")
    window.open_chat(chat_id)
    window.state.chat.set_think(True)
    assert window.state.conversations.meta(chat_id).title == "Renamed behind"
    window.state.chat.stop()
    wait_until_idle(window, qtbot)


def test_a_branch_of_an_answer_on_its_way_has_ended(window, qtbot) -> None:
    start_long_answer(window, qtbot)
    source = window.state.chat.conversation
    window.chat_page._on_action("branch", window.state.chat.messages()[-1].id)
    twin = window.state.chat.messages()[-1]
    assert twin.state is MessageState.STOPPED
    assert twin.text
    assert source.path()[-1].state is MessageState.STREAMING, "the first one goes on"
    window.open_chat(source.id)
    window.state.chat.stop()
    wait_until_idle(window, qtbot)


def test_a_deleted_chat_is_answered_no_longer(window, qtbot) -> None:
    chat_id = start_long_answer(window, qtbot)
    window.menus.actions["delete"].trigger()
    assert window.state.chat.messages() == []
    wait_until_idle(window, qtbot)
    window.notice._button.click()
    assert window.state.chat.conversation.id == chat_id
    assert window.state.chat.messages()[-1].state is MessageState.STOPPED


def test_answering_again_stops_what_is_on_its_way(window, qtbot) -> None:
    ask(window, qtbot, "hello")
    first = window.state.chat.messages()[-1].id
    start_long_answer(window, qtbot)
    long = window.state.chat.messages()[-1].id
    window.chat_page._on_action("regenerate", first)
    wait_until_idle(window, qtbot)
    conversation = window.state.chat.conversation
    assert conversation[long].state is MessageState.STOPPED
    assert window.state.chat.messages()[-1].state is MessageState.DONE


# --- what is half written ------------------------------------------------------------------------


def test_words_half_written_come_back_after_a_message_was_changed(window, qtbot) -> None:
    ask(window, qtbot, "first words")
    page, question = window.chat_page, window.state.chat.messages()[0].id
    page.composer.set_text("half a thought")
    page._on_action("edit", question)
    assert page.composer.text == "first words"
    qtbot.keyClick(page.composer.edit, Qt.Key.Key_Escape)
    assert page.composer.text == "half a thought"
    page._on_action("edit", question)
    page._on_action("edit", question)
    qtbot.keyClicks(page.composer.edit, " changed")
    qtbot.keyClick(page.composer.edit, Qt.Key.Key_Return)
    assert window.state.chat.messages()[0].text == "first words changed"
    assert page.composer.text == "half a thought"
    wait_until_idle(window, qtbot)


def test_each_chat_keeps_its_words_and_files(window, qtbot, picture) -> None:
    ask(window, qtbot, "chat A")
    chat, composer = window.state.chat, window.chat_page.composer
    first = chat.conversation.id
    window.open_files([str(picture)])
    composer.set_text("for A")
    window.new_chat()
    assert (composer.text, chat.drafts.items(), composer._chips) == ("", [], [])
    composer.set_text("for a new one")
    window.open_chat(first)
    assert composer.text == "for A"
    qtbot.waitUntil(lambda: chat.drafts.all_settled, timeout=30_000)
    assert [draft.name for draft in chat.drafts.items()] == [picture.name]
    assert len(composer._chips) == 1
    window.new_chat()
    assert composer.text == "for a new one"
    qtbot.keyClick(composer.edit, Qt.Key.Key_Return)
    wait_until_idle(window, qtbot)
    assert chat.messages()[0].attachments == ()
    composer.set_text("for B")
    window.open_chat(first)
    assert composer.text == "for A"
    qtbot.keyClick(composer.edit, Qt.Key.Key_Return)
    wait_until_idle(window, qtbot)
    assert [a.name for a in chat.messages()[-2].attachments] == [picture.name]
    assert chat.drafts.items() == []
