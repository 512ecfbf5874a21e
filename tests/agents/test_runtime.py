from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest
import torch

from agenticrs.agents.agent import Agent, AgentConfig, Budget
from agenticrs.agents.batch import Candidates, Route, UserBatch
from agenticrs.agents.circuit import CircuitRules
from agenticrs.agents.fusion.reciprocal_rank import (
    ReciprocalRankFusion,
    ReciprocalRankFusionConfig,
)
from agenticrs.agents.reranking.mmr import Mmr, MmrConfig
from agenticrs.agents.retrieval.itemknn import ItemKNN, ItemKNNConfig
from agenticrs.agents.routing.history_length import (
    HistoryLengthRouter,
    HistoryLengthRouterConfig,
)
from agenticrs.agents.runtime import NodeTrace, Runtime, Slate
from agenticrs.agents.timed_calls import TimedCalls
from agenticrs.agents.training_data import TrainingData
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.errors import AgentError
from agenticrs.registry.graph import Condition, Graph, Node, validate
from agenticrs.registry.spec import AgentSpec, ClosedLoop, DecisionSpace, InnerReward, Port, Role

N_ITEMS = 20
Act = Callable[[UserBatch, Sequence[Candidates], int], Any]
Acts = Mapping[str, "Act | Agent[Any]"]


class Scripted(Agent[AgentConfig]):
    """Does what the test says."""

    config_type: ClassVar[type[AgentConfig]] = AgentConfig

    def __init__(self, act: Act) -> None:
        super().__init__(AgentConfig())
        self._act = act

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Any:
        return self._act(users, inputs, k)


def spec(name: str, role: Role = "retrieval") -> AgentSpec:
    port = Port.USERS if role in ("retrieval", "routing") else Port.CANDIDATES
    return AgentSpec(
        name=f"test_{name}",
        kind="functional",
        role=role,
        summary="for tests",
        loop=ClosedLoop(
            inputs=(port,),
            variadic=role == "fusion",
            output=Port.ROUTE if role == "routing" else Port.CANDIDATES,
            executor="test",
            feedback="click",
        ),
        inner_reward=InnerReward(metric="ndcg"),
        space=DecisionSpace(),
        outer_weight=0.5,
        segments=("cold", "warm") if role == "routing" else (),
    )


def always(*items: int) -> Act:
    """The same list for everybody."""

    def act(users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        row = torch.tensor(items).repeat(len(users), 1)
        scores = torch.arange(len(items), 0, -1.0).repeat(len(users), 1)
        return Candidates(row, scores.masked_fill(row < 0, -torch.inf))

    return act


def fails(users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
    raise RuntimeError("broken")


def scores_nan(users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
    answer = always(1, 2)(users, inputs, k)
    assert isinstance(answer, Candidates)
    return Candidates(answer.items, answer.scores * float("nan"))


def first_reversed(users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
    return Candidates(inputs[0].items.flip(1), inputs[0].scores)


def people(*histories: Sequence[int]) -> UserBatch:
    lengths = torch.tensor([0, *(len(items) for items in histories)])
    flat = torch.tensor([i for items in histories for i in items], dtype=torch.int64)
    return UserBatch(torch.arange(len(histories)), lengths.cumsum(0), flat)


def node(
    agent: str, *inputs: str, when: tuple[str, str] | None = None, keep: int | None = None
) -> Node:
    condition = Condition(node=when[0], segments=(when[1],)) if when else None
    return Node(
        id=agent, agent=agent, version=1, inputs=inputs or ("users",), when=condition, keep=keep
    )


def runtime(
    nodes: Sequence[Node],
    acts: Acts,
    roles: Mapping[str, Role] | None = None,
    *,
    timeout: float | None = None,
    timeouts: Mapping[str, float] | None = None,
    circuits: CircuitRules | None = None,
) -> Runtime:
    """Serves the nodes, the last one's output; popular items are 0, 1, 2, ..."""
    specs = {
        name: act.spec
        if isinstance(act, Agent)
        else spec(name, (roles or {}).get(name, "retrieval"))
        for name, act in acts.items()
    }
    graph = Graph(nodes=tuple(nodes), output=nodes[-1].id)
    validate(graph, specs)
    agents = {name: a if isinstance(a, Agent) else Scripted(a) for name, a in acts.items()}
    popularity = torch.arange(N_ITEMS, 0, -1)
    return Runtime(
        graph,
        agents,
        specs,
        people(),
        popularity,
        agent_timeout=timeout,
        agent_timeouts=timeouts,
        depth=10,
        circuits=circuits,
    )


def shown(slate: Slate) -> list[list[int]]:
    return slate.candidates.items.tolist()


def of(slate: Slate, node_id: str) -> NodeTrace:
    return next(entry for entry in slate.trace if entry.node == node_id)


def rrf(**weights: float) -> ReciprocalRankFusion:
    return ReciprocalRankFusion(ReciprocalRankFusionConfig(weights=weights))


def test_nodes_run_in_order_and_hand_their_lists_on() -> None:
    nodes = [node("a"), node("b"), node("rrf", "a", "b")]
    serve = runtime(nodes, {"a": always(5, 6), "b": always(6, 7), "rrf": rrf()})
    slate = serve.recommend(people([1], []), 3)
    assert shown(slate) == [[6, 5, 7], [6, 5, 7]]
    assert [(t.node, t.status, t.users) for t in slate.trace] == [
        ("a", "ok", 2),
        ("b", "ok", 2),
        ("rrf", "ok", 2),
    ]
    assert all(entry.milliseconds >= 0 for entry in slate.trace)


def test_fusion_is_told_who_feeds_it() -> None:
    nodes = [node("a"), node("b"), node("rrf", "b", "a")]
    acts: Acts = {"a": always(5, 6), "b": always(7, 8), "rrf": rrf(a=1.0, b=0.1)}
    assert shown(runtime(nodes, acts).recommend(people([]), 2)) == [[5, 6]]


def test_lists_are_filled_with_popular_unseen_items_and_stay_in_order() -> None:
    slate = runtime([node("a")], {"a": always(9, 2)}).recommend(people([0, 1], [9]), 5)
    assert shown(slate) == [[9, 2, 3, 4, 5], [2, 0, 1, 3, 4]]
    scores = slate.candidates.scores
    assert (scores[:, :-1] >= scores[:, 1:]).all()
    assert torch.isfinite(scores).all()


def test_seen_and_repeated_items_are_never_shown() -> None:
    slate = runtime([node("a")], {"a": always(4, 4, 9, 4, 7)}).recommend(people([9]), 3)
    assert shown(slate) == [[4, 7, 0]]


def test_a_catalogue_that_is_used_up_leaves_gaps() -> None:
    slate = runtime([node("a")], {"a": always(1)}).recommend(people(range(18)), 4)
    assert shown(slate) == [[18, 19, -1, -1]]


@pytest.mark.parametrize("act", [fails, scores_nan, always(N_ITEMS), lambda u, i, k: None])
def test_a_retriever_that_fails_leaves_the_others(act: Act) -> None:
    nodes = [node("a"), node("b"), node("rrf", "a", "b")]
    slate = runtime(nodes, {"a": act, "b": always(7, 8), "rrf": rrf()}).recommend(people([]), 2)
    assert shown(slate) == [[7, 8]]
    assert of(slate, "a").status == "failed"
    assert of(slate, "a").error
    assert of(slate, "rrf").status == "ok"


@pytest.mark.parametrize("act", [fails, scores_nan])
def test_a_ranker_that_fails_passes_its_candidates_through(act: Act) -> None:
    nodes = [node("a"), node("r", "a")]
    slate = runtime(nodes, {"a": always(7, 8), "r": act}, {"r": "ranking"}).recommend(people([]), 2)
    assert shown(slate) == [[7, 8]]
    assert of(slate, "r").status == "failed"


def test_a_fusion_that_fails_gives_each_user_the_first_input_with_anything() -> None:
    def only_second(users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        return Candidates(torch.tensor([[-1], [5]]), torch.tensor([[-torch.inf], [1.0]]))

    nodes = [node("a"), node("b"), node("f", "a", "b")]
    acts: Acts = {"a": only_second, "b": always(7, 8), "f": fails}
    slate = runtime(nodes, acts, {"f": "fusion"}).recommend(people([], []), 2)
    assert shown(slate) == [[7, 8], [5, 0]]


def test_when_everything_fails_popular_items_are_shown() -> None:
    slate = runtime([node("a")], {"a": fails}).recommend(people([0], []), 3)
    assert shown(slate) == [[1, 2, 3], [0, 1, 2]]
    assert of(slate, "a").error == "RuntimeError: broken"


ROUTED = [
    node("route"),
    node("c", when=("route", "cold")),
    node("w", when=("route", "warm")),
    node("rrf", "c", "w"),
]


def test_conditional_nodes_run_for_their_users_only() -> None:
    asked: dict[str, list[list[int]]] = {"c": [], "w": []}

    def noting(name: str, *items: int) -> Act:
        def act(users: UserBatch, inputs: Sequence[Candidates], k: int) -> Any:
            asked[name].append(users.users.tolist())
            return always(*items)(users, inputs, k)

        return act

    router = HistoryLengthRouter(HistoryLengthRouterConfig(threshold=2))
    acts: Acts = {"route": router, "c": noting("c", 10, 11), "w": noting("w", 12), "rrf": rrf()}
    nodes = [
        n.model_copy(update={"agent": "history_router"}) if n.id == "route" else n for n in ROUTED
    ]
    graph = Graph(nodes=tuple(nodes), output="rrf")
    specs = {
        "history_router": router.spec,
        "c": spec("c"),
        "w": spec("w"),
        "rrf": ReciprocalRankFusion.spec,
    }
    validate(graph, specs)
    agents = {name: a if isinstance(a, Agent) else Scripted(a) for name, a in acts.items()}
    serve = Runtime(
        graph, agents, specs, people(), torch.arange(N_ITEMS, 0, -1), agent_timeout=None
    )
    slate = serve.recommend(people([1, 2], [], [3]), 2)
    assert asked == {"c": [[1, 2]], "w": [[0]]}
    assert shown(slate) == [[12, 0], [10, 11], [10, 11]]
    assert (of(slate, "c").users, of(slate, "w").users) == (2, 1)
    everybody_cold = serve.recommend(people([], []), 2)
    assert of(everybody_cold, "w").status == "skipped"
    assert shown(everybody_cold) == [[10, 11], [10, 11]]


def test_a_router_behind_a_router_sends_only_the_users_that_reached_it() -> None:
    def by_parity(users: UserBatch, inputs: Sequence[Candidates], k: int) -> Route:
        return Route(users.users % 2)

    def all_cold(users: UserBatch, inputs: Sequence[Candidates], k: int) -> Route:
        return Route(torch.zeros(len(users), dtype=torch.int64))

    nodes = [
        node("outer"),
        node("inner", when=("outer", "warm")),
        node("c", when=("inner", "cold")),
        node("rrf", "c"),
    ]
    acts: Acts = {"outer": by_parity, "inner": all_cold, "c": always(10), "rrf": rrf()}
    serve = runtime(nodes, acts, {"outer": "routing", "inner": "routing"})
    assert shown(serve.recommend(people([], [], []), 1)) == [[0], [10], [0]]


@pytest.mark.parametrize(
    "route", [fails, lambda u, i, k: Route(torch.full((len(u),), 2)), lambda u, i, k: 3]
)
def test_a_router_that_fails_sends_everybody_down_the_common_path(route: Act) -> None:
    acts: Acts = {"route": route, "c": always(10), "w": always(12), "rrf": rrf()}
    serve = runtime(ROUTED, acts, {"route": "routing"})
    slate = serve.recommend(people([1, 2], []), 1)
    assert shown(slate) == [[12], [12]]
    assert of(slate, "route").status == "failed"


def odd_users_are_warm(users: UserBatch, inputs: Sequence[Candidates], k: int) -> Route:
    return Route(users.users % 2)


def only_for_warm(act: Act, *, keep: int | None = None) -> Runtime:
    """A ranker for warm users (odd ones) alone, and a re-ranker behind it that changes nothing."""
    nodes = [
        node("route"),
        node("a"),
        node("r", "a", when=("route", "warm"), keep=keep),
        node("last", "r"),
    ]
    acts: Acts = {"route": odd_users_are_warm, "a": always(5, 6, 7), "r": act, "last": as_it_came}
    return runtime(nodes, acts, {"route": "routing", "r": "ranking", "last": "reranking"})


def as_it_came(users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
    return inputs[0]


def test_who_is_outside_the_condition_of_a_ranker_skips_it() -> None:
    asked: list[list[int]] = []

    def noting(users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        asked.append(users.users.tolist())
        return first_reversed(users, inputs, k)

    serve = only_for_warm(noting)
    slate = serve.run_all(people([], [], [5]), 3, keep=("a", "r"))
    assert asked == [[1]]
    assert shown(slate) == [[5, 6, 7], [7, 6, 5], [6, 7, 0]]
    assert slate.kept["a"].items.tolist() == [[5, 6, 7]] * 3, "an input is never written to"
    assert slate.kept["r"].scores.tolist() == [[3.0, 2.0, 1.0]] * 3
    assert (of(slate, "r").users, of(slate, "last").users) == (1, 3)
    outside = serve.recommend(people([]), 2)
    assert of(outside, "r").status == "skipped"
    assert shown(outside) == [[5, 6]]
    assert asked == [[1]], "nobody is asked for"


def test_an_output_under_a_condition_hands_through_what_came_in() -> None:
    nodes = [node("route"), node("a"), node("r", "a", when=("route", "warm"))]
    acts: Acts = {"route": odd_users_are_warm, "a": always(5, 6, 7), "r": always(9)}
    serve = runtime(nodes, acts, {"route": "routing", "r": "reranking"})
    assert shown(serve.recommend(people([], []), 3)) == [[5, 6, 7], [9, 0, 1]]


@pytest.mark.parametrize("act", [fails, scores_nan])
def test_a_conditional_ranker_that_fails_hands_everything_through(act: Act) -> None:
    serve = only_for_warm(act)
    slate = serve.recommend(people([], []), 3)
    assert shown(slate) == [[5, 6, 7]] * 2
    assert (of(slate, "r").status, of(slate, "last").status) == ("failed", "ok")
    with pytest.raises(AgentError, match="node 'r'"):
        serve.run_all(people([], []), 3)
    assert shown(serve.run_all(people([]), 3)) == [[5, 6, 7]], "nobody needs it"


def test_when_its_router_fails_a_conditional_ranker_runs_if_it_is_on_the_common_path() -> None:
    for segment, expected in (("warm", [7, 6, 5]), ("cold", [5, 6, 7])):
        nodes = [node("route"), node("a"), node("r", "a", when=("route", segment))]
        acts: Acts = {"route": fails, "a": always(5, 6, 7), "r": first_reversed}
        serve = runtime(nodes, acts, {"route": "routing", "r": "ranking"})
        assert shown(serve.recommend(people([]), 3)) == [expected]


def test_a_cascade_hands_fewer_and_fewer_candidates_on() -> None:
    given: dict[str, list[list[int]]] = {}

    def noting(name: str) -> Act:
        def act(users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
            given[name] = inputs[0].items.tolist()
            return first_reversed(users, inputs, k)

        return act

    nodes = [node("a", keep=5), node("coarse", "a", keep=3), node("r", "coarse")]
    acts: Acts = {"a": always(*range(10, 20)), "coarse": noting("coarse"), "r": noting("r")}
    roles: dict[str, Role] = {"coarse": "coarse_ranking", "r": "ranking"}
    slate = runtime(nodes, acts, roles).recommend(people([]), 2)
    assert given == {"coarse": [[10, 11, 12, 13, 14]], "r": [[14, 13, 12]]}
    assert shown(slate) == [[12, 13]]


def test_a_request_for_more_than_was_kept_is_filled_with_what_was_cut_off() -> None:
    nodes = [node("a", keep=4), node("coarse", "a", keep=2), node("r", "coarse")]
    acts: Acts = {"a": always(*range(10, 16)), "coarse": first_reversed, "r": first_reversed}
    roles: dict[str, Role] = {"coarse": "coarse_ranking", "r": "ranking"}
    slate = runtime(nodes, acts, roles).recommend(people([], [11, 14, 15]), 7)
    assert shown(slate) == [[12, 13, 11, 10, 14, 15, 0], [12, 13, 10, 0, 1, 2, 3]]
    scores = slate.candidates.scores
    assert (scores[:, :-1] > scores[:, 1:]).all()


def test_who_skips_a_node_gets_no_more_candidates_than_it_keeps() -> None:
    serve = only_for_warm(first_reversed, keep=2)
    slate = serve.run_all(people([], []), 2, keep=("r",))
    assert slate.kept["r"].items.tolist() == [[5, 6], [7, 6]]


def test_a_node_that_keeps_few_is_asked_for_few_but_never_for_less_than_is_shown() -> None:
    asked: list[int] = []

    def noting(users: UserBatch, inputs: Sequence[Candidates], k: int) -> Any:
        asked.append(k)
        return always(*range(k))(users, inputs, k)

    serve = runtime(
        [node("a", keep=4), node("r", "a")], {"a": noting, "r": as_it_came}, {"r": "ranking"}
    )
    serve.recommend(people([]), 2)
    serve.recommend(people([]), 6)
    assert asked == [4, 6]


def test_a_late_agent_is_replaced_and_said_to_be_late(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def hangs(users: UserBatch, inputs: Sequence[Candidates], k: int) -> Any:
        gate.wait()
        return always(5)(users, inputs, k)

    nodes = [node("a"), node("b"), node("rrf", "a", "b")]
    acts: Acts = {"a": hangs, "b": always(7, 8), "rrf": rrf()}
    call = TimedCalls.call

    def hurried(calls: TimedCalls, name: str, function: Callable[[], Any], seconds: float) -> Any:
        return call(calls, name, function, seconds if name == "a" else 60.0)

    # The others have all the time they need: a busy machine must not make them late too.
    monkeypatch.setattr(TimedCalls, "call", hurried)
    serve = runtime(nodes, acts, timeout=0.1)
    slate = serve.recommend(people([]), 2)
    gate.set()
    assert shown(slate) == [[7, 8]]
    assert of(slate, "a").status == "timeout"
    assert "no answer within 100 ms" in of(slate, "a").error
    serve.close()


def test_an_agent_may_have_a_time_limit_of_its_own() -> None:
    gate = threading.Event()

    def waits(users: UserBatch, inputs: Sequence[Candidates], k: int) -> Any:
        gate.wait()
        return always(5)(users, inputs, k)

    def opens(users: UserBatch, inputs: Sequence[Candidates], k: int) -> Any:
        gate.set()
        return always(7)(users, inputs, k)

    nodes = [node("a"), node("b"), node("rrf", "a", "b")]
    acts: Acts = {"a": waits, "b": opens, "rrf": rrf()}
    serve = runtime(nodes, acts, timeout=30.0, timeouts={"a": 0.02})
    slate = serve.recommend(people([]), 1)
    assert "no answer within 20 ms" in of(slate, "a").error
    assert of(slate, "b").status == "ok", "the others have the limit of all"
    serve.close()


def unless(poison: int, *items: int) -> Act:
    """The same list for everybody, unless somebody has had that item."""

    def act(users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        if poison in users.items.tolist():
            raise RuntimeError("cannot read this history")
        return always(*items)(users, inputs, k)  # type: ignore[no-any-return]

    return act


@pytest.mark.parametrize("timeout", [None, 30.0])
def test_one_history_that_an_agent_cannot_read_costs_nobody_else_its_answer(
    timeout: float | None,
) -> None:
    nodes = [node("a"), node("b"), node("rrf", "a", "b")]
    acts: Acts = {"a": unless(3, 10, 11), "b": always(12), "rrf": rrf(b=0.1)}
    serve = runtime(nodes, acts, timeout=timeout)
    slate = serve.recommend(people([1], [2, 3], [], [4], [5]), 2)
    assert shown(slate) == [[10, 11], [12, 0], [10, 11], [10, 11], [10, 11]]
    assert of(slate, "a").by_user == ("ok", "failed", "ok", "ok", "ok")
    assert of(slate, "a").status == "failed"
    assert of(slate, "rrf").by_user == ("ok",) * 5


def test_a_router_that_cannot_read_one_history_routes_the_others() -> None:
    def by_parity(users: UserBatch, inputs: Sequence[Candidates], k: int) -> Route:
        if 3 in users.items.tolist():
            raise RuntimeError("cannot read this history")
        return Route(users.users % 2)

    acts: Acts = {"route": by_parity, "c": always(10), "w": unless(4, 12), "rrf": rrf()}
    slate = runtime(ROUTED, acts, {"route": "routing"}).recommend(people([], [], [3], [4], []), 1)
    assert shown(slate) == [[10], [12], [12], [0], [10]]
    assert of(slate, "c").by_user == ("ok", "skipped", "skipped", "skipped", "ok")
    assert of(slate, "w").by_user == ("skipped", "ok", "ok", "failed", "skipped")
    assert slate.routes["route"].tolist() == [0, 1, 1, 1, 0]


def test_an_agent_that_keeps_failing_rests_and_its_stand_in_acts() -> None:
    asked: list[int] = []

    def broken(users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        asked.append(len(users))
        raise RuntimeError("broken")

    nodes = [node("a"), node("b"), node("rrf", "a", "b")]
    acts: Acts = {"a": broken, "b": always(7, 8), "rrf": rrf()}
    serve = runtime(nodes, acts, circuits=CircuitRules(failures=2, seconds=1000))
    statuses = []
    for _ in range(4):
        slate = serve.recommend(people([]), 2)
        assert shown(slate) == [[7, 8]]
        statuses.append(of(slate, "a").status)
    assert statuses == ["failed", "failed", "resting", "resting"]
    assert "broken" in of(slate, "a").error
    assert asked == [1, 1]
    views = {view.node: (view.state, view.error) for view in serve.circuits()}
    assert views["a"] == ("open", "RuntimeError: broken")
    assert views["b"] == views["rrf"] == ("closed", "")
    with pytest.raises(AgentError, match="broken"):
        serve.run_all(people([]), 2)


def test_an_agent_that_answers_some_of_a_batch_is_not_broken() -> None:
    serve = runtime([node("a")], {"a": unless(3, 7)}, circuits=CircuitRules(failures=1))
    for _ in range(3):
        assert of(serve.recommend(people([3], []), 1), "a").by_user == ("failed", "ok")
    assert serve.circuits()[0].state == "closed"


def test_a_late_agent_rests_too_and_is_tried_again_after_its_rest() -> None:
    gate = threading.Event()

    def hangs(users: UserBatch, inputs: Sequence[Candidates], k: int) -> Any:
        gate.wait()
        return always(5)(users, inputs, k)

    serve = runtime(
        [node("a")], {"a": hangs}, timeout=0.05, circuits=CircuitRules(failures=1, seconds=0.01)
    )
    assert of(serve.recommend(people([]), 1), "a").status == "timeout"
    gate.set()
    while serve.circuits()[0].state != "closed":
        slate = serve.recommend(people([]), 1)
    assert shown(slate) == [[5]]
    serve.close()


def test_offline_a_failing_node_is_an_error_and_not_papered_over() -> None:
    nodes = [node("a"), node("r", "a")]
    serve = runtime(nodes, {"a": always(7), "r": fails}, {"r": "ranking"})
    with pytest.raises(AgentError, match="node 'r': RuntimeError: broken"):
        serve.run_all(people([], []), 2)


def test_offline_chunks_are_joined_and_kept_lists_are_returned() -> None:
    nodes = [node("a"), node("r", "a")]
    serve = runtime(nodes, {"a": always(7, 8), "r": first_reversed}, {"r": "ranking"})
    slate = serve.run_all(people([7], [], []), 2, keep=("a",), chunk=2)
    assert shown(slate) == [[8, 0], [8, 7], [8, 7]]
    assert slate.kept["a"].items.tolist() == [[7, 8]] * 3
    assert [(t.node, t.users, t.status) for t in slate.trace] == [("a", 3, "ok"), ("r", 3, "ok")]


def test_a_node_without_an_agent_is_refused() -> None:
    graph = Graph(nodes=(node("a"),), output="a")
    with pytest.raises(AgentError, match="node 'a' has no agent"):
        Runtime(graph, {}, {"a": spec("a")}, people(), torch.ones(3))


@pytest.fixture
def real(fold: Fold) -> tuple[Runtime, TrainingData]:
    """Two ways of ItemKNN fused and re-ranked, for a catalogue that has grown since training."""
    data = TrainingData.of(fold.dataset)
    knn, mmr = ItemKNN(ItemKNNConfig()), Mmr(MmrConfig())
    router = HistoryLengthRouter(HistoryLengthRouterConfig())
    for agent in (knn, mmr, router):
        agent.fit(data, Budget())
    specs = {a.spec.name: a.spec for a in (knn, mmr, router)} | {"rrf": ReciprocalRankFusion.spec}
    graph = Graph(
        nodes=(
            Node(id="route", agent="history_router", version=1),
            Node(
                id="knn",
                agent="itemknn",
                version=1,
                when=Condition(node="route", segments=("warm",)),
            ),
            Node(id="fuse", agent="rrf", version=1, inputs=("knn",)),
            Node(id="mmr", agent="mmr", version=1, inputs=("fuse",)),
        ),
        output="mmr",
    )
    validate(graph, specs)
    agents: dict[str, Agent[Any]] = {"route": router, "knn": knn, "fuse": rrf(), "mmr": mmr}
    popularity = torch.ones(data.n_items + 5)
    return Runtime(graph, agents, specs, data.histories, popularity, agent_timeout=30.0), data


def test_users_and_items_newer_than_the_agents_are_served(
    real: tuple[Runtime, TrainingData],
) -> None:
    serve, data = real
    n = data.n_items
    users = UserBatch(
        torch.tensor([3, data.n_users + 9, -1]),
        torch.tensor([0, 7, 8, 8]),
        torch.tensor([20, 21, 22, 23, 24, 25, n + 4, n]),
    )
    slate = serve.recommend(users, 10)
    assert all(entry.status == "ok" for entry in slate.trace)
    assert (slate.candidates.items >= 0).all()
    assert (slate.candidates.items < n + 5).all()
    assert n + 4 not in shown(slate)[0]
    assert n not in shown(slate)[1]


def test_threads_get_the_answers_that_one_thread_gets(real: tuple[Runtime, TrainingData]) -> None:
    serve, data = real
    requests = [serve.users_at(torch.tensor([u, (u + 7) % 60])) for u in range(data.n_users)]
    alone = [shown(serve.recommend(request, 5)) for request in requests]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda request: shown(serve.recommend(request, 5)), requests))
    assert together == alone
