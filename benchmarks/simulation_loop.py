"""The rules of the simulated users once more, for one user at a time, in plain Python.

It is what ``agents/simulation`` is measured against, and checked against: the same luck, the same
model, the same decisions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import mul
from typing import Any

import torch

from agenticrs.agents.simulation.luck import Question
from agenticrs.agents.simulation.population import Population

_WORD = 2**64
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB
_GLAD = ("like", "follow", "comment", "forward")


@dataclass
class _Mind:
    mood: float
    last: float
    place: float
    bad: float
    recent: list[float]


class LoopedUsers:
    """Users of a population, each with the world's tables as lists of floats."""

    def __init__(self, population: Population) -> None:
        world = population.world
        self._signals, self._priors, self._mood = world.signals, world.priors, world.mood
        self._items = {f.name: getattr(world.items, f.name).tolist() for f in fields(world.items)}
        self._persona = {
            f.name: getattr(population.persona, f.name).tolist() for f in fields(population.persona)
        }
        self._keys = population.key.tolist()
        self._attention = population.attention().tolist()
        self._impatience = population.impatience().tolist()
        self._within = world.signals.within.tolist()
        self._centre = world.response.centre.tolist()
        self._spread = world.response.spread.tolist()
        self._first = _Lists(world.response.first)
        self._second = _Lists(world.response.second)
        self._minds = [self._rested(row) for row in range(len(self._keys))]

    def page(self, row: int, shown: Sequence[int], day: int, seed: int) -> tuple[list[bool], bool]:
        """One user reads one page: which items are positives, and whether the user leaves."""
        mind, signals, priors = self._minds[row], self._signals, self._priors
        here, noticing, anything = True, 1.0, False
        taken = []
        for item in shown:
            key = _keys(seed, self._keys[row], max(item, 0), day)
            sees = here and item >= 0
            if not signals.shown:
                sees = sees and _uniform(key, Question.NOTICES) < noticing
                noticing *= self._attention[row]
            taken.append(False)
            if not sees:
                continue
            faced = self._scaled(self._faced(row, mind, item))
            outputs = self._first(faced)
            if not signals.shown and not _uniform(key, Question.TAKES) < _sigmoid(
                outputs[signals.n_levels]
            ):
                continue
            anything = True
            happened = self._experience(row, mind, item, key, faced, outputs)
            taken[-1] = happened[0]
            here = not happened[1]
        if not signals.shown and not anything and here:
            key = _keys(seed, self._keys[row], shown[0], day)
            here = _uniform(key, Question.GIVES_UP) >= priors.empty_page
        return taken, not here

    def _experience(
        self, row: int, mind: _Mind, item: int, key: int, faced: list[float], outputs: list[float]
    ) -> tuple[bool, bool]:
        """Watch or rate it, react, feel: whether it was a positive, and whether the user leaves."""
        signals, priors = self._signals, self._priors
        level = _drawn(outputs[: signals.n_levels], _uniform(key, Question.LEVEL))
        amount = _inside(self._within[level], _uniform(key, Question.WITHIN_LEVEL))
        ratio = signals.measure == "watch_ratio"
        seconds = amount * self._items["seconds"][item] if ratio else 0.0
        reactions, leaving = [], 0.0
        if signals.reactions or signals.timed:
            share = (amount - signals.low) / max(signals.high - signals.low, 1e-6)
            content = share if signals.measure == "rating" else min(amount, 1.0)
            told = [min(amount, 5.0), content, math.log1p(seconds)]
            chances = [_sigmoid(x) for x in self._second(faced + told)]
            reactions = [
                _uniform(key, Question.REACTION + place) < chances[place]
                for place in range(len(signals.reactions))
            ]
            leaving = chances[-1] if signals.timed else 0.0
        satisfaction = self._satisfaction(amount, reactions)
        if not signals.timed:
            logit = priors.leave + priors.fatigue * math.log2(mind.place + 1)
            logit += self._impatience[row] - priors.mood_holds * (mind.mood - self._mood)
            leaving = _sigmoid(logit)
        self._update(mind, satisfaction, self._items["vectors"][item])
        return self._positive(amount, reactions, seconds), _uniform(key, Question.LEAVES) < leaving

    def _faced(self, row: int, mind: _Mind, item: int) -> list[float]:
        items, own = self._items, self._persona
        vector, quality = items["vectors"][item], items["quality"][item]
        repeats = _dot(mind.recent, vector)
        return [
            _dot(own["taste"][row], vector),
            _dot(own["liking"][row], vector),
            _dot(own["tags"][row], items["tags"][item]),
            quality,
            items["appeal"][item],
            items["popularity"][item],
            items["length"][item],
            own["content"][row],
            own["keen"][row],
            own["activity"][row],
            own["maverick"][row],
            own["maverick"][row] * quality,
            own["diverse"][row],
            own["patience"][row],
            own["often"][row],
            math.log1p(mind.place),
            mind.mood,
            mind.last,
            math.log1p(mind.bad),
            repeats,
            own["diverse"][row] * repeats,
        ]

    def _scaled(self, faced: list[float]) -> list[float]:
        scaled = zip(faced, self._centre, self._spread, strict=True)
        return [min(5.0, max(-5.0, (x - centre) / spread)) for x, centre, spread in scaled]

    def _satisfaction(self, amount: float, reactions: list[bool]) -> float:
        signals = self._signals
        content = amount
        if signals.measure == "rating":
            content = (amount - signals.low) / max(signals.high - signals.low, 1e-6)
        content = min(1.0, max(0.0, content))
        done = dict(zip(signals.reactions, reactions, strict=True))
        if any(done.get(name, False) for name in _GLAD):
            content = 1.0
        return 0.0 if done.get("hate", False) else content

    def _positive(self, amount: float, reactions: list[bool], seconds: float) -> bool:
        name, minimum = self._signals.positive.behaviour, self._signals.positive.minimum
        if name in self._signals.reactions:
            return float(reactions[self._signals.reactions.index(name)]) >= minimum
        if name == "watch_time":
            return seconds >= minimum
        return amount >= min(minimum, self._signals.high)

    def _update(self, mind: _Mind, satisfaction: float, vector: list[float]) -> None:
        priors = self._priors
        mind.mood += priors.mood_rate * (satisfaction - mind.mood)
        mind.last = satisfaction
        mind.bad = mind.bad + 1 if satisfaction < priors.bad_below else 0.0
        mind.place += 1
        rate = priors.recent_rate
        mind.recent = [r + rate * (v - r) for r, v in zip(mind.recent, vector, strict=True)]

    def _rested(self, row: int) -> _Mind:
        own = min(1.0, max(0.0, self._mood + self._persona["mood"][row]))
        return _Mind(own, own, 0.0, 0.0, list(self._persona["recent"][row]))


class _Lists:
    """A fitted network as lists."""

    def __init__(self, network: Any) -> None:
        first, bias, second, rest = network.layers
        self._first, self._bias = first.T.tolist(), bias.tolist()
        self._second, self._rest = second.T.tolist(), rest.tolist()
        self._scale, self._offset = network.scale.tolist(), network.offset.tolist()

    def __call__(self, row: list[float]) -> list[float]:
        hidden = [
            max(0.0, _dot(weights, row) + bias)
            for weights, bias in zip(self._first, self._bias, strict=True)
        ]
        return [
            (_dot(weights, hidden) + rest) * scale + offset
            for weights, rest, scale, offset in zip(
                self._second, self._rest, self._scale, self._offset, strict=True
            )
        ]


def browse(users: LoopedUsers, row: int, pages: torch.Tensor, day: int, seed: int) -> int:
    """Let a user read pages (P, k) until the user leaves; how many were read."""
    for number, shown in enumerate(pages.tolist(), start=1):
        if users.page(row, shown, day, seed)[1]:
            return number
    return len(pages)


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(map(mul, a, b))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _drawn(logits: list[float], luck: float) -> int:
    high = max(logits)
    weights = [math.exp(x - high) for x in logits]
    left = luck * sum(weights)
    for place, weight in enumerate(weights):
        left -= weight
        if left <= 0:
            return place
    return len(weights) - 1


def _inside(steps: list[float], where: float) -> float:
    if len(steps) == 1:
        return steps[0]
    at = where * (len(steps) - 1)
    below = min(int(at), len(steps) - 2)
    return steps[below] + (steps[below + 1] - steps[below]) * (at - below)


def _keys(seed: int, *parts: int) -> int:
    key = (seed * 2 + 1) % _WORD
    for part in parts:
        key = _mixed((key * _GOLDEN + part) % _WORD)
    return key


def _uniform(key: int, question: int) -> float:
    return ((_mixed((key + question * _GOLDEN) % _WORD) >> 40) + 0.5) / 2**24


def _mixed(x: int) -> int:
    x = ((x ^ (x >> 30)) * _FIRST) % _WORD
    x = ((x ^ (x >> 27)) * _SECOND) % _WORD
    return x ^ (x >> 31)
