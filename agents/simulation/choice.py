"""Do simulated users take what their real selves took? The 1:m test of Agent4Rec.

Each held-out user gets ``_OFFER`` items, one part that the user took and m parts that the user did
not take: unobserved items where the log holds only what was taken, items shown and not taken where
it holds those (the harder task). Accuracy, precision, recall and F1 are a user's, then averaged.
Users whose log does not fill the offer get as many whole parts as it does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from agenticrs.agents.simulation.luck import Question, keys, uniform
from agenticrs.agents.simulation.mind import Mind, features
from agenticrs.agents.simulation.page import act
from agenticrs.agents.simulation.world import Study

RATIOS = (1, 2, 3, 9)
_OFFER = 20
_MOST_USERS = 5_000
Pairs = tuple[Tensor, Tensor]
"""Users and items, (n,) each."""


@dataclass(frozen=True)
class Choice:
    """How well users choose at one ratio 1 : ``m``. ``auc`` is over all offers, by the chances.

    ``taken``: pairs that real users, simulated ones, and ones who take anything would take.
    """

    m: int
    users: int
    accuracy: float
    precision: float
    recall: float
    f1: float
    auc: float
    taken: tuple[Pairs, Pairs, Pairs]


@dataclass(frozen=True)
class Offer:
    """Items offered to users, (n,) each; ``wanted``: which of them those took."""

    user: Tensor
    item: Tensor
    wanted: Tensor


def choices(study: Study, seed: int) -> tuple[Choice, ...]:
    """The test at every ratio; users are as they were at the start of their later halves."""
    return tuple(_choice(study, offered(study, m, seed), m, seed) for m in RATIOS)


def _choice(study: Study, offer: Offer, m: int, seed: int) -> Choice:
    world = replace(study.world, items=study.items)
    persona = study.persona.take(offer.user)
    mind = Mind.rested(persona, world.mood)
    items = study.items
    faced = features(persona, mind, items, offer.item, items.vectors[offer.item])
    luck = keys(seed, offer.user, offer.item, m)
    with torch.inference_mode():
        done = act(world, faced, items.seconds[offer.item], luck)
        answers = world.response.answers(faced)
    signals = world.signals
    if signals.shown:
        taken = signals.is_positive(done.amount, done.reactions, done.seconds)
        middles = world.signals.within.mean(1).clamp(max=1.0)
        chance = answers.levels @ middles
    else:
        taken, chance = done.takes, answers.takes
    return chosen(offer, taken, chance, m, seed)


def chosen(offer: Offer, taken: Tensor, chance: Tensor, m: int, seed: int) -> Choice:
    """How good it is to take what is ``taken`` of an offer, given the chances of it, (n,)."""
    accuracy, precision, recall, f1 = _by_user(offer, taken)
    luck = keys(seed, offer.user, offer.item, m)
    anything = uniform(luck, Question.CHARACTER) < taken.to(torch.float32).mean()
    return Choice(
        m=m,
        users=len(torch.unique(offer.user)),
        accuracy=accuracy,
        precision=precision,
        recall=recall,
        f1=f1,
        auc=area_under_curve(chance, offer.wanted),
        taken=(
            (offer.user[offer.wanted], offer.item[offer.wanted]),
            (offer.user[taken], offer.item[taken]),
            (offer.user[anything], offer.item[anything]),
        ),
    )


def offered(study: Study, m: int, seed: int, *, size: int = _OFFER) -> Offer:
    """At most ``size`` items for each held-out user, those wanted and m times as many others."""
    log = study.heldout()
    chance = uniform(keys(seed, log.user, log.item, m), Question.NOTICES)
    wanted = _few(log.user, log.positive, chance)
    parts = size // (1 + m)
    n_users = len(study.persona)
    if study.world.signals.shown:
        others = _few(log.user, ~log.positive, chance)
        pools = [torch.bincount(log.user[rows], minlength=n_users) for rows in (wanted, others)]
        whole = torch.minimum(pools[0], pools[1] // m).clamp(max=parts)
    else:
        whole = torch.bincount(log.user[wanted], minlength=n_users).clamp(max=parts)
    whole[_too_many(whole)] = 0
    first = _leading(log.user[wanted], whole)
    user, item = log.user[wanted][first], log.item[wanted][first]
    if study.world.signals.shown:
        second = _leading(log.user[others], whole * m)
        other_user, other = log.user[others][second], log.item[others][second]
    else:
        other_user = torch.repeat_interleave(torch.arange(n_users), whole * m)
        other = _unobserved(study, other_user, seed + m)
    return Offer(
        torch.cat([user, other_user]),
        torch.cat([item, other]),
        torch.cat([torch.ones(len(user)), torch.zeros(len(other))]) > 0,
    )


def _too_many(whole: Tensor) -> Tensor:
    """Users beyond the first so many that have an offer."""
    return (whole > 0).nonzero()[:, 0][_MOST_USERS:]


def _few(user: Tensor, allowed: Tensor, chance: Tensor) -> Tensor:
    """Allowed rows, user by user, in random order within each."""
    rows = allowed.nonzero()[:, 0]
    rows = rows[chance[rows].argsort(stable=True)]
    return rows[user[rows].argsort(stable=True)]


def _leading(user: Tensor, most: Tensor) -> Tensor:
    """Which rows, sorted by user, are among the first ``most[user]`` of their user, (n,) bool."""
    begin = torch.searchsorted(user, user)
    return torch.arange(len(user)) - begin < most[user]


def _unobserved(study: Study, user: Tensor, seed: int) -> Tensor:
    """A random item for each that its user has nowhere in the log."""
    n_items = len(study.items)
    seen = torch.cat([study.known.user, study.later.user]) * n_items
    seen = torch.unique(seen + torch.cat([study.known.item, study.later.item]))
    generator = torch.Generator().manual_seed(seed)
    found = torch.randint(n_items, (len(user),), generator=generator)
    for _ in range(20):
        place = torch.searchsorted(seen, user * n_items + found).clamp(max=len(seen) - 1)
        again = seen[place] == user * n_items + found
        if not bool(again.any()):
            break
        found[again] = torch.randint(n_items, (int(again.sum()),), generator=generator)
    return found


def _by_user(offer: Offer, taken: Tensor) -> tuple[float, float, float, float]:
    """Accuracy, precision, recall and F1, each the mean over users."""
    _, row = torch.unique(offer.user, return_inverse=True)
    n = int(row.max()) + 1 if len(row) else 0

    def counted(which: Tensor) -> Tensor:
        return torch.bincount(row[which], minlength=n).to(torch.float64)

    right, chose = counted(offer.wanted & taken), counted(taken)
    wanted, all_ = counted(offer.wanted), counted(torch.ones_like(taken))
    correct = counted(offer.wanted == taken)
    precision, recall = right / chose.clamp(min=1), right / wanted.clamp(min=1)
    f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
    means = [correct / all_.clamp(min=1), precision, recall, f1]
    accuracy, precise, recalled, both = (float(x.mean()) if n else 0.0 for x in means)
    return accuracy, precise, recalled, both


def area_under_curve(chance: Tensor, wanted: Tensor) -> float:
    """Chance that a wanted one is above another (ties count half); 0.5 when either is missing."""
    positives = int(wanted.sum())
    negatives = len(wanted) - positives
    if not positives or not negatives:
        return 0.5
    _, place, counts = torch.unique(chance, return_inverse=True, return_counts=True)
    rank = (counts.cumsum(0).to(torch.float64) - (counts - 1) / 2)[place]
    above = float(rank[wanted].sum()) - positives * (positives + 1) / 2
    return above / (positives * negatives)
