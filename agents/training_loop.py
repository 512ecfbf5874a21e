"""The loop around gradient training: epochs within a budget, and a loss that must stay finite.

It does not know what is trained: a model iterates over it and hands in each step's loss.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from agenticrs.agents.agent import Budget
from agenticrs.platform.errors import AgentError

_WARM_UP = 0.05
_LAST_RATE = 0.1


class TrainingLoop:
    """Epochs 0, 1, ... of one fit, as many as the budget allows (at least one).

    ``total`` is the number of epochs when time does not run out. The budget's report is told
    after every epoch.
    """

    def __init__(self, budget: Budget, epochs: int) -> None:
        self.total = max(1, round(epochs * budget.effort))
        self._budget = budget
        self._losses: list[Tensor] = []

    def __iter__(self) -> Iterator[int]:
        """Yield epoch numbers until all are done or the seconds are used up."""
        end = time.monotonic() + self._budget.seconds
        for epoch in range(self.total):
            self._losses = []
            yield epoch
            loss = float(torch.stack(self._losses).mean()) if self._losses else 0.0
            text = f"epoch {epoch + 1} of {self.total}, loss {loss:.4f}"
            self._budget.report((epoch + 1) / self.total, text)
            if time.monotonic() >= end:
                return

    @staticmethod
    def batches(n: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
        """The numbers 0 .. n - 1 in random order, ``size`` at a time, on the generator's device."""
        order = torch.randperm(n, generator=generator, device=generator.device)
        for start in range(0, n, size):
            yield order[start : start + size]

    def step(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Go one step down the gradient; AgentError when the loss is NaN or infinite."""
        if not bool(torch.isfinite(loss)):
            raise diverged(loss)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        self._losses.append(loss.detach())


def diverged(loss: Tensor) -> AgentError:
    """The error for a loss that is no number."""
    return AgentError(
        f"training diverged: the loss is {loss.item()}",
        hint="lower the learning rate or raise the regularisation",
    )


def cosine(done: float) -> float:
    """Factor on the learning rate when a share ``done`` in (0, 1] of all steps is done.

    It rises along the first twentieth and falls along a cosine to a tenth.
    """
    if done < _WARM_UP:
        return done / _WARM_UP
    wave = 0.5 * (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP)))
    return _LAST_RATE + (1 - _LAST_RATE) * wave
