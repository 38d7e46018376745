"""The demo checkpoint's tokenizer: single characters, the real special tokens, byte fallback.

The special tokens are spelled as in the published Gemma 4 tokenizers but have ids of their own.
Every printable ASCII character is a token; anything else falls back to its UTF-8 bytes, so any
text can be encoded. There are no merges: what the model reads and writes is single characters.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

SPECIALS = (
    "<pad>",
    "<eos>",
    "<bos>",
    "<unk>",
    "<mask>",
    "<|turn>",
    "<turn|>",
    "<|image>",
    "<image|>",
    "<|image|>",
    "<|audio>",
    "<audio|>",
    "<|audio|>",
    "<|video|>",
    "<|think|>",
    "<|channel>",
    "<channel|>",
    "<|tool>",
    "<tool|>",
    "<|tool_call>",
    "<tool_call|>",
    "<|tool_response>",
    "<tool_response|>",
    '<|"|>',
)
SPACE = "▁"
EXTRA = "£€°×÷–“”‘’éèüöäßñ"
VOCAB_SIZE = 416


def _vocab() -> dict[str, int]:
    pieces = list(SPECIALS)
    pieces += [f"<0x{byte:02X}>" for byte in range(256)]
    pieces += ["\n", SPACE, *(chr(code) for code in range(33, 127)), *EXTRA]
    pieces += [f"<unused{n}>" for n in range(VOCAB_SIZE - len(pieces))]
    return {piece: index for index, piece in enumerate(pieces)}


def build() -> Tokenizer:
    """Make the tokenizer; ids are stable, so weights and tokenizer always fit."""
    vocab = _vocab()
    tokenizer = Tokenizer(
        models.BPE(vocab=vocab, merges=[], unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(
        [AddedToken(piece, normalized=False, special=True) for piece in SPECIALS]
    )
    return tokenizer


@cache
def _shared() -> Tokenizer:
    return build()


@cache
def special(piece: str) -> int:
    """Id of a special token; KeyError if it is none."""
    if piece not in SPECIALS:
        raise KeyError(piece)
    return SPECIALS.index(piece)


def encode(text: str) -> list[int]:
    """Token ids of `text`; special tokens spelled out in it become their ids."""
    return _shared().encode(text, add_special_tokens=False).ids


def decode(ids: list[int]) -> str:
    """Text of `ids` without the special tokens."""
    return _shared().decode(ids, skip_special_tokens=True)


def save(folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    _shared().save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "GemmaTokenizer",
        "model_max_length": 8192,
        "padding_side": "left",
        "clean_up_tokenization_spaces": False,
        "pad_token": "<pad>",
        "eos_token": "<eos>",
        "bos_token": "<bos>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
        "sot_token": "<|turn>",
        "eot_token": "<turn|>",
        "boi_token": "<|image>",
        "eoi_token": "<image|>",
        "image_token": "<|image|>",
        "boa_token": "<|audio>",
        "eoa_token": "<audio|>",
        "audio_token": "<|audio|>",
        "video_token": "<|video|>",
        "think_token": "<|think|>",
        "soc_token": "<|channel>",
        "eoc_token": "<channel|>",
        "escape_token": '<|"|>',
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
