"""What one forward pass shares between its layers: plan, angles, and how chains are computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlx_gemma4.fusion import Fusion
from mlx_gemma4.masks import StepPlan
from mlx_gemma4.rope import Turns


@dataclass(frozen=True)
class Step:
    """Made once per pass.

    Attributes:
        plan: bands of the query rows wanted.
        turns: angles of all rows that enter a layer, by kind of layer.
        fusion: how chains are computed.
    """

    plan: StepPlan
    turns: Mapping[str, Turns]
    fusion: Fusion

    @property
    def rows(self) -> int:
        """Query rows wanted, the last of those that enter."""
        return self.plan.rows
