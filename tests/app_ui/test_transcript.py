"""The transcript: few widgets for many messages, one row a change, no jumping."""

from concurrent.futures import Future
from dataclasses import replace

import pytest
from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QWidget

from app.controllers.play_copies import PlayCopies
from app.core.conversation import Message, MessageState, Role, Text, Thought, Usage
from app.core.errors import ErrorKind, Failure
from app.ui.chat.answer_row import AnswerRow, make_row
from app.ui.chat.folds import Fold
from app.ui.chat.row_context import RowContext
from app.ui.chat.transcript_model import TranscriptModel, spoken_text
from app.ui.chat.transcript_view import TranscriptView
from app.ui.widgets.buttons import IconButton
from app.ui.widgets.notices import ErrorCard


class NoPictures(QObject):
    ready = Signal(str)
    failed = Signal(str, str)

    def image(self, _attachment, _side):
        return None


def talk(count: int, words: str = "Some words of an answer.") -> list[Message]:
    messages = []
    for number in range(count):
        role = Role.USER if number % 2 == 0 else Role.MODEL
        messages.append(Message(f"m{number}", None, role, (Text(f"{number}: {words}"),)))
    return messages


@pytest.fixture
def context(theme) -> RowContext:
    return RowContext(
        theme,
        NoPictures(),
        PlayCopies(lambda attachment: Future()),
        lambda message_id: (2, 3),
        lambda message_id: None,
        lambda: False,
        lambda message_id: None,
    )


@pytest.fixture
def view(theme, context, qtbot) -> TranscriptView:
    made = TranscriptView(theme, TranscriptModel(), lambda m, p: make_row(context, m, p))
    qtbot.addWidget(made)
    made.resize(700, 500)
    made.show()
    qtbot.waitExposed(made)
    return made


def test_a_thousand_messages_need_few_widgets(view) -> None:
    view._model.set_messages(talk(1000))
    assert view.rows_made < 40
    assert view.shown_rows()[-1] == 999
    assert view.sticks_to_end


def test_scrolling_makes_only_what_comes_into_view(view) -> None:
    view._model.set_messages(talk(1000))
    bar = view.verticalScrollBar()
    for _ in range(50):
        bar.setValue(bar.value() - 100)
        assert len(view.shown_rows()) < 25
    assert view.rows_made < 120
    assert not view.sticks_to_end


def test_a_streamed_change_draws_one_row_once_a_frame(view, qtbot) -> None:
    messages = talk(20)
    view._model.set_messages(messages)
    made = view.rows_made
    for number in range(100):
        text = "word " * number
        view._model.update(replace(messages[-1], parts=(Text(text),), state=MessageState.STREAMING))
    assert view.updates_drawn == 0
    qtbot.waitUntil(lambda: view.updates_drawn > 0)
    assert view.updates_drawn == 1
    assert view.rows_made == made


def test_the_reader_is_not_moved_by_new_text(view, qtbot) -> None:
    messages = talk(60, "words " * 30)
    view._model.set_messages(messages)
    bar = view.verticalScrollBar()
    bar.setValue(bar.maximum() // 2)
    before = bar.value()
    row = view.row_widget(view.shown_rows()[2])
    place = row.mapTo(view, row.rect().topLeft())
    long = replace(messages[-1], parts=(Text("more " * 2000),), state=MessageState.STREAMING)
    view._model.update(long)
    qtbot.wait(80)
    assert bar.value() == before
    assert row.mapTo(view, row.rect().topLeft()) == place
    assert view._pill.isVisible()
    view._pill.click()
    assert bar.value() == bar.maximum()
    assert view.sticks_to_end
    assert not view._pill.isVisible()


def test_the_end_stays_in_view_while_nobody_scrolls(view, qtbot) -> None:
    messages = talk(30)
    view._model.set_messages(messages)
    bar = view.verticalScrollBar()
    for size in (50, 200, 400):
        view._model.update(replace(messages[-1], parts=(Text("word " * size),)))
        qtbot.wait(60)
        assert bar.value() == bar.maximum()


def test_rows_that_stay_keep_their_widgets(view) -> None:
    messages = talk(6)
    view._model.set_messages(messages)
    first = view.row_widget(0)
    view._model.set_messages([*messages[:4], *talk(9)[7:9]])
    assert view.row_widget(0) is first
    assert view._model.rowCount() == 6


def test_hover_moves_nothing(view, qtbot) -> None:
    view._model.set_messages(talk(6))
    row = view.row_widget(1)
    height = row.height()
    row.setFocus(Qt.FocusReason.TabFocusReason)
    names = [b.accessibleName() for b in row.bar.findChildren(IconButton)]
    assert names == [
        "Answer again",
        "Copy",
        "Branch a new chat from here",
        "Previous version",
        "Next version",
    ]
    assert row.height() == height
    assert row.fit() == height


def test_each_action_says_which_message(view, qtbot) -> None:
    view._model.set_messages(talk(4))
    row = view.row_widget(3)
    row.setFocus()
    for button, action in zip(
        row.bar.findChildren(IconButton),
        ("regenerate", "copy", "branch", "previous", "next"),
        strict=True,
    ):
        with qtbot.waitSignal(row.action) as told:
            button.click()
        assert told.args == [action, "m3"]


def test_the_keyboard_goes_from_message_to_message(view, qtbot) -> None:
    view._model.set_messages(talk(200))
    view.setFocus()
    qtbot.keyClick(view, Qt.Key.Key_Up, Qt.KeyboardModifier.AltModifier)
    assert view.row_widget(199).hasFocus()
    for _ in range(30):
        qtbot.keyClick(view.focusWidget() or view, Qt.Key.Key_Up, Qt.KeyboardModifier.AltModifier)
    focused = [r for r in view.shown_rows() if view.row_widget(r).hasFocus()]
    assert focused == [169]


def test_every_message_speaks_for_itself(view) -> None:
    message = Message(
        "a",
        None,
        Role.MODEL,
        (Thought("hm", 3.2), Text("It is a mug.")),
        state=MessageState.STOPPED,
    )
    assert spoken_text(message) == "Answer: Thought for 3 seconds. It is a mug. Stopped."
    view._model.set_messages([message])
    assert view.row_widget(0).accessibleName() == spoken_text(message)
    index = view._model.index(0)
    assert view._model.data(index, Qt.ItemDataRole.AccessibleTextRole) == spoken_text(message)


def test_thought_folds_and_opens(view, qtbot) -> None:
    parts = (Thought("First this, then that. " * 20, 65.0), Text("Done."))
    view._model.set_messages([Message("a", None, Role.MODEL, parts)])
    row = view.row_widget(0)
    fold = row.findChild(Fold)
    assert fold.button.text() == "Thought for 1 min 5 s"
    height = row.height()
    fold.button.click()
    assert row.height() > height + 40
    fold.button.click()
    assert row.height() == height


def test_a_failure_stands_where_it_happened(view, qtbot) -> None:
    failure = Failure(ErrorKind.INTERNAL, "It broke.", "Try again.", "trace")
    message = Message("a", None, Role.MODEL, (), MessageState.FAILED, failure=failure)
    view._model.set_messages([message])
    row = view.row_widget(0)
    card = row.findChild(ErrorCard)
    assert card.accessibleName() == "It broke. Try again."
    assert card.geometry().bottom() < row.height()
    with qtbot.waitSignal(row.action) as told:
        card.mend.emit(failure)
    assert told.args == ["mend", "a"]


def test_figures_are_words_until_details_are_wanted(theme, context, qtbot) -> None:
    usage = Usage(412, 280, 131, 0.31, 4.2, 38.0, 0)
    message = Message("a", None, Role.MODEL, (Text("x"),), usage=usage)
    parent = QWidget()
    qtbot.addWidget(parent)
    assert AnswerRow(context, message, parent).bar_figures() == "4.2 s · fast"
    detailed = replace(context, show_details=lambda: True)
    words = AnswerRow(detailed, message, parent).bar_figures()
    assert "412 in · 280 cached · 131 out" in words
    assert "38 tokens/s" in words


def test_a_new_width_lays_out_again(view) -> None:
    view._model.set_messages(talk(10, "words " * 60))
    tall = view.row_widget(9).height()
    view.resize(420, 500)
    assert view.row_widget(9).height() > tall


def test_selected_text_survives_scrolling(view) -> None:
    view._model.set_messages(talk(300))
    row = view.row_widget(299)
    row.text_view.selectAll()
    view.verticalScrollBar().setValue(0)
    assert view.row_widget(299) is row
    assert row.text_view.textCursor().hasSelection()
