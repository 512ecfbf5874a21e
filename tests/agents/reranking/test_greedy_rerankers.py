"""DPP, calibration and fairness against their definitions, one user and one pick at a time."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.contract import AgentContract
from agenticrs.agents.reranking.calibration import Calibration, CalibrationConfig
from agenticrs.agents.reranking.dpp import Dpp, DppConfig
from agenticrs.agents.reranking.fairness import Fairness, FairnessConfig


class TestDpp(AgentContract):
    agent_type = Dpp


class TestDppShallow(AgentContract):
    agent_type = Dpp
    config: ClassVar = {"depth": 3, "relevance": 0.4}


class TestCalibration(AgentContract):
    agent_type = Calibration


class TestFairness(AgentContract):
    agent_type = Fairness


def lists(seed: int, n_items: int = 12, length: int = 7) -> Candidates:
    generator = torch.Generator().manual_seed(seed)
    items = torch.stack([torch.randperm(n_items, generator=generator)[:length] for _ in range(3)])
    scores = torch.rand(3, length, generator=generator).sort(dim=1, descending=True).values
    return Candidates(items, scores)


def users(*histories: list[int]) -> UserBatch:
    lengths = torch.tensor([0, *map(len, histories)])
    items = torch.tensor([item for history in histories for item in history], dtype=torch.int64)
    return UserBatch(torch.arange(len(histories)), lengths.cumsum(0), items)


def relevance_of(source: Candidates, row: int) -> dict[int, float]:
    scores = source.scores[row].tolist()
    low, high = min(scores), max(scores)
    items = source.items[row].tolist()
    return {i: (s - low) / (high - low) for i, s in zip(items, scores, strict=True)}


def volume(chosen: list[int], quality: dict[int, float], alike: torch.Tensor) -> float:
    weight = torch.tensor([quality[j] for j in chosen], dtype=torch.float64)
    return float(torch.linalg.det(weight[:, None] * alike[chosen][:, chosen] * weight))


def divergence(wanted: torch.Tensor, genres: torch.Tensor) -> float:
    listed = 0.99 * genres.mean(0) + 0.01 * wanted
    return float((wanted * (wanted / listed).log()).sum())


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.1, 0.9), st.floats(0.2, 0.95))
def test_a_dpp_picks_what_raises_the_determinant_most(
    seed: int, relevance: float, similarity: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    vectors = functional.normalize(torch.rand(12, 4, generator=generator), dim=1)
    source = lists(seed)
    agent = Dpp(DppConfig(relevance=relevance, similarity=similarity))
    agent.load({"vectors": vectors}, n_users=3, n_items=12)
    found = agent.act(users([], [], []), [source], 5).items
    alpha = relevance / (2 * (1 - relevance))
    alike = similarity * (vectors @ vectors.T).double()
    alike.fill_diagonal_(1.0)
    for row in range(3):
        quality = {i: math.exp(alpha * r) for i, r in relevance_of(source, row).items()}
        picked: list[int] = []
        for place in range(5):
            left = [i for i in quality if i not in picked]
            best = max(volume([*picked, i], quality, alike) for i in left)
            picked.append(int(found[row, place]))
            assert volume(picked, quality, alike) >= best * (1 - 1e-4)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.0, 1.0))
def test_calibration_weighs_relevance_against_the_divergence_of_genres(seed: int, t: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    shares = functional.normalize(torch.rand(12, 3, generator=generator), p=1, dim=1)
    source, histories = lists(seed), ([0, 1, 5], [7], [2, 2, 3])
    agent = Calibration(CalibrationConfig(trade_off=t))
    agent.load({"shares": shares}, n_users=3, n_items=12)
    found = agent.act(users(*histories), [source], 4).items
    for row, history in enumerate(histories):
        wanted = shares[history].mean(0)
        relevance = relevance_of(source, row)
        picked: list[int] = []
        for place in range(4):
            left = [i for i in relevance if i not in picked]
            values = {
                i: (1 - t) * relevance[i] - t * divergence(wanted, shares[[*picked, i]])
                for i in left
            }
            picked.append(int(found[row, place]))
            assert values[picked[-1]] >= max(values.values()) - 1e-5


def test_nobody_is_calibrated_to_a_history_that_is_not_there() -> None:
    source = lists(1)
    agent = Calibration(CalibrationConfig(trade_off=1.0))
    agent.load({"shares": torch.eye(12)}, n_users=3, n_items=12)
    assert torch.equal(agent.act(users([], [], []), [source], 7).items, source.items)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.0, 1.0))
def test_every_beginning_of_a_list_has_its_share_of_protected_items(
    seed: int, share: float
) -> None:
    source = lists(seed)
    protected = torch.arange(12) % 3 == 0
    agent = Fairness(FairnessConfig(share=share))
    agent.load({"protected": protected}, n_users=3, n_items=12)
    found = agent.act(users([], [], []), [source], 7).items
    for row in range(3):
        available = int(protected[source.items[row]].sum())
        for n in range(1, 8):
            had = int(protected[found[row, :n]].sum())
            assert had >= min(available, math.floor(torch.tensor(share * n)))
        for group in (True, False):  # inside a group the order is that of relevance
            mine = [i for i in found[row].tolist() if bool(protected[i]) == group]
            theirs = [i for i in source.items[row].tolist() if bool(protected[i]) == group]
            assert mine == theirs
    if share == 0:
        assert torch.equal(found, source.items)
