"""The optimisers and schedules that a document may name (``training``), as torch has them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from agenticrs.agents.grammar.training import Schedule, Training
from agenticrs.agents.training_loop import cosine, linear

EPSILON = 1e-8
"""What AdamW adds to the root that it divides by, here and where models are stacked."""
_MOMENTUM = 0.9


class Descent:
    """One training's way down the gradient; ``learning_rate`` and ``decay`` are the settings'."""

    def __init__(
        self,
        training: Training,
        weights: Iterable[nn.Parameter],
        learning_rate: float,
        decay: float,
    ) -> None:
        self._rate = learning_rate * training.rate
        self._schedule = training.schedule or "constant"
        self.optimizer = _optimizer(training, weights, self._rate, decay)

    def at(self, done: float) -> None:
        """Set the rate for a step that ends when a share ``done`` in (0, 1] of all is done."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate * share_of_rate(self._schedule, done)


def share_of_rate(schedule: Schedule, done: float) -> float:
    """Factor on the rate when a share ``done`` in (0, 1] of all steps is done."""
    if schedule == "constant":
        return 1.0
    if schedule == "step":
        return 1.0 if done <= 0.5 else 1 / 3 if done <= 0.75 else 0.1
    return cosine(done) if schedule == "cosine" else linear(done)


def _optimizer(
    training: Training, weights: Iterable[nn.Parameter], rate: float, decay: float
) -> torch.optim.Optimizer:
    if training.optimizer == "adamw":
        return torch.optim.AdamW(weights, lr=rate, weight_decay=decay, eps=EPSILON, fused=True)
    if training.optimizer == "adam":
        return torch.optim.Adam(weights, lr=rate, weight_decay=decay, fused=True)
    if training.optimizer == "sgd":
        return torch.optim.SGD(weights, lr=rate, momentum=_MOMENTUM, weight_decay=decay)
    return torch.optim.Adagrad(weights, lr=rate, weight_decay=decay)
