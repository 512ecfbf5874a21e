"""Who takes part: users of the log, as many copies as wanted, and newcomers nobody knows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from agenticrs.agents.batch import UserBatch
from agenticrs.agents.simulation.luck import Question, keys, uniform
from agenticrs.agents.simulation.persona import Persona
from agenticrs.agents.simulation.world import World
from agenticrs.platform.errors import AgentError


@dataclass(frozen=True)
class Population:
    """N users in a world; tensors have a row for each.

    ``key`` tells them apart (their luck hangs on it); ``histories.users`` are the dataset's
    indices, -1 for users whom no recommender can know. ``tired`` (N,): events of a visit that is
    under way when the simulation begins, 0 for the rested.
    """

    world: World
    persona: Persona
    histories: UserBatch
    key: Tensor
    tired: Tensor

    @staticmethod
    def of(world: World, users: Tensor | None = None) -> Population:
        """The users of the log with these indices ((N,) int64), all of them by default."""
        if users is None:
            users = torch.arange(len(world.persona))
        if len(users) and not 0 <= int(users.min()) <= int(users.max()) < len(world.persona):
            raise AgentError(
                f"the world has users 0 to {len(world.persona) - 1}, "
                f"got {int(users.min())} to {int(users.max())}"
            )
        return Population(
            world=world,
            persona=world.persona.take(users),
            histories=world.histories.take(users),
            key=users,
            tired=torch.zeros(len(users)),
        )

    @staticmethod
    def drawn(world: World, n: int, seed: int) -> Population:
        """``n`` users drawn with replacement; copies of one differ in luck and character."""
        chance = uniform(keys(seed, torch.arange(n)), Question.CHARACTER)
        users = (chance * len(world.persona)).to(torch.int64).clamp(max=len(world.persona) - 1)
        return replace(Population.of(world, users), key=_apart(world, n, seed))

    @staticmethod
    def newcomers(world: World, n: int, seed: int) -> Population:
        """``n`` users with the tastes of others, but without a history and unknown: cold start."""
        drawn = Population.drawn(world, n, seed)
        unknown = torch.full((n,), -1)
        times = None if drawn.histories.times is None else torch.zeros(0, dtype=torch.int64)
        nothing = UserBatch(
            unknown, torch.zeros(n + 1, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), times
        )
        return replace(drawn, histories=nothing)

    def __len__(self) -> int:
        return len(self.key)

    def attention(self) -> Tensor:
        """Chance of each user to look one place further down a page, (N,). A prior."""
        priors = self.world.priors
        return (priors.attention + priors.attention_spread * self._normal(0)).clamp(0.5, 1.0)

    def impatience(self) -> Tensor:
        """What is added to each user's logit of leaving where the log is silent, (N,). A prior."""
        return self.world.priors.impatience_spread * self._normal(1)

    def _normal(self, which: int) -> Tensor:
        chance = uniform(keys(0, self.key, which), Question.CHARACTER).to(torch.float64)
        normal: Tensor = torch.special.ndtri(chance)
        return normal.to(torch.float32)


def _apart(world: World, n: int, seed: int) -> Tensor:
    """Keys that no user of the log has, other ones for other seeds."""
    return len(world.persona) + torch.arange(n) + seed * (1 << 32)
