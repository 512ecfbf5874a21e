"""Which model is asked follows from recorded outcomes and costs alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from tests.evolution.proposer.situation import TARIFF, done

from agenticrs.evolution.methods.method import Tried
from agenticrs.evolution.proposer.model_choice import Outcome, choose, outcomes
from agenticrs.platform.llm.spending import Spent, Tariff

NAMES = ("small", "large")


def outcome(model: str, rise: float, tariff: Tariff = TARIFF) -> Outcome:
    return Outcome(model, rise, Spent(1000, 200, tariff.money(model, 1000, 200), 1.0, 1))


def shares(known: list[Outcome], tariff: Tariff = TARIFF, draws: int = 200) -> Counter[str]:
    return Counter(
        choose(NAMES, known, tariff, np.random.default_rng([7, n])) for n in range(draws)
    )


def test_every_model_is_asked_once_first() -> None:
    rng = np.random.default_rng(0)
    assert choose(NAMES, [], TARIFF, rng) == "small"
    assert choose(NAMES, [outcome("small", 0.5)], TARIFF, rng) == "large"
    with pytest.raises(ValueError, match="no model"):
        choose((), [], TARIFF, rng)


def test_of_two_that_help_alike_the_cheaper_one_is_asked() -> None:
    known = [outcome(name, 0.1) for name in NAMES for _ in range(4)]
    assert shares(known)["small"] > 180


def test_a_dear_model_is_asked_when_it_helps_more_than_it_costs() -> None:
    known = [outcome("large", 0.1) for _ in range(6)] + [outcome("small", 0.0) for _ in range(60)]
    assert shares(known)["large"] > 100


def test_without_prices_tokens_are_the_cost_and_what_helped_is_asked() -> None:
    free = Tariff({"small": (1.0, 4.0)})
    known = [outcome("large", 0.1, free) for _ in range(8)]
    known += [outcome("small", 0.0, free) for _ in range(8)]
    assert shares(known, free)["large"] > 180


def test_the_same_record_gives_the_same_choice() -> None:
    known = [outcome(name, rise) for name in NAMES for rise in (0.0, 0.1)]
    assert shares(known) == shares(list(known))


def test_rises_are_told_from_the_rows_in_order() -> None:
    cost = Spent(10, 5, 0.1, 1.0, 1).as_note()
    rows = [
        done(0, {}, 0.20, origin="llm:small", note={"cost": cost}),
        done(1, {}, 0.25, origin="llm:large", note={"cost": cost}),
        done(2, {}, 0.40, origin="tpe"),
        done(3, {}, 0.30, origin="llm:small"),
        Tried(4, {}, "failed", origin="llm:large", note={"cost": cost}),
        Tried(5, {}, "open", origin="llm:small"),
    ]
    found = outcomes(rows, 0.20)
    assert [one.model for one in found] == ["small", "large", "small", "large", "small"]
    assert [one.rise for one in found] == pytest.approx([0.0, 0.25, 0.0, 0.0, 0.0])
    assert found[0].spent == Spent(10, 5, 0.1, 1.0, 1)
    assert found[2].spent == Spent()
