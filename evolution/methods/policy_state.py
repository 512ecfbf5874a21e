"""What a policy has learnt, as a value: weights of actor and critic, and the trials behind them.

It is stored as one safetensors file for each version, and refused when it is damaged or was learnt
in another space. Nothing else has to be kept from cycle to cycle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from agenticrs.evolution.methods.policy_actions import Actions
from agenticrs.evolution.methods.policy_draws import Features, FloatArray
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry.spec import ConcreteParameter

FORMAT = "4"
REMEMBERED = 1024
"""Trials that are kept to learn from again; whole cycles are forgotten, the oldest first."""


@dataclass(frozen=True)
class Experience:
    """Trials in the order in which they were drawn, cycle after cycle; T of them."""

    states: FloatArray
    """(T, S): what the policy saw."""
    rows: FloatArray
    """(T, D): what was tried."""
    rewards: FloatArray
    """(T,), normalised within the cycle."""
    log_behaviour: FloatArray
    """(T,): log density, relative to uniform, with which the row was drawn."""
    cycles: npt.NDArray[np.int64]
    """(T,): which belong together."""

    @staticmethod
    def none(state_width: int, row_width: int) -> Experience:
        """No trials."""
        states, rows = np.zeros((0, state_width)), np.zeros((0, row_width))
        return Experience(states, rows, np.zeros(0), np.zeros(0), np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.rewards)

    def take(self, which: npt.NDArray[np.bool_]) -> Experience:
        """The trials of a mask ``which`` (T,)."""
        return Experience(*(getattr(self, part.name)[which] for part in fields(self)))

    def with_cycle(self, cycle: Experience) -> Experience:
        """With these trials of one cycle, in place of what was known of that cycle before."""
        if not len(cycle):
            return self
        rest = self.take(self.cycles != cycle.cycles[0])
        kept = Experience(
            *(
                np.concatenate([getattr(rest, part.name), getattr(cycle, part.name)])
                for part in fields(self)
            )
        )
        while len(kept) > REMEMBERED and bool((kept.cycles != kept.cycles[0]).any()):
            kept = kept.take(kept.cycles != kept.cycles[0])
        return kept


_WEIGHTS = ("actor", "critic")
_PARTS = fields(Experience)


@dataclass(frozen=True)
class PolicyState:
    """A version of a policy for one agent in one space."""

    space: str
    """Fingerprint of the space that it acts in."""
    version: int
    """0 is cold: it has learnt nothing."""
    actor: FloatArray
    critic: FloatArray
    """(Z, M) both: weights that turn features of states into strengths of features of rows."""
    unexplained: float
    """How far a cycle's rewards are spread around what the critic expects, above 0; 1 if cold."""
    memory: Experience

    @staticmethod
    def cold(space: Sequence[ConcreteParameter]) -> PolicyState:
        """A policy that has learnt nothing and draws uniformly."""
        actions = Actions(space)
        features = Features(actions)
        memory = Experience.none(features.state_width, actions.width)
        nothing = np.zeros(features.shape)
        return PolicyState(actions.fingerprint, 0, nothing, nothing, 1.0, memory)

    def worth(self, actions: Actions, states: FloatArray, rows: FloatArray) -> FloatArray:
        """What the critic expects of rows (T, D) in states (T, S), up to a level, (T,)."""
        features = Features(actions)
        strengths = features.of_states(states) @ self.critic
        return np.asarray((strengths * features.of_rows(rows)).sum(1))

    def to_bytes(self) -> bytes:
        """As a safetensors file."""
        from safetensors.numpy import save

        arrays = {"unexplained": np.array([self.unexplained])}
        arrays |= {name: getattr(self, name) for name in _WEIGHTS}
        arrays |= {f"memory.{part.name}": getattr(self.memory, part.name) for part in _PARTS}
        header = {"format": FORMAT, "space": self.space, "version": str(self.version)}
        return save({n: np.ascontiguousarray(a) for n, a in arrays.items()}, metadata=header)

    @staticmethod
    def from_bytes(raw: bytes, space: Sequence[ConcreteParameter]) -> PolicyState:
        """The state that ``to_bytes`` wrote.

        Raises EvolutionError when the bytes are damaged, of another format or of another space.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
            arrays = load(raw)
            version, form, found = int(header["version"]), header["format"], header["space"]
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise _refused(f"cannot be read: {error}") from error
        cold = PolicyState.cold(space)
        if form != FORMAT or found != cold.space:
            raise _refused(
                f"has format {form} and space {found}, expected {FORMAT} and {cold.space}"
            )
        return _checked(replace(cold, version=version), arrays)


def space_fingerprint(space: Sequence[ConcreteParameter]) -> str:
    """Key under which states of a space are stored, 16 hex digits. Order does not matter.

    States of another format, whose policies saw something else, have other keys.
    """
    return hashlib.sha256(f"{FORMAT} {Actions(space).fingerprint}".encode()).hexdigest()[:16]


def cycle_key(name: str) -> int:
    """The number by which experience of the cycle ``name`` is known."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "little")


def _checked(cold: PolicyState, arrays: dict[str, npt.NDArray[Any]]) -> PolicyState:
    """The cold state with ``arrays`` in place of its own, if they fit."""
    if cold.version < 0:
        raise _refused(f"has version {cold.version}")
    memory = {f"memory.{part.name}": getattr(cold.memory, part.name) for part in _PARTS}
    weights = {name: getattr(cold, name) for name in _WEIGHTS}
    expected = weights | memory | {"unexplained": np.ones(1)}
    if set(arrays) != set(expected):
        raise _refused(f"holds {sorted(arrays)}, expected {sorted(expected)}")
    remembered = arrays["memory.rewards"].size
    for name, like in expected.items():
        shape = (remembered, *like.shape[1:]) if name in memory else like.shape
        found = arrays[name]
        if found.shape != shape or found.dtype != like.dtype:
            raise _refused(f"has {name} {found.shape} {found.dtype}, expected {shape}")
        if not np.isfinite(found).all():
            raise _refused(f"has numbers in {name} that are not finite")
    rows, unexplained = arrays["memory.rows"], float(arrays["unexplained"][0])
    if ((rows < 0) | (rows > 1)).any() or unexplained <= 0:
        raise _refused("remembers trials outside its space, or explains them all")
    return replace(
        cold,
        unexplained=unexplained,
        memory=Experience(*(arrays[name] for name in memory)),
        actor=arrays["actor"],
        critic=arrays["critic"],
    )


def _refused(why: str) -> EvolutionError:
    return EvolutionError(
        f"the stored policy {why}", hint="store a cold one: it learns again from its next cycles"
    )
