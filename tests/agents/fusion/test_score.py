from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from tests.agents.fusion.test_reciprocal_rank import nobody

from agenticrs.agents.batch import Candidates
from agenticrs.agents.contract import AgentContract
from agenticrs.agents.fusion.score import ScoreFusion, ScoreFusionConfig


class TestContract(AgentContract):
    agent_type = ScoreFusion


class TestContractWithAgreement(AgentContract):
    agent_type = ScoreFusion
    config: ClassVar = {"scale": "zscore", "agreement": True}


A = Candidates(torch.tensor([[1, 2, 3]]), torch.tensor([[10.0, 6.0, 2.0]]))
B = Candidates(torch.tensor([[3, 4, -1]]), torch.tensor([[0.4, 0.2, -torch.inf]]))


def fuse(**config: Any) -> tuple[list[int], list[float]]:
    agent = ScoreFusion(ScoreFusionConfig.model_validate(config))
    agent.input_names(["a", "b"])
    fused = agent.act(nobody(1), [A, B], 4)
    return fused.items[0].tolist(), fused.scores[0].tolist()


def test_scores_of_different_sizes_are_added_on_one_scale() -> None:
    items, scores = fuse(weights={"a": 0.8})
    assert items == [3, 1, 2, 4]
    assert scores == pytest.approx([1.0, 0.8, 0.4, 0.0])


def test_agreement_counts_the_lists_that_hold_an_item() -> None:
    items, scores = fuse(weights={"a": 0.8}, agreement=True)
    assert items[0] == 3
    assert scores == pytest.approx([2.0, 0.8, 0.4, 0.0])


def test_a_list_of_equal_scores_still_votes() -> None:
    flat = Candidates(torch.tensor([[5, 6]]), torch.tensor([[0.3, 0.3]]))
    for scale in ("minmax", "zscore"):
        agent = ScoreFusion(ScoreFusionConfig.model_validate({"scale": scale}))
        fused = agent.act(nobody(1), [flat], 2)
        assert fused.items.tolist() == [[5, 6]]
        assert (fused.scores > 0).all()
