"""Tools in the real window: asked for, allowed, declined, stopped, kept."""

import json
from dataclasses import replace

import pytest
from PySide6.QtCore import Qt

from app.core.conversation import Attachment, Document, MediaKind, MessageState, Text, ToolResult
from app.core.events import Capabilities
from app.main import AppOptions, build_app
from app.ui.chat.tool_card import ToolCard
from app.ui.chat.tool_choice import ToolChoice
from app.ui.main_window import MainWindow
from tests.app_ui.talking import answer_row, ask, write_and_send

SCRIPT = {
    "word_s": 0.002,
    "rules": [
        {"match": "seven", "tool": "calculator", "arguments": '{"expression": "7 * 6"}'},
        {"match": "wrong sum", "tool": "calculator", "arguments": '{"expression": "1 / 0"}'},
        {"match": "^run a shell", "tool": "shell", "arguments": "{}"},
        {
            "match": "^what does the lease",
            "tool": "read_file",
            "arguments": '{"name": "Lease.txt"}',
        },
        {"match": "^do you remember", "tool": "search_chat", "arguments": '{"words": "zebra"}'},
        {"match": "forever|^[A-Z][a-z]+day, ", "tool": "clock"},
    ],
}


@pytest.fixture
def script() -> dict[str, object]:
    return SCRIPT


def switch_on(window: MainWindow, *names: str) -> None:
    window.chat_page.menus.edit_tools()
    (dialog,) = window.findChildren(ToolChoice)
    for name, switch in dialog.switches.items():
        assert not switch.isChecked()
        switch.setChecked(name in names)
    dialog.accept()
    assert window.state.chat.conversation.meta.tools == names


def card(window: MainWindow, qtbot) -> ToolCard:
    """The question in the newest answer."""
    found: list[ToolCard] = []

    def shown() -> bool:
        found[:] = [c for c in answer_row(window).findChildren(ToolCard) if c.isVisible()]
        return bool(found)

    qtbot.waitUntil(shown, timeout=30_000)
    return found[0]


def press(window: MainWindow, qtbot, label: str) -> None:
    from app.ui.widgets.buttons import TextButton

    buttons = card(window, qtbot).findChildren(TextButton)
    qtbot.mouseClick(next(b for b in buttons if b.text() == label), Qt.MouseButton.LeftButton)


def done(window: MainWindow, qtbot) -> None:
    qtbot.waitUntil(lambda: not window.state.chat.busy, timeout=30_000)


def results(window: MainWindow) -> list[ToolResult]:
    return [p for p in window.state.chat.messages()[-1].parts if isinstance(p, ToolResult)]


def test_without_tools_switched_on_nothing_is_run(window, qtbot) -> None:
    ask(window, qtbot, "seven times six")
    answer = window.state.chat.messages()[-1]
    assert answer.state is MessageState.DONE
    assert not results(window)
    qtbot.waitUntil(lambda: bool(answer_row(window)._folds))
    assert answer_row(window)._folds[0].button.text() == "Not used: Calculator"
    assert not window.chat_page.modes.isVisible()


def test_an_allowed_tool_is_run_and_the_answer_goes_on(window, qtbot) -> None:
    switch_on(window, "clock", "calculator")
    assert window.chat_page.modes.tools.text() == "2 tools"
    write_and_send(window, qtbot, "seven times six")
    question = card(window, qtbot)
    assert "Calculator" in question.accessibleName()
    assert window.state.chat.busy
    assert window.chat_page.composer.send_button.accessibleName().startswith("Stop")
    press(window, qtbot, "Allow once")
    done(window, qtbot)
    answer = window.state.chat.messages()[-1]
    assert answer.text == "The tool says: 42"
    assert results(window)[0].outcome == "done"
    assert answer.usage.generated == 4
    qtbot.waitUntil(lambda: answer_row(window)._folds[0].button.text() == "Used: Calculator")
    fold = answer_row(window)._folds[0]
    fold.button.click()
    assert "7 * 6" in fold._body.toPlainText()
    assert "42" in fold._body.toPlainText()
    ask(window, qtbot, "hello")
    write_and_send(window, qtbot, "seven times six")
    card(window, qtbot)  # once was once
    press(window, qtbot, "Decline")
    done(window, qtbot)


def test_allowed_in_this_chat_is_remembered_there_and_only_there(window, app, qtbot) -> None:
    switch_on(window, "calculator")
    write_and_send(window, qtbot, "seven times six")
    press(window, qtbot, "Allow in this chat")
    done(window, qtbot)
    ask(window, qtbot, "seven times six again")
    assert results(window)[0].content == "42"
    app.library.flush()
    kept = app.library.load(window.state.chat.conversation.id)
    assert kept.meta.allowed_tools == ("calculator",)
    assert kept.path() == window.state.chat.messages()
    window.state.chat.set_tools([])
    assert window.state.chat.conversation.meta.allowed_tools == ()
    window.new_chat()
    assert window.state.chat.conversation.meta.tools == ()


def test_a_declined_call_is_told_to_the_model(window, qtbot) -> None:
    switch_on(window, "calculator")
    write_and_send(window, qtbot, "seven times six")
    press(window, qtbot, "Decline")
    done(window, qtbot)
    assert results(window)[0].outcome == "declined"
    assert "declined" in window.state.chat.messages()[-1].text
    qtbot.waitUntil(lambda: answer_row(window)._folds[0].button.text() == "Declined: Calculator")


@pytest.mark.parametrize(
    ("words", "why"), [("wrong sum", "division by zero"), ("run a shell", "no tool")]
)
def test_a_call_that_cannot_be_run_is_answered_in_words(window, qtbot, words, why) -> None:
    switch_on(window, "calculator")
    write_and_send(window, qtbot, words)
    if words == "wrong sum":
        press(window, qtbot, "Allow once")
    done(window, qtbot)
    assert results(window)[0].outcome == "failed"
    assert why in window.state.chat.messages()[-1].text


def test_a_document_and_the_chat_itself_can_be_read(window, qtbot) -> None:
    switch_on(window, "read_file", "search_chat")
    lease = Attachment("0" * 64, "Lease.txt", MediaKind.DOCUMENT, "text/plain", 9)
    chat = window.state.chat
    chat.send_parts((Document(lease, "Rent is 900 a month."), Text("a zebra crossing")))
    done(window, qtbot)
    chat.send("what does the lease say")
    press(window, qtbot, "Allow once")
    done(window, qtbot)
    assert "Rent is 900" in results(window)[0].content
    chat.send("do you remember")
    press(window, qtbot, "Allow once")
    done(window, qtbot)
    assert results(window)[0].content.startswith("Model: ")
    assert "zebra" in results(window)[0].content


def test_escape_while_asked_stops_and_later_turns_still_work(window, qtbot) -> None:
    switch_on(window, "calculator")
    write_and_send(window, qtbot, "seven times six")
    card(window, qtbot)
    qtbot.keyClick(window.chat_page.composer.edit, Qt.Key.Key_Escape)
    done(window, qtbot)
    assert window.state.chat.messages()[-1].state is MessageState.STOPPED
    qtbot.waitUntil(lambda: answer_row(window)._status.text() == "Stopped.")
    assert not [c for c in answer_row(window).findChildren(ToolCard) if c.isVisible()]
    ask(window, qtbot, "hello")
    assert window.state.chat.messages()[-1].text == "You wrote: hello"


def test_a_question_in_another_chat_waits_there(window, qtbot) -> None:
    switch_on(window, "calculator")
    chat = window.state.chat
    write_and_send(window, qtbot, "seven times six")
    card(window, qtbot)
    waiting = chat.conversation.id
    window.new_chat()
    assert not chat.busy
    chat.open_conversation(waiting)
    assert chat.busy
    press(window, qtbot, "Allow once")
    done(window, qtbot)
    assert chat.messages()[-1].text == "The tool says: 42"


def test_tools_called_without_end_are_ended(window, qtbot) -> None:
    switch_on(window, "clock")
    window.state.chat._change_meta(allowed_tools=("clock",))
    write_and_send(window, qtbot, "forever")
    done(window, qtbot)
    assert len(results(window)) == 8
    assert "used tools 8 times" in window.chat_page.notice.text


def test_a_model_without_tools_says_why_they_are_off(window, qtbot) -> None:
    chat = window.state.chat
    chat.set_tools(["clock"])
    chat.set_model(replace(chat.model, capabilities=Capabilities(), label="Demo (tiny)"))
    window.chat_page.menus.edit_tools()
    (dialog,) = window.findChildren(ToolChoice)
    assert dialog.unable.startswith("Demo (tiny) was not trained to use tools.")
    assert not any(switch.isEnabled() for switch in dialog.switches.values())
    dialog.accept()
    assert chat.conversation.meta.tools == ("clock",)
    ask(window, qtbot, "seven times six")
    assert not results(window)


def test_calls_and_results_survive_a_restart_and_an_export(window, app, qtbot, tmp_path) -> None:
    switch_on(window, "calculator")
    write_and_send(window, qtbot, "seven times six")
    press(window, qtbot, "Allow once")
    done(window, qtbot)
    chat = window.state.chat
    before = chat.messages()
    for suffix in ("md", "html", "facet.json"):
        window.state.conversations.export(chat.conversation.id, str(tmp_path / f"chat.{suffix}"))
        assert "7 * 6" in (tmp_path / f"chat.{suffix}").read_text().replace("\\", "")
    data = json.loads((tmp_path / "chat.facet.json").read_text())
    assert data["meta"]["tools"] == ["calculator"]
    copy = window.state.conversations.import_chat(str(tmp_path / "chat.facet.json"))
    assert app.library.load(copy).path()[-1].parts == before[-1].parts
    assert app.library.load(copy).meta.tools == ()  # foreign files switch nothing on
    app.library.flush()
    again = build_app(AppOptions(data_dir=app.options.data_dir, in_process=True, script="instant"))
    again.state.chat.open_conversation(chat.conversation.id)
    assert again.state.chat.messages() == before
    again.close()


def test_an_answer_interrupted_while_asked_is_kept_at_the_next_start(window, app, qtbot) -> None:
    switch_on(window, "calculator")
    write_and_send(window, qtbot, "seven times six")
    card(window, qtbot)
    window.state.chat.save_now()
    app.library.flush()
    again = build_app(AppOptions(data_dir=app.options.data_dir, in_process=True, script="instant"))
    again.state.chat.open_conversation(window.state.chat.conversation.id)
    answer = again.state.chat.messages()[-1]
    assert answer.state is MessageState.FAILED
    assert answer.failure.remedy == "Try again."
    again.close()
    qtbot.keyClick(window.chat_page.composer.edit, Qt.Key.Key_Escape)
    done(window, qtbot)
