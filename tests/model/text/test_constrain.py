"""A random model, held to a schema, always says something valid."""

import json
import re

import pytest

from mlx_gemma4.constrain import AnswerGate, Constraint
from mlx_gemma4.errors import ToolError
from mlx_gemma4.generate import GenerateOptions, generate
from mlx_gemma4.sampling import SamplingOptions

SCHEMA = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", "minimum": 0, "maximum": 99},
        "kind": {"enum": ["cat", "dog"]},
        "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2},
    },
    "required": ["n", "kind", "tags"],
    "additionalProperties": False,
}
ASK = "<bos><|turn>user\nhello<turn|>\n<|turn>model\n"


def answer(model_and_processor, inputs, constraint, seed, **options):
    sampling = SamplingOptions(seed=seed, top_k=0, top_p=1.0, temperature=2.0)
    made = GenerateOptions(max_tokens=150, sampling=sampling, constraint=constraint, **options)
    return generate(*model_and_processor, inputs, made)


@pytest.mark.parametrize("seed", range(3))
def test_answer_follows_the_schema(edge, prompt, seed):
    reply = answer(edge, prompt(ASK), Constraint.json_schema(SCHEMA), seed)
    assert reply.reason == "stop"
    value = json.loads(reply.text)
    assert set(value) == {"n", "kind", "tags"}
    assert 0 <= value["n"] <= 99
    assert value["kind"] in ("cat", "dog")
    assert len(value["tags"]) <= 2


def test_regex_and_lark(edge, prompt):
    reply = answer(edge, prompt(ASK), Constraint.regex(r"[ab]{3}-[0-9]{1,2}!"), 1)
    assert re.fullmatch(r"[ab]{3}-[0-9]{1,2}!", reply.text)
    reply = answer(edge, prompt(ASK), Constraint.lark('start: "yes" | "no" " "? "thanks"'), 2)
    assert reply.text in ("yes", "nothanks", "no thanks")


def test_greedy_and_penalised_answers_too(edge, prompt):
    sampling = SamplingOptions(greedy=True, repetition_penalty=1.2)
    options = GenerateOptions(
        max_tokens=60, sampling=sampling, constraint=Constraint.regex(r"[xyz]{4}")
    )
    assert re.fullmatch(r"[xyz]{4}", generate(*edge, prompt(ASK), options).text)


def gate(tokenizer, prompt_text, constraint, prompt):
    matcher = constraint.matcher(tokenizer)
    return AnswerGate(matcher, tokenizer, prompt(prompt_text).ids, tokenizer.vocab_size + 10)


def allowed_ids(mask) -> set[int]:
    return {i for i, ok in enumerate(mask.tolist()) if ok}


def test_thoughts_and_calls_are_free_and_only_before_the_answer(tokenizer, prompt):
    system = "<bos><|turn>system\n<|think|>\n<|tool>declaration:f{}<tool|><turn|>\n"
    held = gate(tokenizer, system, Constraint.regex("ab"), prompt)
    a, b = tokenizer.encode("a")[0], tokenizer.encode("b")[0]
    think, call = tokenizer.special("channel"), tokenizer.special("tool_call")
    assert held.allowed("thought") is None
    assert held.allowed("tool") is None
    assert allowed_ids(held.allowed("answer")) == {a, think, call}
    held.feed(think, "answer")
    held.feed(b, "thought")
    held.feed(call, "answer")
    assert tokenizer.special("tool_response") in allowed_ids(held.allowed("answer"))
    held.feed(a, "answer")
    assert allowed_ids(held.allowed("answer")) == {b}
    held.feed(b, "answer")
    ends = {tokenizer.special("turn_end"), tokenizer.special("eos")}
    assert allowed_ids(held.allowed("answer")) == ends


def test_without_thinking_and_tools_the_first_token_is_held(tokenizer, prompt):
    held = gate(tokenizer, ASK, Constraint.regex("ab"), prompt)
    assert allowed_ids(held.allowed("answer")) == set(tokenizer.encode("a"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Constraint.json_schema({"type": "nonsense"}),
        lambda: Constraint.json_schema({"$ref": "http://example.invalid/schema"}),
        lambda: Constraint.json_schema("{not json"),
        lambda: Constraint.json_schema("[]"),
        lambda: Constraint.json_schema({"description": "x" * 1_000_001}),
        lambda: Constraint.regex("(["),
        lambda: Constraint.lark("start: missing_rule"),
    ],
)
def test_refused_constraints(tokenizer, make):
    with pytest.raises(ToolError):
        make().matcher(tokenizer)


def test_bad_constraint_stops_before_the_prompt_is_run(edge, prompt, monkeypatch):
    monkeypatch.setattr(type(edge[0]), "embed", lambda *_: pytest.fail("the prompt was run"))
    with pytest.raises(ToolError):
        generate(*edge, prompt(ASK), GenerateOptions(constraint=Constraint.regex("([")))
