"""Encoding, control tokens, incremental decoding."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_gemma4.errors import ConfigError
from mlx_gemma4.testing import SPECIAL_TOKENS, tiny_tokenizer
from mlx_gemma4.tokenizer import CONTROL_TOKENS, Tokenizer

BACKEND = tiny_tokenizer()  # parses control tokens, as the reference does
OURS = Tokenizer(tiny_tokenizer())
pieces = st.lists(
    st.one_of(st.sampled_from(SPECIAL_TOKENS), st.text("the in\n é😀<|>", max_size=6)), max_size=8
)


@settings(deadline=None)
@given(pieces)
def test_control_text_is_encoded_as_the_reference_does(parts):
    text = "".join(parts)
    assert OURS.encode(text, control=True) == BACKEND.encode(text, add_special_tokens=False).ids


@settings(deadline=None)
@given(st.lists(st.tuples(st.text("the in\n", max_size=5), st.booleans()), max_size=6))
def test_borders_between_runs_change_nothing(runs):
    assert OURS.encode_runs(runs) == OURS.encode("".join(text for text, _ in runs))


@settings(deadline=None)
@given(pieces)
def test_plain_text_never_yields_control_tokens(parts):
    text = "".join(parts)
    ids = OURS.encode(text)
    assert not any(OURS.is_special(token) for token in ids)
    assert OURS.decode(ids) == text


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_stream_gives_the_whole_text(text):
    stream = OURS.stream()
    given_ = [stream.push(token) for token in OURS.encode(text)]
    assert "".join(given_) + stream.finish() == text
    assert "\ufffd" in text or not any("\ufffd" in piece for piece in given_)


@settings(deadline=None)
@given(st.lists(st.integers(0, OURS.vocab_size - 1), max_size=60))
def test_stream_survives_any_tokens(tokens):
    stream = OURS.stream()
    for token in tokens:
        stream.push(token)
    stream.finish()
    assert stream.push(OURS.encode("a")[0]) == "a"


def test_every_control_token_is_found():
    for name, text in CONTROL_TOKENS.items():
        assert OURS.special(name) == OURS.special(text) == SPECIAL_TOKENS.index(text)
    assert OURS.special("<start_of_turn>") is None
    assert OURS.special("no such") is None


def test_files_that_do_not_belong_together():
    OURS.check({"image_token_id": OURS.special("image"), "eoa_token_index": None})
    with pytest.raises(ConfigError, match="image_token_id"):
        OURS.check({"image_token_id": 7})


@pytest.mark.parametrize("content", [None, "", "{}", "not json", '{"model": 1}'])
def test_missing_or_damaged_file(tmp_path, content):
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ConfigError, match="download"):
        Tokenizer.from_path(tmp_path)
