from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pytest
import torch

from agenticrs.agents.agent import Agent, AgentConfig, Budget
from agenticrs.agents.batch import Candidates, Route, UserBatch
from agenticrs.agents.evaluation import evaluate, measure
from agenticrs.agents.fusion.reciprocal_rank import (
    ReciprocalRankFusion,
    ReciprocalRankFusionConfig,
)
from agenticrs.agents.reranking.mmr import Mmr, MmrConfig
from agenticrs.agents.retrieval.itemknn import ItemKNN, ItemKNNConfig
from agenticrs.agents.retrieval.popularity import Popularity, PopularityConfig
from agenticrs.agents.routing.history_length import (
    HistoryLengthRouter,
    HistoryLengthRouterConfig,
)
from agenticrs.agents.training_data import Heldout, TrainingData
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.errors import AgentError
from agenticrs.registry.spec import AgentSpec, InnerReward
from agenticrs.rewards.beyond_accuracy import coverage, gini, intra_list_diversity, novelty
from agenticrs.rewards.outer import captured_value
from agenticrs.rewards.ranking import order_auc, ranking_metrics

Answer = Callable[[UserBatch, Sequence[Candidates], int], Any]


class Scripted(Agent[AgentConfig]):
    """A model that puts out what the test says."""

    config_type: ClassVar[type[AgentConfig]] = AgentConfig
    spec: ClassVar[AgentSpec] = Popularity.spec

    def __init__(self, answer: Answer) -> None:
        super().__init__(AgentConfig())
        self._answer = answer

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Any:
        return self._answer(users, inputs, k)


@pytest.fixture
def data(fold: Fold) -> TrainingData:
    return TrainingData.of(fold.dataset)


@pytest.fixture
def heldout(fold: Fold) -> Heldout:
    return Heldout.of(fold)


@pytest.fixture
def knn(data: TrainingData) -> ItemKNN:
    agent = ItemKNN(ItemKNNConfig())
    agent.fit(data, Budget())
    return agent


def test_every_metric_is_that_of_rewards_on_the_agents_own_lists(
    knn: ItemKNN, data: TrainingData, heldout: Heldout
) -> None:
    found = evaluate(knn, data, heldout)
    ranked = knn.act(data.histories.take(heldout.users), (), 100).items
    shown, truth = ranked[:, :10], (heldout.offsets, heldout.items)
    expected = ranking_metrics(ranked, *truth, (10, 50))
    expected["value@10"] = captured_value(ranked, *truth, heldout.value, 10)
    expected["novelty@10"] = novelty(shown, torch.bincount(data.histories.items, minlength=40))
    expected["diversity@10"] = intra_list_diversity(shown, data.item_features.tags)
    names = {"ndcg@10", "recall@10", "recall@50", "mrr@10", "hit@10", "value@10"}
    assert set(found.per_user) == names | {"novelty@10", "diversity@10"}
    for name, values in found.per_user.items():
        torch.testing.assert_close(values, expected[name], msg=name)
        assert found.totals[name] == pytest.approx(float(values.mean()))
    assert found.totals["coverage@10"] == coverage(shown, 40)
    assert found.totals["gini@10"] == gini(shown, 40)
    assert found.per_user["ndcg@10"].shape == (48,)
    assert 0.1 < found.totals["recall@10"] < 1.0


def test_chunks_do_not_change_the_result(
    knn: ItemKNN, data: TrainingData, heldout: Heldout, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluate(knn, data, heldout)
    monkeypatch.setattr("agenticrs.agents.evaluation._CHUNK", 7)
    assert torch.equal(evaluate(knn, data, heldout).ranked, whole.ranked)


def test_the_agents_own_reward_is_there_at_its_own_cut(
    knn: ItemKNN, data: TrainingData, heldout: Heldout, monkeypatch: pytest.MonkeyPatch
) -> None:
    reward = InnerReward(metric="map", k=7)
    monkeypatch.setattr(ItemKNN, "spec", knn.spec.model_copy(update={"inner_reward": reward}))
    found = evaluate(knn, data, heldout)
    expected = ranking_metrics(found.ranked, heldout.offsets, heldout.items, (7,))["map@7"]
    torch.testing.assert_close(found.per_user["map@7"], expected)


def test_what_a_spec_wants_told_as_well_is_told(
    knn: ItemKNN, data: TrainingData, heldout: Heldout, monkeypatch: pytest.MonkeyPatch
) -> None:
    reward = InnerReward(metric="ndcg", also=("auc@100", "map@7"))
    monkeypatch.setattr(ItemKNN, "spec", knn.spec.model_copy(update={"inner_reward": reward}))
    found = evaluate(knn, data, heldout)
    truth = (heldout.offsets, heldout.items)
    expected = order_auc(found.ranked, *truth, 100)
    torch.testing.assert_close(found.per_user["auc@100"], expected)
    assert 0.5 < found.totals["auc@100"] < 1
    assert "map@7" in found.totals


def test_an_unknown_reward_is_refused(data: TrainingData, heldout: Heldout) -> None:
    with pytest.raises(AgentError, match="inner reward vibes@10 is not known"):
        measure(torch.zeros(48, 10).long(), data, heldout, InnerReward(metric="vibes"))


def test_seen_and_repeated_items_earn_nothing(data: TrainingData, heldout: Heldout) -> None:
    truth = heldout.items[heldout.offsets[:-1]]

    def repeats(users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        return Candidates(truth[:, None].repeat(1, 10), -torch.arange(10.0).repeat(len(users), 1))

    def shows_history(users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        items = users.recent(10)
        return Candidates(items, -torch.arange(10.0).repeat(len(users), 1))

    found = evaluate(Scripted(repeats), data, heldout)
    assert (found.ranked >= 0).sum(1).tolist() == [1] * 48
    assert float(found.per_user["recall@10"].max()) <= 1.0
    assert evaluate(Scripted(shows_history), data, heldout).totals["hit@10"] == 0.0


@pytest.mark.parametrize(
    ("score", "fault"),
    [(float("nan"), "NaN or infinite"), (float("inf"), "NaN or infinite"), (0.5, "all scores")],
)
def test_scores_that_say_nothing_are_an_error(
    score: float, fault: str, data: TrainingData, heldout: Heldout
) -> None:
    def act(users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        return Candidates(
            torch.arange(10).repeat(len(users), 1), torch.full((len(users), 10), score)
        )

    with pytest.raises(AgentError, match=fault):
        evaluate(Scripted(act), data, heldout)


def test_fusion_is_scored_on_what_it_makes_of_its_inputs(
    knn: ItemKNN, data: TrainingData, heldout: Heldout
) -> None:
    popularity = Popularity(PopularityConfig())
    popularity.fit(data, Budget())
    users = data.histories.take(heldout.users)
    inputs = [knn.act(users, (), 100), popularity.act(users, (), 100)]
    fusion = ReciprocalRankFusion(ReciprocalRankFusionConfig(weights={"popularity": 0.0}))
    fusion.input_names(["itemknn", "popularity"])
    alone = evaluate(knn, data, heldout)
    assert evaluate(fusion, data, heldout, inputs).totals == pytest.approx(alone.totals)
    both = ReciprocalRankFusion(ReciprocalRankFusionConfig())
    assert evaluate(both, data, heldout, inputs).totals != pytest.approx(alone.totals)


def test_a_reranker_earns_four_parts_relevance_and_one_part_diversity(
    knn: ItemKNN, data: TrainingData, heldout: Heldout
) -> None:
    agent = Mmr(MmrConfig(trade_off=0.5))
    agent.fit(data, Budget())
    inputs = [knn.act(data.histories.take(heldout.users), (), 100)]
    found = evaluate(agent, data, heldout, inputs)
    reward = 0.8 * found.per_user["ndcg@10"] + 0.2 * found.per_user["diversity@10"]
    torch.testing.assert_close(found.per_user["relevance_diversity@10"], reward)
    plain = evaluate(ReciprocalRankFusion(ReciprocalRankFusionConfig()), data, heldout, inputs)
    assert found.totals["diversity@10"] > plain.totals["diversity@10"]


def test_without_item_features_diversity_is_left_out_but_a_reranker_still_has_its_reward(
    make_fold: Callable[..., Fold],
) -> None:
    fold = make_fold(tags=False)
    data, heldout = TrainingData.of(fold.dataset), Heldout.of(fold)
    found = measure(torch.arange(10).repeat(48, 1), data, heldout)
    assert "diversity@10" not in found.per_user
    reward = InnerReward(metric="relevance_diversity")
    found = measure(torch.arange(10).repeat(48, 1), data, heldout, reward)
    assert float(found.per_user["relevance_diversity@10"].min()) > 0


def test_a_router_is_scored_by_the_list_that_each_user_was_sent_to(
    knn: ItemKNN, data: TrainingData, heldout: Heldout
) -> None:
    users = data.histories.take(heldout.users)
    cold = Candidates(torch.full((48, 1), 39), torch.ones(48, 1))
    paths = [cold, knn.act(users, (), 30)]
    router = HistoryLengthRouter(HistoryLengthRouterConfig(threshold=8))
    found = evaluate(router, data, heldout, paths)
    warm = users.lengths >= 8
    assert 0 < int(warm.sum()) < 48
    best = evaluate(knn, data, heldout)
    assert torch.equal(found.per_user["ndcg@10"][warm], best.per_user["ndcg@10"][warm])
    assert (found.ranked[~warm, 1:] == -1).all()


def test_a_router_needs_one_list_for_each_segment(data: TrainingData, heldout: Heldout) -> None:
    router = HistoryLengthRouter(HistoryLengthRouterConfig())
    with pytest.raises(AgentError, match=r"2 segments apart \(cold, warm\), but there are 0"):
        evaluate(router, data, heldout)


def test_a_segment_that_does_not_exist_is_an_error(
    data: TrainingData, heldout: Heldout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        HistoryLengthRouter, "act", lambda self, users, inputs, k: Route(torch.full((48,), 2))
    )
    path = Candidates(torch.zeros(48, 1).long(), torch.ones(48, 1))
    with pytest.raises(AgentError, match="segment that it did not declare"):
        evaluate(HistoryLengthRouter(HistoryLengthRouterConfig()), data, heldout, [path, path])
