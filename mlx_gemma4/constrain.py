"""Keeps an answer inside a JSON schema, a regular expression or a grammar.

llguidance says which tokens may come next; the sampler drops the others. Only the answer is held to
it: inside thoughts and tool calls the model is free, because a grammar there drives it into loops
(spec T56).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import mlx.core as mx
import numpy as np
from llguidance import LLMatcher

from mlx_gemma4.errors import ToolError
from mlx_gemma4.reply import Channel, ReplyParser
from mlx_gemma4.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

log = logging.getLogger(__name__)

_MAX_SCHEMA_BYTES = 1_000_000
# JSON allows any amount of white space between tokens, and a weak model wanders off in it. Allowed
# is what written JSON looks like: one blank, or a new line with the indents of eight levels.
_JSON_STYLE: JsonCompileOptions = {"whitespace_pattern": r"(\n(  ){0,8}| )?"}


@dataclass(frozen=True, slots=True)
class Constraint:
    """What an answer must look like; make it with one of the class methods."""

    kind: Literal["json_schema", "regex", "lark"]
    source: str

    @classmethod
    def json_schema(cls, schema: Mapping[str, Any] | str) -> Constraint:
        """The answer is JSON that follows a JSON schema (mapping, or its text).

        Raises:
            ToolError: the text is not JSON, or the schema is not an object.
        """
        try:
            parsed = json.loads(schema) if isinstance(schema, str) else schema
            source = json.dumps(parsed)
        except (ValueError, TypeError, RecursionError) as error:
            raise ToolError(f"The JSON schema cannot be read ({error}); correct it.") from error
        if not isinstance(parsed, Mapping):
            raise ToolError('A JSON schema must be an object such as {"type": "object"}.')
        return cls("json_schema", source)

    @classmethod
    def regex(cls, pattern: str) -> Constraint:
        """The whole answer matches a regular expression (Rust syntax, no look-around)."""
        return cls("regex", pattern)

    @classmethod
    def lark(cls, grammar: str) -> Constraint:
        """The answer follows a Lark grammar whose start rule is ``start``."""
        return cls("lark", grammar)

    def matcher(self, tokenizer: Tokenizer) -> LLMatcher:
        """A fresh matcher of this constraint.

        Raises:
            ToolError: it is too large, or llguidance refuses it.
        """
        matcher = LLMatcher(tokenizer.grammar_view, self._grammar(), log_level=0)
        if matcher.is_error():
            raise _refused(self.kind, matcher.get_error())
        return matcher

    def _grammar(self) -> str:
        if len(self.source) > _MAX_SCHEMA_BYTES:
            raise ToolError("The schema is larger than 1 MB; use a smaller one.")
        try:
            if self.kind == "json_schema":
                return LLMatcher.grammar_from_json_schema(self.source, overrides=_JSON_STYLE)
            if self.kind == "regex":
                return LLMatcher.grammar_from_regex(self.source)
            return LLMatcher.grammar_from_lark(self.source)
        except ValueError as error:
            raise _refused(self.kind, str(error)) from error


class ReplyGate:
    """An :class:`AnswerGate` beside the parser of the same reply, which knows the channel.

    A token is fed before the parser reads it.
    """

    def __init__(self, gate: AnswerGate, parser: ReplyParser, tokenizer: Tokenizer) -> None:
        self._gate = gate
        self._parser = parser
        self._is_special = tokenizer.is_special

    def allowed(self) -> mx.array | None:
        """Bool [V]: tokens that may come next; None if all may."""
        return self._gate.allowed(self._parser.channel)

    def feed(self, token: int) -> None:
        """A token was picked."""
        self._gate.feed(token, self._parser.channel)

    def fitting(self, token: int, drafts: Sequence[int]) -> list[int]:
        """The leading drafts that may follow ``token``, which is picked and not fed yet.

        Control tokens may change the channel, so drafts end before the first of them.
        """
        plain: list[int] = []
        for following in (token, *drafts):
            if self._is_special(following):
                break
            plain.append(following)
        return plain[1 : self._gate.acceptable(plain, self._parser.channel)]

    def along(self, drafts: Sequence[int]) -> list[mx.array | None]:
        """What :meth:`allowed` would say before each draft and after the last; see ``fitting``."""
        return self._gate.along(drafts, self._parser.channel)


class AnswerGate:
    """Says at each step which tokens a constrained reply may go on with.

    Before the answer starts the model may think, if the prompt switched thinking on, and may call a
    tool, if the prompt declares one.

    Args:
        matcher: from ``Constraint.matcher``; the gate uses it up.
        tokenizer: of the model.
        prompt: ids of the prompt [T].
        vocab_size: width of the logits.
    """

    def __init__(
        self, matcher: LLMatcher, tokenizer: Tokenizer, prompt: np.ndarray, vocab_size: int
    ) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size
        self._known = tokenizer.grammar_view.vocab_size
        self._bits = np.zeros((self._known + 31) // 32, dtype=np.int32)
        self._call = tokenizer.special("tool_call")
        self._after_call = tokenizer.special("tool_response")
        declared = {"<|think|>": tokenizer.special("channel"), "<|tool>": self._call}
        self._free = {
            token
            for sign, token in declared.items()
            if token is not None and tokenizer.special(sign) in prompt
        }
        self._started = False

    def allowed(self, channel: Channel) -> mx.array | None:
        """Bool [V]: tokens that may come next in ``channel``; None if all may."""
        if channel != "answer":
            return None
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        self._check()
        flags = np.unpackbits(self._bits.view(np.uint8), bitorder="little")
        mask = np.zeros(self._vocab_size, dtype=bool)
        mask[: self._known] = flags[: min(self._known, self._vocab_size)]
        if not self._started:
            mask[list(self._free)] = True
        return mx.array(mask)

    def feed(self, token: int, channel: Channel) -> None:
        """Tell the gate which token was picked in ``channel``."""
        if channel != "answer":
            return
        if not self._started and token in self._free:
            if token == self._call and self._after_call is not None:
                self._free.add(self._after_call)  # a reply may end after a call, without an answer
            return
        self._started = True
        if not self._matcher.is_stopped():
            self._matcher.consume_token(token)
            self._check()

    def acceptable(self, tokens: Sequence[int], channel: Channel) -> int:
        """How many leading ones of ``tokens``, none of them a control token, may follow."""
        if channel != "answer":
            return len(tokens)
        unknown = (i for i, token in enumerate(tokens) if token >= self._known)
        return self._matcher.validate_tokens(list(tokens[: next(unknown, len(tokens))]))

    def along(self, tokens: Sequence[int], channel: Channel) -> list[mx.array | None]:
        """What :meth:`allowed` would say before each of ``tokens`` and after the last.

        Args:
            tokens: that may follow, none of them a control token; nothing is fed.
            channel: where all of them lie.
        """
        masks = [self.allowed(channel)]
        if channel != "answer":
            return masks * (len(tokens) + 1)
        started, taken = self._started, 0
        try:
            for token in tokens:
                self._started = True
                taken += self._matcher.try_consume_tokens([token])
                masks.append(self.allowed(channel))
        finally:
            self._matcher.rollback(taken)
            self._started = started
        return masks

    def _check(self) -> None:
        if self._matcher.is_error():
            log.debug("llguidance: %s", self._matcher.get_error())
            raise ToolError("The schema is too complex to hold an answer to it; simplify it.")


def _refused(kind: str, detail: str) -> ToolError:
    log.debug("llguidance: %s", detail)
    name = {"json_schema": "JSON schema", "regex": "regular expression", "lark": "grammar"}[kind]
    reason = " ".join(detail.split())[:200] or "no reason given"
    return ToolError(f"The {name} cannot be used to hold the answer to it: {reason}.")
