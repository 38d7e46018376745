"""Whether llguidance can hold an answer to a JSON schema; needs no model and no MLX."""

from __future__ import annotations

MAX_SCHEMA_CHARACTERS = 200_000


def schema_problem(schema: str) -> str:
    """Why not, in one sentence; empty where it can."""
    from llguidance import LLMatcher

    if len(schema) > MAX_SCHEMA_CHARACTERS:
        return f"The schema is longer than {MAX_SCHEMA_CHARACTERS:,} characters; use a smaller one."
    try:
        said = LLMatcher.validate_grammar(LLMatcher.grammar_from_json_schema(schema))
    except ValueError as problem:
        said = str(problem)
    reason = " ".join(said.split())[:200]
    return f"Answers cannot be held to this schema: {reason}." if reason else ""
