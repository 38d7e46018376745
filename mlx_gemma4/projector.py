"""The bridge from an encoder's width to the language model's: one scale-free norm, one matrix.

Knows nothing of pictures or sound; both towers and the 12B raw embedders end here.
"""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn


class MultimodalProjector(nn.Module):
    """Maps encoder features to soft tokens: `W · RMS(x)`, the norm first and without a weight.

    Source: `Gemma4MultimodalEmbedder` of the reference. Norm-then-linear also holds for sound,
    where Google's JAX code is written the other way round.
    """

    def __init__(self, input_dims: int, hidden_size: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.embedding_projection = nn.Linear(input_dims, hidden_size, bias=False)
        self._eps = eps

    def __call__(self, x: mx.array) -> mx.array:
        """Project features [n, input_dims] to soft tokens [n, hidden_size]."""
        return self.embedding_projection(mx.fast.rms_norm(x, None, self._eps))
