"""Gemma 4's tokenizer: text to token ids and back, on top of the ``tokenizers`` library.

The vocabulary is a SentencePiece-like BPE with byte fallback; only ``tokenizer.json`` describes it
fully, so nothing of it is rebuilt here. What this module adds: control tokens are looked up by name
and can only enter a prompt where the caller asks for them, and decoding is incremental.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer as BackendTokenizer
from tokenizers.decoders import DecodeStream

from mlx_gemma4.errors import ConfigError

if TYPE_CHECKING:
    from llguidance import LLTokenizer

log = logging.getLogger(__name__)

# Names of the control tokens of the chat format (spec 1.5), by the name the rest of the library
# uses.
CONTROL_TOKENS = {
    "pad": "<pad>",
    "eos": "<eos>",
    "bos": "<bos>",
    "turn": "<|turn>",
    "turn_end": "<turn|>",
    "channel": "<|channel>",
    "channel_end": "<channel|>",
    "tool_call": "<|tool_call>",
    "tool_call_end": "<tool_call|>",
    "tool_response": "<|tool_response>",
    "tool_response_end": "<tool_response|>",
    "quote": '<|"|>',
    "think": "<|think|>",
    "image": "<|image|>",
    "image_start": "<|image>",
    "image_end": "<image|>",
    "audio": "<|audio|>",
    "audio_start": "<|audio>",
    "audio_end": "<audio|>",
    "video": "<|video|>",
}

# config.json keys and the control token each one must agree with.
_CONFIG_IDS = {
    "image_token_id": "image",
    "video_token_id": "video",
    "audio_token_id": "audio",
    "boi_token_id": "image_start",
    "eoi_token_id": "image_end",
    "boa_token_id": "audio_start",
    "eoa_token_id": "audio_end",
    "eoa_token_index": "audio_end",
}

_MAX_HELD = 8  # a character has at most four bytes; more that do not decode are garbage


class Tokenizer:
    """Text to token ids and back.

    Thread-safe: nothing changes after construction; each decode stream is its own object.
    """

    def __init__(self, backend: BackendTokenizer) -> None:
        """Wrap a ``tokenizers.Tokenizer``; it must not be changed by others afterwards."""
        backend.no_padding()
        backend.no_truncation()
        # From here on the backend treats "<|turn>" in text as ten ordinary characters. Control
        # tokens are put in by id, so text a user pasted can never open a turn.
        backend.encode_special_tokens = True
        self.backend = backend
        added = backend.get_added_tokens_decoder()
        self._special = {token.content: id_ for id_, token in added.items() if token.special}
        self._special_ids = frozenset(self._special.values())
        names = sorted(self._special, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, names)) or r"(?!)")

    @classmethod
    def from_path(cls, folder: str | Path) -> Tokenizer:
        """Read ``tokenizer.json`` of a checkpoint folder.

        Raises:
            ConfigError: the file is missing or is not a tokenizer.
        """
        path = Path(folder) / "tokenizer.json"
        if not path.is_file():
            raise ConfigError(
                f"{folder} has no tokenizer.json, so its text cannot be read; "
                "download the checkpoint again."
            )
        try:
            backend = BackendTokenizer.from_file(str(path))
        except Exception as error:
            log.debug("tokenizer.json rejected", exc_info=True)
            raise ConfigError(
                f"{path} is damaged or not a tokenizer file; download the checkpoint again."
            ) from error
        return cls(backend)

    @property
    def vocab_size(self) -> int:
        """Number of token ids, control tokens included."""
        return self.backend.get_vocab_size(with_added_tokens=True)

    def special(self, name: str) -> int | None:
        """Id of a control token, by short name (``"turn_end"``) or by its text (``"<turn|>"``)."""
        return self._special.get(CONTROL_TOKENS.get(name, name))

    def is_special(self, token: int) -> bool:
        """Whether a token id is a control token."""
        return token in self._special_ids

    def encode(self, text: str, *, control: bool = False) -> list[int]:
        """Token ids of ``text``, without ``<bos>``.

        Args:
            text: what to encode.
            control: read ``<|turn>`` and the like as control tokens. Leave it off for text of a
                user.
        """
        return self.encode_runs([(text, control)])

    def encode_runs(self, runs: Iterable[tuple[str, bool]]) -> list[int]:
        """Token ids of ``(text, control)`` pieces, as if the pieces were one string.

        Ordinary text of neighbouring pieces is encoded together: a border between two pieces never
        changes the tokens. Only pieces with ``control`` can yield control tokens.
        """
        ids: list[int] = []
        pending = ""
        for text, control in runs:
            for piece, token in self._split(text) if control else ((text, None),):
                pending += piece
                if token is not None:
                    ids += self._plain(pending)
                    ids.append(token)
                    pending = ""
        return ids + self._plain(pending)

    def _split(self, text: str) -> Iterable[tuple[str, int | None]]:
        """Cut text at control tokens: (text before, token id), and the rest with None."""
        start = 0
        for match in self._pattern.finditer(text):
            yield text[start : match.start()], self._special[match.group()]
            start = match.end()
        yield text[start:], None

    def _plain(self, text: str) -> list[int]:
        return self.backend.encode(text, add_special_tokens=False).ids if text else []

    def decode(self, ids: Sequence[int], *, control: bool = False) -> str:
        """Text of token ids; control tokens are left out unless ``control`` is set."""
        return self.backend.decode(list(ids), skip_special_tokens=not control)

    def stream(self) -> TextStream:
        """A new incremental decoder."""
        return TextStream(self)

    @cached_property
    def grammar_view(self) -> LLTokenizer:
        """This vocabulary for llguidance; an answer may end with ``<turn|>`` or ``<eos>``."""
        from llguidance import LLTokenizer  # only constrained replies need it

        ends = [token for token in (self.special("turn_end"), self.special("eos")) if token]
        return LLTokenizer(self.backend.to_str(), eos_token=ends or None)

    def check(self, config_ids: dict[str, int | None]) -> None:
        """Compare ids of a config with the tokenizer's own.

        Args:
            config_ids: keys as in ``config.json`` (``image_token_id`` ...); None values are
                ignored.

        Raises:
            ConfigError: a token has another id in the tokenizer than in the config.
        """
        for key, id_ in config_ids.items():
            name = _CONFIG_IDS.get(key)
            own = self.special(name) if name else None
            if id_ is not None and own is not None and own != id_:
                raise ConfigError(
                    f"config.json says {key} is {id_} but tokenizer.json says {own}; the files of "
                    "this checkpoint do not belong together, so download it again."
                )


class TextStream:
    """Turns tokens into text one by one; a character split over tokens comes out once, whole."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._held: list[int] = []

    def push(self, token: int) -> str:
        """Add a token; return the text that is certain now (empty inside a character)."""
        try:
            text = self._stream.step(self._tokenizer.backend, token)
        except Exception:  # noqa: BLE001 - bytes that are no UTF-8 raise a bare Exception
            broken = self.finish()
            return broken + self.push(token) if broken else self._tokenizer.decode([token])
        if text is not None:
            self._held.clear()
            return text
        self._held.append(token)
        return self.finish() if len(self._held) >= _MAX_HELD else ""

    def finish(self) -> str:
        """End the stream; return what was held back (an incomplete character becomes U+FFFD)."""
        held, self._held = self._held, []
        self._stream = DecodeStream(skip_special_tokens=True)
        return self._tokenizer.decode(held) if held else ""
