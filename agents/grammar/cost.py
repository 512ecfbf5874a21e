"""What a document would cost, told before anything is trained: weights, operations, latency.

The network is built and run on the meta device, which computes shapes and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from agenticrs.agents.grammar import document as form
from agenticrs.agents.grammar.modules import StandIn
from agenticrs.agents.grammar.network import Batch, Network
from agenticrs.agents.grammar.tables import Sizes

_GRU_GATES = 3


@dataclass(frozen=True)
class Machine:
    """What one core does: measured once (``this_machine``), or given."""

    flops: float
    """Floating-point operations a second in a product of matrices."""
    bytes: float
    """Bytes a second out of memory."""
    overhead: float
    """Seconds that one small torch operation takes, whatever it does."""


@dataclass(frozen=True)
class Cost:
    """Estimates for one document on data of a size."""

    parameters: int
    flops: int
    """Operations of one answer: one user, the whole catalogue or ``candidates`` items."""
    latency_ms: float
    """Of one answer on one core of the machine."""


def estimate(
    architecture: form.Architecture,
    sizes: Sizes,
    *,
    history: int = 50,
    candidates: int = 100,
    machine: Machine | None = None,
    generated: int | None = None,
) -> Cost:
    """Estimate one answer for a user with ``history`` items; tables are ready, as in serving.

    ``generated`` are the weights of a generated block; without it, as many as it may have.
    Raises AgentError for a document whose blocks do not fit together.
    """
    machine = machine or this_machine()
    with torch.device("meta"):
        written = None if generated is None else partial(StandIn, weights=generated)
        network = Network(architecture, sizes, written)
        tables = {name: torch.empty(_rows(sizes, network, name)) for name in _tables(network)}
        batch = Batch(
            user=torch.empty(1, dtype=torch.int64),
            items=torch.empty(1, history, dtype=torch.int64),
            lengths=torch.empty(1, dtype=torch.int64),
            candidates=torch.empty(1, candidates, dtype=torch.int64),
            context=torch.empty(1, candidates, 2),
            times=torch.empty(1, history, dtype=torch.int64),
        )
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            if isinstance(architecture.head, form.DotHead):
                network.scores(tables, batch)
            else:
                network.logits(tables, batch)
    flops = counter.get_total_flops() + _recurrent(network, history)
    parameters = sum(weight.numel() for weight in network.parameters())
    head = architecture.head
    read = 4 * tables[head.items].numel() if isinstance(head, form.DotHead) else 0
    operations = 8 * len(architecture.blocks) + history * _recurrent_layers(architecture)
    seconds = flops / machine.flops + read / machine.bytes + operations * machine.overhead
    return Cost(parameters, flops, 1000 * seconds)


@cache
def this_machine() -> Machine:
    """Measure one core of this machine, in well under a second."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        a = torch.ones(512, 512)
        flops = 2 * 512**3 / _seconds(lambda: a @ a, 20)
        big = torch.ones(4_000_000)
        rate = 8 * big.numel() / _seconds(lambda: big + 1, 5)
        small = torch.ones(4)
        overhead = _seconds(lambda: small + small, 2000)
    finally:
        torch.set_num_threads(threads)
    return Machine(flops, rate, overhead)


def _seconds(work: Callable[[], object], times: int) -> float:
    work()
    begin = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - begin) / times


def _tables(network: Network) -> list[str]:
    return [name for name, shape in network.shapes.items() if shape.kind == "table"]


def _rows(sizes: Sizes, network: Network, name: str) -> tuple[int, int]:
    shape = network.shapes[name]
    return (sizes.n_users if shape.entity == "users" else sizes.n_items, shape.width)


def _recurrent(network: Network, history: int) -> int:
    """The counter does not look into recurrent units: every weight works once at every place."""
    weights = 0
    for block in network.architecture.blocks:
        if isinstance(block, form.Recurrent):
            module: Tensor
            for module in network.module(block.name).parameters():
                weights += module.numel() if module.dim() == 2 else 0
    return 2 * weights * history


def _recurrent_layers(architecture: form.Architecture) -> int:
    layers = [b.layers for b in architecture.blocks if isinstance(b, form.Recurrent)]
    return _GRU_GATES * sum(layers)
