"""The tool notation, written and read."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_gemma4.errors import ToolError
from mlx_gemma4.tool_text import (
    MARK,
    QUOTE,
    format_call,
    format_declaration,
    format_response,
    parse_call_segments,
)


def with_quotes(notation):
    """The notation as readable text."""
    return notation.replace(MARK, QUOTE)


def parse_call(text):
    """Read ``call:NAME{...}`` in which strings stand between ``<|"|>``."""
    return parse_call_segments(text.split(QUOTE))


# Quotes cannot stand in a string of readable text; as token ids they can (see test_reply).
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).filter(
    lambda s: QUOTE not in s
)
keys = st.from_regex(r"[A-Za-z_][\w.-]{0,8}", fullmatch=True)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)
names = st.from_regex(r"[A-Za-z_][\w.:-]{0,12}", fullmatch=True)


@settings(deadline=None)
@given(names, st.dictionaries(keys, values, max_size=5))
def test_round_trip(name, arguments):
    assert parse_call(with_quotes(format_call(name, arguments))) == (name, arguments)


@settings(deadline=None)
@given(names, st.dictionaries(keys, values, max_size=4), st.data())
def test_cut_call_never_raises_and_keeps_its_name(name, arguments, data):
    text = with_quotes(format_call(name, arguments))
    start = len("call:") + len(name)
    found, _ = parse_call(text[: data.draw(st.integers(start, len(text)))])
    assert found == name


@settings(deadline=None)
@given(st.lists(st.text("{}[]:,\"'\\ab1.-\x00 \n"), max_size=6))
def test_garbage_gives_a_call_or_a_tool_error(segments):
    try:
        name, arguments = parse_call_segments(["call:f{", *segments])
    except ToolError:
        return
    assert name
    assert isinstance(arguments, dict)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("call:f{}", ("f", {})),
        ("f{a:1}", ("f", {"a": 1})),
        ("call:ns:my-tool.v2{a:1}", ("ns:my-tool.v2", {"a": 1})),
        ('call:f{a:<|"|>} ] , : {<|"|>,b:2}', ("f", {"a": "} ] , : {", "b": 2})),
        (
            "call:f{a:[[1,2],[3,[4]]],b:{c:{d:null}}}",
            ("f", {"a": [[1, 2], [3, [4]]], "b": {"c": {"d": None}}}),
        ),
        ("call:f{ a : true , b : False }", ("f", {"a": True, "b": False})),
        ("call:f{a:bare words,b:-1.5e3}", ("f", {"a": "bare words", "b": -1500.0})),
        ('call:f{a:"json, \\"style\\"",b:1}', ("f", {"a": 'json, "style"', "b": 1})),
        ('call:f{<|"|>key<|"|>:<|"|>v<|"|>}', ("f", {"key": "v"})),
        ('call:f{a:<|"|>cut off', ("f", {"a": "cut off"})),
        ("call:f", ("f", {})),
    ],
)
def test_what_models_write(text, expected):
    assert parse_call(text) == expected


@pytest.mark.parametrize(
    "text", ["", "call:", "{a:1}", "call:f{a:1 {b}", "call:f{:1}", "call:f{a:" + "[" * 5000]
)
def test_senseless_calls(text):
    with pytest.raises(ToolError):
        parse_call(text)


def test_responses():
    assert with_quotes(format_response("f", "hi")) == 'response:f{value:<|"|>hi<|"|>}'
    assert format_response("f", {"b": 1, "A": None}) == "response:f{A:null,b:1}"


def test_declaration_drops_foreign_keywords_and_always_closes():
    schema = {
        "properties": {
            "x": {"type": "integer", "minimum": 0, "default": 1, "format": "int32"},
            "y": {"anyOf": [{"type": "string"}]},
        }
    }
    assert with_quotes(format_declaration("f", "D", schema)) == (
        'declaration:f{description:<|"|>D<|"|>,parameters:{properties:{'
        'x:{type:<|"|>INTEGER<|"|>},y:{type:<|"|><|"|>}},type:<|"|>OBJECT<|"|>}}'
    )
