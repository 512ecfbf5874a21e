"""Listens in on a training: which parameters an optimiser moved, and what networks were shown.

It knows nothing of agents. Everything is put back when the watch ends.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from agenticrs.agents.grammar.network import Batch, Network


@dataclass
class Watched:
    """What was seen. ``parameters`` are those of all optimisers, by ``id``."""

    parameters: dict[int, Tensor] = field(default_factory=dict)
    linked: set[int] = field(default_factory=set)
    """Parameters that had a gradient at all."""
    moved: set[int] = field(default_factory=set)
    """Parameters that had a gradient other than zero."""
    batches: list[tuple[Network, Batch]] = field(default_factory=list)
    """What document networks were shown while they trained."""

    def name_of(self, parameter: Tensor, modules: Mapping[str, nn.Module]) -> str:
        """The parameter's name among the modules, else its shape."""
        for where, module in modules.items():
            for name, known in module.named_parameters():
                if known is parameter:
                    return f"{where}.{name}".replace("@", "")
        return f"a parameter of shape {tuple(parameter.shape)}"


@contextmanager
def watching() -> Iterator[Watched]:
    """Note what optimisers and document networks do until the block ends."""
    watched = Watched()

    def stepped(optimizer: Any, *_: Any) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                key = id(parameter)
                watched.parameters[key] = parameter
                if parameter.grad is not None:
                    watched.linked.add(key)
                    if key not in watched.moved and bool(parameter.grad.any()):
                        watched.moved.add(key)

    original = Network.values

    def listening(
        self: Network,
        tables: Mapping[str, Tensor],
        batch: Batch,
        noise: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        if noise is not None:  # only training makes noise
            watched.batches.append((self, batch))
        return original(self, tables, batch, noise)

    handle = register_optimizer_step_post_hook(stepped)
    Network.values = listening  # type: ignore[method-assign]
    try:
        yield watched
    finally:
        Network.values = original  # type: ignore[method-assign]
        handle.remove()


@contextmanager
def random_state(seed: int) -> Iterator[None]:
    """Seed what is global in Python, numpy and torch; put the old states back at the end."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


def drawn() -> dict[str, float]:
    """The next number of each global source of random numbers."""
    return {
        "random": random.random(),  # noqa: S311
        "numpy": float(np.random.random()),
        "torch": float(torch.rand(())),
    }
