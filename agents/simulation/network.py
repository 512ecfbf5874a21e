"""A small network that answers several questions at once, with chances that mean what they say."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from agenticrs.agents.simulation.descent import minimise

_HIDDEN = 32
_BATCH = 1024
_RATE = 4e-3
_STEPS = 1_600
_LEAST_EPOCHS, _MOST_EPOCHS = 4, 60
_PENALTY = 1e-3


@dataclass(frozen=True)
class Tasks:
    """Rows (n, F), the level of each (-1: none) out of ``n_levels``, and yes-or-no's (n, Q)."""

    rows: Tensor
    level: Tensor
    n_levels: int
    wanted: Tensor

    @property
    def n_outputs(self) -> int:
        """A logit for each level, and one for each yes-or-no."""
        return self.n_levels + self.wanted.shape[1]

    def loss(self, outputs: Tensor, chosen: Tensor | slice = slice(None)) -> Tensor:
        """Mean negative log-likelihood of the rows chosen, summed over what is asked."""
        level, wanted = self.level[chosen], self.wanted[chosen]
        total = outputs.new_zeros(())
        if self.n_levels and bool((level >= 0).any()):
            total = total + functional.cross_entropy(
                outputs[:, : self.n_levels], level, ignore_index=-1
            )
        for place in range(wanted.shape[1]):
            total = total + functional.binary_cross_entropy_with_logits(
                outputs[:, self.n_levels + place], wanted[:, place]
            )
        return total


@dataclass(frozen=True)
class Network:
    """One hidden layer, then a scale and an offset for each output.

    ``layers``: weights (F, H), bias (H,), weights (H, O), bias (O,).
    """

    layers: tuple[Tensor, Tensor, Tensor, Tensor]
    scale: Tensor
    offset: Tensor

    @staticmethod
    def fit(learnt: Tasks, held: Tasks, generator: torch.Generator) -> Network:
        """Learn from ``learnt``; scale and offset come from ``held``, rows of other users."""
        layers = _trained(learnt, generator)
        return Network(layers, *_calibration(_outputs(layers, held.rows).detach(), held))

    def __call__(self, rows: Tensor) -> Tensor:
        """Logits (n, O)."""
        return _outputs(self.layers, rows) * self.scale + self.offset


def _outputs(layers: tuple[Tensor, Tensor, Tensor, Tensor], rows: Tensor) -> Tensor:
    first, bias, second, rest = layers
    return torch.addmm(rest, torch.addmm(bias, rows, first).relu(), second)


def _trained(tasks: Tasks, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Adam over shuffled batches, with a rate that falls to 0."""
    n, width = tasks.rows.shape
    first = torch.randn(width, _HIDDEN, generator=generator) * (2 / width) ** 0.5
    second = torch.randn(_HIDDEN, tasks.n_outputs, generator=generator) * (1 / _HIDDEN) ** 0.5
    start = (first, torch.zeros(_HIDDEN), second, torch.zeros(tasks.n_outputs))
    if not n or not tasks.n_outputs:
        return start
    epochs = min(_MOST_EPOCHS, max(_LEAST_EPOCHS, _STEPS * _BATCH // n))
    steps = min(_STEPS, epochs * -(-n // _BATCH))
    weights = (
        nn.Parameter(start[0]),
        nn.Parameter(start[1]),
        nn.Parameter(start[2]),
        nn.Parameter(start[3]),
    )
    optimizer = torch.optim.Adam(weights, lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order = torch.zeros(0, dtype=torch.int64)
    for _ in range(steps):
        if not len(order):
            order = torch.randperm(n, generator=generator)
        chosen, order = order[:_BATCH], order[_BATCH:]
        loss = tasks.loss(_outputs(weights, tasks.rows[chosen]), chosen)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return (weights[0].detach(), weights[1].detach(), weights[2].detach(), weights[3].detach())


def _calibration(raw: Tensor, tasks: Tasks) -> tuple[Tensor, Tensor]:
    """Scale and offset of each output; all levels share one scale (a temperature)."""
    levels, alone = tasks.n_levels, tasks.n_outputs - tasks.n_levels
    offset = torch.zeros(tasks.n_outputs, requires_grad=True)
    scales = torch.ones(bool(levels) + alone, requires_grad=True)
    of_output = torch.cat(
        [torch.zeros(levels, dtype=torch.int64), torch.arange(alone) + bool(levels)]
    )

    def loss() -> Tensor:
        pull = (scales - 1).square().sum() + offset.square().sum()
        return tasks.loss(raw * scales[of_output] + offset) + _PENALTY * pull

    if len(raw) and tasks.n_outputs:
        minimise(loss, [scales, offset])
    return scales.detach()[of_output], offset.detach()
