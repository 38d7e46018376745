"""The ear: a second, small model that writes speech down for one that cannot hear.

Both are held at once on the one MLX thread, so before anything is loaded the planner counts both:
weights and caches add up, the working memory of a step is needed once, because only one of them
computes at a time. Importing this module imports no MLX; `load_ear` runs on the MLX thread.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_gemma4 import hub, plan
from mlx_gemma4.errors import Gemma4Error

if TYPE_CHECKING:
    from app.engine.live_session import Transcriber

EAR_CONTEXT = 2048
"""Tokens an ear needs: 750 of a 30 s clip, the instruction, 400 of the transcript."""


class EarRefused(Exception):  # noqa: N818 - nothing went wrong, it is a verdict
    """There is no ear; the message is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Ear:
    """A loaded ear: its name and what it does."""

    label: str
    transcriber: Transcriber


def plan_with_ear(
    main: Path,
    ear: Path,
    *,
    context: int,
    image_budget: int = 280,
    kv_bits: int | None = None,
    ple_on_disk: plan.OnDisk = "off",
    machine: plan.Machine | None = None,
) -> plan.Plan:
    """Memory of a model and its ear held together.

    Args:
        main: folder of the model that answers.
        ear: folder of the model that hears.
        context: tokens of the main model's conversation.
        image_budget: soft tokens of its largest picture.
        kv_bits: how the main model keeps keys and values, see :func:`mlx_gemma4.plan.plan`.
        ple_on_disk: where the per-layer tables of both lie.
        machine: the machine to judge; the present one by default.

    Raises:
        Gemma4Error: one of them cannot be read.
    """
    machine = machine or plan.this_machine()
    first = plan.plan(
        main,
        context=context,
        image_budget=image_budget,
        kv_bits=kv_bits,
        ple_on_disk=ple_on_disk,
        machine=machine,
    )
    second = plan.plan(
        ear, context=EAR_CONTEXT, image_budget=70, ple_on_disk=ple_on_disk, machine=machine
    )
    both = plan.Plan(
        weights=first.weights + second.weights,
        kv=first.kv + second.kv,
        activations=max(first.activations, second.activations),
        prefill_peak=max(first.prefill_peak, second.prefill_peak),
        reserve=first.reserve,
        limit=machine.limit,
        verdict="fits",
        on_disk=first.on_disk + second.on_disk,
    )
    if both.total > machine.limit:
        advice = "There is not enough memory to hold a model that listens beside this one."
        return replace(both, verdict="wont", advice=(advice,))
    tight = both.total > plan.COMFORT * machine.limit
    return replace(both, verdict="tight" if tight else "fits")


def load_ear(
    main: Path,
    path: Path,
    context: int,
    prompt: str = "",
    *,
    kv_bits: int | None = None,
    ple_on_disk: plan.OnDisk = "auto",
) -> Ear:
    """Load the ear beside the main model, if both fit.

    Args:
        main: folder of the loaded model.
        path: folder of the ear.
        context: tokens of the main model's conversation.
        prompt: what it is asked to do with sound, "" to write it down.
        kv_bits: how the main model keeps keys and values.
        ple_on_disk: how the main model was loaded, and the ear will be.

    Raises:
        EarRefused: they do not fit together, or it is no model that hears.
    """
    from app.engine.live_session import Transcriber
    from mlx_gemma4 import load

    try:
        facts = hub.describe(path)
        if "audio" not in facts.inputs:
            raise EarRefused(f"{facts.label} cannot hear; choose E2B, E4B or 12B to listen.")
        both = plan_with_ear(main, path, context=context, kv_bits=kv_bits, ple_on_disk=ple_on_disk)
        if both.verdict == "wont":
            raise EarRefused(
                f"There is not enough memory for {facts.label} to listen beside this model; "
                "type your questions."
            )
        words = {"prompt": prompt} if prompt else {}
        return Ear(facts.label, Transcriber(*load(path, ple_on_disk=ple_on_disk), **words))
    except Gemma4Error as problem:
        raise EarRefused(f"“{path.name}” cannot be loaded to listen: {problem}") from problem
