"""A world in which a ranker helps some users and harms the others: does the search find that out?

Agents are scripted, so nothing is trained; points, graphs and the runtime are the real ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest
import torch

from agenticrs.agents import catalogue
from agenticrs.agents.agent import Agent, AgentConfig
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.runtime import Runtime
from agenticrs.evolution import blueprint
from agenticrs.evolution.methods.method import Tried, Value
from agenticrs.evolution.methods.search import Search
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry.graph import Condition, validate

CAST = ("ease", "itemknn", "popularity", "rrf", "history_router", "dcn")
SPECS = {name: catalogue.load_agents()[name].spec for name in CAST}
N_ITEMS, N_USERS, LISTED = 60, 24, 12
TARGET = 30
"""What everybody wants. Users with even numbers have one row, the others sixty."""


class _Scripted(Agent[AgentConfig]):
    config_type: ClassVar[type[AgentConfig]] = AgentConfig

    def __init__(self) -> None:
        super().__init__(AgentConfig())


class _Retriever(_Scripted):
    """Warm users find the target on top, cold ones at the end."""

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        row = torch.arange(TARGET, TARGET + LISTED)
        cold = (users.lengths < 5)[:, None]
        items = torch.where(cold, row.flip(0), row)
        return Candidates(items, torch.arange(LISTED, 0, -1.0).repeat(len(users), 1))


class _Ranker(_Scripted):
    """Turns the list round: right for cold users, wrong for warm ones."""

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        items = inputs[0].items
        turned = torch.where(items >= 0, -inputs[0].scores, -torch.inf).sort(1, descending=True)
        return Candidates(items.gather(1, turned.indices), turned.values)


def people() -> UserBatch:
    rows = torch.tensor([1 if user % 2 == 0 else 60 for user in range(N_USERS)])
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), rows.cumsum(0)])
    return UserBatch(torch.arange(N_USERS), offsets, torch.arange(int(rows.sum())) % 12)


def reward(point: Mapping[str, Value]) -> float:
    """Mean reciprocal rank of the target in what a composition shows."""
    plan = blueprint.at(point, SPECS)
    graph = blueprint.graph_of(plan, SPECS, dict.fromkeys(SPECS, 1))
    validate(graph, SPECS)
    agents: dict[str, Agent[Any]] = {}
    for node in graph.nodes:
        if SPECS[node.agent].role in ("fusion", "routing"):
            agents[node.id] = catalogue.build(node.agent, dict(plan.configs[node.agent]), seed=0)
        else:
            ranks = SPECS[node.agent].role == "ranking"
            agents[node.id] = _Ranker() if ranks else _Retriever()
    popularity = torch.arange(N_ITEMS, 0, -1)
    runtime = Runtime(graph, agents, SPECS, people(), popularity, agent_timeout=None)
    hit = runtime.run_all(people(), 20).candidates.items == TARGET
    assert hit.any(1).all(), "whatever is cut off is shown in the end"
    return float((1.0 / (1 + hit.int().argmax(1))).mean())


def searched(seed: int, asked: int = 40) -> list[Tried]:
    """What TPE tries after the baselines."""
    given = blueprint.given_points(SPECS, {})
    settings: dict[str, Value] = {"rrf.k": 60, "history_router.threshold": 5}
    search = Search(blueprint.space(SPECS), seed=seed, given=[{**p, **settings} for p in given])
    tried: list[Tried] = []
    while len(tried) < asked:
        for candidate in search.ask(tried, 4):
            try:
                tried.append(Tried(len(tried), candidate.values, "done", reward(candidate.values)))
            except EvolutionError:
                tried.append(Tried(len(tried), candidate.values, "failed"))
    return tried


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_ranker_that_helps_one_segment_and_harms_the_other_is_found(seed: int) -> None:
    tried = searched(seed)
    baselines = len(blueprint.given_points(SPECS, {}))
    best = max(tried, key=lambda one: one.reward or 0.0)
    assert best.reward == pytest.approx(1.0)
    assert max(one.reward or 0.0 for one in tried[:baselines]) < 0.6, "no baseline is that good"
    plan = blueprint.at(best.values, SPECS)
    assert plan.only == {"dcn": "cold"}
    graph = blueprint.graph_of(plan, SPECS, dict.fromkeys(SPECS, 1))
    assert graph.node("dcn").when == Condition(node="history_router", segments=("cold",))
