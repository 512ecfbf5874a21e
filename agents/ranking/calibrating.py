"""Logits made into chances: a slope and an offset, fitted to what came true (Platt 1999)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_NEWTON_STEPS = 50
_HALVINGS = 30
_LEAST = 1e-9


def platt(logits: Tensor, truth: Tensor) -> Tensor:
    """Slope and offset (2,) of the logistic regression of 0/1 ``truth`` (n,) on ``logits`` (n,).

    With Platt's smoothed targets; slope 1 and offset 0 where there is nothing to learn from.
    """
    positives, n = float(truth.sum()), len(truth)
    if not 0 < positives < n:
        return torch.tensor([1.0, 0.0], device=logits.device)
    high, low = (positives + 1) / (positives + 2), 1 / (n - positives + 2)
    return logistic(logits, torch.where(truth > 0.5, high, low))


def logistic(logits: Tensor, target: Tensor) -> Tensor:
    """Slope and offset (2,) of the regression of ``target`` in [0, 1] on ``logits``, both (n,).

    Newton's method. It begins where the logits say nothing, and a step that raises the loss is
    halved: from large logits whole steps run away (Lin, Lin & Weng 2007, A note on Platt's
    probabilistic outputs).
    """
    target = target.to(torch.float64)
    share = float(target.mean().clamp(_LEAST, 1 - _LEAST))
    prior = math.log(share / (1 - share))
    both = torch.tensor([0.0, prior], dtype=torch.float64, device=logits.device)
    columns = torch.stack([logits.to(torch.float64), torch.ones_like(target)], 1)

    def loss(at: Tensor) -> float:
        margin = columns @ at
        return float((functional.softplus(margin) - target * margin).sum())

    for _ in range(_NEWTON_STEPS):
        probability = torch.sigmoid(columns @ both)
        gradient = columns.T @ (probability - target)
        weight = probability * (1 - probability)
        curvature = columns.T @ (columns * weight[:, None])
        curvature.diagonal().add_(1e-9)
        step, before = torch.linalg.solve(curvature, gradient), loss(both)
        for _ in range(_HALVINGS):
            if loss(both - step) <= before:
                both = both - step
                break
            step = step / 2
        else:
            break
    return both.to(torch.float32)
