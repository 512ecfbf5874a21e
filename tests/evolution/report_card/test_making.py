"""The report card: figures that can be found another way, agents that die, what cannot be known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from agenticrs.agents import artifact, catalogue
from agenticrs.agents.agent import Budget
from agenticrs.agents.training_data import TrainingData
from agenticrs.evolution.cycle import Cycle
from agenticrs.evolution.outer_reward.coalitions import measure_coalitions
from agenticrs.evolution.report_card import shelf
from agenticrs.evolution.report_card.card import Dimension, Figure, ReportCard
from agenticrs.evolution.report_card.change import history
from agenticrs.evolution.report_card.costs import costs
from agenticrs.evolution.report_card.faults import EVERYBODY, serve_without
from agenticrs.evolution.report_card.making import report_on
from agenticrs.evolution.request import EvolveRequest
from agenticrs.platform.data.dataset import Positive
from agenticrs.platform.data.generated import GeneratorConfig, generate
from agenticrs.platform.data.raw import Event
from agenticrs.platform.data.splits import make_fold, search_users
from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import EvolutionError, NotFound
from agenticrs.platform.settings import load_settings
from agenticrs.registry import compositions, cycles, promotion, proposals, trials, versions
from agenticrs.registry.graph import Graph, Node
from agenticrs.registry.tables import CompositionRow, utc_now

if TYPE_CHECKING:
    from tests.evolution.conftest import World

SPLIT = "leave_one_out"
WEIGHTS = {"itemknn": 2.0, "popularity": 0.1}
FUSED = Graph(
    nodes=(
        Node(id="itemknn", agent="itemknn", version=1),
        Node(id="popularity", agent="popularity", version=1),
        Node(id="rrf", agent="rrf", version=1, inputs=("itemknn", "popularity")),
    ),
    output="rrf",
)
ALONE = Graph(nodes=(Node(id="popularity", agent="popularity", version=1),), output="popularity")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Composition 1 (both retrievers, fused) serves; composition 2 (popularity alone) could."""
    from tests.evolution.conftest import build

    home = tmp_path_factory.mktemp("home")
    world = build(home, load_settings(home=home, simulated_users=0))
    for name, config in (("itemknn", {}), ("popularity", {}), ("rrf", {"weights": WEIGHTS})):
        publish(world, name, config)
    services = world.services
    for graph in (FUSED, ALONE):
        compositions.register(
            services.engine,
            services.tracking,
            surface="home",
            graph=graph,
            dataset="generated",
            fingerprint=services.datasets.load("generated").fingerprint,
            metrics={},
            parent=None,
        )
    promotion.promote(
        services.engine,
        services.tracking,
        surface="home",
        after=1,
        who="evolution",
        reason="first",
        cause="bootstrap",
        key="first",
    )
    return world


@pytest.fixture(scope="module")
def card(place: World) -> ReportCard:
    return report_on(place.services)


def publish(world: World, name: str, config: dict[str, Any]) -> None:
    """Fit an agent on the history and make it a version, out of a trial of its own cycle."""
    services = world.services
    dataset = services.datasets.load("generated")
    with session_scope(services.engine) as session:
        cycle = cycles.open_cycle(
            session,
            surface="home",
            kind="individual",
            dataset="generated",
            fingerprint=dataset.fingerprint,
            seed=0,
            request={},
        )
        told: dict[str, Any] = {
            "cycle_id": cycle.id or 0,
            "agent": name,
            "seed": 0,
            "dataset": "generated",
            "fingerprint": dataset.fingerprint,
            "split": SPLIT,
        }
        spent = {"cost": {"tokens_in": 900, "tokens_out": 100, "money": 0.25}}
        loser = trials.propose(session, number=0, method="llm:small", config={}, note=spent, **told)
        trials.record_failed(session, loser.id or 0, error="no", seconds=3.0, gpu_seconds=1.5)
        trial = trials.propose(session, number=1, method="default", config=config, **told)
        trials.record_full(
            session,
            trial.id or 0,
            metrics={"ndcg@10": 0.125},
            reward=0.125,
            seconds=2.0,
            device="cpu",
        )
        cycles.finish(session, cycle.id or 0, "done")
    agent = catalogue.build(name, config)
    agent.fit(TrainingData.of(make_fold(dataset, SPLIT, "valid").dataset), Budget())
    names = ("itemknn", "popularity") if name == "rrf" else ()
    versions.register(
        services.engine,
        services.tracking,
        surface="home",
        trial_id=trial.id or 0,
        artifacts=artifact.pack(agent, names),
    )


def figure(card: ReportCard, key: str, name: str, of: str = "") -> Figure:
    (dimension,) = [one for one in card.dimensions if one.key == key]
    (found,) = [one for one in dimension.figures if (one.name, one.of) == (name, of)]
    return found


def value(card: ReportCard, key: str, name: str, of: str = "") -> float:
    found = figure(card, key, name, of).value
    assert found is not None
    return found


def test_there_are_five_dimensions_and_every_figure_says_how_it_was_measured(
    card: ReportCard,
) -> None:
    assert [one.key for one in card.dimensions] == [
        "quality",
        "coordination",
        "system",
        "human",
        "economy",
    ]
    for dimension in card.dimensions:
        assert dimension.figures
        for one in dimension.figures:
            assert one.how
            assert one.value is not None or one.how.startswith("not ")
            if one.low is not None and one.high is not None and one.value is not None:
                assert one.low <= one.value <= one.high


def test_rewards_lost_are_those_of_the_coalitions_without_the_agent(
    place: World, card: ReportCard
) -> None:
    everybody = frozenset(FUSED.agents())
    dead = {name: everybody - {name} for name in everybody} | {EVERYBODY: frozenset[str]()}
    with cycle_of(place) as cycle:
        measured = measure_coalitions(cycle, FUSED, [everybody, *dead.values()])
    confirm = ~search_users(measured.users)
    assert card.users == confirm.sum()
    whole = measured.rewards[everybody][confirm].mean()
    assert value(card, "quality", "value@10") == pytest.approx(whole)
    for name, left in dead.items():
        lost = whole - measured.rewards[left][confirm].mean()
        assert value(card, "system", "reward lost", name) == pytest.approx(lost)
        assert value(card, "system", "full slates", name) == 1.0
        if name != EVERYBODY:
            assert value(card, "coordination", "credit", name) == pytest.approx(lost)
    assert value(card, "system", "reward lost", "itemknn") > 0


def cycle_of(world: World) -> Cycle:
    return Cycle(
        services=world.services,
        id=9,
        surface="home",
        dataset_name="generated",
        fingerprint=world.services.datasets.load("generated").fingerprint,
        request=EvolveRequest(kind="individual", trials=1, seconds=60, split=SPLIT),
        watch=lambda event: None,
    )


def test_the_last_node_is_as_good_as_what_is_shown(card: ReportCard) -> None:
    for metric in ("value@10", "ndcg@10"):
        shown = value(card, "quality", metric)
        assert value(card, "quality", metric, "rrf") == pytest.approx(shown)
        assert value(card, "quality", metric, "popularity") < shown
    assert value(card, "quality", "inner reward (ndcg@10)", "itemknn") == 0.125


def test_every_agent_is_called_once_for_each_user_and_the_graph_has_two_edges(
    card: ReportCard,
) -> None:
    assert value(card, "coordination", "calls of agents") == 3.0
    assert value(card, "coordination", "messages") == 2.0
    handed = [value(card, "coordination", "candidates", node.id) for node in FUSED.nodes]
    assert value(card, "coordination", "candidates handed on") == pytest.approx(sum(handed))
    assert handed[1] == pytest.approx(100, abs=20)


def test_who_has_the_larger_credit_has_the_larger_weight_and_share(card: ReportCard) -> None:
    for name, weight in WEIGHTS.items():
        assert value(card, "coordination", "weight in rrf", name) == weight
    assert value(card, "coordination", "credit and weights in rrf agree") == 1.0
    shares = [value(card, "coordination", "share of what is shown", name) for name in WEIGHTS]
    assert sum(shares) == pytest.approx(value(card, "human", "explanation coverage"))
    agree = value(card, "coordination", "credit and share agree")
    assert agree == (1.0 if shares[0] > shares[1] else -1.0)


def test_one_agent_alone_has_nobody_to_agree_with(place: World) -> None:
    card = report_on(place.services, 2)
    assert card.composition == 2
    agree = figure(card, "coordination", "credit and share agree")
    assert (agree.value, agree.how) == (None, "not measured: one agent has no order")
    assert value(card, "human", "explanation coverage") == 1.0
    lost = value(card, "system", "reward lost", "popularity")
    assert value(card, "system", "reward lost", EVERYBODY) == lost


def test_shapley_values_are_credits_where_they_are_asked_for(place: World) -> None:
    card = report_on(place.services, shapley=True)
    owed = figure(card, "coordination", "credit", "itemknn")
    assert owed.how.startswith("Shapley value of value@10")
    assert owed.value is not None
    assert owed.value > value(card, "coordination", "credit", "popularity")


def test_the_gap_lies_between_the_groups(card: ReportCard) -> None:
    (human,) = [one for one in card.dimensions if one.key == "human"]
    groups = [one.value or 0.0 for one in human.figures if one.of and one.name == "ndcg@10"]
    assert len(groups) >= 2
    gap = value(card, "human", "largest gap in ndcg@10")
    assert gap == pytest.approx(max(groups) - min(groups))
    assert 0 < value(card, "human", "Jain@10") < 1


def test_what_members_have_cost_is_that_of_the_cycles_that_found_them(card: ReportCard) -> None:
    for name in FUSED.agents():
        assert value(card, "economy", "training seconds", name) == 2.0
        assert value(card, "economy", "search seconds", name) == 5.0
        assert value(card, "economy", "GPU-seconds", name) == 1.5
        assert value(card, "economy", "tokens", name) == 1000.0
    assert value(card, "economy", "money, all members") == pytest.approx(0.75)


def test_nothing_is_written_but_the_card(place: World, tmp_path: Path, card: ReportCard) -> None:
    with session_scope(place.services.engine) as session:
        assert len(cycles.list_all(session)) == 3
    assert shelf.load(tmp_path, "home", 1) is None
    assert shelf.stored(tmp_path, "home") == []
    path = shelf.store(tmp_path, card)
    later = card.model_copy(update={"composition": 12, "made_at": utc_now()})
    shelf.store(tmp_path, later)
    assert shelf.load(tmp_path, "home", 1) == card
    assert shelf.stored(tmp_path, "home") == [later, card]
    assert shelf.stored(tmp_path, "other") == []
    assert sorted(one.name for one in path.parent.iterdir()) == ["1.json", "12.json"]
    path.write_text('{"surface": "home", "grades": "A"}')
    assert shelf.load(tmp_path, "home", 1) is None
    assert shelf.stored(tmp_path, "home") == [later]


def test_there_is_no_card_of_nothing(place: World) -> None:
    with pytest.raises(NotFound, match="no composition 99"):
        report_on(place.services, 99)
    other = place.with_settings(surface="elsewhere")
    with pytest.raises(EvolutionError, match="nothing serves on 'elsewhere'"):
        report_on(other.services)


def test_members_are_not_judged_on_rows_that_they_have_seen(place: World) -> None:
    other = place.with_settings(split="temporal")
    with pytest.raises(EvolutionError, match="learnt under split 'leave_one_out'") as raised:
        report_on(other.services)
    assert raised.value.hint == "AGENTICRS_SPLIT=leave_one_out"


def test_newer_data_is_another_measurement(place: World, tmp_path: Path) -> None:
    log = generate(GeneratorConfig(n_users=400, n_items=120)).raw
    datasets = DatasetStore(tmp_path)
    datasets.save("generated", log)
    users, items = log.interactions["user_id"].to_pylist(), log.interactions["item_id"].to_pylist()
    last = max(log.interactions["timestamp"].to_pylist())
    events = [Event(users[n], items[-n], last + n, {"click": 1.0}) for n in range(1, 200)]
    datasets.append_events("generated", events)
    card = report_on(replace(place.services, datasets=datasets))
    then = value(card, "system", "value@10 on its own data")
    assert then == pytest.approx(value(card, "quality", "value@10"))
    now = figure(card, "system", "value@10 on newer data")
    assert now.value is not None
    assert "199 interactions later" in now.how
    # The rows are made up, and unlike any before them.
    assert 0 < value(card, "system", "p-value of drift") < 0.01


def test_without_newer_data_it_says_so(card: ReportCard) -> None:
    newer = figure(card, "system", "value@10 on newer data")
    assert (newer.value, newer.how[:12]) == (None, "not measured")


def test_slates_are_full_as_long_as_the_catalogue_has_news(tmp_path: Path) -> None:
    log = generate(GeneratorConfig(n_users=40, n_items=20, events_per_user=20)).raw
    every = replace(log.declaration, positive=Positive("click", 0.0))
    log = replace(log, declaration=every)
    fold = make_fold(DatasetStore(tmp_path).save("small", log), SPLIT, "valid")
    data = TrainingData.of(fold.dataset)
    agent = catalogue.build("popularity", {})
    agent.fit(data, Budget())
    specs = {"popularity": agent.spec}
    unseen = 20 - data.histories.take(torch.from_numpy(fold.users.astype(np.int64))).lengths
    assert 0 < int((unseen < 10).sum()) < len(unseen)
    for dead in (frozenset[str](), frozenset({"popularity"})):
        left = serve_without(fold, ALONE, specs, 100, dead, artifact.pack(agent))
        assert np.array_equal(left.full, unseen.numpy() >= 10)


def test_drift_that_was_seen_is_told_with_what_the_change_after_it_gained(world: World) -> None:
    engine = world.services.engine
    with session_scope(engine) as session:
        assert [one.value for one in history(session, "home")] == [0.0, 0.0]
        for detected in (False, True):
            cycle = cycles.open_cycle(
                session,
                surface="home",
                kind="compositional",
                dataset="generated",
                fingerprint="f",
                seed=0,
                request={},
            )
            cycles.begin_step(session, cycle.id or 0, "sense")
            look = {"drift": {"detected": detected, "p_value": 0.025}}
            cycles.finish_step(session, cycle.id or 0, "sense", look)
        session.add(
            CompositionRow(
                surface="home",
                number=2,
                model="home.composition",
                run_id="r",
                graph=FUSED.model_dump(mode="json"),
                digest=FUSED.digest(),
                dataset="generated",
                fingerprint="f",
            )
        )
        gained = {
            "metric": "value@10",
            "before": {"mean": 0.1},
            "after": {"mean": 0.12},
            "difference": {"mean": 0.02, "low": 0.01, "high": 0.03},
        }
        proposals.file(
            session,
            surface="home",
            cycle_id=cycle.id or 0,
            title="t",
            before=1,
            after=2,
            digest="d",
            evidence={"reward": gained, "cost": {"trials": 7, "seconds": 30.5}},
        )
    with session_scope(engine) as session:
        looks, drifted, after = history(session, "home")
        assert (looks.value, drifted.value) == (2.0, 1.0)
        assert (after.of, after.value, after.low) == (f"cycle {cycle.id}", 0.02, 0.01)
        assert "before 0.1000 and after 0.1200" in after.how
        (of_graph,) = costs(session, {}, "home", 2)
        assert (of_graph.name, of_graph.value) == ("seconds of the proposal", 30.5)
        assert costs(session, {}, "home", 1) == ()


def test_a_card_says_what_it_is_of(card: ReportCard) -> None:
    assert (card.surface, card.composition, card.dataset) == ("home", 1, "generated")
    assert card.split == SPLIT
    assert isinstance(card.dimensions[0], Dimension)
    assert card.seconds > 0
