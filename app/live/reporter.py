"""Turns the running state into reports, only when something changed and not too often."""

from collections.abc import Callable
from dataclasses import replace

from app.live import reports
from app.live.answer import Answer
from app.live.mixer import Caption
from app.live.reports import Duplex, Report
from app.live.signals import AgentState, UserState
from app.live.turn_taker import TurnTaker
from app.live.vad import VoiceWindow

_AWAY_S = 60.0
_LEVEL_EVERY_S = 1 / 30


class Reporter:
    """Reports level, state, captions and stage times; keeps what was last reported."""

    def __init__(self, emit: Callable[[Report], None], now: float) -> None:
        self._emit = emit
        self._last_level = float("-inf")
        self._last_user = now
        self._state: reports.StateChanged | None = None
        self._caption: tuple[int, int] | None = None

    def level(self, now: float, window: VoiceWindow, clip_s: float) -> None:
        """The level meter, 30 times a second at most."""
        if now - self._last_level >= _LEVEL_EVERY_S:
            self._last_level = now
            level, threshold = window.level_db, window.threshold_db
            self._emit(reports.Level(now, level, threshold, window.speech, clip_s))

    def state(
        self, now: float, taker: TurnTaker, answer: Answer | None, muted: bool, duplex: Duplex
    ) -> None:
        """The two states, when one of them changed."""
        user = self._user_state(now, taker)
        state = reports.StateChanged(now, user, _agent_state(answer), muted, duplex)
        if self._state is None or replace(self._state, t=now) != state:
            self._state = state
            self._emit(state)

    def caption(self, now: float, turn: int, caption: Caption | None) -> None:
        """The words being spoken, when they moved on."""
        place = (caption.piece.start, caption.characters) if caption else None
        if caption and place != self._caption:
            self._emit(reports.CaptionMoved(now, turn, caption.piece.text, caption.characters))
        self._caption = place

    def timing(self, now: float, answer: Answer) -> None:
        """The stages of a turn."""
        stages = answer.stages

        def since(t: float | None) -> float:
            return -1.0 if t is None else t - stages.speech_end

        waits = (since(stages.first_token), since(stages.first_sound))
        engine = (stages.encode_s, stages.prefill_s)
        self._emit(reports.Timing(now, answer.turn, since(stages.committed), *engine, *waits))

    def _user_state(self, now: float, taker: TurnTaker) -> UserState:
        if taker.in_turn:
            self._last_user = now
            return UserState.SPEAKING if taker.user_speaking else UserState.LISTENING
        return UserState.AWAY if now - self._last_user > _AWAY_S else UserState.LISTENING


def _agent_state(answer: Answer | None) -> AgentState:
    if answer and answer.committed:
        return AgentState.SPEAKING if answer.audible else AgentState.THINKING
    return AgentState.LISTENING
