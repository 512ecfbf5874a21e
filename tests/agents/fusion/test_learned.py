from __future__ import annotations

import pytest
import torch

from agenticrs.agents.agent import Budget
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.contract import AgentContract, small_log
from agenticrs.agents.fusion.learned import LearnedFusion, LearnedFusionConfig
from agenticrs.agents.fusion.reciprocal_rank import (
    ReciprocalRankFusion,
    ReciprocalRankFusionConfig,
)
from agenticrs.agents.lesson import Lesson
from agenticrs.agents.training_data import Heldout
from agenticrs.platform.errors import AgentError


class TestContract(AgentContract):
    agent_type = LearnedFusion
    config = {"steps": 20}  # noqa: RUF012


USERS, N_ITEMS = 600, 30


def lesson(seed: int = 0) -> Lesson:
    """What is taken stands high in list "good"; list "bad" is noise, list "late" knows it last."""
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.rand(USERS, N_ITEMS, generator=generator).argsort(1)[:, :10] for _ in range(2)]
    good, bad = orders
    place = torch.rand(USERS, generator=generator).square().mul(10).long()
    taken = good.gather(1, place[:, None])[:, 0]
    scores = torch.linspace(1, 0, 10).expand(USERS, 10)
    users = UserBatch(
        torch.full((USERS,), -1), torch.zeros(USERS + 1).long(), torch.zeros(0).long()
    )
    truth = Heldout(torch.arange(USERS), torch.arange(USERS + 1), taken, torch.ones(USERS))
    return Lesson(users, (Candidates(bad, scores), Candidates(good, scores)), truth)


def hits(fused: Candidates, given: Lesson, k: int = 3) -> float:
    taken = given.truth.items[:, None]
    return float((fused.items[:, :k] == taken).any(1).float().mean())


def made(**config: float) -> LearnedFusion:
    agent = LearnedFusion(LearnedFusionConfig.model_validate(config))
    agent.fit(small_log(), Budget())
    agent.input_names(["bad", "good"])
    return agent


def test_it_learns_which_list_to_trust_for_users_it_has_not_seen() -> None:
    agent, new = made(), lesson(seed=1)
    before = hits(agent.act(new.users, new.inputs, 10), new)
    agent.learn(lesson())
    after = hits(agent.act(new.users, new.inputs, 10), new)
    alone = hits(new.inputs[1], new)
    assert after > before + 0.1
    assert after == pytest.approx(alone, abs=0.03)


def test_before_it_has_learnt_it_votes_by_reciprocal_ranks() -> None:
    given = lesson()
    agent = made()
    votes = ReciprocalRankFusion(ReciprocalRankFusionConfig(k=10))
    fused, expected = (
        agent.act(given.users, given.inputs, 20),
        votes.act(given.users, given.inputs, 20),
    )
    assert torch.equal(fused.items, expected.items)
    torch.testing.assert_close(fused.scores, 10 * expected.scores)


def test_a_missing_list_and_a_new_one_do_no_harm() -> None:
    agent, given = made(), lesson()
    agent.learn(given)
    agent.input_names(["good"])
    alone = agent.act(given.users, given.inputs[1:], 10)
    assert hits(alone, given) == pytest.approx(hits(given.inputs[1], given), abs=0.05)
    agent.input_names(["good", "new"])
    assert agent.act(given.users, given.inputs, 10).items.shape == (USERS, 10)


def test_nothing_taken_teaches_nothing_and_no_list_is_an_error() -> None:
    agent, given = made(), lesson()
    empty = Heldout(given.truth.users, torch.zeros(USERS + 1).long(), *[torch.zeros(0)] * 2)
    empty = Heldout(empty.users, empty.offsets, empty.items.long(), empty.value)
    agent.learn(Lesson(given.users, given.inputs, empty))
    assert hits(agent.act(given.users, given.inputs, 10), given) > 0
    agent.input_names([])
    with pytest.raises(AgentError, match="no list"):
        agent.act(given.users, [], 10)
