"""Several trials at once find what each of them finds alone, and fail one by one."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from agenticrs.agents import trials
from agenticrs.agents.artifact import unpack
from agenticrs.agents.batch import Candidates
from agenticrs.agents.checkpoint import Checkpoint
from agenticrs.agents.grammar import descent, documents
from agenticrs.agents.training_data import TrainingData
from agenticrs.agents.trial import CandidateArrays, TrialRequest, TrialResult, run_trial
from agenticrs.agents.trials import FailedTrial, Way, groups, run_trials
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.errors import AgentError

SMALL: dict[str, Any] = {"epochs": 3, "batch_size": 64, "negatives": 5, "precision": "float32"}
SIZES: dict[str, dict[str, Any]] = {
    "lr": {},
    "fm": {"embedding_size": 4},
    "deepfm": {"embedding_size": 4, "hidden": 8},
    "dcn": {"embedding_size": 4, "deep": 8},
    "din": {"embedding_size": 4, "hidden": 8},
    "towers": {"embedding_size": 4, "hidden": 8, "long_hidden": 4, "cold_hidden": 4},
}


def asked(agent: str = "dcn", seed: int = 0, **settings: Any) -> TrialRequest:
    return TrialRequest(agent, {**SMALL, **SIZES.get(agent, {}), **settings}, seed=seed)


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """Tiny tensors: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def no_steps_of_rounding_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is the same for all candidates of a list has a gradient of rounding errors alone.

    AdamW makes whole steps of them; a larger epsilon, on both sides, makes them none.
    """
    monkeypatch.setattr(descent, "EPSILON", 1e-4)


@pytest.fixture
def lists(fold: Fold) -> tuple[CandidateArrays]:
    """The same 30 items for everybody, each user in an order of one's own."""
    rng = np.random.default_rng(4)
    items = np.stack([rng.permutation(40)[:30] for _ in fold.users]).astype(np.int32)
    return (CandidateArrays(items, -np.sort(rng.random(items.shape)).astype(np.float32), "all"),)


def preferences(files: dict[str, bytes] | None, fold: Fold, given: CandidateArrays) -> Tensor:
    """Scores of the 40 items for the held-out users, less each user's mean; -1 where not asked.

    Weights themselves may differ where they mean nothing.
    """
    assert files is not None
    agent = unpack(files)
    users = TrainingData.of(fold.dataset).histories.take(torch.from_numpy(fold.users).long())
    source = Candidates(torch.from_numpy(given.items).long(), torch.from_numpy(given.scores))
    answer = agent.act(users, [source], 40)
    assert isinstance(answer, Candidates)
    shown = answer.items >= 0
    scores = answer.scores.masked_fill(~shown, 0.0)
    mean = scores.sum(1, keepdim=True) / shown.sum(1, keepdim=True)
    table = torch.full((len(users), 41), -1.0)
    return table.scatter(1, answer.items % 41, scores - mean)[:, :40]


def assert_the_same(
    found: TrialResult | FailedTrial, alone: TrialResult, fold: Fold, given: CandidateArrays
) -> None:
    assert isinstance(found, TrialResult)
    ours, theirs = (preferences(result.artifacts, fold, given) for result in (found, alone))
    torch.testing.assert_close(ours, theirs, atol=3e-4, rtol=0)
    assert found.users.tolist() == alone.users.tolist()
    assert found.totals["ndcg@10"] == pytest.approx(alone.totals["ndcg@10"], abs=0.01)
    assert found.totals["trained_share"] == alone.totals["trained_share"]
    assert (found.parameters, found.device) == (alone.parameters, alone.device)


@pytest.mark.parametrize("agent", SIZES)
def test_seeds_and_settings_side_by_side_become_what_each_becomes_alone(
    fold: Fold, lists: tuple[CandidateArrays], agent: str
) -> None:
    more = {"balance": 0.3, "cold_weight": 0.7} if agent == "towers" else {}
    requests = [
        asked(agent, 1),
        asked(agent, 2),
        asked(agent, 1, learning_rate=0.01, l2=0.1, neighbour_share=0.0, **more),
    ]
    assert groups(requests) == [[0, 1, 2]]
    together = run_trials(fold, requests, lists, way="together")
    alone = [run_trial(fold, request, lists) for request in requests]
    for found, expected in zip(together, alone, strict=True):
        assert_the_same(found, expected, fold, lists[0])
    wants = [preferences(result.artifacts, fold, lists[0]) for result in alone]
    assert (wants[0] - wants[1]).abs().max() > 3e-3
    assert (wants[0] - wants[2]).abs().max() > 3e-3


def test_in_turn_the_files_are_those_of_trials_alone(
    fold: Fold, lists: tuple[CandidateArrays]
) -> None:
    requests = [asked(seed=1), asked(seed=2, l2=0.1)]
    found = run_trials(fold, requests, lists, way="in turn")
    for got, request in zip(found, requests, strict=True):
        assert isinstance(got, TrialResult)
        assert got.artifacts == run_trial(fold, request, lists).artifacts
        assert got.seconds > 0


@pytest.mark.parametrize("way", ["together", "in turn"])
def test_one_that_diverges_fails_alone(fold: Fold, lists: tuple[CandidateArrays], way: Way) -> None:
    requests = [asked(seed=1), asked(seed=2, learning_rate=1e30), asked(seed=3)]
    first, broken, last = run_trials(fold, requests, lists, way=way)
    assert isinstance(broken, FailedTrial)
    assert "training diverged: the loss is" in broken.message
    assert "lower the learning rate" in broken.message
    assert pickle.loads(pickle.dumps(broken)) == broken
    assert_the_same(first, run_trial(fold, requests[0], lists), fold, lists[0])
    assert_the_same(last, run_trial(fold, requests[2], lists), fold, lists[0])


def test_where_all_diverge_all_fail(fold: Fold, lists: tuple[CandidateArrays]) -> None:
    requests = [asked(seed=seed, learning_rate=1e30) for seed in (1, 2)]
    found = run_trials(fold, requests, lists, way="together")
    assert all(isinstance(one, FailedTrial) for one in found)


@pytest.mark.parametrize("way", ["together", "in turn"])
def test_out_of_time_all_keep_what_they_have_learnt_and_say_so(
    fold: Fold, lists: tuple[CandidateArrays], way: Way
) -> None:
    requests = [replace(asked(seed=seed), seconds=0.0) for seed in (1, 2)]
    for request, got in zip(requests, run_trials(fold, requests, lists, way=way), strict=True):
        assert_the_same(got, run_trial(fold, request, lists), fold, lists[0])
        assert isinstance(got, TrialResult)
        assert got.totals["trained_share"] == pytest.approx(1 / 3)


def test_a_killed_group_goes_on_where_it_was_with_the_same_result(
    fold: Fold,
    lists: tuple[CandidateArrays],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    requests = [
        replace(request, checkpoint=str(tmp_path / f"{place}.checkpoint"))
        for place, request in enumerate(
            [asked(seed=1), asked(seed=2, learning_rate=1e30), asked(seed=3)]
        )
    ]
    monkeypatch.setattr(Checkpoint, "due", lambda self: True)

    def dies(fraction: float, text: str) -> None:
        if text.startswith("epoch 3 of"):
            raise KeyboardInterrupt

    whole = run_trials(fold, [replace(r, checkpoint="") for r in requests], lists, way="together")
    with pytest.raises(KeyboardInterrupt):
        run_trials(fold, requests, lists, dies, "together")
    told: list[str] = []
    resumed = run_trials(fold, requests, lists, lambda fraction, text: told.append(text))
    assert "goes on after epoch 2 of 3" in told
    assert isinstance(resumed[1], FailedTrial)
    for place in (0, 2):
        got, expected = resumed[place], whole[place]
        assert isinstance(got, TrialResult)
        assert isinstance(expected, TrialResult)
        assert got.artifacts == expected.artifacts


def test_a_short_rung_of_several_brings_no_files(fold: Fold, lists: tuple[CandidateArrays]) -> None:
    requests = [replace(asked(seed=seed), effort=0.4) for seed in (1, 2)]
    for request, got in zip(
        requests, run_trials(fold, requests, lists, way="together"), strict=True
    ):
        assert isinstance(got, TrialResult)
        assert got.artifacts is None
        np.testing.assert_array_equal(got.users, run_trial(fold, request, lists).users)


def test_who_differs_in_more_than_the_free_settings_is_in_another_group() -> None:
    requests = [
        asked(seed=0),
        asked(seed=1, learning_rate=0.01),
        asked(seed=2, embedding_size=8),
        asked("deepfm"),
        TrialRequest("bpr", {"embedding_size": 8}),
        TrialRequest("bpr", {"embedding_size": 8}, seed=1),
        replace(asked(seed=3), effort=0.5),
        asked(seed=4),
        asked(seed=5, epochs=4),
        TrialRequest("no_such_agent", {}),
        asked(seed=6, learning_rate=-1.0),
    ]
    found = groups(requests)
    assert found == [[0, 1, 7], [2], [3], [4], [5], [6], [8], [9], [10]]
    assert groups([asked(seed=seed) for seed in range(5)], most=2) == [[0, 1], [2, 3], [4]]
    assert groups([]) == []


def test_structures_with_dropout_are_trained_in_turn(
    fold: Fold, lists: tuple[CandidateArrays]
) -> None:
    document = documents.ranker("deepfm", width=4, hidden=8).model_dump(mode="json")
    drawn = asked("deepfm", structure=document)
    assert len(groups([drawn, replace(drawn, seed=1)])) == 1
    (deep,) = (block for block in document["blocks"] if block["block"] == "mlp")
    deep["dropout"] = 0.2
    noisy = asked("deepfm", structure=document)
    requests = [noisy, replace(noisy, seed=1)]
    assert len(groups(requests)) == 2
    for got, request in zip(run_trials(fold, requests, lists), requests, strict=True):
        assert isinstance(got, TrialResult)
        assert got.artifacts == run_trial(fold, request, lists).artifacts
    with pytest.raises(AgentError, match="cannot be trained side by side"):
        run_trials(fold, requests, lists, way="together")


def test_any_requests_may_be_handed_in_and_a_refused_one_fails_alone(fold: Fold) -> None:
    told: list[float] = []
    requests = [
        TrialRequest("itemknn", {}),
        TrialRequest("bpr", {"embedding_size": 0}),
        TrialRequest("popularity", {}),
    ]
    found = run_trials(fold, requests, report=lambda fraction, text: told.append(fraction))
    assert [type(one) for one in found] == [TrialResult, FailedTrial, TrialResult]
    assert isinstance(found[1], FailedTrial)
    assert "embedding_size" in found[1].message
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert run_trials(fold, []) == []


@pytest.mark.parametrize("wins", [True, False])
def test_what_is_measured_at_the_start_decides_unless_there_are_too_many_weights(
    fold: Fold, lists: tuple[CandidateArrays], monkeypatch: pytest.MonkeyPatch, wins: bool
) -> None:
    monkeypatch.setattr(trials, "pays", lambda courses: wins)
    told: list[str] = []
    requests = [asked(seed=1), asked(seed=2)]
    run_trials(fold, requests, lists, lambda fraction, text: told.append(text))
    assert told[0] == f"2 models, {'together' if wins else 'in turn'}"
    told.clear()
    monkeypatch.setattr(trials, "_MOST_WEIGHTS", 10)
    run_trials(fold, requests, lists, lambda fraction, text: told.append(text))
    assert told[0] == "2 models, in turn"
