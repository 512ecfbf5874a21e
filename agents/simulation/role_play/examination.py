"""How far users that a model plays can be trusted: held-out users, beside what they really did.

Each of them is offered one page of items of the later half, some that the user took and as many
that the user did not (``choice``), as the user was when that half began. What the model makes of
the page is compared with the log, and so is what the fitted response makes of the same pages. Pages
that the model did not decide tell nothing about it: they are left out for both.

Answers are kept like all others: who examines the same users again pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from agenticrs.agents.simulation import page
from agenticrs.agents.simulation.choice import Offer, chosen, offered
from agenticrs.agents.simulation.fidelity import of_offers
from agenticrs.agents.simulation.logbook import Logbook, rank
from agenticrs.agents.simulation.luck import Question, keys, uniform
from agenticrs.agents.simulation.mind import Mind
from agenticrs.agents.simulation.page import Readers, Reading
from agenticrs.agents.simulation.population import Population
from agenticrs.agents.simulation.role_play.asking import Asker
from agenticrs.agents.simulation.role_play.players import Players, enacted
from agenticrs.agents.simulation.trust import Trust, trust
from agenticrs.agents.simulation.world import Study
from agenticrs.platform.data.dataset import Dataset

_OFFER = 10
"""Items of a page: half of them were taken."""


@dataclass(frozen=True)
class Examined:
    """The trust in users who were examined, on how many of them, and on how many items.

    Sequences, visits and an ordering of recommenders are not measured on single pages.
    """

    trust: Trust
    users: int
    items: int


def examined(
    study: Study,
    dataset: Dataset,
    asker: Asker,
    n: int,
    seed: int,
    tell: Callable[[str], object] = lambda text: None,
) -> tuple[Examined, Examined]:
    """Examine ``n`` held-out users: as the model plays them, and as they were fitted."""
    users, shown, wanted = _pages(offered(study, 1, seed, size=_OFFER), n, seed)
    population = Population.of(study.at_cut(), users)
    world, rows = population.world, torch.arange(len(users))
    players = Players(population, rows, asker, dataset, tell)
    verdicts = players.verdicts(world.items, _readers(population), shown, rows, 0)
    decided = torch.tensor([verdict is not None for verdict in verdicts], dtype=torch.bool)
    rows = decided.nonzero()[:, 0]
    few, shown, wanted = Population.of(world, users[rows]), shown[rows], wanted[rows]
    said = [verdict for verdict in verdicts if verdict is not None]
    with torch.inference_mode():
        played = enacted(world, world.items, _readers(few).mind, shown, said)
        fitted = page.read(world, world.items, _readers(few), shown, 0, seed)
    own = few.key
    return (
        _judged(study, own, shown, wanted, played, seed),
        _judged(study, own, shown, wanted, fitted, seed),
    )


def _pages(offer: Offer, n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Some users (m,), a page for each in random order (m, k), and what of it was taken (m, k)."""
    everybody = torch.unique(offer.user)
    chance = uniform(keys(seed, everybody, -4), Question.CHARACTER)
    users = everybody[chance.argsort(stable=True)[:n]].sort().values
    theirs = torch.isin(offer.user, users).nonzero()[:, 0]
    luck = uniform(keys(seed, offer.user[theirs], offer.item[theirs], -4), Question.NOTICES)
    theirs = theirs[luck.argsort(stable=True)]
    theirs = theirs[offer.user[theirs].argsort(stable=True)]
    row = torch.searchsorted(users, offer.user[theirs])
    place = rank(offer.user[theirs])
    shown = torch.full((len(users), _OFFER), -1)
    wanted = torch.zeros(len(users), _OFFER, dtype=torch.bool)
    shown[row, place], wanted[row, place] = offer.item[theirs], offer.wanted[theirs]
    return users, shown, wanted


def _readers(population: Population) -> Readers:
    """The users in front of their pages, rested."""
    return Readers(
        population.persona,
        Mind.rested(population.persona, population.world.mood),
        population.key,
        population.attention(),
        population.impatience(),
    )


def _judged(
    study: Study, users: Tensor, shown: Tensor, wanted: Tensor, reading: Reading, seed: int
) -> Examined:
    """Compare what was looked at with the log."""
    in_a_feed, seen = study.world.signals.shown, reading.seen
    took = reading.positive if in_a_feed else reading.event
    owner = users[:, None].expand_as(shown)
    offer = Offer(owner[seen], shown[seen], wanted[seen])
    choice = chosen(offer, took[seen], took[seen].to(torch.float32), 1, seed)
    real, place = _events(study.heldout(), owner, shown, reading.event, len(study.items))
    simulated = replace(
        real,
        **{
            name: getattr(reading, name)[place]
            for name in ("level", "amount", "reactions", "seconds", "satisfaction", "positive")
        },
    )
    found = of_offers(study, real, simulated, choice, seed)
    return Examined(trust(found), users=choice.users, items=len(offer.item))


def _events(
    log: Logbook, users: Tensor, shown: Tensor, event: Tensor, n_items: int
) -> tuple[Logbook, tuple[Tensor, Tensor]]:
    """What happened in the log where there was an event, and at which places of the pages."""
    own = log.user * n_items + log.item
    order = own.argsort(stable=True)
    key = users * n_items + shown
    at = torch.searchsorted(own[order], key).clamp(max=max(0, len(own) - 1))
    known = event & (own[order][at] == key)
    row, place = known.nonzero(as_tuple=True)
    return log.take(order[at[row, place]]), (row, place)
