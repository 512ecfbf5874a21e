from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.contract import AgentContract
from agenticrs.agents.fusion.reciprocal_rank import (
    ReciprocalRankFusion,
    ReciprocalRankFusionConfig,
)
from agenticrs.platform.errors import AgentError

lists = st.lists(st.integers(0, 12), max_size=6, unique=True)


class TestContract(AgentContract):
    agent_type = ReciprocalRankFusion
    config: ClassVar = {"weights": {"first": 0.4, "second": 1.0}}


class TestContractWithThreeInputs(AgentContract):
    agent_type = ReciprocalRankFusion
    n_inputs = 3


def nobody(n: int) -> UserBatch:
    return UserBatch(
        torch.full((n,), -1), torch.zeros(n + 1, dtype=torch.int64), torch.zeros(0).long()
    )


def candidates(rows: list[list[int]]) -> Candidates:
    width = max(1, *(len(row) for row in rows))
    items = torch.tensor([row + [-1] * (width - len(row)) for row in rows])
    return Candidates(items, torch.zeros(items.shape).masked_fill(items < 0, -torch.inf))


def fuse(
    inputs: list[list[list[int]]], names: list[str], **config: object
) -> tuple[list[list[int]], torch.Tensor]:
    agent = ReciprocalRankFusion(ReciprocalRankFusionConfig.model_validate(config))
    agent.input_names(names)
    fused = agent.act(nobody(len(inputs[0])), [candidates(rows) for rows in inputs], 20)
    return [[i for i in row if i >= 0] for row in fused.items.tolist()], fused.scores


def test_the_votes_are_those_of_the_paper() -> None:
    items, scores = fuse([[[1, 2, 3]], [[3, 1]]], ["a", "b"])
    assert items == [[1, 3, 2]]
    expected = [1 / 61 + 1 / 62, 1 / 63 + 1 / 61, 1 / 62]
    assert scores[0, :3].tolist() == pytest.approx(expected)


@given(st.lists(st.tuples(lists, lists, lists), min_size=1, max_size=4))
def test_every_user_gets_what_a_plain_loop_computes(
    users: list[tuple[list[int], list[int], list[int]]],
) -> None:
    weights = {"a": 0.7, "b": 1.0, "c": 0.25}
    inputs = [[user[source] for user in users] for source in range(3)]
    got, scores = fuse(inputs, ["a", "b", "c"], k=5, depth=4, weights=weights)
    for row, user in enumerate(users):
        votes: dict[int, float] = {}
        for weight, ranked in zip(weights.values(), user, strict=True):
            for rank, item in enumerate(ranked[:4], start=1):
                votes[item] = votes.get(item, 0.0) + weight / (5 + rank)
        assert set(got[row]) == set(votes)
        shown = scores[row, : len(votes)].tolist()
        assert shown == pytest.approx([votes[item] for item in got[row]])
        assert shown == sorted(shown, reverse=True)


def test_weight_zero_drops_an_input_and_its_items() -> None:
    assert fuse([[[1, 2]], [[3, 4]]], ["a", "b"], weights={"b": 0.0})[0] == [[1, 2]]


def test_equal_votes_stay_in_the_order_of_the_inputs() -> None:
    assert fuse([[[9, 8]], [[2, 1]]], ["a", "b"])[0] == [[9, 2, 8, 1]]


def test_no_input_with_a_weight_is_an_error() -> None:
    with pytest.raises(AgentError, match="every input has weight 0"):
        fuse([[[1]]], ["a"], weights={"a": 0.0})


def test_another_number_of_inputs_than_announced_is_an_error() -> None:
    with pytest.raises(AgentError, match="told of 2 inputs and got 1"):
        fuse([[[1]]], ["a", "b"])
