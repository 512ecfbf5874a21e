"""What a policy has learnt, as a value: weights, optimiser, and the trials it learnt from.

It is stored as one safetensors file for each version, and refused when it is damaged or was learnt
in another space. Nothing else has to be kept from cycle to cycle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from agenticrs.evolution.methods.policy_actions import Actions
from agenticrs.evolution.methods.policy_network import Networks
from agenticrs.evolution.methods.policy_situation import HISTORY_WIDTH, SITUATION_WIDTH
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry.spec import ConcreteParameter

FORMAT = "1"
REMEMBERED = 1024
"""Trials that are kept to learn from again; whole cycles are forgotten, the oldest first."""


@dataclass(frozen=True)
class Experience:
    """Trials in the order in which they were drawn, cycle after cycle; T of them."""

    states: Tensor
    """(T, S) float32: what the policy saw."""
    rows: Tensor
    """(T, D) float32: what was tried."""
    rewards: Tensor
    """(T,) float32, normalised within the cycle."""
    log_behaviour: Tensor
    """(T,) float32: log density, relative to uniform, with which the row was drawn."""
    cycles: Tensor
    """(T,) int64: which belong together."""

    @staticmethod
    def none(state_width: int, row_width: int) -> Experience:
        """No trials."""
        empty = torch.zeros(0)
        rows = torch.zeros(0, row_width)
        cycles = torch.zeros(0, dtype=torch.int64)
        return Experience(torch.zeros(0, state_width), rows, empty, empty.clone(), cycles)

    def __len__(self) -> int:
        return len(self.rewards)

    def take(self, which: Tensor) -> Experience:
        """The trials at indices or a mask ``which`` (T,)."""
        return Experience(*(getattr(self, part.name)[which] for part in fields(self)))

    def with_cycle(self, cycle: Experience) -> Experience:
        """With these trials of one cycle, in place of what was known of that cycle before."""
        if not len(cycle):
            return self
        rest = self.take(self.cycles != cycle.cycles[0])
        kept = Experience(
            *(
                torch.cat([getattr(rest, part.name), getattr(cycle, part.name)])
                for part in fields(self)
            )
        )
        while len(kept) > REMEMBERED and bool((kept.cycles != kept.cycles[0]).any()):
            kept = kept.take(kept.cycles != kept.cycles[0])
        return kept


@dataclass(frozen=True)
class PolicyState:
    """A version of a policy for one agent in one space."""

    space: str
    """Fingerprint of the space that it acts in."""
    version: int
    """0 is cold: it has learnt nothing."""
    weights: Tensor
    """(W,) float32, of both networks and the temperature."""
    first: Tensor
    second: Tensor
    """(W,) float32: Adam's moments."""
    steps: int
    """Steps that the optimiser has taken."""
    memory: Experience

    @staticmethod
    def cold(space: Sequence[ConcreteParameter], seed: int = 0) -> PolicyState:
        """A policy that has learnt nothing and draws almost uniformly."""
        actions, state_width = Actions(space), width(space)
        generator = torch.Generator().manual_seed(seed)
        weights = Networks(actions, state_width).fresh(generator)
        nothing = torch.zeros_like(weights)
        memory = Experience.none(state_width, actions.width)
        fingerprint = space_fingerprint(space)
        return PolicyState(fingerprint, 0, weights, nothing, nothing.clone(), 0, memory)

    def to_bytes(self) -> bytes:
        """As a safetensors file."""
        from safetensors.torch import save

        tensors = {"weights": self.weights, "first": self.first, "second": self.second}
        for part in fields(Experience):
            tensors[f"memory.{part.name}"] = getattr(self.memory, part.name)
        header = {
            "format": FORMAT,
            "space": self.space,
            "version": str(self.version),
            "steps": str(self.steps),
        }
        return save({name: t.contiguous() for name, t in tensors.items()}, metadata=header)

    @staticmethod
    def from_bytes(raw: bytes, space: Sequence[ConcreteParameter]) -> PolicyState:
        """The state that ``to_bytes`` wrote.

        Raises EvolutionError when the bytes are damaged, of another format or of another space.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
            tensors = load(raw)
            version, steps = int(header["version"]), int(header["steps"])
            form, found = header["format"], header["space"]
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise _refused(f"cannot be read: {error}") from error
        cold = PolicyState.cold(space)
        if form != FORMAT or found != cold.space:
            raise _refused(
                f"has format {form} and space {found}, expected {FORMAT} and {cold.space}"
            )
        return _checked(replace(cold, version=version, steps=steps), tensors)


def width(space: Sequence[ConcreteParameter]) -> int:
    """S: numbers of the situation, of the history, and of the best row so far."""
    return SITUATION_WIDTH + HISTORY_WIDTH + Actions(space).width


def space_fingerprint(space: Sequence[ConcreteParameter]) -> str:
    """Key under which states of a space are stored, 16 hex digits. Order does not matter."""
    return Actions(space).fingerprint


def cycle_key(name: str) -> int:
    """The number by which experience of the cycle ``name`` is known."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "little")


def _checked(cold: PolicyState, tensors: dict[str, Tensor]) -> PolicyState:
    """The cold state with ``tensors`` in place of its own, if they fit."""
    if cold.version < 0 or cold.steps < 0:
        raise _refused(f"has version {cold.version} and {cold.steps} steps")
    empty = {f"memory.{part.name}": getattr(cold.memory, part.name) for part in fields(Experience)}
    expected = {name: getattr(cold, name) for name in ("weights", "first", "second")} | empty
    if set(tensors) != set(expected):
        raise _refused(f"holds {sorted(tensors)}, expected {sorted(expected)}")
    remembered = len(tensors["memory.rewards"]) if tensors["memory.rewards"].ndim else 0
    for name, like in expected.items():
        shape = (remembered, *like.shape[1:]) if name in empty else tuple(like.shape)
        found = tensors[name]
        if tuple(found.shape) != shape or found.dtype != like.dtype:
            raise _refused(f"has {name} {tuple(found.shape)} {found.dtype}, expected {shape}")
        if not bool(torch.isfinite(found).all()):
            raise _refused(f"has numbers in {name} that are not finite")
    memory = Experience(*(tensors[f"memory.{part.name}"] for part in fields(Experience)))
    if bool(((memory.rows < 0) | (memory.rows > 1)).any()):
        raise _refused("remembers trials outside its space")
    return replace(
        cold,
        weights=tensors["weights"],
        first=tensors["first"],
        second=tensors["second"],
        memory=memory,
    )


def _refused(why: str) -> EvolutionError:
    return EvolutionError(
        f"the stored policy {why}", hint="store a cold one: it learns again from its next cycles"
    )
