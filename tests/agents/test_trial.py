from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from agenticrs.agents import catalogue
from agenticrs.agents.agent import AgentConfig, Budget, OutcomeLearner, Retriever
from agenticrs.agents.artifact import unpack
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.catalogue import Catalogue
from agenticrs.agents.checkpoint import Checkpoint
from agenticrs.agents.fusion.learned import LearnedFusion
from agenticrs.agents.lesson import Lesson
from agenticrs.agents.lists import compact
from agenticrs.agents.predictions import unpacked
from agenticrs.agents.retrieval.popularity import Popularity
from agenticrs.agents.training_data import Heldout, TrainingData
from agenticrs.agents.trial import (
    CandidateArrays,
    TrialRequest,
    evaluate_version,
    run_composition,
    run_trial,
)
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.data.splits import search_users
from agenticrs.platform.errors import AgentError
from agenticrs.registry.graph import Condition, Graph, Node
from agenticrs.registry.spec import AgentSpec

BPR = TrialRequest("bpr", {"embedding_size": 8, "epochs": 3, "batch_size": 64}, seed=5)
Files = Mapping[tuple[str, int], Mapping[str, bytes]]


class Broken(Retriever[AgentConfig]):
    """A retriever whose weights or scores are not numbers."""

    config_type: ClassVar[type[AgentConfig]] = AgentConfig
    spec: ClassVar[AgentSpec] = Popularity.spec.model_copy(update={"name": "broken"})
    where: ClassVar[str] = "weights"

    def score(self, users: UserBatch) -> Tensor:
        fill = float("nan") if self.where == "scores" else 1.0
        return torch.full((len(users), self.n_items), fill)

    def state(self) -> dict[str, Tensor]:
        return {"w": torch.full((3,), float("nan") if self.where == "weights" else 0.0)}


def fitted(fold: Fold, agent: str, **config: Any) -> dict[str, bytes]:
    result = run_trial(fold, TrialRequest(agent, config))
    assert result.artifacts is not None
    return result.artifacts


@pytest.fixture
def members(fold: Fold) -> Files:
    """Files of a whole composition: version 1 of each member."""
    files = {(name, 1): fitted(fold, name) for name in ("itemknn", "popularity")}
    inputs = kept_of(fold, files)
    for name, given in (("rrf", inputs), ("mmr", inputs[:1]), ("history_router", inputs)):
        result = run_trial(fold, TrialRequest(name, {}), given)
        assert result.artifacts is not None
        files[name, 1] = result.artifacts
    return files


def specs() -> dict[str, AgentSpec]:
    return {name: agent.spec for name, agent in catalogue.load_agents().items()}


def node(agent: str, *inputs: str, when: str | None = None) -> Node:
    condition = Condition(node="history_router", segments=(when,)) if when else None
    return Node(id=agent, agent=agent, version=1, inputs=inputs or ("users",), when=condition)


def kept_of(fold: Fold, files: Files) -> tuple[CandidateArrays, ...]:
    """Candidates of both retrievers for all held-out users."""
    kept = []
    for name in ("itemknn", "popularity"):
        graph = Graph(nodes=(node(name),), output=name)
        kept.append(run_composition(fold, graph, specs(), files, 30, (name,)).kept[name])
    return tuple(kept)


def test_a_trial_trains_measures_and_brings_its_files(fold: Fold) -> None:
    told: list[tuple[float, str]] = []
    result = run_trial(fold, BPR, (), lambda fraction, text: told.append((fraction, text)))
    assert result.users.tolist() == fold.users.tolist()
    assert result.per_user["ndcg@10"].shape == (48,)
    assert result.totals["ndcg@10"] == pytest.approx(result.per_user["ndcg@10"].mean())
    assert result.device == "cpu"
    assert result.parameters == (60 + 40) * 8 + 40
    assert result.seconds > 0
    assert told[0][0] == 0.0
    assert told[-1] == (1.0, "measured")
    assert any("epoch 3 of 3" in text for _, text in told)
    assert [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)
    assert result.artifacts is not None
    agent = unpack(result.artifacts)
    assert agent.seed == 5


def test_the_metrics_are_those_of_the_lists_that_the_file_of_predictions_holds(fold: Fold) -> None:
    result = run_trial(fold, BPR)
    users, ranked = unpacked(result.predictions)
    assert users.tolist() == result.users.tolist()
    truth = Heldout.of(fold)
    hits = [
        len(set(shown[:10].tolist()) & set(truth.items[start:end].tolist())) > 0
        for shown, start, end in zip(ranked, truth.offsets, truth.offsets[1:], strict=False)
    ]
    assert result.per_user["hit@10"].tolist() == [float(hit) for hit in hits]
    assert 0 < sum(hits) < len(hits)
    short = run_trial(fold, replace(BPR, effort=0.5))
    assert short.predictions == b"", "what never becomes a version keeps no lists"


def test_a_trial_out_of_time_keeps_what_it_has_learnt_and_says_so(fold: Fold) -> None:
    cut = run_trial(fold, replace(BPR, seconds=0.0))
    assert cut.artifacts is not None
    assert cut.totals["trained_share"] == pytest.approx(1 / 3)
    assert run_trial(fold, BPR).totals["trained_share"] == 1.0


def test_a_killed_trial_goes_on_where_it_was_with_the_same_result(
    fold: Fold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"epochs": 4, "embedding_size": 8, "batch_size": 16, "dropout": 0.2}
    request = TrialRequest("sasrec", config, seed=5, checkpoint=str(tmp_path / "1.full.checkpoint"))
    monkeypatch.setattr(Checkpoint, "due", lambda self: True)
    told: list[str] = []

    def dies(fraction: float, text: str) -> None:
        if text.startswith("epoch 4 of"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trial(fold, request, (), dies)
    resumed = run_trial(fold, request, (), lambda fraction, text: told.append(text))
    assert "goes on after epoch 3 of 4" in told
    assert resumed.artifacts == run_trial(fold, replace(request, checkpoint="")).artifacts
    told.clear()
    run_trial(fold, replace(request, seed=6), (), lambda fraction, text: told.append(text))
    assert not any(text.startswith("goes on") for text in told)


def test_a_trial_is_repeatable_by_its_seed_and_travels_between_processes(fold: Fold) -> None:
    first = pickle.loads(pickle.dumps(run_trial(fold, BPR)))
    torch.rand(3)
    again = run_trial(fold, BPR)
    other = run_trial(fold, TrialRequest(BPR.agent, BPR.config, seed=6))
    assert first.artifacts == again.artifacts
    for name, values in first.per_user.items():
        np.testing.assert_array_equal(values, again.per_user[name])
    assert first.artifacts != other.artifacts


@pytest.mark.parametrize(
    ("agent", "config"),
    [
        ("bpr", {"epochs": 6}),
        ("bpr", {"epochs": 6, "patience": 1}),
        ("ials", {"epochs": 4}),
        ("sasrec", {"epochs": 5, "dropout": 0.3, "patience": 2}),
        ("lightgcn", {"epochs": 4}),
    ],
)
def test_a_paused_training_goes_on_to_the_same_weights(
    fold: Fold, tmp_path: Path, agent: str, config: dict[str, Any]
) -> None:
    request = TrialRequest(agent, config, seed=3, checkpoint=str(tmp_path / "1.checkpoint"))
    whole = run_trial(fold, replace(request, checkpoint=""))
    told: list[str] = []
    rungs = [
        run_trial(fold, replace(request, effort=effort), report=lambda _, text: told.append(text))
        for effort in (0.25, 0.5, 1.0)
    ]
    assert [rung.artifacts for rung in rungs] == [None, None, whole.artifacts]
    assert rungs[2].curve == whole.curve
    assert rungs[0].curve == whole.curve[: len(rungs[0].curve)]
    assert all(rung.totals["trained_share"] == 1.0 for rung in rungs)
    assert sum(text.startswith("epoch") for text in told) == len(whole.curve), "none was repeated"


def test_a_training_that_pauses_is_the_beginning_of_the_whole_one(fold: Fold) -> None:
    """The step sizes are those of the whole training, not of a short one of its own."""
    config = {"epochs": 8, "embedding_size": 16}
    paused = run_trial(fold, TrialRequest("sasrec", config, seed=1, effort=0.25))
    whole = run_trial(fold, TrialRequest("sasrec", config, seed=1))
    own = run_trial(fold, TrialRequest("sasrec", {**config, "epochs": 2}, seed=1))
    assert paused.artifacts is None
    assert paused.curve == whole.curve[:2]
    assert paused.curve != own.curve


@pytest.mark.parametrize(
    ("where", "fault"),
    [("weights", "weights 'w'.*NaN"), ("scores", "NaN or inf"), ("flat", "all scores are equal")],
)
def test_a_model_that_broke_is_an_error(
    fold: Fold, monkeypatch: pytest.MonkeyPatch, where: str, fault: str
) -> None:
    monkeypatch.setattr(Broken, "where", where)
    monkeypatch.setattr(
        catalogue, "installed", lambda: Catalogue({"broken": Broken}, {"broken": "here"})
    )
    with pytest.raises(AgentError, match=fault):
        run_trial(fold, TrialRequest("broken", {}))


def test_a_refused_config_and_a_missing_device_are_errors(fold: Fold) -> None:
    with pytest.raises(AgentError, match="embedding_size"):
        run_trial(fold, TrialRequest("bpr", {"embedding_size": 0}))
    if not torch.cuda.is_available():
        with pytest.raises(AgentError, match="cuda is not available"):
            run_trial(fold, TrialRequest("popularity", {}, device="cuda"))


def test_a_version_is_measured_as_the_trial_that_made_it(fold: Fold) -> None:
    trial = run_trial(fold, BPR)
    assert trial.artifacts is not None
    again = evaluate_version(fold, trial.artifacts)
    assert again.artifacts is None
    assert {**again.totals, "trained_share": 1.0} == pytest.approx(trial.totals)
    assert again.parameters == trial.parameters


def test_fusion_weights_go_by_the_names_of_the_inputs(fold: Fold) -> None:
    files = {(name, 1): fitted(fold, name) for name in ("itemknn", "popularity")}
    inputs = kept_of(fold, files)
    assert [source.agent for source in inputs] == ["itemknn", "popularity"]
    request = TrialRequest("rrf", {"weights": {"popularity": 0.0}})
    fused = run_trial(fold, request, inputs)
    alone = run_trial(fold, TrialRequest("itemknn", {}))
    assert fused.totals["ndcg@10"] == pytest.approx(alone.totals["ndcg@10"])
    assert fused.artifacts is not None
    again = evaluate_version(fold, fused.artifacts, inputs)
    np.testing.assert_array_equal(again.per_user["ndcg@10"], fused.per_user["ndcg@10"])


def test_inputs_of_other_users_are_refused(fold: Fold) -> None:
    few = CandidateArrays(np.zeros((5, 3), np.int32), np.zeros((5, 3), np.float32), "bpr")
    with pytest.raises(
        AgentError, match="candidates of bpr are for 5 users, the fold holds out 48"
    ):
        run_trial(fold, TrialRequest("rrf", {}), (few,))


def test_a_composition_is_measured_as_a_whole_with_the_lists_of_its_nodes(
    fold: Fold, members: Files
) -> None:
    graph = Graph(
        nodes=(
            node("history_router"),
            node("popularity", when="cold"),
            node("itemknn", when="warm"),
            node("rrf", "itemknn", "popularity"),
            node("mmr", "rrf"),
        ),
        output="mmr",
    )
    result = run_composition(fold, graph, specs(), members, 20, ("rrf", "itemknn"))
    assert result.users.tolist() == fold.users.tolist()
    assert result.ranked.shape == (48, 20)
    assert (result.ranked >= 0).all()
    histories = TrainingData.of(fold.dataset).histories
    for row, user in enumerate(result.users):
        seen = histories.items[histories.offsets[user] : histories.offsets[user + 1]]
        assert not set(result.ranked[row]) & set(seen.tolist())
        assert len(set(result.ranked[row])) == 20
    assert result.totals["value@10"] == pytest.approx(result.per_user["value@10"].mean())
    assert result.totals["latency_ms"] > 0
    assert result.kept["rrf"].agent == "rrf"
    cold = (histories.lengths[result.users] < 5).numpy()
    assert cold.any()
    assert (result.kept["itemknn"].items[cold] == -1).all()
    assert (result.kept["itemknn"].items[~cold, 0] >= 0).all()
    assert {entry.node: entry.users for entry in result.trace}["popularity"] == cold.sum()
    assert pickle.loads(pickle.dumps(result)).totals == result.totals


def test_a_composition_of_one_retriever_shows_that_retrievers_lists(fold: Fold) -> None:
    files = {("itemknn", 1): fitted(fold, "itemknn")}
    result = run_composition(
        fold, Graph(nodes=(node("itemknn"),), output="itemknn"), specs(), files
    )
    alone = run_trial(fold, TrialRequest("itemknn", {}))
    for name in ("ndcg@10", "recall@10", "value@10"):
        np.testing.assert_allclose(result.per_user[name], alone.per_user[name], err_msg=name)


def test_a_member_without_files_is_an_error_that_names_it(fold: Fold) -> None:
    graph = Graph(nodes=(node("itemknn"),), output="itemknn")
    with pytest.raises(AgentError, match="no files of itemknn version 1"):
        run_composition(fold, graph, specs(), {})


def test_budget_seconds_reach_the_agent(fold: Fold, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Budget] = []

    def fit(self: Popularity, data: TrainingData, budget: Budget) -> None:
        seen.append(budget)
        original(self, data, budget)

    original = Popularity.fit
    monkeypatch.setattr(Popularity, "fit", fit)
    run_trial(fold, TrialRequest("popularity", {}, effort=0.25, seconds=3.0))
    assert (seen[0].effort, seen[0].seconds) == (0.25, 3.0)


class Memoriser(OutcomeLearner[AgentConfig]):
    """A fusion that shows each user it has learnt from exactly what that user took."""

    config_type: ClassVar[type[AgentConfig]] = AgentConfig
    spec: ClassVar[AgentSpec] = LearnedFusion.spec.model_copy(update={"name": "memoriser"})

    def learn(self, lesson: Lesson) -> None:
        owner = torch.repeat_interleave(lesson.truth.users, lesson.truth.offsets.diff())
        self.taken = torch.full((self.n_users,), -1).index_put((owner,), lesson.truth.items)

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        known = self.taken[users.users][:, None]
        items = torch.cat([known, torch.where(inputs[0].items == known, -1, inputs[0].items)], 1)
        scores = -torch.arange(items.shape[1]).expand(items.shape).float()
        return compact(Candidates(items, scores), items >= 0)

    def state(self) -> dict[str, Tensor]:
        return {"taken": self.taken}

    def load(self, state: Mapping[str, Tensor], *, n_users: int, n_items: int) -> None:
        super().load(state, n_users=n_users, n_items=n_items)
        self.taken = state["taken"]


def test_who_learns_from_outcomes_is_never_measured_on_what_it_learnt_from(
    fold: Fold, members: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = kept_of(fold, members)
    installed = {"memoriser": Memoriser}
    monkeypatch.setattr(catalogue, "installed", lambda: Catalogue(installed, {}))
    result = run_trial(fold, TrialRequest("memoriser", {}), inputs)
    learnt = search_users(result.users)
    assert learnt.any()
    assert result.artifacts is not None
    again = evaluate_version(fold, result.artifacts, inputs)
    own, cross = again.per_user["ndcg@10"], result.per_user["ndcg@10"]
    assert own[learnt].mean() > 0.9
    assert cross[learnt].mean() < own[learnt].mean() - 0.2
    np.testing.assert_array_equal(own[~learnt], cross[~learnt])
