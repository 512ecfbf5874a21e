"""What people ask of searches by settings: another method, constraints, objectives beside."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from agenticrs.evolution import wishes
from agenticrs.platform.database import session_scope
from agenticrs.platform.settings import Settings
from agenticrs.registry import cycles, trials
from agenticrs.registry.spec import DecisionSpace, Limit
from agenticrs.registry.tables import TrialRow

from .conftest import World
from .searching import admit


def steps_of(world: World) -> dict[str, Any]:
    with session_scope(world.services.engine) as session:
        number = max(c.id or 0 for c in cycles.list_all(session))
        return {step.name: step.result for step in cycles.steps(session, number)}


def newest(world: World, agent: str) -> list[TrialRow]:
    with session_scope(world.services.engine) as session:
        number = max(c.id or 0 for c in cycles.list_all(session))
        return list(trials.of_cycle(session, number, agent))


def test_several_objectives_under_limits_are_searched_where_they_are_asked_for(
    world: World,
) -> None:
    admit(world, "bpr")
    # Sizes are users and items times the width: most of the declared widths break the limit.
    most = 40 * 520.0
    asked = world.with_settings(
        trials=6,
        alpha=0.999,
        confirm_seeds=1,
        methods="bpr=nsga2",
        limits=f"bpr:parameters<={most:g},latency_ms<=1000,coverage@10>=0.001",
        beside="parameters,latency_ms",
    )
    asked.controller().evolve(("individual",), agents=("bpr",))
    steps = steps_of(asked)
    assert steps["plan"]["methods"] == {"bpr": "nsga2"}
    assert "AGENTICRS_METHODS asks for" in steps["plan"]["choices"]["bpr"]["reason"]
    assert f"parameters <= {most:g}" in steps["plan"]["limits"]["bpr"]
    rows = newest(asked, "bpr")
    done = [row for row in rows if row.state == "done"]
    assert {row.method for row in rows} == {"nsga2"}
    assert all(row.metrics["latency_ms"] > 0 for row in done)
    broke = steps["select"]["broke_limits"].get("bpr", {})
    large = {str(row.number) for row in done if row.metrics["parameters"] > most}
    assert large == set(broke)
    chosen = [v["trial"] for v in steps["select"]["verdicts"]]
    chosen += steps["select"]["first_versions"].values()
    assert large.isdisjoint(str(row.number) for row in done if row.id in chosen)


@pytest.mark.parametrize("method", [pytest.param("gp", marks=pytest.mark.slow), "cmaes"])
def test_where_every_candidate_breaks_a_limit_the_champion_stays(world: World, method: str) -> None:
    asked = world.with_settings(trials=6, alpha=0.999, methods=f"all={method}")
    asked.controller().evolve(("individual",), agents=("itemknn",))
    assert {row.method for row in newest(asked, "itemknn")} >= {method}
    held = asked.with_settings(limits="itemknn:coverage@10>=2,latency_ms<=1000")
    held.controller().evolve(("individual",), agents=("itemknn",))
    steps = steps_of(held)
    assert steps["select"]["verdicts"] == []
    done = [row for row in newest(held, "itemknn") if row.state == "done"]
    assert set(steps["select"]["broke_limits"]["itemknn"]) == {str(row.number) for row in done}
    assert all("coverage@10" in why for why in steps["select"]["broke_limits"]["itemknn"].values())


def test_limits_of_one_agent_do_not_hold_for_another() -> None:
    settings = Settings(
        limits="parameters<=10, ease:coverage@10>=0.25", methods="all=random,bpr=gp"
    )
    space = wishes.wished(settings, "bpr", DecisionSpace())
    assert space.limits == (Limit(metric="parameters", most=10.0),)
    assert space.methods == ("gp", "tpe", "policy")
    other = wishes.wished(settings, "ease", DecisionSpace())
    assert [limit.metric for limit in other.limits] == ["parameters", "coverage@10"]
    assert other.methods[0] == "random"


@pytest.mark.parametrize(
    "wrong",
    [
        {"limits": "parameters<10"},
        {"limits": "parameters<=-1"},
        {"limits": "parameters<=nan"},
        {"methods": "bpr=annealing"},
        {"methods": "gp"},
    ],
)
def test_wishes_that_make_no_sense_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)  # type: ignore[arg-type]
