"""Towers and their parts: one model, judged piece by piece."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from agenticrs.agents import catalogue
from agenticrs.agents.agent import Agent, Budget
from agenticrs.agents.batch import Candidates
from agenticrs.agents.contract import N_ITEMS, small_log, some_candidates
from agenticrs.agents.evaluation import router_health
from agenticrs.agents.predictions import unpacked
from agenticrs.agents.ranking.towers import Towers
from agenticrs.agents.retrieval.popularity import Popularity
from agenticrs.agents.training_data import Heldout
from agenticrs.agents.trial import CandidateArrays, TrialRequest, run_trial
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.errors import AgentError
from agenticrs.rewards.ranking import order_auc

SMALL: dict[str, Any] = {
    "embedding_size": 8,
    "hidden": 8,
    "epochs": 3,
    "negatives": 5,
    "experts": 3,
}


def fitted(name: str, **config: Any) -> Agent[Any]:
    agent = catalogue.build(name, {**SMALL, **config})
    agent.fit(small_log(), Budget())
    return agent


def test_the_parts_are_the_same_model_and_answer_by_their_own_piece() -> None:
    whole, long, cold = (fitted(name) for name in ("towers", "long_tower", "cold_tower"))
    for name, weight in whole.state().items():
        assert torch.equal(weight, long.state()[name]), name
    users = small_log().histories
    given = [some_candidates(users, N_ITEMS, seed=0)]
    answers = [agent.act(users, given, 10) for agent in (whole, long, cold)]
    scores = [answer.scores for answer in answers if isinstance(answer, Candidates)]
    assert not torch.allclose(scores[0], scores[1])
    assert not torch.allclose(scores[1], scores[2])


def test_the_cold_tower_knows_nobody_and_no_item_by_name() -> None:
    cold = fitted("cold_tower")
    assert isinstance(cold, Towers)
    users = small_log().histories
    items = some_candidates(users, N_ITEMS, seed=0).items
    (_, before), *_ = cold.values(users, items)
    for table in ("users", "items"):
        cold.tables[table] = torch.randn_like(cold.tables[table])
    (_, after), *_ = cold.values(users, items)
    logits = [cold.combined(cold.network.task_logits(v)) for v in (before, after)]
    assert torch.equal(*logits)


@pytest.mark.parametrize("name", ["long_tower", "cold_tower"])
def test_a_tower_is_told_its_auc_beside_its_ndcg(name: str, fold: Fold) -> None:
    rng = np.random.default_rng(4)
    items = np.stack([rng.permutation(40)[:30] for _ in fold.users]).astype(np.int32)
    given = CandidateArrays(items, -np.sort(rng.random(items.shape)).astype(np.float32), "all")
    found = run_trial(fold, TrialRequest(name, SMALL), [given])
    assert str(catalogue.agent_type(name).spec.inner_reward) == "ndcg@10"
    _, ranked = unpacked(found.predictions, "cpu")
    truth = Heldout.of(fold)
    expected = order_auc(ranked, truth.offsets, truth.items, 100)
    assert found.per_user["auc@100"].tolist() == expected.tolist()
    assert found.totals["auc@100"] == pytest.approx(float(expected.mean()))


def test_the_balance_loss_spreads_the_work() -> None:
    users = small_log().histories
    given = [some_candidates(users, N_ITEMS, seed=0)]
    means = []
    for balance in (0.0, 10.0):
        agent = fitted("expert_router", balance=balance, epochs=12)
        assert isinstance(agent, Towers)
        shares = agent.shares(users, given)
        torch.testing.assert_close(shares.sum(1), torch.ones(len(users)))
        means.append(float(shares.mean(0).max()))
    assert means[1] < means[0]
    assert means[1] == pytest.approx(1 / 3, abs=0.05)


def test_a_router_is_judged_by_its_shares_and_must_have_some() -> None:
    data, router = small_log(), fitted("expert_router")
    given = [some_candidates(data.histories, N_ITEMS, seed=0)]
    health = router_health(router, data, data.histories.users, given)
    assert health is not None
    assert health.shape == (len(data.histories),)
    assert float(health.min()) >= 0
    assert float(health.max()) <= 1
    assert router_health(fitted("towers"), data, data.histories.users, given) is None

    class Silent(Popularity):
        spec = router.spec

    with pytest.raises(AgentError, match="no method shares"):
        router_health(Silent(Popularity.config_type()), data, data.histories.users, given)
