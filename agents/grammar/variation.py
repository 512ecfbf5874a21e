"""Structures out of structures by chance: one change to a document, or a cross of two.

What stands in where no language model drafts structures. Every change keeps the document valid and
its numbers finite, has an effect on what is computed (the fingerprint differs), and is said in a
sentence. The same random numbers give the same change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from agenticrs.agents.grammar.canonical import fingerprint
from agenticrs.agents.grammar.cost import Machine, estimate
from agenticrs.agents.grammar.crossing import CROSSES
from agenticrs.agents.grammar.degree import MOST, degree
from agenticrs.agents.grammar.document import Architecture, DotHead
from agenticrs.agents.grammar.draft import Draft
from agenticrs.agents.grammar.network import Network
from agenticrs.agents.grammar.tables import Sizes
from agenticrs.agents.grammar.vary_blocks import BLOCKS
from agenticrs.agents.grammar.vary_joins import JOINS
from agenticrs.agents.grammar.vary_settings import SETTINGS, Operator
from agenticrs.agents.grammar.vary_tables import TABLES
from agenticrs.agents.grammar.vary_training import TRAINING
from agenticrs.platform.errors import AgentError
from agenticrs.platform.sandbox.permission import permitted

OPERATORS: Mapping[str, Operator] = {**SETTINGS, **BLOCKS, **JOINS, **TABLES, **TRAINING}
"""Every way in which one document is changed."""
_FAMILIES = (tuple(SETTINGS), (*BLOCKS, *JOINS), tuple(TABLES), tuple(TRAINING))
_SHARES = (0.4, 0.42, 0.15, 0.03)
"""How often a setting, the blocks, the tables or the training are changed."""
_ATTEMPTS = 100
REFERENCE = Machine(flops=2e10, bytes=5e9, overhead=5e-6)
"""A machine to estimate latency for that is the same everywhere, so that draws repeat."""


@dataclass(frozen=True)
class Variation:
    """A new document, what is different, and by which operator."""

    architecture: Architecture
    difference: str
    operator: str


@dataclass(frozen=True)
class Limits:
    """What a drawn document may cost at most, on data of a size."""

    sizes: Sizes
    parameters: int = 50_000_000
    blocks: int = 64
    latency_ms: float | None = None
    """Estimated, of one answer on ``machine``; None: any."""
    machine: Machine = REFERENCE

    def allow(self, architecture: Architecture) -> bool:
        """Whether the document keeps them."""
        if len(architecture.blocks) > self.blocks:
            return False
        if self.latency_ms is not None:
            cost = estimate(architecture, self.sizes, machine=self.machine)
            return cost.parameters <= self.parameters and cost.latency_ms <= self.latency_ms
        with torch.device("meta"):
            network = Network(architecture, self.sizes)
        return sum(weight.numel() for weight in network.parameters()) <= self.parameters


def mutate(
    architecture: Architecture,
    rng: np.random.Generator,
    *,
    limits: Limits | None = None,
    operators: Mapping[str, Operator] = OPERATORS,
) -> Variation:
    """One change to the document by one of the operators.

    Raises AgentError when no allowed change was found in a bounded number of draws.
    """
    for _ in range(_ATTEMPTS):
        name = _operator(rng, operators)
        draft = Draft(architecture)
        difference = operators[name](draft, rng)
        made = _kept(draft, difference, limits, architecture)
        if made is not None and difference is not None:
            return Variation(made, difference, name)
    raise AgentError(
        "no allowed change to the document was found", hint="raise the limits on its size"
    )


def cross(
    a: Architecture, b: Architecture, rng: np.random.Generator, *, limits: Limits | None = None
) -> Variation:
    """The first document with something of the second; unlike both.

    Raises AgentError for documents with heads of two kinds or with other tasks, and when nothing
    allowed was found in a bounded number of draws.
    """
    if _purpose(a) != _purpose(b):
        raise AgentError("documents with unlike heads cannot be crossed")
    names = list(CROSSES)
    for _ in range(_ATTEMPTS):
        name = names[int(rng.integers(len(names)))]
        draft = Draft(a)
        difference = CROSSES[name](draft, Draft(b), rng)
        made = _kept(draft, difference, limits, a, b)
        if made is not None and difference is not None:
            return Variation(made, difference, name)
    raise AgentError("no allowed cross of the documents was found")


def _operator(rng: np.random.Generator, operators: Mapping[str, Operator]) -> str:
    family = [
        name for name in _FAMILIES[int(rng.choice(len(_SHARES), p=_SHARES))] if name in operators
    ]
    names = family or list(operators)
    return names[int(rng.integers(len(names)))]


def _kept(
    draft: Draft, difference: str | None, limits: Limits | None, *parents: Architecture
) -> Architecture | None:
    """The draft as a document; None when it is not allowed or nothing new."""
    if difference is None:
        return None
    try:
        made = draft.finished()
    except AgentError:  # the draw does not fit: another one is made
        return None
    # What generated code a parent has was permitted when it was tried, and may not be any more.
    refused = made.generated is not None and not permitted()
    if refused or degree(made) > max(MOST, *(degree(parent) for parent in parents)):
        return None
    if fingerprint(made) in {fingerprint(parent) for parent in parents}:
        return None
    if limits is not None and not (limits.allow(made) and _fed(made, limits.sizes)):
        return None
    return made


def _fed(architecture: Architecture, sizes: Sizes) -> bool:
    """Whether no table is made of features that the data does not have."""
    shapes = {"users": sizes.users, "items": sizes.items}
    return all(
        block.block != "feature_embedding"
        or sum(shapes[block.of].cardinality) + shapes[block.of].n_dense > 0
        or (block.words > 0 and shapes[block.of].titled)
        for block in architecture.blocks
    )


def _purpose(architecture: Architecture) -> tuple[str, ...]:
    head = architecture.head
    return ("dot",) if isinstance(head, DotHead) else ("logits", *sorted(head.tasks))
