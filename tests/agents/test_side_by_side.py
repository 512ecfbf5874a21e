"""Stacked trainings: when they pay, and what measuring leaves alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, cycle

import pytest
import torch
from torch import Tensor, nn

from agenticrs.agents.agent import Budget
from agenticrs.agents.contract import small_log
from agenticrs.agents.grammar import documents
from agenticrs.agents.ranking.classics import DeepConfig, DeepFm
from agenticrs.agents.ranking.dcn import DcnConfig, DcnV2
from agenticrs.agents.ranking.multi_task import Mmoe, MultiTaskConfig
from agenticrs.agents.retrieval.bpr import BprConfig, BprMF
from agenticrs.agents.side_by_side import (
    Course,
    Example,
    Stack,
    alike,
    pays,
    train_alone,
    train_together,
)

CONFIG = DcnConfig(embedding_size=4, deep=8, negatives=5, batch_size=64)


def courses(count: int = 3) -> list[Course]:
    return DcnV2.courses([DcnV2(CONFIG, seed=seed) for seed in range(count)], small_log())


@pytest.mark.parametrize(("together", "wins"), [(2.0, True), (2.9, False), (4.0, False)])
def test_side_by_side_pays_when_a_step_of_all_takes_less_than_one_of_each(
    together: float, wins: bool
) -> None:
    # The clock is read before and after a step alone (one second), then one together.
    ticks = accumulate(cycle([0.0, 1.0, 0.0, together]))
    assert pays(courses(), lambda: next(ticks)) is wins


def test_measuring_leaves_weights_and_random_draws_as_they_were() -> None:
    measured, untouched = courses(), courses()
    pays(measured)
    for ours, theirs in zip(measured, untouched, strict=True):
        for a, b in zip(ours.network.parameters(), theirs.network.parameters(), strict=True):
            assert torch.equal(a, b)
            assert a.grad is None
        for x, y in zip(next(ours.examples()), next(theirs.examples()), strict=True):
            assert torch.equal(x, y)


def test_one_model_is_never_stacked() -> None:
    assert not pays(courses(1))


def test_the_losses_of_a_stack_are_those_of_its_models() -> None:
    three = courses()
    examples = [next(course.examples()) for course in three]
    alone = torch.stack(
        [course.loss(example) for course, example in zip(three, examples, strict=True)]
    )
    torch.testing.assert_close(Stack(three).losses(examples), alone)


def small_course(seed: int) -> Course:
    """A layer that learns to double, with a rate and decay of its own."""
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(2, 2)
    for weight in layer.parameters():
        nn.init.normal_(weight, generator=generator)

    def examples() -> Iterator[Example]:
        yield from (torch.randn(4, 5, 2, generator=generator)[:, None])

    def terms(network: nn.Module, example: Example, noise: torch.Generator | None) -> Tensor:
        (x,) = example
        error: Tensor = network(x) - 2 * x
        return error.square().mean()[None]

    return Course(layer, generator, 3, 0.01 * (1 + seed), 0.1 * seed, examples, terms, (2.0,))


def test_a_stack_goes_the_steps_that_adamw_goes_with_each_model() -> None:
    together, alone = ([small_course(seed) for seed in range(3)] for _ in range(2))
    assert train_together(together, Budget()) == [None, None, None]
    for ours, theirs in zip(together, alone, strict=True):
        train_alone(theirs, Budget())
        for a, b in zip(ours.network.parameters(), theirs.network.parameters(), strict=True):
            torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_an_agent_says_which_configs_can_be_stacked_and_what_they_share() -> None:
    ours = alike(DcnV2, CONFIG)
    assert ours == alike(DcnV2, CONFIG.model_copy(update={"learning_rate": 0.1, "l2": 0.0}))
    assert ours != alike(DcnV2, CONFIG.model_copy(update={"crosses": 3}))
    assert alike(BprMF, BprConfig()) is None
    assert alike(Mmoe, MultiTaskConfig()) is None
    attended = documents.ranker("din", width=4, hidden=4)
    assert alike(DeepFm, DeepConfig(structure=attended)) is not None
