"""Compositions: valid graphs of known versions, once by content, whatever is cut off."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import InvalidComposition, NotFound, TrackingError
from agenticrs.registry import agents, compositions
from agenticrs.registry.admission import AdmissionReport
from agenticrs.registry.graph import Graph
from agenticrs.registry.spec import AgentSpec
from agenticrs.registry.tables import AgentRow, CompositionRow

if TYPE_CHECKING:
    from tests.registry.conftest import Store

Fused = Callable[..., Graph]


class Killed(BaseException):
    """Stands for kill -9."""


def kill() -> None:
    raise Killed


@pytest.fixture
def filled(store: Store) -> Store:
    """Two versions of ease, one of itemknn and one of rrf."""
    for agent in ("ease", "ease", "itemknn", "rrf"):
        store.version(agent)
    return store


def register(
    store: Store, graph: Graph, tracking: Any = None, *, surface: str = "home", **given: Any
) -> CompositionRow:
    wanted: dict[str, Any] = {
        "dataset": "shop",
        "fingerprint": "f",
        "metrics": {"value@10": 0.5},
        "parent": None,
    }
    return compositions.register(
        store.engine,
        tracking or store.tracking,
        surface=surface,
        graph=graph,
        **{**wanted, **given},
    )


def in_mlflow(store: Store, model: str = "home.composition") -> list[int]:
    known = store.tracking.models.get(model)
    return sorted(known.versions) if known else []


def runs(store: Store) -> list[str]:
    return store.tracking.experiments.get("home.compositions", [])


def in_registry(store: Store) -> list[int]:
    with session_scope(store.engine) as session:
        return [row.number for row in compositions.all_of(session, "home")]


def test_a_composition_is_the_graph_in_both_places(filled: Store, fused: Fused) -> None:
    graph = fused(ease=2, itemknn=1)
    row = register(filled, graph, parent=4)
    assert (row.number, row.model, row.parent) == (1, "home.composition", 4)
    assert Graph.model_validate(row.graph) == graph
    assert row.digest == graph.digest()
    folder = filled.tracking.download("home.composition", 1)
    assert Graph.model_validate_json((folder / "graph.json").read_text()) == graph
    version = filled.tracking.models["home.composition"].versions[1]
    assert version.tags == {"members": "ease:2, itemknn:1, rrf:1", "digest": graph.digest()}
    assert "ease:2, itemknn:1, rrf:1" in version.description
    assert filled.tracking.runs[row.run_id].metrics == {"value_at_10": 0.5}


def test_the_same_content_is_one_composition_whatever_is_said_about_it(
    filled: Store, fused: Fused
) -> None:
    first = register(filled, fused(ease=1))
    again = register(filled, fused(ease=1), metrics={"value@10": 0.9}, parent=1, fingerprint="g")
    assert again == first
    assert in_mlflow(filled) == in_registry(filled) == [1]
    assert len(runs(filled)) == 1


def test_another_version_or_another_order_of_inputs_is_another_composition(
    filled: Store, fused: Fused
) -> None:
    graphs = (fused(ease=1, itemknn=1), fused(ease=2, itemknn=1), fused(itemknn=1, ease=1))
    assert [register(filled, graph).number for graph in graphs] == [1, 2, 3]


def test_surfaces_have_compositions_of_their_own(filled: Store, fused: Fused) -> None:
    for agent in ("ease", "rrf"):
        filled.version(agent, surface="cart")
    register(filled, fused(ease=1))
    elsewhere = register(filled, fused(ease=1), surface="cart")
    assert (elsewhere.number, elsewhere.model) == (1, "cart.composition")
    assert in_registry(filled) == [1]


@pytest.mark.parametrize(
    ("version", "surface", "saying"),
    [(3, "home", "'ease' has no version 3"), (1, "cart", "on 'cart'")],
)
def test_a_member_that_does_not_exist_there_is_refused(
    filled: Store, fused: Fused, version: int, surface: str, saying: str
) -> None:
    with pytest.raises(NotFound, match=saying):
        register(filled, fused(ease=version), surface=surface)
    assert runs(filled) == []
    assert in_mlflow(filled) == in_registry(filled) == []


def test_an_agent_that_has_become_a_tool_is_refused_as_a_member(
    filled: Store, fused: Fused
) -> None:
    known = register(filled, fused(ease=1))
    with session_scope(filled.engine) as session:
        row = session.get(AgentRow, "ease")
        assert row is not None
        report = AdmissionReport(checks=[], admitted=False)
        agents.record(session, AgentSpec.model_validate(row.spec), report, row.source)
    with pytest.raises(InvalidComposition, match="unknown agent 'ease'"):
        register(filled, fused(ease=2))
    assert in_mlflow(filled) == in_registry(filled) == [1]
    assert register(filled, fused(ease=1)) == known, "what was registered before stays known"


@pytest.mark.parametrize(
    ("call", "after"),
    [
        ("find_run", False),
        ("log_run", False),
        ("log_run", True),
        ("register", False),
        ("register", True),
    ],
)
def test_cut_off_anywhere_and_called_again_it_is_one_composition(
    filled: Store, fused: Fused, call: str, after: bool
) -> None:
    graph = fused(ease=1)
    with pytest.raises(Killed):
        register(filled, graph, filled.interrupted(call, after=after, do=kill))
    assert in_registry(filled) == [], "what was cut off is not known yet"
    row = register(filled, graph)
    assert row.number == 1
    assert in_mlflow(filled) == in_registry(filled) == [1]
    assert runs(filled) == [row.run_id]
    assert register(filled, fused(ease=2)).number == 2, "the next one leaves no gap"


def test_what_was_cut_off_is_not_taken_for_another_content(filled: Store, fused: Fused) -> None:
    with pytest.raises(Killed):
        register(filled, fused(ease=1), filled.interrupted("register", after=True, do=kill))
    other = register(filled, fused(ease=2))
    first = register(filled, fused(ease=1))
    assert (first.number, other.number) == (1, 2)
    assert in_mlflow(filled) == [1, 2]


def test_while_mlflow_is_away_nothing_is_written_and_later_it_works(
    filled: Store, fused: Fused
) -> None:
    filled.tracking.reachable = False
    with pytest.raises(TrackingError, match="reached"):
        register(filled, fused(ease=1))
    assert in_registry(filled) == []
    filled.tracking.reachable = True
    assert register(filled, fused(ease=1)).number == 1


@pytest.mark.parametrize("call", ["find_run", "register"])
def test_whoever_comes_second_gets_the_composition_of_the_first(
    filled: Store, fused: Fused, call: str
) -> None:
    first: list[CompositionRow] = []
    meanwhile = filled.interrupted(
        call, after=False, do=lambda: first.append(register(filled, fused(ease=1)))
    )
    second = register(filled, fused(ease=1), meanwhile)
    assert [second] == first
    assert in_mlflow(filled) == in_registry(filled) == [1]


def test_compositions_are_found_by_number_and_listed_newest_first(
    filled: Store, fused: Fused
) -> None:
    register(filled, fused(ease=1))
    register(filled, fused(ease=2))
    assert in_registry(filled) == [2, 1]
    with session_scope(filled.engine) as session:
        assert compositions.get(session, "home", 2).digest == fused(ease=2).digest()
        assert compositions.find(session, "home", 3) is None
        assert compositions.find(session, "cart", 1) is None
        assert compositions.all_of(session, "cart") == []
        with pytest.raises(NotFound, match="'home' has no composition 3") as missing:
            compositions.get(session, "home", 3)
    assert "agenticrs versions" in missing.value.hint
