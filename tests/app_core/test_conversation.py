"""The message tree: versions, edits and branches are siblings, the active path is one line."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.conversation import (
    Conversation,
    ConversationMeta,
    Image,
    ImageDetail,
    Message,
    Role,
    Text,
    title_from,
)


def test_path_follows_what_was_added(chat) -> None:
    assert [message.text for message in chat.path()] == [f"words {n}" for n in range(4)]
    assert chat.leaf_id == chat.path()[-1].id
    assert chat.path_to(chat.path()[1].id) == chat.path()[:2]


def test_an_edit_is_a_sibling_and_both_paths_stay(chat, make_message) -> None:
    first, second = chat.path()[0], chat.path()[2]
    edited = make_message(second.parent_id, "other words")
    chat.add(edited)
    assert [m.text for m in chat.walk()] == ["words 0", "words 1", "other words"]
    assert chat.version_of(edited.id) == (2, 2)
    chat.select(second.id)
    assert [m.text for m in chat.walk()] == [f"words {n}" for n in range(4)]
    assert chat.version_of(first.id) == (1, 1)


def test_a_selected_deep_message_pulls_the_whole_path(chat, make_message) -> None:
    old_leaf = chat.leaf_id
    other = make_message(None, "another beginning")
    chat.add(other)
    assert chat.path() == [other]
    chat.select(old_leaf)
    assert len(chat.path()) == 4


def test_remove_takes_everything_below_and_shows_a_sibling(chat, make_message) -> None:
    answer = chat.path()[1]
    again = make_message(answer.parent_id, "again", role=Role.MODEL)
    chat.add(again)
    chat.select(answer.id)
    taken = chat.remove(answer.id)
    assert [m.text for m in taken] == ["words 1", "words 2", "words 3"]
    assert chat.path()[-1] is again
    assert all(m.id not in chat for m in taken)


def test_wrong_use_is_refused(chat, make_message) -> None:
    with pytest.raises(KeyError):
        chat.add(make_message("nobody", "lost"))
    with pytest.raises(ValueError, match="exists"):
        chat.add(chat.path()[0])
    moved = make_message(None, "x")
    with pytest.raises(KeyError):
        chat.replace(moved)


@given(st.integers(0, 2**32), st.integers(1, 30))
def test_any_tree_comes_back_from_its_rows(seed: int, count: int) -> None:
    draw = random.Random(seed)
    tree = Conversation(ConversationMeta("c"))
    for number in range(count):
        parent = draw.choice([None, *tree.messages])
        tree.add(Message(str(number), parent, Role.USER, (Text(str(number)),)))
        if draw.random() < 0.3:
            tree.select(draw.choice(list(tree.messages)))
    rows = list(tree.messages.values())
    again = Conversation.from_messages(tree.meta, rows, dict(tree.chosen))
    assert again.path() == tree.path()
    assert again.children == tree.children
    for message in rows:
        assert again.version_of(message.id) == tree.version_of(message.id)


def test_damaged_rows_do_not_stop_the_rest(chat, make_message) -> None:
    rows = [*chat.messages.values(), make_message("gone", "orphan")]
    again = Conversation.from_messages(chat.meta, rows, {None: "nobody"})
    assert len(again.messages) == 4
    assert len(again.path()) == 4


def test_details_and_their_budgets() -> None:
    assert [detail.budget for detail in ImageDetail] == [None, 70, 140, 280, 560, 1120]
    assert ImageDetail.FINEST.label == "Finest"
    assert ImageDetail(280) is ImageDetail.NORMAL


def test_titles_are_short_and_whole_words() -> None:
    assert title_from("What   is\nthis?") == "What is this?"
    assert title_from("word " * 30).endswith(" …")
    assert len(title_from("word " * 30)) <= 50
    assert title_from("  ") == "New chat"


def test_attachments_are_listed_in_order() -> None:
    from app.core.conversation import Attachment, Audio, MediaKind

    picture = Attachment("a" * 64, "a.png", MediaKind.IMAGE, "image/png", 1)
    sound = Attachment("b" * 64, "b.wav", MediaKind.AUDIO, "audio/wav", 1)
    message = Message("1", None, Role.USER, (Image(picture), Text("and"), Audio(sound)))
    assert message.attachments == (picture, sound)
    assert message.text == "and"
