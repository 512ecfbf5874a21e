"""Cross-entropy over the whole catalogue without ever holding all logits.

The logits of n positions by n_items would be gigabytes. Here they exist for a few positions at a
time, and the gradient is computed while they do, so that nothing is kept or computed twice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_CELLS_AT_ONCE = 500_000
"""Logits in memory at a time: small enough to stay in cache between the passes over them."""
_FEWEST_ROWS = 64
"""Places at a time at least, however large the catalogue: products of fewer rows are slow."""
_SMALLEST = 1e-35
"""Probabilities below this count as this, so that one hopeless place gives no infinite loss."""


def softmax_loss(
    hidden: Tensor, table: Tensor, target: Tensor, *, bfloat16: bool = False
) -> Tensor:
    """Mean of -log softmax(hidden @ table.T)[target].

    Shapes: ``hidden`` (n, d), ``table`` (n_items, d), ``target`` (n,) int64. With ``bfloat16``
    logits and probabilities are bfloat16; sums, and all that is said of the targets themselves,
    stay in float32.
    """
    loss: Tensor = _SoftmaxLoss.apply(hidden, table, target, bfloat16)  # type: ignore[no-untyped-call]
    return loss


class _SoftmaxLoss(torch.autograd.Function):
    """Computes loss and gradients together, chunk by chunk."""

    @staticmethod
    def forward(
        context: Any, hidden: Tensor, table: Tensor, target: Tensor, bfloat16: bool
    ) -> Tensor:
        dtype = torch.bfloat16 if bfloat16 else torch.float32
        low, low_table = hidden.to(dtype), table.to(dtype)
        # The gradient is that of the expected item less that of the target.
        hidden_gradient = -table[target]
        table_gradient = torch.zeros_like(table).index_add_(0, target, hidden, alpha=-1)
        total = hidden.new_zeros(())
        size = max(_FEWEST_ROWS, _CELLS_AT_ONCE // len(table))
        for start in range(0, len(hidden), size):
            part, goal = low[start : start + size], target[start : start + size, None]
            probability = (part @ low_table.T).softmax(1)
            right = probability.gather(1, goal).to(torch.float32)
            total -= right.clamp(min=_SMALLEST).log().sum()
            hidden_gradient[start : start + size] += probability @ low_table
            table_gradient += (part.T @ probability).T
        n = max(1, len(hidden))
        context.save_for_backward(hidden_gradient.div_(n), table_gradient.div_(n))
        return total / n

    @staticmethod
    @once_differentiable
    def backward(context: Any, upstream: Tensor) -> tuple[Tensor, Tensor, None, None]:
        hidden_gradient, table_gradient = context.saved_tensors
        return hidden_gradient * upstream, table_gradient * upstream, None, None
