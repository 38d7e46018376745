"""The demo checkpoint's tokenizer: characters, a few whole words, the real special tokens.

The special tokens are spelled as in the published Gemma 4 tokenizers but have ids of their own.
Every printable ASCII character is a token; anything else falls back to its UTF-8 bytes, so any
text can be encoded. The words of the demo's questions and answers, with the space before them,
are tokens too (built by a chain of merges each); text that is read off a picture is always
written in single characters.
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
CHARACTERS = 416
WORDS = """
a about above add am an and another are as at below black blue boxes can capital circle close
colour colours commands count cross day delete demo describe detect digits do does door down each
eight explain fan file first five flashes for four from gemma get good goodbye green hear hello
help home how i in is it joke language last left light louder made many me meaning message model
models morning music much my name next night nine no not of off on one only open or orange page
picture please poem previous purple quieter radio read real recipe recording red right said save
say see send seven shape shapes short shown six speech square star start stop story take tell text
texts thank that the there thing this three time timer tiny to transcribe triangle turn two video
was weather welcome what where which white who why window with write yellow yes you zero
Facet Gemma I Models Get 0 1 2 3 4 5 6 7 8 9 10 20 + - =
""".split()  # noqa: SIM905


def _vocab() -> dict[str, int]:
    pieces = list(SPECIALS)
    pieces += [f"<0x{byte:02X}>" for byte in range(256)]
    pieces += ["\n", SPACE, *(chr(code) for code in range(33, 127)), *EXTRA]
    pieces += [f"<unused{n}>" for n in range(CHARACTERS - len(pieces))]
    pieces += [left + right for left, right in _merges()]
    return {piece: index for index, piece in enumerate(pieces)}


@cache
def _merges() -> tuple[tuple[str, str], ...]:
    """Chains that build each word from the space before it, shortest pieces first."""
    pairs = {(SPACE + word[:size], word[size]) for word in WORDS for size in range(len(word))}
    return tuple(sorted(pairs, key=lambda pair: (len(pair[0]), pair)))


def vocab_size() -> int:
    """Number of tokens."""
    return CHARACTERS + len(_merges())


def build() -> Tokenizer:
    """Make the tokenizer; ids are stable, so weights and tokenizer always fit."""
    vocab = _vocab()
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocab,
            merges=list(_merges()),
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
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


def token_words(text: str) -> list[int]:
    """For each token of `text`, the number of the word it belongs to."""
    return [text[:end].strip().count(" ") for _, end in token_spans(text)]


def token_spans(text: str) -> list[tuple[int, int]]:
    """For each token of `text`, where it begins and ends, in characters."""
    return _shared().encode(text, add_special_tokens=False).offsets


@cache
def _character_id(character: str) -> int:
    found = _shared().token_to_id(SPACE if character == " " else character)
    if found is None:
        raise KeyError(character)
    return found


def spell(text: str) -> list[int]:
    """Token ids of `text`, one a character; KeyError for a character that is no token."""
    return [_character_id(character) for character in text]


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
