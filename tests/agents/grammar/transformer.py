"""A reference written by hand: a causal transformer with learned positions and tied vectors.

Sequences are left-aligned and padded on the right: with a causal mask no real place ever sees a
pad, so no padding mask is needed. Positions count from the end, so that the newest item always
has the same one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_FEED_FORWARD = 2
"""Width of the hidden feed-forward layer in embedding sizes."""


class Transformer(nn.Module):
    """Item sequences in, one vector for each place out."""

    def __init__(self, n_items: int, length: int, size: int, layers: int, heads: int) -> None:
        super().__init__()
        self.items = nn.Parameter(torch.empty(n_items, size))
        self.positions = nn.Parameter(torch.empty(length, size))
        self.blocks = nn.ModuleList(_Block(size, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(size)
        self.length = length

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all weights; residual branches start small."""
        for name, weight in self.named_parameters():
            if name in ("items", "positions"):
                nn.init.normal_(weight, std=weight.shape[1] ** -0.5, generator=generator)
            elif weight.dim() == 2:
                nn.init.xavier_normal_(weight, gain=0.5, generator=generator)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Vectors (B, T, size) for ``items`` (B, T), of which the first ``lengths`` (B,) are real.

        The vector at a place depends on the items up to that place only.
        """
        place = torch.arange(items.shape[1], device=items.device)
        position = (self.length - lengths[:, None] + place).clamp(0, self.length - 1)
        scale = self.items.shape[1] ** 0.5
        x = functional.embedding(items.clamp(min=0), self.items) * scale
        x = x + functional.embedding(position, self.positions)
        for block in self.blocks:
            x = block(x)
        normed: Tensor = self.norm(x)
        return normed


class _Block(nn.Module):
    """Self-attention and a feed-forward layer, each behind a norm and added to its input."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(size)
        self.query_key_value = nn.Linear(size, 3 * size)
        self.mix = nn.Linear(size, size)
        self.norm_feed = nn.LayerNorm(size)
        self.widen = nn.Linear(size, _FEED_FORWARD * size)
        self.narrow = nn.Linear(_FEED_FORWARD * size, size)

    def forward(self, x: Tensor) -> Tensor:
        n, places, size = x.shape
        joint = self.query_key_value(self.norm_attention(x))
        query, key, value = joint.view(n, places, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        mixed = self.mix(seen.transpose(1, 2).reshape(n, places, size))
        x = x + mixed
        fed = self.narrow(functional.gelu(self.widen(self.norm_feed(x))))
        fed_in: Tensor = x + fed
        return fed_in
