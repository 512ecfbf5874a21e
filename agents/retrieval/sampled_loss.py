"""Losses over items that were drawn, without ever holding all logits.

As with the softmax over the whole catalogue, the logits of n positions by the items drawn exist for
a few positions at a time, and the gradient is computed while they do: from one product of matrices
follow the loss and both gradients, with no other pass over the logits than these.

What a loss makes of the logits is one function for each, ``(right (m, 1), wrong (m, N)) -> (losses'
sum, slopes of right (m, 1), slopes of wrong (m, N))``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

Kind = Literal["sampled", "bce", "gbce", "bpr"]
Judge = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
_CELLS_AT_ONCE = 500_000
"""Logits in memory at a time: small enough to stay in cache between the passes over them."""
_FEWEST_ROWS = 64
_SMALLEST = 1e-35
"""Probabilities below this count as this, so that one hopeless place gives no infinite loss."""


def sampled_loss(
    kind: Kind,
    hidden: Tensor,
    table: Tensor,
    target: Tensor,
    drawn: Tensor,
    *,
    chances: Tensor | None = None,
    calibration: float = 0.0,
    bfloat16: bool = False,
) -> Tensor:
    """The mean loss of n places against the same ``drawn`` (N,) items, their own target left out.

    Shapes: ``hidden`` (n, d), ``table`` (n_items, d), ``target`` (n,). ``chances`` (N,) are how
    likely one draw was each of the items, for which ``sampled`` makes up; None: all alike. With
    ``bfloat16`` the logits of what was drawn are bfloat16; sums, and the targets' own logits, stay
    in float32.
    """
    n = max(1, len(drawn))
    if kind == "sampled" and chances is not None:
        judge: Judge = partial(_corrected, expected=(n * chances).log())
    else:
        judge = _judge(kind, n, len(table), calibration)
    loss: Tensor = _SampledLoss.apply(hidden, table, target, drawn, judge, bfloat16)  # type: ignore[no-untyped-call]
    return loss


class _SampledLoss(torch.autograd.Function):
    """Computes loss and gradients together, chunk by chunk."""

    @staticmethod
    def forward(
        context: Any,
        hidden: Tensor,
        table: Tensor,
        target: Tensor,
        drawn: Tensor,
        judge: Judge,
        bfloat16: bool,
    ) -> Tensor:
        dtype = torch.bfloat16 if bfloat16 else torch.float32
        others, goals = table[drawn], functional.embedding(target, table)
        low, low_others = hidden.to(dtype), others.to(dtype)
        right = (hidden * goals).sum(1, keepdim=True)
        among = torch.zeros(len(table), dtype=torch.bool, device=table.device)
        among[drawn] = True
        hidden_gradient, others_gradient = torch.empty_like(hidden), torch.zeros_like(others)
        slope_right = torch.empty_like(right)
        total = hidden.new_zeros(())
        size = max(_FEWEST_ROWS, _CELLS_AT_ONCE // max(1, len(drawn)))
        for start in range(0, len(hidden), size):
            rows = slice(start, start + size)
            wrong = low[rows] @ low_others.T
            same = among[target[rows]].nonzero()[:, 0]
            own = drawn == target[rows][same, None]
            wrong[same] = wrong[same].masked_fill_(own, -torch.inf)
            loss, slope_right[rows], slope = judge(right[rows], wrong)
            total += loss
            hidden_gradient[rows] = slope @ low_others
            others_gradient += slope.T @ low[rows]
        hidden_gradient.addcmul_(slope_right, goals)
        table_gradient = torch.zeros_like(table)
        table_gradient.index_add_(0, target, slope_right * hidden)
        table_gradient.index_add_(0, drawn, others_gradient)
        n = max(1, len(hidden))
        context.save_for_backward(hidden_gradient.div_(n), table_gradient.div_(n))
        return total / n

    @staticmethod
    @once_differentiable
    def backward(context: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        hidden_gradient, table_gradient = context.saved_tensors
        return hidden_gradient * upstream, table_gradient * upstream, None, None, None, None


def _judge(kind: Kind, negatives: int, n_items: int, calibration: float) -> Judge:
    if kind == "sampled":
        return partial(_softmax, raised=math.log(n_items / negatives))
    if kind == "bpr":
        return partial(_pairs, weight=1 / negatives)
    if kind == "bce":
        return partial(_binary, power=1.0, weight=1 / negatives)
    return partial(_binary, power=_power(negatives, n_items, calibration), weight=1.0)


def _softmax(right: Tensor, wrong: Tensor, raised: float) -> tuple[Tensor, Tensor, Tensor]:
    share = torch.cat([(right - raised).to(wrong.dtype), wrong], 1).softmax(1)
    own = share[:, :1].to(right.dtype)
    return -own.clamp(min=_SMALLEST).log().sum(), own - 1, share[:, 1:]


def _corrected(right: Tensor, wrong: Tensor, expected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return _softmax(right, wrong - expected.to(wrong.dtype), 0.0)


def _binary(
    right: Tensor, wrong: Tensor, power: float, weight: float
) -> tuple[Tensor, Tensor, Tensor]:
    loss = power * functional.softplus(-right).sum()
    loss = loss + weight * functional.softplus(wrong).sum(dtype=right.dtype)
    return loss, -power * torch.sigmoid(-right), torch.sigmoid(wrong).mul_(weight)


def _pairs(right: Tensor, wrong: Tensor, weight: float) -> tuple[Tensor, Tensor, Tensor]:
    ahead = wrong - right.to(wrong.dtype)
    loss = weight * functional.softplus(ahead).sum(dtype=right.dtype)
    slope = torch.sigmoid(ahead).mul_(weight)
    return loss, -slope.sum(1, keepdim=True, dtype=right.dtype), slope


def _power(negatives: int, n_items: int, calibration: float) -> float:
    """GBCE's beta: between 1 (no calibration) and the sampling rate (full calibration)."""
    rate = negatives / max(1, n_items - 1)
    return rate * (calibration * (1 - 1 / rate) + 1 / rate)
