"""Answers as JSON: the schema is pasted and checked, the answer is a table, copies are safe."""

import csv
import io
import json

import pytest
from PySide6.QtGui import QGuiApplication

from app.core.json_table import MAX_SHOWN_ROWS, parse_table
from app.ui.chat.json_reply import EXAMPLE, JsonReply
from app.ui.chat.json_view import csv_text
from tests.app_ui.talking import answer_row, ask

FRUIT = [
    {"name": "Apple | *red*", "price": 1.2, "fresh": True},
    {"name": "=SUM(A1)", "price": -3, "note": {"from": ["Spain"]}},
    {"name": "@me\nhere", "price": None, "note": "<b>$x$</b>"},
]


@pytest.fixture
def script() -> dict[str, object]:
    rules = [
        {"match": "fruit", "answer": json.dumps(FRUIT)},
        {"match": "one thing", "answer": '{"total": 3, "items": ["a", "b"]}'},
        {"match": "numbers", "answer": "[1, 2, 3]"},
    ]
    return {"rules": rules}


def dialog(window) -> JsonReply:
    window.chat_page.menus.edit_json()
    return next(d for d in window.findChildren(JsonReply) if d.isVisible())


@pytest.mark.parametrize(
    ("pasted", "why"),
    [
        ("", "not valid JSON"),
        ("{oops", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[1]", "curly brackets"),
        ('{"type": "nonsense"}', "cannot be held to this schema: Invalid type: nonsense."),
        ('{"$ref": "#/nope"}', "does not exist"),
        (json.dumps({"enum": ["x" * 300_000]}), "longer than 200,000 characters"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(window, qtbot, pasted, why) -> None:
    shown = dialog(window)
    shown.field.setPlainText(pasted)
    shown.use.click()
    qtbot.waitUntil(lambda: bool(shown.problem.text()), timeout=30_000)
    assert why in shown.problem.text()
    assert shown.problem.text().endswith(".")
    assert shown.isVisible()
    assert window.state.chat.conversation.meta.json_schema == ""
    shown.reject()


def test_a_schema_holds_for_the_chat_until_words_are_wanted_again(window, app, qtbot) -> None:
    sent = []
    submit = app.engine.submit
    app.engine.submit = lambda job: (sent.append(job), submit(job))
    shown = dialog(window)
    shown.example.click()
    shown.use.click()
    qtbot.waitUntil(lambda: window.chat_page.modes.json.isVisible(), timeout=30_000)
    assert window.chat_page.modes.json.isVisible()
    ask(window, qtbot, "fruit")
    assert json.loads(sent[-1].options.json_schema) == json.loads(EXAMPLE)
    app.library.flush()
    kept = app.library.load(window.state.chat.conversation.id)
    assert json.loads(kept.meta.json_schema) == json.loads(EXAMPLE)
    window.new_chat()
    assert not window.chat_page.modes.isVisible()
    window.state.chat.open_conversation(kept.id)
    assert window.chat_page.modes.json.isVisible()
    shown = dialog(window)
    assert json.loads(shown.field.toPlainText()) == json.loads(EXAMPLE)
    shown.stop.click()
    assert window.state.chat.conversation.meta.json_schema == ""
    assert not window.chat_page.modes.isVisible()


def schemas_sent(app) -> list[str]:
    """The schema of each answer asked for from now on."""
    sent: list[str] = []
    submit = app.engine.submit
    app.engine.submit = lambda job: (sent.append(job.options.json_schema), submit(job))
    return sent


def test_a_schema_for_one_reply_stays_with_its_question(window, app, qtbot) -> None:
    sent, chat = schemas_sent(app), window.state.chat
    shown = dialog(window)
    shown.example.click()
    shown.reach.set_once(True)
    shown.use.click()
    modes = window.chat_page.modes
    qtbot.waitUntil(modes.reach.isVisible, timeout=30_000)
    assert modes.reach.currentText() == "This reply only"
    assert chat.conversation.meta.json_schema == ""
    ask(window, qtbot, "fruit")
    assert not modes.isVisible(), "it is used up"
    ask(window, qtbot, "hello")
    assert [bool(schema) for schema in sent] == [True, False]

    question, answer = chat.messages()[:2]
    chat.regenerate(answer.id)
    qtbot.waitUntil(lambda: not chat.busy, timeout=30_000)
    chat.edit(question.id, "fruit again")
    qtbot.waitUntil(lambda: not chat.busy, timeout=30_000)
    assert sent[2:] == [EXAMPLE, EXAMPLE], "another answer to it has its form, too"
    app.library.flush()
    kept = app.library.load(chat.conversation.id)
    assert kept[question.id].json_schema == EXAMPLE


def test_the_composer_says_how_far_a_schema_reaches(window, app, qtbot) -> None:
    sent, chat = schemas_sent(app), window.state.chat
    chat.set_json_schema(EXAMPLE, once=True)
    reach = window.chat_page.modes.reach
    reach.setCurrentIndex(reach.findText("This chat"))
    reach.activated.emit(reach.currentIndex())
    assert (chat.schema_once, chat.conversation.meta.json_schema) == (False, EXAMPLE)
    for question in ("fruit", "numbers"):
        ask(window, qtbot, question)
    assert sent == [EXAMPLE, EXAMPLE]
    reach.setCurrentIndex(reach.findText("This reply only"))
    reach.activated.emit(reach.currentIndex())
    assert (chat.schema_once, chat.conversation.meta.json_schema) == (True, "")
    talked = chat.conversation.id
    window.new_chat()
    assert not window.chat_page.modes.isVisible(), "what waits, waits in its own chat"
    chat.open_conversation(talked)
    assert (chat.schema_once, chat.json_schema) == (True, EXAMPLE)


def test_a_list_of_objects_is_a_table_with_json_behind_it(window, qtbot) -> None:
    ask(window, qtbot, "fruit")
    row = answer_row(window)
    qtbot.waitUntil(lambda: "Apple | *red*" in row.text_view.toPlainText())
    shown = row.text_view.toPlainText()
    assert "[" not in shown.split("Spain")[0]
    assert "<b>$x$</b>" in shown
    bar = row._json
    bar.view.click()
    assert '"name": "=SUM(A1)"' in row.text_view.toPlainText()
    bar.json.click()
    assert json.loads(QGuiApplication.clipboard().text()) == FRUIT
    assert window.chat_page.notice.text == "Copied."
    bar.csv.click()
    rows = list(csv.reader(io.StringIO(QGuiApplication.clipboard().text())))
    assert rows[0] == ["name", "price", "fresh", "note"]
    assert rows[2] == ["'=SUM(A1)", "-3", "", '{"from": ["Spain"]}']
    assert rows[3][0] == "'@me\nhere"
    bar.view.click()
    assert "Apple | *red*" in row.text_view.toPlainText()


def test_one_object_is_a_table_of_its_fields_and_other_json_is_code(window, qtbot) -> None:
    ask(window, qtbot, "one thing")
    qtbot.waitUntil(lambda: "Field" in answer_row(window).text_view.toPlainText())
    assert "a, b" in answer_row(window).text_view.toPlainText()
    ask(window, qtbot, "numbers")
    qtbot.waitUntil(lambda: "[1, 2, 3]" in answer_row(window).text_view.toPlainText())
    assert answer_row(window)._json is None


def test_what_is_a_table() -> None:
    wrapped = parse_table('```json\n{"items": [{"a": 1}, {"b": true}]}\n```')
    assert wrapped is not None
    assert (wrapped.columns, wrapped.rows) == (("a", "b"), (("1", ""), ("", "true")))
    for text in ("hello", "[]", "{}", "[1]", "[{}]", '{"a": ', "[" * 50_000, "{" * 500_000):
        assert parse_table(text) is None
    wide = json.dumps([{str(n): n for n in range(31)}])
    assert parse_table(wide) is None
    many = parse_table(json.dumps([{"n": n} for n in range(MAX_SHOWN_ROWS + 5)]))
    assert many is not None
    assert many.markdown().endswith("… and 5 more rows; a copy has all of them.")
    assert len(csv_text(many).splitlines()) == MAX_SHOWN_ROWS + 6
