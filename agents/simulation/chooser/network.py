"""Which of the offered items fits a history: attention from each offered item to what was taken.

    logit(c) = s e_c . r_c + w . gelu(W [e_c * r_c, e_c * last, e_c * mean]) + b_c + p popularity_c

with e the items' vectors, r_c what offered item c reads from the history by attention (with a bias
for how long ago), last and mean the newest item and the mean of the history. Users have no weights
of their own, so that a user nobody has seen is asked like all others.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_SHARPNESS = 4.0


class ChoiceNetwork(nn.Module):
    """Logits for offered items. ``popularity`` (n_items,) is standardised."""

    popularity: Tensor

    def __init__(self, n_items: int, size: int, hidden: int, history: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.zeros(n_items, size))
        self.bias = nn.Parameter(torch.zeros(n_items))
        self.query = nn.Parameter(torch.zeros(size, size))
        self.ago = nn.Parameter(torch.zeros(history))
        self.inner = nn.Parameter(torch.zeros(hidden, 3 * size))
        self.outer = nn.Parameter(torch.zeros(hidden))
        self.scales = nn.Parameter(torch.tensor([_SHARPNESS, 0.0]))
        self.register_buffer("popularity", torch.zeros(n_items))

    def initialise(self, vectors: Tensor, counts: Tensor, generator: torch.Generator) -> None:
        """Begin with items' vectors (n_items, d), d at most the size, and how often each was taken.

        What is missing of the vectors is noise; attention begins as likeness.
        """
        size = self.vectors.shape[1]
        grown = torch.log1p(counts.to(torch.float32))
        with torch.no_grad():
            self.vectors.normal_(0, 0.01, generator=generator)
            self.vectors[:, : vectors.shape[1]] += vectors
            self.query.copy_(_SHARPNESS * torch.eye(size))
            self.inner.normal_(0, (3 * size) ** -0.5, generator=generator)
            self.outer.normal_(0, 0.01, generator=generator)
            self.popularity.copy_((grown - grown.mean()) / (grown.std() + 1e-6))

    def forward(self, past: Tensor, offered: Tensor) -> Tensor:
        """Logits (B, N) of ``offered`` (B, N), -inf at pads (-1).

        ``past`` (B, history) are the newest items, the newest last, -1 pads on the left.
        """
        had, there = self._vectors(past), past >= 0
        ours = self._vectors(offered)
        ago = self.ago.masked_fill(~there, -torch.inf)
        nobody = ~there.any(1)
        # A row of nothing but -inf would be NaN, and its gradient too.
        ago = torch.where(nobody[:, None], 0.0, ago)
        fit = (ours @ self.query) @ had.transpose(1, 2) + ago[:, None]
        read = fit.softmax(2) @ had
        mean = had.sum(1, keepdim=True) / there.sum(1).clamp(min=1)[:, None, None]
        parts = torch.cat([ours * read, ours * had[:, -1:], ours * mean], 2)
        deep = functional.gelu(parts @ self.inner.t()) @ self.outer
        known = offered.clamp(min=0)
        beside = self.bias[known] + self.scales[1] * self.popularity[known]
        logits = self.scales[0] * (ours * read).sum(2) + deep + beside
        return logits.masked_fill(offered < 0, -torch.inf)

    def _vectors(self, items: Tensor) -> Tensor:
        return functional.embedding(items.clamp(min=0), self.vectors) * (items >= 0)[..., None]
