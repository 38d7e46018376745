"""Answers that need no loaded model: plans, what a file is, which checkpoints are here.

Runs on the question thread and never imports MLX, so it answers while a job decodes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from app.core import commands
from app.core.commands import Query
from app.core.conversation import ToolCall, ToolResult
from app.core.events import (
    Answer,
    Capabilities,
    Fit,
    LocalModels,
    ModelInfo,
    Planned,
    PlanResult,
    SchemaChecked,
    TokensCounted,
)
from app.core.known_models import known_model
from app.core.paths import demo_model_dir
from app.engine.file_looker import FileLooker
from app.engine.live_ear import plan_with_ear
from app.engine.schema_check import schema_problem
from mlx_gemma4 import hub, plan
from mlx_gemma4.errors import Gemma4Error
from mlx_gemma4.published import published_config

# Roughly four characters a token: the estimate while no tokenizer is loaded.
CHARACTERS_PER_TOKEN = 4
TURN_TOKENS = 4
MEDIA_TOKENS = 280


def answer(query: Query, looker: FileLooker) -> Answer:
    """The answer to any question, as far as it needs no loaded model."""
    match query:
        case commands.Plan():
            return plan_for(query)
        case commands.Describe():
            return looker.describe(query)
        case commands.ListLocal():
            return LocalModels(query.query_id, tuple(local_models(query.folders)))
        case commands.CountTokens():
            return estimate(query)
        case commands.CheckSchema():
            return SchemaChecked(query.query_id, schema_problem(query.schema))


def plan_for(query: commands.Plan) -> Planned:
    """Would it run? From the table's entry or from the folder's own headers."""
    known = known_model(query.source)
    asked = partial(
        plan.plan if not query.ear else plan_with_ear,
        context=query.memory.context_tokens,
        image_budget=query.image_budget,
        kv_bits=query.memory.kv_bits or None,
        ple_on_disk=query.memory.table_on_disk,
    )
    try:
        if query.ear:
            result = asked(Path(query.source), Path(query.ear))
        elif known is not None:
            result = asked(published_config(known.architecture), quant=known.quant)
        else:
            result = asked(Path(query.source))
    except (Gemma4Error, ValueError, KeyError) as problem:
        return Planned(query.query_id, query.source, None, str(problem))
    return Planned(query.query_id, query.source, _plan_result(result))


def _plan_result(result: plan.Plan) -> PlanResult:
    return PlanResult(
        fit=Fit(result.verdict),
        weights=result.weights,
        kv_cache=result.kv,
        activations=result.activations,
        prefill_peak=result.prefill_peak,
        reserve=result.reserve,
        total=result.total,
        available=result.limit,
        advice=" ".join(result.advice),
        on_disk=result.on_disk,
    )


def local_models(folders: tuple[str, ...]) -> list[ModelInfo]:
    """The demo model and every Gemma 4 checkpoint on this machine."""
    found = [model_info(checkpoint) for checkpoint in hub.local_checkpoints(folders)]
    demo = demo_model_dir()
    if (demo / "config.json").is_file():
        found.append(model_info(hub.describe(demo, source="demo")))
    return found


def model_info(checkpoint: hub.Checkpoint) -> ModelInfo:
    """A checkpoint in the app's words."""
    return ModelInfo(
        path=str(checkpoint.path),
        label=checkpoint.label,
        architecture=checkpoint.architecture,
        quantisation=checkpoint.quantisation,
        size=checkpoint.size,
        context_tokens=checkpoint.context,
        capabilities=Capabilities(
            image="image" in checkpoint.inputs,
            audio="audio" in checkpoint.inputs,
            video="video" in checkpoint.inputs,
            tools=checkpoint.tools,
            chat=checkpoint.chat,
        ),
        source=checkpoint.source,
        repo=checkpoint.repo,
        problem=checkpoint.problem,
    )


def written(part: commands.PromptPart) -> str:
    """What a part adds to the prompt in words; empty for media."""
    match part:
        case commands.PromptText():
            return part.text
        case ToolCall():
            return f"{part.name} {part.arguments}"
        case ToolResult():
            return f"{part.name} {part.content}"
    return ""


def estimate_text(texts: list[str]) -> int:
    """Rough tokens of the words alone."""
    return sum(-(-len(text) // CHARACTERS_PER_TOKEN) for text in texts)


def estimate(query: commands.CountTokens, context: int = 0) -> TokensCounted:
    """A rough count by characters, marked as not exact."""
    counts = []
    for message in query.messages:
        tokens = TURN_TOKENS
        for part in message.parts:
            if isinstance(part, commands.PromptMedia):
                tokens += part.detail.budget or MEDIA_TOKENS
            else:
                tokens += -(-len(written(part)) // CHARACTERS_PER_TOKEN)
        counts.append(tokens)
    return TokensCounted(query.query_id, sum(counts), context, False, tuple(counts))
