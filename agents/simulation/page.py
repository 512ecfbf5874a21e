"""One page: users look at it place by place, watch or skip, react, feel, and go on or leave.

Where a log holds what was shown (a feed), every item that is reached is an event, and whoever
leaves sees no more of the page. Where it holds only what was taken, a page is laid out at once:
users notice places by their attention, and only what they take is an event.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from agenticrs.agents.simulation.items import Items
from agenticrs.agents.simulation.luck import Question, keys, uniform
from agenticrs.agents.simulation.mind import Mind, features
from agenticrs.agents.simulation.persona import Persona
from agenticrs.agents.simulation.world import World


@dataclass(frozen=True)
class Readers:
    """n users in front of a page each. ``mind`` changes while they read."""

    persona: Persona
    mind: Mind
    key: Tensor
    attention: Tensor
    impatience: Tensor


@dataclass(frozen=True)
class Reading:
    """What became of a page, (n, k) but for ``left`` (n,) and ``reactions`` (n, k, R).

    ``event``: what a log would have a row of. Values are 0 (levels -1) where there was no event.
    """

    seen: Tensor
    event: Tensor
    positive: Tensor
    level: Tensor
    amount: Tensor
    seconds: Tensor
    satisfaction: Tensor
    reactions: Tensor
    left: Tensor


@dataclass(frozen=True)
class Act:
    """How users act on one item each, (n,): before it is known who gets to see it."""

    takes: Tensor
    level: Tensor
    amount: Tensor
    seconds: Tensor
    reactions: Tensor
    satisfaction: Tensor
    leaves: Tensor


def act(world: World, faced: Tensor, seconds: Tensor, luck: Tensor) -> Act:
    """Decide by chance, given ``luck`` (n,), features ``faced`` (n, F) and lengths ``seconds``."""
    signals = world.signals
    answers = world.response.answers(faced)
    below = answers.levels.cumsum(1) < uniform(luck, Question.LEVEL)[:, None]
    level = below.sum(1).clamp(max=signals.n_levels - 1)
    amount = signals.amount(level, uniform(luck, Question.WITHIN_LEVEL))
    watched = amount * seconds if signals.measure == "watch_ratio" else torch.zeros_like(amount)
    chances, leaving = world.response.reactions(faced, amount, watched)
    drawn = [uniform(luck, Question.REACTION + place) for place in range(chances.shape[1])]
    reactions = (torch.stack(drawn, 1) < chances if drawn else chances > 0).to(torch.float32)
    return Act(
        takes=uniform(luck, Question.TAKES) < answers.takes,
        level=level,
        amount=amount,
        seconds=watched,
        reactions=reactions,
        satisfaction=signals.satisfaction(amount, reactions),
        leaves=uniform(luck, Question.LEAVES) < leaving,
    )


def read(
    world: World, items: Items, readers: Readers, shown: Tensor, day: int, seed: int
) -> Reading:
    """Let the readers go through their pages ``shown`` (n, k); -1 is an empty place."""
    n, k = shown.shape
    here = torch.ones(n, dtype=torch.bool)
    noticing = torch.ones(n)
    seen, acts, events = [], [], []
    for place in range(k):
        item = shown[:, place].clamp(min=0)
        luck = keys(seed, readers.key, item, day)
        vectors = items.vectors[item]
        faced = features(readers.persona, readers.mind, items, item, vectors)
        done = act(world, faced, items.seconds[item], luck)
        sees = here & (shown[:, place] >= 0)
        leaves = done.leaves
        if not world.signals.shown:
            sees = sees & (uniform(luck, Question.NOTICES) < noticing)
            noticing = noticing * readers.attention
        event = sees & done.takes
        if not world.signals.timed:
            leaves = uniform(luck, Question.LEAVES) < _leaving(world, readers)
        readers.mind.update(event, done.satisfaction, vectors, world.priors)
        here = here & ~(event & leaves)
        seen.append(sees)
        events.append(event)
        acts.append(done)
    event = torch.stack(events, 1)
    if not world.signals.shown:
        bored = uniform(keys(seed, readers.key, shown[:, 0], day), Question.GIVES_UP)
        here = here & (event.any(1) | (bored >= world.priors.empty_page))
    return together(world, torch.stack(seen, 1), event, acts, ~here)


def _leaving(world: World, readers: Readers) -> Tensor:
    """Chance to leave after an item, where the log does not tell, (n,)."""
    priors, mind = world.priors, readers.mind
    logit = priors.leave + priors.fatigue * (mind.place + 1).log2() + readers.impatience
    return (logit - priors.mood_holds * (mind.mood - world.mood)).sigmoid()


def together(world: World, seen: Tensor, event: Tensor, acts: list[Act], left: Tensor) -> Reading:
    """A reading out of what was done at each place; where there was no event, nothing was done."""

    def column(name: str) -> Tensor:
        values = torch.stack([getattr(done, name) for done in acts], 1)
        kept = event if values.dim() == 2 else event[..., None]
        return torch.where(kept, values, -1 if name == "level" else 0)

    amount, seconds, reactions = column("amount"), column("seconds"), column("reactions")
    return Reading(
        seen=seen,
        event=event,
        positive=event & world.signals.is_positive(amount, reactions, seconds),
        level=column("level"),
        amount=amount,
        seconds=seconds,
        satisfaction=column("satisfaction"),
        reactions=reactions,
        left=left,
    )
