from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from agenticrs.agents import artifact, catalogue
from agenticrs.agents.agent import Budget
from agenticrs.agents.training_data import Heldout, TrainingData
from agenticrs.agents.trial import run_composition
from agenticrs.evolution import blueprint
from agenticrs.evolution.blueprint import Blueprint
from agenticrs.evolution.outer_reward.arena import Files
from agenticrs.evolution.outer_reward.coalitions import at_work, run_without
from agenticrs.evolution.selection import PerUser
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.data.generated import GeneratorConfig, generate
from agenticrs.platform.data.splits import make_fold
from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.errors import AgentError
from agenticrs.registry.graph import Graph, Node, validate
from agenticrs.rewards.credit import Coalition, subsets

SPECS = {name: kind.spec for name, kind in catalogue.load_agents().items()}
VERSIONS = dict.fromkeys(SPECS, 1)
ROUTED = blueprint.graph_of(
    Blueprint(
        retrievers=("ease", "itemknn"),
        fusion="rrf",
        reranker="mmr",
        router="history_router",
        paths={"cold": "trending"},
    ),
    SPECS,
    VERSIONS,
)
FOR_COLD_ALONE = blueprint.graph_of(
    Blueprint(
        retrievers=("ease", "itemknn"),
        fusion="rrf",
        reranker="mmr",
        router="history_router",
        only={"mmr": "cold"},
    ),
    SPECS,
    VERSIONS,
)
"""Without its router nobody comes to mmr."""
PLAIN = blueprint.graph_of(Blueprint(retrievers=("ease", "itemknn"), fusion="rrf"), SPECS, VERSIONS)
"""Members of ROUTED: ease, history_router, itemknn, mmr, rrf, trending."""
ALL = frozenset(ROUTED.agents())
Measure = Callable[[Graph, Coalition], PerUser]


@pytest.fixture(scope="module")
def fold(tmp_path_factory: pytest.TempPathFactory) -> Fold:
    log = generate(GeneratorConfig(n_users=200, n_items=80)).raw
    dataset = DatasetStore(tmp_path_factory.mktemp("data")).save("small", log)
    return make_fold(dataset, "leave_one_out", "valid")


@pytest.fixture(scope="module")
def files(fold: Fold) -> dict[str, Files]:
    data, found = TrainingData.of(fold.dataset), dict[str, Files]()
    for name in ROUTED.agents():
        agent = catalogue.build(name, {"threshold": 12} if name == "history_router" else {})
        agent.fit(data, Budget())
        found[name] = artifact.pack(agent)
    return found


@pytest.fixture(scope="module")
def worth(fold: Fold, files: dict[str, Files]) -> Measure:
    def measured(graph: Graph, present: Coalition) -> PerUser:
        given = [files[node.agent] for node in graph.nodes]
        absent = frozenset(graph.agents()) - present
        users, reward = run_without(fold, graph, SPECS, 50, absent, *given)
        assert users.tolist() == Heldout.of(fold).users.tolist()
        return reward

    return measured


def composed(fold: Fold, files: dict[str, Files], graph: Graph) -> PerUser:
    """What the graph is worth as compositions are measured everywhere."""
    validate(graph, SPECS)
    given = {(n.agent, n.version): files[n.agent] for n in graph.nodes}
    return run_composition(fold, graph, SPECS, given, 50).per_user["value@10"]


def test_with_everybody_there_it_is_the_composition_itself(
    fold: Fold, files: dict[str, Files], worth: Measure
) -> None:
    assert np.array_equal(worth(ROUTED, ALL), composed(fold, files, ROUTED))


def test_without_an_agent_it_is_the_graph_in_which_its_input_goes_on(
    fold: Fold, files: dict[str, Files], worth: Measure
) -> None:
    def graph(**parts: object) -> PerUser:
        plan = Blueprint(**{"retrievers": ("ease", "itemknn"), "fusion": "rrf", **parts})  # type: ignore[arg-type]  # parts of a blueprint
        return composed(fold, files, blueprint.graph_of(plan, SPECS, VERSIONS))

    routing = {"router": "history_router", "paths": {"cold": "trending"}}
    assert np.array_equal(worth(ROUTED, ALL - {"mmr"}), graph(**routing))
    assert np.array_equal(worth(ROUTED, ALL - {"history_router"}), graph(reranker="mmr"))
    alone = graph(reranker="mmr", retrievers=("ease",), **routing)
    assert np.array_equal(worth(ROUTED, ALL - {"itemknn"}), alone)


def test_without_its_fusion_the_first_list_is_shown(worth: Measure) -> None:
    first = worth(PLAIN, frozenset({"ease", "rrf"}))
    assert np.array_equal(worth(PLAIN, frozenset({"ease", "itemknn"})), first)
    second = worth(PLAIN, frozenset({"itemknn", "rrf"}))
    assert not np.array_equal(first, second)


def test_nobody_shows_what_is_popular(fold: Fold, worth: Measure) -> None:
    data, heldout = TrainingData.of(fold.dataset), Heldout.of(fold)
    counts = np.bincount(data.histories.items.numpy(), minlength=data.n_items)
    order = np.argsort(-counts, kind="stable")
    history = data.histories.take(heldout.users)
    expected = []
    for row, (begin, end) in enumerate(zip(history.offsets, history.offsets[1:], strict=False)):
        unseen = order[~np.isin(order, history.items[begin:end].numpy())][:10].tolist()
        truth = heldout.items[heldout.offsets[row] : heldout.offsets[row + 1]].tolist()
        expected.append(any(item in truth for item in unseen))
    nobody = worth(ROUTED, frozenset())
    valued = heldout.value.numpy() > 0
    assert np.array_equal((nobody > 0)[valued], np.array(expected)[valued])
    assert nobody[valued].any()


@pytest.mark.parametrize("graph", [ROUTED, FOR_COLD_ALONE], ids=["path", "condition"])
def test_who_is_not_at_work_changes_nothing(worth: Measure, graph: Graph) -> None:
    seen: dict[Coalition, PerUser] = {}
    members = sorted(graph.agents())
    for present in subsets(members):
        working = at_work(graph, present, SPECS)
        assert working <= present
        assert at_work(graph, working, SPECS) == working
        reward = seen.setdefault(working, worth(graph, working))
        if working != present:
            assert np.array_equal(worth(graph, present), reward)
    assert len(seen) < 2 ** len(members)


def test_who_skips_a_re_ranker_still_needs_what_stands_before_it() -> None:
    present = frozenset(FOR_COLD_ALONE.agents())
    assert at_work(FOR_COLD_ALONE, present, SPECS) == present
    unrouted = at_work(FOR_COLD_ALONE, present - {"history_router"}, SPECS)
    assert unrouted == {"ease", "itemknn", "rrf"}
    behind = Node(id="dpp", agent="dpp", version=1, inputs=("mmr",))
    longer = FOR_COLD_ALONE.model_copy(
        update={"nodes": (*FOR_COLD_ALONE.nodes, behind), "output": "dpp"}
    )
    assert at_work(longer, frozenset({"ease", "dpp"}), SPECS) == {"ease", "dpp"}


@pytest.mark.parametrize(
    ("present", "working"),
    [
        (set(ALL), set(ALL)),
        ({"rrf", "mmr", "history_router"}, set()),
        ({"trending", "rrf"}, set()),
        ({"trending", "history_router"}, {"trending", "history_router"}),
        ({"ease", "history_router"}, {"ease", "history_router"}),
        ({"ease", "mmr", "trending"}, {"ease", "mmr"}),
    ],
)
def test_nobody_works_where_no_list_arrives(present: set[str], working: set[str]) -> None:
    assert at_work(ROUTED, frozenset(present), SPECS) == working


def test_a_composition_is_not_measured_whole_when_one_of_its_agents_fails(
    fold: Fold, files: dict[str, Files]
) -> None:
    broken = catalogue.build("rrf", {"weights": {"ease": 0.0, "itemknn": 0.0}})
    broken.load({}, n_users=fold.dataset.n_users, n_items=fold.dataset.n_items)
    given = {**files, "rrf": artifact.pack(broken)}
    ordered = [given[node.agent] for node in PLAIN.nodes]
    with pytest.raises(AgentError, match=r"node 'rrf'.*weight 0"):
        run_without(fold, PLAIN, SPECS, 50, frozenset(), *ordered)
    users, reward = run_without(fold, PLAIN, SPECS, 50, frozenset({"itemknn"}), *ordered)
    assert len(users) == len(reward)
