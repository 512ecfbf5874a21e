"""Losses that a document may name, under each way to draw, beside their definitions."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch
from torch.nn import functional

from agenticrs.agents.grammar.losses import Draws, catalogue_loss, list_loss
from agenticrs.agents.grammar.training import CatalogueLoss, Draw, ListLoss, Sampler

GENERATOR = torch.Generator().manual_seed(1)
QUERY = torch.randn(6, 4, generator=GENERATOR)
TABLE = torch.randn(20, 4, generator=GENERATOR)
TARGET = torch.tensor([0, 3, 3, 7, 19, 11])
COUNTS = torch.tensor([9, 1, 0, 16, 1, 4, 1, 25, 1, 1, 2, 9, 1, 1, 4, 1, 0, 1, 2, 16]).float()
LOW = 1e-2
"""Where products in bfloat16 are fast, logits have two digits."""


def draws(draw: Draw, beside: int, seed: int = 3, **more: Any) -> Draws:
    """``beside``: how many the settings say."""
    generator = torch.Generator().manual_seed(seed)
    return Draws(Sampler(draw=draw, **more), beside, COUNTS, generator)


def defined(kind: CatalogueLoss, drawn: list[int], chances: list[float]) -> float:
    """Place by place and item by item, as the papers write it; calibration .5."""
    total, n = 0.0, len(drawn)
    rate = n / 19
    power = rate * (0.5 * (1 - 1 / rate) + 1 / rate)
    for query, target in zip(QUERY, TARGET.tolist(), strict=True):
        right = float(query @ TABLE[target])
        wrong = [(float(query @ TABLE[i]), chances[i]) for i in drawn if i != target]
        below = sum(math.log1p(math.exp(w)) for w, _ in wrong)
        if kind == "sampled":
            # Each draw stands for as many items as it would take to draw it once.
            others = sum(math.exp(w) / (n * chance) for w, chance in wrong)
            total += math.log(math.exp(right) + others) - right
        elif kind == "bce":
            total += math.log1p(math.exp(-right)) + below / n
        elif kind == "gbce":
            total += power * math.log1p(math.exp(-right)) + below
        else:
            total += sum(math.log1p(math.exp(w - right)) for w, _ in wrong) / n
    return total / len(TARGET)


@pytest.mark.parametrize("kind", [kind for kind in get_args(CatalogueLoss) if kind != "softmax"])
@pytest.mark.parametrize("draw", ["uniform", "popularity", "in_batch"])
def test_each_loss_under_each_sampler_is_its_definition(kind: CatalogueLoss, draw: Draw) -> None:
    drawn, told = draws(draw, 8).draw(TARGET)
    weights = {"uniform": torch.ones(20), "popularity": COUNTS**0.75, "in_batch": COUNTS}[draw]
    chances = (weights / weights.sum()).tolist()
    assert told is None or told.tolist() == pytest.approx([chances[i] for i in drawn.tolist()])
    assert (told is None) is (draw == "uniform")
    found = catalogue_loss(kind, QUERY, TABLE, TARGET, draws=draws(draw, 8), calibration=0.5)
    assert float(found) == pytest.approx(defined(kind, drawn.tolist(), chances), rel=LOW)


@pytest.mark.parametrize("draw", ["uniform", "popularity"])
def test_a_sampled_softmax_is_the_whole_one_on_average_however_negatives_are_drawn(
    draw: Draw,
) -> None:
    # Of the items that anybody took: by popularity the others are never drawn.
    taken = (COUNTS > 0) | (torch.tensor(draw == "uniform"))
    logits = (QUERY @ TABLE.T).masked_fill(~taken, -torch.inf)
    whole = float(functional.cross_entropy(logits, TARGET))
    several = [
        float(
            catalogue_loss(
                "sampled", QUERY, TABLE, TARGET, draws=draws(draw, 2000, seed), calibration=0.0
            )
        )
        for seed in range(10)
    ]
    assert sum(several) / 10 == pytest.approx(whole, rel=0.03)


@pytest.mark.parametrize("power", [0.0, 0.5, 0.75, 1.0])
def test_popular_items_are_drawn_by_their_counts_to_the_power(power: float) -> None:
    drawn, chances = draws("popularity", 200_000, power=power).draw(TARGET)
    wanted = COUNTS**power / (COUNTS**power).sum()
    found = torch.bincount(drawn, minlength=20) / len(drawn)
    torch.testing.assert_close(found, wanted, atol=0.004, rtol=0.0)
    assert chances is not None
    torch.testing.assert_close(chances, wanted[drawn])
    if power:
        assert not bool(torch.isin(drawn, torch.tensor([2, 16])).any()), "nobody took them"


def test_what_is_drawn_out_of_the_batch_are_other_targets_each_once() -> None:
    drawn, _ = draws("in_batch", 4).draw(TARGET)
    left = TARGET.tolist()
    for item in drawn.tolist():
        left.remove(item)
    assert len(left) == 2
    every, _ = draws("in_batch", 100).draw(TARGET)
    assert sorted(every.tolist()) == sorted(TARGET.tolist())


def test_how_many_are_drawn_says_the_sampler_before_the_settings() -> None:
    for draw in ("uniform", "popularity"):
        assert len(draws(draw, 8).draw(TARGET)[0]) == 8
        assert len(draws(draw, 8, negatives=3).draw(TARGET)[0]) == 3


def test_a_step_without_targets_has_no_loss() -> None:
    found = catalogue_loss(
        "bpr", QUERY[:0], TABLE, TARGET[:0], draws=draws("in_batch", 4), calibration=0.0
    )
    assert float(found) == 0.0


@pytest.mark.parametrize("kind", get_args(ListLoss))
def test_losses_of_lists_are_their_definitions(kind: ListLoss) -> None:
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(2))
    wanted = 0.0
    for right, *wrong in logits.tolist():
        if kind == "listwise":
            wanted += math.log(sum(map(math.exp, [right, *wrong]))) - right
        elif kind == "pairwise":
            wanted += sum(math.log1p(math.exp(w - right)) for w in wrong) / 3
        else:
            wanted += math.log1p(math.exp(-right)) + sum(math.log1p(math.exp(w)) for w in wrong) / 3
    assert float(list_loss(kind, logits)) == pytest.approx(wanted / 5, rel=1e-5)
