from __future__ import annotations

import pytest
import torch

from agenticrs.agents.agent import Budget
from agenticrs.agents.batch import Candidates
from agenticrs.agents.contract import AgentContract, small_log
from agenticrs.agents.lesson import Lesson
from agenticrs.agents.routing.learned import LearnedRouter, LearnedRouterConfig
from agenticrs.agents.training_data import Heldout
from agenticrs.platform.errors import AgentError


class TestContract(AgentContract):
    agent_type = LearnedRouter


def lesson(better: torch.Tensor) -> Lesson:
    """Users where ``better`` find what they took in the special list, the others in the usual."""
    users = small_log().histories
    n = len(users)
    first = torch.arange(10).repeat(n, 1)
    scores = torch.linspace(1, 0, 10).expand(n, 10)
    taken = torch.where(better, 0, 10)
    truth = Heldout(users.users, torch.arange(n + 1), taken, torch.ones(n))
    return Lesson(users, (Candidates(first, scores), Candidates(first + 10, scores)), truth)


def router(**config: float) -> LearnedRouter:
    agent = LearnedRouter(LearnedRouterConfig.model_validate(config))
    agent.fit(small_log(), Budget())
    return agent


def test_it_finds_the_users_who_fare_better_on_the_special_path() -> None:
    users = small_log().histories
    short = users.lengths < users.lengths.median()
    agent = router(l2=1e-4)
    assert agent.act(users, (), 10).segment.eq(1).all()
    agent.learn(lesson(short))
    special = agent.act(users, (), 10).segment == 0
    assert float((special == short).float().mean()) > 0.9


def test_a_path_that_never_helps_is_never_taken() -> None:
    users = small_log().histories
    agent = router()
    agent.learn(lesson(torch.zeros(len(users), dtype=torch.bool)))
    assert agent.act(users, (), 10).segment.eq(1).all()


def test_a_strong_margin_keeps_everybody_on_the_usual_path() -> None:
    users = small_log().histories
    agent = router(margin=1e6)
    agent.learn(lesson(torch.ones(len(users), dtype=torch.bool)))
    assert agent.act(users, (), 10).segment.eq(1).all()


def test_it_needs_a_list_for_each_segment() -> None:
    agent = router()
    given = lesson(torch.zeros(len(small_log().histories), dtype=torch.bool))
    with pytest.raises(AgentError, match="two lists"):
        agent.learn(Lesson(given.users, given.inputs[:1], given.truth))
