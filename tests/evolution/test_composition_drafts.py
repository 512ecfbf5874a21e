"""Drafts of compositions by language models: what is paid for is kept, whatever happens next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from agenticrs.evolution import compositional, drafting
from agenticrs.evolution.cycle import Cycle
from agenticrs.platform.database import session_scope
from agenticrs.platform.llm.port import (
    Completion,
    LanguageModelError,
    Message,
    Schema,
    Unreachable,
    Usage,
)
from agenticrs.platform.llm.spending import Purse, Spent
from agenticrs.registry import cycles, trials
from agenticrs.registry.tables import TrialRow

from .conftest import World
from .searching import watched


class Killed(BaseException):
    """The process is gone."""


class Drafting:
    """Drafts another composition at each question; at those in ``dies`` it is killed, or away."""

    name = "small"

    def __init__(self, dies: dict[int, type[BaseException]]) -> None:
        self.dies, self.asked, self.answered = dies, 0, 0

    def complete(
        self, messages: Sequence[Message], schema: Schema, *, max_tokens: int, timeout: float
    ) -> Completion:
        self.asked += 1
        if ends := self.dies.get(self.asked):
            raise ends("the endpoint is away") if issubclass(ends, LanguageModelError) else ends
        self.answered += 1
        number = self.answered
        point = {
            "weight.itemknn": min(1.0, 0.1 * number + 0.1),
            "weight.ease": 1.0 - 0.09 * number,
            "weight.popularity": 0.0 if number % 2 else 0.5,
        }
        told = {"parent": "current", "hypothesis": "h", "expected": {"change": 0.1, "where": "all"}}
        return Completion({**told, "point": point}, "x", Usage(10_000, 50, 0.1, calls=1))


def drafting_world(world: World, monkeypatch: pytest.MonkeyPatch, model: Drafting) -> World:
    """Eight candidates in a wave, and the model draws from the first on."""
    world.controller().evolve(("bootstrap",))
    monkeypatch.setattr(compositional, "_order", lambda cycle: (["greedy", "llm"], "at once"))
    monkeypatch.setattr(compositional, "_GREEDY_SHARE", 10**9)
    asked = world.with_settings(trials=1, alpha=1e-9)
    return watched(World(replace(asked.services, language_models=[model])), [], wide=4)


def rows(world: World) -> list[TrialRow]:
    with session_scope(world.services.engine) as session:
        number = max(c.id or 0 for c in cycles.list_all(session))
        return trials.of_cycle(session, number, "home")


def test_a_kill_between_two_drafts_loses_nothing_that_was_paid_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Drafting({3: Killed})
    world = drafting_world(world, monkeypatch, model)
    with pytest.raises(Killed):
        world.controller().evolve(("compositional",))
    kept = rows(world)
    assert [(row.method, row.state) for row in kept] == [("llm:small", "proposed")] * 2

    purses: list[Spent] = []
    make = drafting.purse

    def looked_into(cycle: Cycle) -> Purse:
        purses.append(make(cycle).spent)
        return make(cycle)

    monkeypatch.setattr(drafting, "purse", looked_into)
    world.controller().resume()
    assert [(spent.calls, spent.tokens) for spent in purses] == [(2, 20_100)], "it knows of both"
    after = rows(world)
    drafted = [row for row in after if row.method == "llm:small"]
    assert [row.id for row in drafted[:2]] == [row.id for row in kept]
    assert {row.state for row in drafted} == {"done"}
    assert len(drafted) == model.answered == 5, "nothing is asked twice"
    assert len({str(sorted(row.config.items())) for row in drafted}) == 5


def test_an_endpoint_that_goes_away_is_not_asked_again_in_the_same_wave(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Drafting(dict.fromkeys(range(3, 100), Unreachable))
    world = drafting_world(world, monkeypatch, model)
    waves: list[int] = []
    measure = compositional._measure

    def counted(cycle: Cycle, arena: Any, wave: list[TrialRow], baseline: Any) -> None:
        waves.append(len(wave))
        measure(cycle, arena, wave, baseline)

    monkeypatch.setattr(compositional, "_measure", counted)
    world.controller().evolve(("compositional",))
    assert waves == [2]
    assert model.asked == 4, "once when it went away, and once for the next wave"
