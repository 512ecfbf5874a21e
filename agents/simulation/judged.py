"""A world fitted to a fold's history, and how far it can be trusted: measured when it is fitted.

Nothing held out is learnt from. Fidelity is measured on users who taught nothing (``fidelity``).
The ordering of recommenders, too: simple ones at their defaults, by what such users would get from
them in the world, and by NDCG@10 on the items that the fold holds out of the same users.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from agenticrs.agents import catalogue
from agenticrs.agents.agent import Budget
from agenticrs.agents.evaluation import evaluate
from agenticrs.agents.simulation.fidelity import fidelity
from agenticrs.agents.simulation.ordering import Ordering, ordering
from agenticrs.agents.simulation.population import Population
from agenticrs.agents.simulation.simulate import acting, simulate
from agenticrs.agents.simulation.trust import Trust, trust
from agenticrs.agents.simulation.world import World, groups, study
from agenticrs.agents.training_data import Heldout, TrainingData
from agenticrs.platform.data.dataset import Fold

RECOMMENDERS = ("trending", "popularity", "cooccurrence", "itemknn", "ease")
"""Who is put in order: fitted in no time, and as unlike each other as recommenders are."""
_DENSE = ("cooccurrence", "itemknn", "ease")
_MOST_ITEMS = 10_000
"""Items of a catalogue up to which a matrix of all pairs is made for an ordering."""
_LEAST_USERS = 30
"""Users whom an ordering needs to say anything."""
_MOST_USERS = 2_000
_DAYS = 3


@dataclass(frozen=True)
class JudgedWorld:
    """A world with its trust, and on how many held-out users and events that rests.

    ``ordering`` is None where there were too few users or recommenders to put in order.
    """

    world: World
    trust: Trust
    users: int
    events: int
    ordering: Ordering | None


def judge(fold: Fold, seed: int) -> JudgedWorld:
    """Fit a world to the fold's history, and measure how like the log it is.

    Raises DataError when there are no users to learn from, or none to measure on.
    """
    fitted = study(fold.dataset, seed)
    found = fidelity(fitted, seed)
    order = _ordering(fold, fitted.world, seed)
    return JudgedWorld(
        world=fitted.world,
        trust=trust(found, None if order is None else order.tau),
        users=found.users,
        events=found.events,
        ordering=order,
    )


def _ordering(fold: Fold, world: World, seed: int) -> Ordering | None:
    data, heldout = TrainingData.of(fold.dataset), Heldout.of(fold)
    unknown = groups(fold.dataset.n_users)[heldout.users] == 2
    heldout = heldout.take(unknown.nonzero()[:_MOST_USERS, 0])
    names = [n for n in RECOMMENDERS if n not in _DENSE or data.n_items <= _MOST_ITEMS]
    if len(heldout.users) < _LEAST_USERS:
        return None
    outer, inner = dict[str, Tensor](), dict[str, Tensor]()
    population = Population.of(world, heldout.users)
    for name in names:
        agent = catalogue.build(name, {}, seed=seed)
        torch.manual_seed(seed)
        agent.fit(data, Budget())
        inner[name] = evaluate(agent, data, heldout).per_user["ndcg@10"]
        outer[name] = simulate(population, acting(agent), _DAYS, seed).signals["enjoyment"]
    return ordering(outer, inner, seed=seed)
