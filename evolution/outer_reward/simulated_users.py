"""Simulated users as an outer reward: what serves and a change meet the same ones, with equal luck.

Those who are asked are users of the log whom no search saw (confirm users), as the world fitted to
the log's history knows them. Their objectives become one outer reward with the weights that a
person sets. Whether it counts depends on the world alone: from the threshold of its trust score on,
and where it puts known recommenders in their order, it has its share of the outer part of the
score. Otherwise nothing that is decided may depend on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from agenticrs.agents.simulation.jobs import Measured
from agenticrs.agents.simulation.judged import JudgedWorld
from agenticrs.evolution.cycle import Cycle
from agenticrs.evolution.evidence import Simulation, Trust
from agenticrs.evolution.outer_reward.arena import Arena, Entry
from agenticrs.evolution.outer_reward.simulated_world import world_of
from agenticrs.evolution.selection import Heard, compare
from agenticrs.platform.data.splits import sample_of, search_users
from agenticrs.platform.errors import EvolutionError
from agenticrs.platform.jobs.job import Failed
from agenticrs.rewards.objectives import Objective, Weights, outer_reward, parse, references

REWARD = "outer reward of simulated users"


@dataclass(frozen=True)
class Verdict:
    """What simulated users say of a change: for people, and for the score."""

    simulation: Simulation
    heard: Heard


@dataclass(frozen=True)
class Meeting:
    """Objectives of the simulated users under compositions, by key; or why there are none."""

    answers: Mapping[str, Measured]
    why_not: str = ""


class SimulatedUsers:
    """Those of one cycle. Nothing is fitted before somebody is asked to meet them."""

    def __init__(self, cycle: Cycle) -> None:
        self._cycle = cycle
        self._settings = cycle.services.settings
        self._weights: Weights = parse(self._settings.objective_weights)

    @cached_property
    def places(self) -> npt.NDArray[np.int64]:
        """Their places among the cycle's confirm users: a fixed sample of them."""
        confirm = self._confirm
        share = min(1.0, self._settings.simulated_users / max(1, len(confirm)))
        return np.flatnonzero(sample_of(confirm, share))

    def meet(self, entries: Sequence[Entry]) -> Meeting:
        """Let them live with each of the compositions; one with which that fails is left out.

        A simulation that fails is no reason to end a cycle: then there is nothing to hear.
        """
        if not self._settings.simulated_users:
            return Meeting({}, "switched off: AGENTICRS_SIMULATED_USERS is 0")
        if not entries or not len(self._confirm):
            return Meeting({}, "there is nothing to compare")
        cycle = self._cycle
        try:
            reference, _ = self._world
        except EvolutionError as error:
            cycle.say(str(error))
            return Meeting({}, str(error))
        users = self._confirm[self.places]
        cycle.say(f"{len(entries)} compositions meet {len(users)} simulated users")
        found = Arena(cycle).live(entries, reference, users, self._settings.simulated_days)
        failed = {key: one for key, one in found.items() if isinstance(one, Failed)}
        for key, one in failed.items():
            cycle.say(f"simulated users with {key}: {one.cause}: {one.message}")
        why = "; ".join(f"{key}: {one.message}" for key, one in failed.items())
        answers = {key: one for key, one in found.items() if not isinstance(one, Failed)}
        return Meeting(answers, why)

    def judge(self, entries: Sequence[Entry]) -> tuple[Verdict | None, str]:
        """What they say of a change, (before, after); None with the reason where nobody spoke."""
        before, after = entries
        meeting = self.meet(entries)
        answers = meeting.answers
        if before.key not in answers or after.key not in answers:
            return None, meeting.why_not
        return self.compare(answers[before.key], [answers[after.key]]), ""

    def compare(self, before: Measured, after: Sequence[Measured]) -> Verdict:
        """What they say of a change, as the mean over trainings ``after`` of it."""
        changed = {name: np.mean([one[name] for one in after], axis=0) for name in before}
        _, world = self._world
        return weigh(
            before,
            changed,
            self.places,
            weights=self._weights,
            trust=trust_of(world, self._settings.trust_threshold),
            share=self._settings.simulated_share,
            days=self._settings.simulated_days,
            seed=self._cycle.request.seed,
        )

    @cached_property
    def _confirm(self) -> npt.NDArray[np.int64]:
        users = self._cycle.fold.users.astype(np.int64)
        return users[~search_users(users)]

    @cached_property
    def _world(self) -> tuple[Any, JudgedWorld]:
        """A reference to the world's file in shared memory, and the world."""
        content, judged = world_of(self._cycle)
        return self._cycle.runner.share(content), judged


def trust_of(world: JudgedWorld, threshold: float) -> Trust:
    """What is known of a world's trust, as evidence."""
    order = world.ordering
    return Trust(
        score=world.trust.score,
        threshold=threshold,
        parts=dict(world.trust.parts),
        ordering=None if order is None else (order.tau, order.low, order.high),
        users=world.users,
        assumed=world.world.assumed,
    )


def weigh(
    before: Measured,
    after: Measured,
    places: npt.NDArray[np.int64],
    *,
    weights: Weights,
    trust: Trust,
    share: float,
    days: int,
    seed: int,
) -> Verdict:
    """Objectives of the same users (n,) under two compositions, in one reward that is compared.

    ``share`` is what they have of the outer part of the score where the world is trusted; elsewhere
    it is 0, whatever was asked for.
    """
    share = 0.0 if trust.doubt else share
    old, new = _tensors(before), _tensors(after)
    usual = references(old)
    reward = [outer_reward(one, weights, usual).numpy() for one in (old, new)]
    simulation = Simulation(
        reward=compare(REWARD, reward[0], reward[1], seed=seed),
        objectives=tuple(compare(name, before[name], after[name], seed=seed) for name in before),
        weights={str(name): weight for name, weight in weights.shares.items()},
        trust=trust,
        share=share,
        says=_says(trust, share),
        users=len(places),
        days=days,
    )
    return Verdict(simulation, Heard(places, reward[0], reward[1], share))


def _tensors(measured: Measured) -> dict[Objective, torch.Tensor]:
    return {cast(Objective, name): torch.as_tensor(v.copy()) for name, v in measured.items()}


def _says(trust: Trust, share: float) -> str:
    if trust.doubt:
        return f"{trust.doubt}: simulated users inform only, and can neither promote nor refuse"
    return (
        f"trust {trust.score:.2f} reaches {trust.threshold:.2f}: simulated users have "
        f"{share:.0%} of the outer reward in the score"
    )
