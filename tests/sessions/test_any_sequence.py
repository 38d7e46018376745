"""Whatever is done to a session, in whatever order, its cache equals a plain run of its tape."""

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from session_checks import agrees, close, greedy, next_logits, picture, sound

from mlx_gemma4.inputs import ImagePatches
from mlx_gemma4.messages import Image, message
from mlx_gemma4.model import block_ids
from mlx_gemma4.session import Session

LIVE = ("audio", "frame", "end_clip", "mark", "rollback", "text")
WHOLE = ("append", "edit", "branch", "regenerate", "undo", "switch")
TALK = ("reply", "stop", "cut")


class Driver:
    """Plays one random sequence of operations."""

    def __init__(self, model, processor):
        self.model, self.processor = model, processor
        self.session = Session(model, processor)
        self.chat, self.older, self.marks = [], [], []

    def play(self, operation: str, number: int) -> None:
        getattr(self, operation)(number)

    def append(self, number):
        parts = [f"Question {number}. " * (1 + number % 9)]
        if number % 3 == 0:
            parts.insert(0, Image(picture(number % 4)))
        self.older.append(list(self.chat))
        self.chat.append(message("user", *parts))
        self._sync()

    def edit(self, number):
        if self.chat:
            self.older.append(list(self.chat))
            at = number % len(self.chat)
            role = self.chat[at].role
            self.chat = [*self.chat[:at], message(role, f"Edited {number}")]
            self._sync()

    def branch(self, number):
        if self.older:
            self.older.append(list(self.chat))
            self.chat = list(self.older[number % len(self.older)])
            self._sync()

    def undo(self, _number):
        if self.older:
            self.chat = self.older.pop()
            self._sync()

    def switch(self, number):
        """To another version and back, as often as the number says; nothing new is said."""
        for _ in range(1 + number % 3):
            if self.older:
                self.chat, self.older[-1] = self.older[-1], self.chat
                self._sync()

    def regenerate(self, number):
        while self.chat and self.chat[-1].role == "model":
            self.chat.pop()
        self._sync()
        self.reply(number)

    def reply(self, number):
        text = self._say(number, None)
        if self.chat:
            self.chat.append(message("model", text))

    def stop(self, number):
        self._say(number + 4, number % 4)

    def cut(self, number):
        text = self._say(number, None)
        self.session.cut_reply(number % (len(text) + 1))

    def audio(self, number):
        if self.processor.hears:
            self.session.push_audio(sound(number, 0.01 + number / 25)[: 7 * number + 1600])

    def frame(self, number):
        self.session.push_frame(picture(number % 5), number)

    def text(self, number):
        self.session.push_text(f"typed {number}")

    def end_clip(self, _number):
        self.session.end_clip()

    def mark(self, _number):
        self.marks.append(self.session.mark())

    def rollback(self, _number):
        if self.marks:
            self.session.rollback(self.marks.pop())

    def _sync(self):
        self.marks.clear()
        if self.chat:
            self.session.sync(self.chat)

    def _say(self, number, stop_after):
        if not self.session.tokens:
            self.append(number)
        text = ""
        events = self.session.reply(greedy(1 + number % 14))
        for count, event in enumerate(events):
            text += getattr(event, "text", "") if getattr(event, "channel", "") == "answer" else ""
            if stop_after is not None and count >= stop_after:
                break
        events.close()
        return text


@pytest.mark.parametrize("arch", ["e2b", "e4b", "12b", "26b", "31b"])
def test_any_sequence_leaves_an_exact_session(arch, tiny):
    model, processor = tiny(arch)

    @settings(  # a failing sequence is short enough to read; shrinking it takes minutes
        max_examples=6,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(
        st.lists(
            st.tuples(st.sampled_from(LIVE + WHOLE + TALK), st.integers(0, 20)),
            min_size=4,
            max_size=14,
        )
    )
    def sequence(operations):
        driver = Driver(model, processor)
        for operation, number in operations:
            driver.play(operation, number)
        session = driver.session
        assert session._runner.cache.offset <= session.tokens
        assert agrees(session, model)
        if session.tokens:
            assert close(next_logits(session, model), plain_logits(session, model))

    sequence()


def plain_logits(session, model):
    """Logits after the session's whole tape, from one pass without any cache."""
    stretch = session._runner.tape.stretch(0, session.tokens)
    soft = [(run.start, session._soft_tokens(run)[: run.length]) for run in stretch.media]
    embedded = model.embed(stretch.ids, soft)
    hidden = model.prefill(embedded, None, blocks=block_ids(stretch.token_types))
    return model.logits(hidden)[0, -1]


def test_the_check_itself_notices_a_wrong_cache(tiny):
    model, processor = tiny("e2b")
    session = Session(model, processor)
    session.sync([message("user", Image(picture(1)), "Hello there")])
    assert agrees(session, model)
    key = session._runner.tape.runs[0].key
    other = processor.image(picture(2), None)
    assert isinstance(other, ImagePatches)
    session._media.features.put(key, model.encode_image(other))
    assert not agrees(session, model)
