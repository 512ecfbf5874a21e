from __future__ import annotations

import pytest
import torch
from torch import Tensor

from agenticrs.agents.agent import Budget
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.contract import AgentContract, small_log
from agenticrs.agents.lesson import Lesson
from agenticrs.agents.probe import AgentProbe
from agenticrs.agents.segmenting.segmenter import Segmenter, SegmenterConfig
from agenticrs.agents.segmenting.user_statistics import NAMES, Ground
from agenticrs.agents.training_data import Heldout
from agenticrs.platform.errors import AgentError
from agenticrs.registry.admission import admit

PATHS = Segmenter.spec.segments
USUAL = len(PATHS) - 1


class TestContract(AgentContract):
    agent_type = Segmenter


def segmenter(**config: float) -> Segmenter:
    agent = Segmenter(SegmenterConfig.model_validate(config))
    agent.fit(small_log(), Budget())
    return agent


def lesson(path: Tensor) -> Lesson:
    """Users who find what they took in the list of their ``path``, (40,), and in no other."""
    users = small_log().histories
    n = len(users)
    items = torch.arange(len(PATHS))[:, None] * 7 + torch.arange(7)
    scores = torch.linspace(1, 0, 7).expand(n, 7)
    given = tuple(Candidates(row.expand(n, 7), scores) for row in items)
    return Lesson(users, given, Heldout(users.users, torch.arange(n + 1), 7 * path, torch.ones(n)))


def test_it_is_admitted() -> None:
    report = admit(Segmenter.spec, AgentProbe(Segmenter))
    assert report.admitted, [check for check in report.checks if not check.passed]


def test_before_it_has_learnt_everybody_takes_the_usual_path() -> None:
    users = small_log().histories
    assert segmenter().act(users, (), 10).segment.eq(USUAL).all()


def test_it_sends_kinds_of_users_down_the_path_that_brings_them_most() -> None:
    users = small_log().histories
    agent = segmenter(kinds=2, recency=0.0, breadth=0.0, mainstream=0.0)
    kind = agent.kind_of(users)
    short = kind == kind[users.lengths.argmin()]
    assert 8 <= int(short.sum()) <= 32
    assert users.lengths[short].max() <= users.lengths[~short].min()
    agent.learn(lesson(torch.where(short, 2, 1)))
    route = agent.act(users, (), 10).segment
    assert torch.equal(route, torch.where(short, 2, 1))


def test_a_gain_that_may_be_luck_changes_nothing_and_a_bold_one_takes_it() -> None:
    users = small_log().histories
    luck = torch.where(torch.arange(len(users)) % 9 < 5, 0, USUAL)
    for caution, taken in ((3.0, False), (0.0, True)):
        agent = segmenter(kinds=2, caution=caution, margin=0.0)
        agent.learn(lesson(luck))
        assert bool((agent.act(users, (), 10).segment == 0).any()) is taken


def test_a_path_that_never_helps_is_never_taken() -> None:
    users = small_log().histories
    agent = segmenter(caution=0.0, margin=0.0)
    agent.learn(lesson(torch.full((len(users),), USUAL)))
    assert agent.act(users, (), 10).segment.eq(USUAL).all()


def test_of_too_few_users_nothing_is_said() -> None:
    users = small_log().histories
    agent = segmenter(kinds=24, caution=0.0)
    agent.learn(lesson(torch.zeros(len(users), dtype=torch.int64)))
    few = torch.bincount(agent.kind_of(users), minlength=len(agent.kinds)) < 8
    assert bool(few.any())
    assert agent.policy[few].eq(USUAL).all()


def test_it_needs_a_list_for_each_path() -> None:
    given = lesson(torch.zeros(len(small_log().histories), dtype=torch.int64))
    with pytest.raises(AgentError, match="4 lists"):
        segmenter().learn(Lesson(given.users, given.inputs[:2], given.truth))


def test_statistics_say_what_they_are_called() -> None:
    ground = Ground(
        tastes=torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
        popularity=torch.tensor([1.0, 0.5, 0.0]),
        newest=torch.tensor([86400.0 * 3], dtype=torch.float64),
    )
    users = UserBatch(
        users=torch.arange(3),
        offsets=torch.tensor([0, 2, 4, 4]),
        items=torch.tensor([0, 1, 0, 2]),
        times=torch.tensor([1, 86400 * 2, 1, 86400 * 3]),
    )
    found = dict(zip(NAMES, ground.of_users(users).T, strict=True))
    assert found["activity"].tolist() == pytest.approx([1.0986, 1.0986, 0.0], abs=1e-3)
    assert found["recency"].tolist() == pytest.approx([0.6931, 0.0, 0.0], abs=1e-3)
    assert found["breadth"].tolist() == pytest.approx([0.0, 1 - 0.5**0.5, 0.0], abs=1e-3)
    assert found["mainstream"].tolist() == pytest.approx([0.75, 0.5, 0.0])
