"""Days of a population with a recommender: who comes, what they are shown, what comes of it.

    outcome = simulate(Population.of(world), serving(runtime), days=14, seed=0)

On day 0 everybody comes; on later days whoever the fitted chance of returning brings back. A visit
goes page by page until its user leaves. What users take is in their history at the next page. The
same seed gives the same days whatever the batches are, and two recommenders meet the same luck
(``luck``), so that their outcomes can be compared user by user.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from agenticrs.agents.agent import Agent
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.runtime import Runtime
from agenticrs.agents.simulation.histories import GrowingHistories
from agenticrs.agents.simulation.items import Items
from agenticrs.agents.simulation.luck import Question, keys, uniform
from agenticrs.agents.simulation.mind import Mind
from agenticrs.agents.simulation.outcome import Outcome, Tally
from agenticrs.agents.simulation.page import Readers, Reading, read
from agenticrs.agents.simulation.persona import Persona
from agenticrs.agents.simulation.population import Population
from agenticrs.agents.simulation.world import World
from agenticrs.platform.errors import AgentError

Recommender = Callable[[UserBatch, int], Tensor]
"""Items (B, k) int64 for users with their histories; -1 leaves a place empty."""
PageReader = Callable[[World, Items, Readers, Tensor, int, int], Reading]
"""What users do with their pages, with the arguments of ``page.read``."""


@dataclass(frozen=True)
class Rules:
    """How the surface shows things. Four items a page and five pages are Agent4Rec's."""

    page_size: int = 4
    most_pages: int = 5
    """Pages of one visit; whoever is still there then leaves."""
    users_at_once: int = 16_384

    def __post_init__(self) -> None:
        for name in ("page_size", "most_pages", "users_at_once"):
            if getattr(self, name) < 1:
                raise AgentError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class Change:
    """What changes as days go by; by default nothing but histories and moods.

    ``follow``: how far a long-term taste moves towards each item that is taken, in [0, 1].
    ``shift_day``, ``shift_share``: on that day this share of the users gets another user's taste.
    ``released`` (n_items,): the day before which an item cannot be shown (a place where it would
    be goes to the next one that the recommender puts out).
    """

    follow: float = 0.0
    shift_day: int | None = None
    shift_share: float = 0.3
    released: Tensor | None = None


def simulate(
    population: Population,
    recommender: Recommender,
    days: int,
    seed: int,
    *,
    rules: Rules | None = None,
    change: Change | None = None,
    keep_log: bool = False,
    reader: PageReader = read,
) -> Outcome:
    """Let the population use the recommender for some days.

    Args:
        population: Who takes part. It does not change.
        recommender: Is asked for every page of every visit, for many users at a time.
        days: At least 1.
        seed: Decides all luck.
        rules: Size of pages and visits.
        change: Drift of tastes and items to come.
        keep_log: Keep every event (``Outcome.log``).
        reader: Decides what users do with their pages, as fitted unless somebody else does
            (``role_play``).

    Raises:
        AgentError: The recommender put out a wrong number of items or one outside the catalogue.
    """
    if days < 1:
        raise AgentError(f"days must be at least 1, got {days}")
    run = _Run(
        population, recommender, seed, rules or Rules(), change or Change(), keep_log, reader
    )
    with torch.inference_mode():
        for day in range(days):
            run.live(day)
        return run.tally.outcome(days)


def serving(runtime: Runtime) -> Recommender:
    """What a composition serves."""
    return lambda users, k: runtime.recommend(users, k).candidates.items


def acting(agent: Agent[Any]) -> Recommender:
    """What a fitted retriever puts out by itself."""

    def recommend(users: UserBatch, k: int) -> Tensor:
        found = agent.act(users, (), k)
        if not isinstance(found, Candidates):
            raise AgentError(f"{agent.spec.name} puts out no items")
        return found.items

    return recommend


class _Run:
    """One simulation under way."""

    def __init__(
        self,
        population: Population,
        recommender: Recommender,
        seed: int,
        rules: Rules,
        change: Change,
        keep_log: bool,
        reader: PageReader,
    ) -> None:
        world, n = population.world, len(population)
        self._population, self._world = population, world
        self._persona = _own_copy(population.persona)
        self._recommender, self._seed = recommender, seed
        self._rules, self._change, self._reader = rules, change, reader
        self._histories = GrowingHistories(population.histories)
        self._mind = Mind.rested(population.persona, world.mood)
        self._mind.place = population.tired.clone()
        self._attention, self._impatience = population.attention(), population.impatience()
        self._last_day = torch.full((n,), -1)
        self.tally = Tally(population, keep_log=keep_log)

    def live(self, day: int) -> None:
        """One day of everybody."""
        if day == self._change.shift_day:
            self._shift()
        rows = self._arriving(day).nonzero()[:, 0]
        opens = torch.zeros(len(self._population), dtype=torch.bool)
        opens[rows] = day > 0  # a visit that is under way at the beginning goes on
        self._mind.open_visit(opens)
        for start in range(0, len(rows), self._rules.users_at_once):
            self._visit(rows[start : start + self._rules.users_at_once], day)
        self._last_day[rows] = day
        self.tally.close_day(rows, day)

    def _arriving(self, day: int) -> Tensor:
        if day == 0:
            return torch.ones(len(self._population), dtype=torch.bool)
        chance = self._world.returning.chance(
            day - self._last_day, self._mind.mood, self._persona.often, self._mind.place
        )
        luck = keys(self._seed, self._population.key, -1, day)
        return uniform(luck, Question.RETURNS) < chance

    def _visit(self, rows: Tensor, day: int) -> None:
        persona, mind = self._persona.take(rows), self._mind.take(rows)
        for _ in range(self._rules.most_pages):
            shown = self._shown(rows, day)
            readers = Readers(
                persona,
                mind,
                self._population.key[rows],
                self._attention[rows],
                self._impatience[rows],
            )
            reading = self._reader(self._world, self._world.items, readers, shown, day, self._seed)
            self._histories.add(rows, shown, reading.positive, day)
            self.tally.add(rows, day, shown, reading)
            if self._change.follow:
                persona = _drawn_to(
                    persona, self._world.items.vectors, shown, reading.positive, self._change.follow
                )
                self._persona.taste[rows] = persona.taste
            self._mind.put(rows, mind)
            stays = (~reading.left).nonzero()[:, 0]
            if not len(stays):
                return
            rows, persona, mind = rows[stays], persona.take(stays), mind.take(stays)

    def _shown(self, rows: Tensor, day: int) -> Tensor:
        """The page of each user: what the recommender puts out, as far as it is there already."""
        k, released = self._rules.page_size, self._change.released
        asked = k if released is None else 4 * k
        batch = self._histories.batch(rows)
        items = self._recommender(batch, asked)
        if items.shape != (len(rows), asked):
            raise AgentError(
                f"asked for {asked} items for each of {len(rows)} users, got {tuple(items.shape)}"
            )
        if items.numel() and not -1 <= int(items.min()) <= int(items.max()) < self._world.n_items:
            raise AgentError(f"put out an item outside the catalogue of {self._world.n_items}")
        if released is None:
            return items
        there = (items >= 0) & (released[items.clamp(min=0)] <= day)
        order = (~there).to(torch.int8).argsort(dim=1, stable=True)[:, :k]
        return items.gather(1, order).masked_fill(~there.gather(1, order), -1)

    def _shift(self) -> None:
        n = len(self._population)
        luck = keys(self._seed, self._population.key, -2)
        chosen = uniform(luck, Question.TAKES) < self._change.shift_share
        other = (uniform(luck, Question.LEVEL) * n).to(torch.int64).clamp(max=n - 1)
        self._persona = self._persona.with_taste_of(self._persona.take(other), chosen)


def _own_copy(persona: Persona) -> Persona:
    """Tastes may move: the population's stay as they are."""
    return replace(persona, taste=persona.taste.clone())


def _drawn_to(
    persona: Persona, vectors: Tensor, shown: Tensor, taken: Tensor, follow: float
) -> Persona:
    seen = vectors[shown.clamp(min=0)] * taken[..., None]
    moved = persona.taste + follow * (seen - persona.taste[:, None] * taken[..., None]).sum(1)
    return replace(persona, taste=torch.nn.functional.normalize(moved, dim=1))
