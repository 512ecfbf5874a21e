"""The loop around gradient training: epochs within a budget, and a loss that must stay finite.

It does not know what is trained: a model iterates over it and hands in each step's loss. What
training changes is told to it as ``Trained``, so that it can be put down and taken up again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from agenticrs.agents.agent import Budget
from agenticrs.agents.early_stopping import EarlyStopping
from agenticrs.platform.errors import AgentError

_WARM_UP = 0.05
_LAST_RATE = 0.1


class Resumable(Protocol):
    """A training that can be put down as flat tensors and taken up again."""

    def state(self) -> dict[str, Tensor]:
        """All that it changes."""
        ...

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Put everything back as ``state`` has it."""
        ...


@dataclass(frozen=True)
class Trained:
    """Everything that a training changes: weights by name, the optimiser's memory, random draws."""

    weights: Mapping[str, Tensor]
    optimizer: torch.optim.Optimizer | None
    """None where the optimiser's memory is among the weights."""
    generator: torch.Generator

    def state(self) -> dict[str, Tensor]:
        """All of it as flat tensors."""
        memory = self.optimizer.state_dict()["state"] if self.optimizer else {}
        return {
            "generator": self.generator.get_state(),
            **{f"weight.{name}": weight for name, weight in self.weights.items()},
            **{
                f"optimizer.{place}.{key}": value
                for place, values in memory.items()
                for key, value in values.items()
            },
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Put everything back as ``state`` has it."""
        self.generator.set_state(state["generator"])
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(state[f"weight.{name}"])
        if self.optimizer is None:
            return
        memory: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            if name.startswith("optimizer."):
                _, place, key = name.split(".", 2)
                memory.setdefault(int(place), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": memory, "param_groups": groups})


class TrainingLoop:
    """Epochs 0, 1, ... of one fit, as many as the budget allows (at least one).

    ``total`` is the number of epochs of the whole training, when neither time runs out nor
    ``stopping`` ends it; what falls or rises along the training goes by it. A budget of less effort
    pauses after its share of them. The budget's report and loss are told after every epoch. With
    ``trained`` and a checkpoint in the budget it begins where an interrupted or paused training
    ended.
    """

    def __init__(
        self,
        budget: Budget,
        epochs: int,
        trained: Resumable | None = None,
        stopping: EarlyStopping | None = None,
    ) -> None:
        self.total = epochs
        self._last = max(1, round(epochs * budget.effort))
        self._budget = budget
        self._trained = trained
        self._stopping = stopping
        self._checkpoint = budget.checkpoint if trained else None
        self._losses: list[Tensor] = []
        self._curve: list[float] = []

    def __iter__(self) -> Iterator[int]:
        """Yield epoch numbers until all are done or the seconds are used up."""
        first, spent = self._resume()
        begin = time.monotonic() - spent
        for epoch in range(first, self._last):
            self._losses = []
            yield epoch
            loss = self._mean_loss()
            self._curve.append(loss)
            self._budget.loss(loss)
            text = f"epoch {epoch + 1} of {self.total}, loss {loss:.4f}"
            stop = self._stopping is not None and self._stopping.should_stop()
            done = 1.0 if stop else (epoch + 1) / self._last
            self._budget.report(done, text + (", no better: stopped" if stop else ""))
            spent = time.monotonic() - begin
            over = stop or spent >= self._budget.seconds
            if self._budget.effort < 1 and (stop or epoch + 1 == self._last):
                self._save(self.total if stop else epoch + 1, spent)
            elif not over and self._checkpoint is not None and self._checkpoint.due():
                self._save(epoch + 1, spent)
            if over:
                break
        if self._stopping is not None:
            self._stopping.restore_best()

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

    def note(self, loss: Tensor) -> None:
        """Count a step that the model went by itself; at the epoch's end it must be finite."""
        self._losses.append(loss)

    def _mean_loss(self) -> float:
        if not self._losses:
            return 0.0
        mean = torch.stack(self._losses).mean()
        if not bool(torch.isfinite(mean)):
            raise diverged(mean)
        return float(mean)

    def _resume(self) -> tuple[int, float]:
        """The epoch to begin with, and the seconds that earlier ones took."""
        state = self._checkpoint.load() if self._checkpoint else None
        if state is None or self._trained is None:
            return 0, 0.0
        self._trained.load(state)
        if self._stopping is not None:
            known = {n.removeprefix("stopping."): t for n, t in state.items()}
            self._stopping.load(known)
        epoch, spent = state["progress"].tolist()
        self._curve = state.get("curve", torch.zeros(0)).tolist()
        for loss in self._curve:
            self._budget.loss(loss)
        share = min(1.0, epoch / self._last)
        self._budget.report(share, f"goes on after epoch {epoch:.0f} of {self.total}")
        return int(epoch), spent

    def _save(self, epochs: int, spent: float) -> None:
        """Put everything down after so many epochs."""
        if self._checkpoint is None or self._trained is None:
            return
        state = self._trained.state()
        state["progress"] = torch.tensor([epochs, spent], dtype=torch.float64)
        state["curve"] = torch.tensor(self._curve, dtype=torch.float64)
        if self._stopping is not None:
            state |= {f"stopping.{name}": t for name, t in self._stopping.state().items()}
        self._checkpoint.save(state)


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


def linear(done: float) -> float:
    """Like ``cosine``, but that it falls along a line."""
    if done < _WARM_UP:
        return done / _WARM_UP
    return _LAST_RATE + (1 - _LAST_RATE) * (1 - done) / (1 - _WARM_UP)
