"""What a session is told and what it tells."""

from __future__ import annotations

from dataclasses import dataclass, field

from mlx_gemma4.generate import GenerateOptions


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What ``sync`` did.

    Attributes:
        reused: tokens that were in the cache already.
        run: tokens run now.
        encoded: media encoded now.
        dropped: ids of messages left out because the context is full, oldest first.
        notices: sentences for the user.
    """

    reused: int
    run: int
    encoded: int
    dropped: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CompactReport:
    """What ``compact`` did: tokens of the conversation before and after, and turns shortened."""

    before: int
    after: int
    turns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReplyOptions:
    """How to answer.

    Attributes:
        generate: length, sampling, stop tokens, constraint.
        reply_id: id of the answer's message; made up if empty.
        turn_id: id of the live turn that the answer closes; made up if empty.
    """

    generate: GenerateOptions = field(default_factory=GenerateOptions)
    reply_id: str = ""
    turn_id: str = ""
