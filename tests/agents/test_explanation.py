"""The reasons for a slate are those that made it: lists, weights, moves, routes, versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import pytest
import torch

from agenticrs.agents.agent import Agent, AgentConfig
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.explanation import Contribution, Explanation, Filled, explain
from agenticrs.agents.fusion.reciprocal_rank import (
    ReciprocalRankFusion,
    ReciprocalRankFusionConfig,
)
from agenticrs.agents.routing.history_length import (
    HistoryLengthRouter,
    HistoryLengthRouterConfig,
)
from agenticrs.agents.runtime import Runtime
from agenticrs.registry.graph import Condition, Graph, Node, validate
from agenticrs.registry.spec import AgentSpec, ClosedLoop, DecisionSpace, InnerReward, Port, Role


class Fixed(Agent[AgentConfig]):
    """The same list for everybody, or the input turned round; breaks when it is told to."""

    config_type: ClassVar[type[AgentConfig]] = AgentConfig

    def __init__(self, *items: int) -> None:
        super().__init__(AgentConfig())
        self._items = items

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        if self._items == (-1,):
            raise RuntimeError("broken")
        if not self._items:
            return Candidates(inputs[0].items.flip(1), inputs[0].scores)
        items = torch.tensor(self._items).repeat(len(users), 1)
        return Candidates(items, torch.arange(len(self._items), 0, -1.0).repeat(len(users), 1))


def spec(name: str, role: Role) -> AgentSpec:
    port = Port.USERS if role == "retrieval" else Port.CANDIDATES
    return AgentSpec(
        name=name,
        kind="functional",
        role=role,
        summary="for tests",
        loop=ClosedLoop(inputs=(port,), output=Port.CANDIDATES, executor="test", feedback="click"),
        inner_reward=InnerReward(metric="ndcg"),
        space=DecisionSpace(),
        outer_weight=0.5,
    )


def explained(
    nodes: Sequence[Node],
    agents: Mapping[str, tuple[Agent[Any], AgentSpec]],
    k: int = 4,
    histories: Sequence[Sequence[int]] = ((),),
) -> list[Explanation]:
    specs = {told.name: told for _, told in agents.values()}
    graph = Graph(nodes=tuple(nodes), output=nodes[-1].id)
    validate(graph, specs)
    offsets = torch.tensor([0, *(len(one) for one in histories)]).cumsum(0)
    flat = torch.tensor([i for one in histories for i in one], dtype=torch.int64)
    people = UserBatch(torch.arange(len(histories)), offsets, flat)
    runtime = Runtime(
        graph,
        {node: agent for node, (agent, _) in agents.items()},
        specs,
        people,
        torch.arange(30, 0, -1),
        agent_timeout=None,
    )
    slate = runtime.recommend(people, k, runtime.listing)
    return [explain(runtime, slate, row) for row in range(len(histories))]


def of(told: Explanation, item: int) -> dict[str, Contribution]:
    """The item's contributions by node."""
    (found,) = [one for one in told.items if one.item == item]
    return {one.node: one for one in found.contributions}


def retriever(name: str, *items: int) -> tuple[Agent[Any], AgentSpec]:
    return Fixed(*items), spec(name, "retrieval")


RRF = ReciprocalRankFusion(ReciprocalRankFusionConfig(k=1, weights={"one": 1.0, "two": 0.5}))
FUSED = [
    Node(id="a", agent="one", version=3),
    Node(id="b", agent="two", version=5),
    Node(id="fuse", agent="rrf", version=2, inputs=("a", "b")),
]


def test_a_fused_item_tells_who_found_it_where_and_with_what_vote() -> None:
    (told,) = explained(
        FUSED,
        {
            "a": retriever("one", 10, 11),
            "b": retriever("two", 11, 12),
            "fuse": (RRF, RRF.spec),
        },
        k=3,
    )
    # 11: 1 / 3 + .5 / 2; 10: 1 / 2; 12: .5 / 3
    assert [one.item for one in told.items] == [11, 10, 12]
    both = of(told, 11)
    assert list(both) == ["a", "b", "fuse"]
    assert (both["a"].version, both["a"].rank, both["b"].version, both["b"].rank) == (3, 2, 5, 1)
    assert [(s.node, s.agent, s.rank, s.weight) for s in both["fuse"].sources] == [
        ("a", "one", 2, 1.0),
        ("b", "two", 1, 0.5),
    ]
    votes = [source.vote for source in both["fuse"].sources]
    assert votes == pytest.approx([1 / 3, 0.25])
    assert both["fuse"].score == pytest.approx(sum(vote or 0 for vote in votes))
    assert list(of(told, 10)) == ["a", "fuse"]


def test_rankers_tell_how_far_they_moved_an_item() -> None:
    nodes = [
        Node(id="a", agent="one", version=1),
        Node(id="rank", agent="ranker", version=1, inputs=("a",)),
        Node(id="again", agent="mover", version=1, inputs=("rank",)),
    ]
    (told,) = explained(
        nodes,
        {
            "a": retriever("one", 10, 11, 12),
            "rank": (Fixed(12, 10, 11), spec("ranker", "ranking")),
            "again": (Fixed(), spec("mover", "reranking")),
        },
        k=3,
    )
    assert [one.item for one in told.items] == [11, 10, 12]
    moved = {item: [one.moved for one in of(told, item).values()] for item in (10, 11, 12)}
    assert moved == {10: [None, -1, 0], 11: [None, -1, 2], 12: [None, 2, -2]}


@pytest.mark.parametrize(
    ("k", "item", "filled"),
    [(2, 11, None), (3, 12, "cut off"), (4, 0, "popular")],
)
def test_what_fills_the_slate_is_told_apart(k: int, item: int, filled: Filled | None) -> None:
    nodes = [
        Node(id="a", agent="one", version=1),
        Node(id="short", agent="cut", version=1, inputs=("a",), keep=2),
        Node(id="rank", agent="ranker", version=1, inputs=("short",)),
    ]
    (told,) = explained(
        nodes,
        {
            "a": retriever("one", 10, 11, 12),
            "short": (Fixed(10, 11, 12), spec("cut", "coarse_ranking")),
            "rank": (Fixed(10, 11), spec("ranker", "ranking")),
        },
        k=k,
    )
    assert (told.items[-1].item, told.items[-1].filled) == (item, filled)
    assert bool(told.items[-1].contributions) == (filled != "popular")


def test_each_user_is_told_of_their_own_path_alone() -> None:
    router = HistoryLengthRouter(HistoryLengthRouterConfig(threshold=1))

    def path(node: str, agent: str, segment: Literal["cold", "warm"]) -> Node:
        when = Condition(node="route", segments=(segment,))
        return Node(id=node, agent=agent, version=1, when=when)

    cold, warm = explained(
        [
            Node(id="route", agent="history_router", version=7),
            path("a", "one", "cold"),
            path("b", "two", "warm"),
            FUSED[2],
        ],
        {
            "route": (router, router.spec),
            "a": retriever("one", 10),
            "b": retriever("two", 11),
            "fuse": (RRF, RRF.spec),
        },
        k=1,
        histories=((), (5,)),
    )
    assert [(r.node, r.agent, r.version, r.segment) for r in cold.routes + warm.routes] == [
        ("route", "history_router", 7, "cold"),
        ("route", "history_router", 7, "warm"),
    ]
    assert (list(of(cold, 10)), list(of(warm, 11))) == (["a", "fuse"], ["b", "fuse"])


def test_an_agent_whose_stand_in_acted_has_contributed_nothing() -> None:
    nodes = [FUSED[0], Node(id="rank", agent="ranker", version=1, inputs=("a",))]
    (told,) = explained(
        nodes,
        {"a": retriever("one", 10, 11), "rank": (Fixed(-1), spec("ranker", "ranking"))},
        k=2,
    )
    assert [one.item for one in told.items] == [10, 11]
    assert list(of(told, 10)) == ["a"]
