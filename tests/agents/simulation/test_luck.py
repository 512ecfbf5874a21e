from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from agenticrs.agents.simulation.luck import Question, keys, uniform

WORD = st.integers(-(2**62), 2**62)


@given(WORD, st.lists(WORD, min_size=1, max_size=5), WORD)
def test_luck_does_not_depend_on_who_is_asked_together(
    seed: int, users: list[int], item: int
) -> None:
    together = uniform(keys(seed, torch.tensor(users), item), Question.LEVEL)
    for place, user in enumerate(users):
        alone = uniform(keys(seed, torch.tensor([user]), item), Question.LEVEL)
        assert float(alone) == float(together[place])
        assert 0 < float(alone) < 1


def test_luck_is_spread_evenly_and_questions_are_independent() -> None:
    key = keys(3, torch.arange(20_000), 7, 1)
    first, second = (uniform(key, asked) for asked in (Question.LEVEL, Question.LEAVES))
    assert torch.histc(first, 10, 0, 1).min() > 1800
    assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 0.03
    other = uniform(keys(4, torch.arange(20_000), 7, 1), Question.LEVEL)
    assert abs(float(torch.corrcoef(torch.stack([first, other]))[0, 1])) < 0.03
