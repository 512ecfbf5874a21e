from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from agenticrs.agents.agent import Budget
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.grammar.ranker import DocumentRanker
from agenticrs.agents.ranking.candidate_sampling import CandidateSampler
from agenticrs.agents.ranking.classics import (
    DeepConfig,
    DeepFm,
    Din,
    FactorisationMachine,
    FmConfig,
)
from agenticrs.agents.ranking.dcn import DcnConfig, DcnV2
from agenticrs.agents.training_data import TrainingData
from agenticrs.platform.errors import AgentError

CONFIG = DcnConfig(
    embedding_size=8, deep=16, epochs=20, batch_size=64, learning_rate=0.01, neighbour_share=0.0
)


def shuffled(data: TrainingData) -> Candidates:
    """All items in the same random order for everybody."""
    order = torch.randperm(40, generator=torch.Generator().manual_seed(9))
    return Candidates(order.repeat(60, 1), -torch.arange(40.0).repeat(60, 1))


LEARNS = {"learning_rate": 0.01, "epochs": 20, "batch_size": 64, "neighbour_share": 0.0}


@pytest.mark.parametrize(
    "agent",
    [
        DcnV2(CONFIG.model_copy(update={"upstream_weight": 0.0})),
        FactorisationMachine(FmConfig(**LEARNS, upstream_weight=0.0)),
        DeepFm(DeepConfig(**LEARNS, upstream_weight=0.0)),
        Din(DeepConfig(**LEARNS, upstream_weight=0.0)),
    ],
    ids=lambda agent: agent.spec.name,
)
def test_it_puts_the_users_own_taste_first(
    two_tastes: TrainingData, agent: DocumentRanker[Any]
) -> None:
    agent.fit(two_tastes, Budget())
    best = agent.act(two_tastes.histories, [shuffled(two_tastes)], 10).items
    own = (best >= 20) == (torch.arange(60)[:, None] % 2 == 1)
    assert own.float().mean() > 0.9


def test_a_large_upstream_weight_keeps_the_incoming_order(two_tastes: TrainingData) -> None:
    agent = DcnV2(CONFIG.model_copy(update={"upstream_weight": 1e6, "epochs": 1}))
    agent.fit(two_tastes, Budget())
    source, users = shuffled(two_tastes), two_tastes.histories
    answer = agent.act(users, [source], 12).items
    for row in (0, 1):
        had = users.items[8 * row : 8 * row + 8]
        expected = source.items[row][~torch.isin(source.items[row], had)][:12]
        assert torch.equal(answer[row], expected)


def test_training_lists_know_only_what_came_before(two_tastes: TrainingData) -> None:
    agent = DcnV2(CONFIG)
    agent.n_users, agent.n_items = 60, 40
    agent.popularity = torch.zeros(40)
    generator = torch.Generator().manual_seed(0)
    sampler = CandidateSampler(
        two_tastes, neighbours=0.0, popular=0.0, exposed=0.0, generator=generator
    )
    histories = two_tastes.histories
    entry = torch.tensor([0, 3, 8, 15])
    batch = agent._lists(histories, histories.rows[entry], entry, sampler, generator)
    assert batch.candidates is not None
    assert batch.candidates[:, 0].tolist() == histories.items[entry].tolist()
    assert batch.lengths.tolist() == [0, 3, 0, 7]
    for row, (begin, end) in enumerate([(0, 0), (0, 3), (8, 8), (8, 15)]):
        past = batch.items[row]
        assert past[: end - begin].tolist() == histories.items[begin:end].tolist()
        assert (past[end - begin :] == -1).all()


def test_an_unknown_user_is_ranked_by_the_history(two_tastes: TrainingData) -> None:
    agent = DcnV2(CONFIG.model_copy(update={"upstream_weight": 0.0}))
    agent.fit(two_tastes, Budget())
    items = torch.tensor([21, 25, 30, 33, 38])
    stranger = UserBatch(torch.tensor([-1]), torch.tensor([0, 5]), items)
    source = shuffled(two_tastes)
    answer = agent.act(stranger, [Candidates(source.items[:1], source.scores[:1])], 10)
    assert (answer.items >= 20).float().mean() > 0.7


def test_the_loss_falls_and_divergence_is_an_error(two_tastes: TrainingData) -> None:
    told: list[str] = []
    DcnV2(CONFIG).fit(two_tastes, Budget(report=lambda fraction, text: told.append(text)))
    losses = [float(text.rsplit(" ", 1)[1]) for text in told]
    assert losses[-1] < 0.9 * losses[0]
    with pytest.raises(AgentError, match="diverged"):
        DcnV2(CONFIG.model_copy(update={"learning_rate": 1e30})).fit(two_tastes, Budget())


def test_shares_above_one_are_refused() -> None:
    with pytest.raises(ValidationError, match="must not exceed 1 together"):
        DcnConfig(neighbour_share=0.6, popular_share=0.3, exposed_share=0.2)
