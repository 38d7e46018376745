"""How the 12B sees: 48-pixel patches go through norms and one matrix, there is no tower.

Sound needs even less: raw frames of 640 samples go straight into `MultimodalProjector`.
"""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn

from mlx_gemma4.config import UnifiedVisionConfig

# torch's default LayerNorm epsilon; the config's rms_norm_eps is for the projector only.
_LAYER_NORM_EPS = 1e-5


class UnifiedVisionEmbedder(nn.Module):
    """Patches of one picture to features: `LN(LN(W · LN(pixels) + b) + column + row)`.

    Pixels stay in 0..1 (no mapping to -1..1 as in the tower models). Source: the reference's
    `Gemma4UnifiedVisionEmbedder`. `patch_dense` sums 6912 products: bfloat16 or float32 only,
    float16 overflows on high contrast.
    """

    def __init__(self, config: UnifiedVisionConfig) -> None:
        super().__init__()
        dims, wide = config.mm_embed_dim, 3 * config.model_patch_size**2
        self.config = config
        self.patch_ln1 = nn.LayerNorm(wide, eps=_LAYER_NORM_EPS)
        self.patch_dense = nn.Linear(wide, dims)
        self.patch_ln2 = nn.LayerNorm(dims, eps=_LAYER_NORM_EPS)
        self.pos_embedding = mx.zeros((config.mm_posemb_size, 2, dims))
        self.pos_norm = nn.LayerNorm(dims, eps=_LAYER_NORM_EPS)

    def __call__(self, patches: mx.array, positions: mx.array) -> mx.array:
        """Embed one unpadded picture.

        Args:
            patches: float32 [n, 6912], pixels in 0..1 as row, column, channel of a 48-pixel patch.
            positions: int [n, 2], (column, row) on the 48-pixel grid.

        Returns:
            Features [n, mm_embed_dim]; the projector `embed_vision` makes soft tokens of them.
        """
        where = mx.array(positions)
        x = self.patch_ln1(patches.astype(self.pos_embedding.dtype))
        x = self.patch_ln2(self.patch_dense(x))
        x = x + self.pos_embedding[where[:, 0], 0] + self.pos_embedding[where[:, 1], 1]
        return self.pos_norm(x)
