"""Objective weights: learnt on some simulated users, verified on others, decided by a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from agenticrs.agents.objectives.configurator import ConfiguratorConfig, ObjectiveConfigurator
from agenticrs.evolution import objective_configuration as configuration
from agenticrs.evolution.evidence import Trust
from agenticrs.evolution.objective_configuration import SERVING, Finding, Lives, study
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import NotAllowed, NotFound
from agenticrs.registry import audit, memory, objectives
from agenticrs.registry.tables import ObjectiveRow
from agenticrs.rewards.objectives import Weights

if TYPE_CHECKING:
    from tests.evolution.conftest import World

N = 400
PRESENT = Weights(watch_time=1, retention=0.2, risk=0.1)
TEACH = np.arange(N) % 2 == 0


def lives(watch: float, returns: float, risk: float = 1.0) -> Lives:
    """A composition: how much is watched at once, who returns. Worth comes from returning."""
    rng = np.random.default_rng(0)
    early = {
        "watch_time": watch * rng.gamma(2.0, 0.5, N),
        "retention": returns * rng.gamma(2.0, 0.5, N),
        "risk": risk * rng.gamma(2.0, 0.05, N),
    }
    worth = 10 * early["retention"] + rng.standard_normal(N)
    return Lives(early, {"long_term_value": worth, "risk": early["risk"]})


BAIT, GOOD = lives(1.3, 0.8), lives(0.95, 1.2)


def found(score: float = 0.9, **compositions: Lives) -> Finding:
    trust = Trust(score=score, threshold=0.7, parts={}, ordering=(0.8, 0.2, 1.0), users=50)
    agent = ObjectiveConfigurator(ConfiguratorConfig(belief=10.0))
    known = {SERVING: lives(1.0, 1.0), **compositions}
    return study(known, TEACH, PRESENT, agent, trust, seed=0)


def test_weights_that_let_bait_win_are_found_out_and_the_experiment_verifies_others() -> None:
    told = found(bait=BAIT, good=GOOD)
    assert told.chosen == ("bait", "good")
    assert told.after["retention"] > 0.7 > told.before["retention"]
    assert told.after["risk"] >= told.before["risk"] - 1e-9
    assert told.verified
    assert told.worth is not None
    assert told.worth.difference.low > 0


def test_a_world_that_is_not_trusted_verifies_nothing() -> None:
    told = found(score=0.5, bait=BAIT, good=GOOD)
    assert not told.verified
    assert "cannot verify it" in told.reason


def test_weights_that_would_choose_the_same_are_no_proposal() -> None:
    told = found(good=lives(1.2, 1.2))
    assert not told.verified
    assert told.reason == "old and new weights choose the same (good): nothing would change"


def test_more_risk_is_refused_whatever_it_is_worth() -> None:
    told = found(bait=BAIT, good=lives(0.95, 1.4, risk=1.6))
    assert told.chosen[1] == "good"
    assert not told.verified
    assert "brings more risk" in told.reason


def row(state: str) -> ObjectiveRow:
    return ObjectiveRow(
        surface="home",
        proposed_by="objective_configurator version 1",
        before={"watch_time": 1.0},
        after={"watch_time": 0.25, "retention": 0.75},
        state=state,
        reason="worth more later",
    )


def test_only_a_person_lets_them_hold_and_only_what_was_verified(world: World) -> None:
    engine = world.services.engine
    with session_scope(engine) as session:
        refused = objectives.file(session, row("refused"))
        older = objectives.file(session, row("waiting"))
        newer = objectives.file(session, row("waiting"))
    controller = world.controller()
    settings = world.services.settings
    assert controller._weighed().services.settings.objectives == settings.objectives
    for number, why in ((refused.id, "is refused"), (older.id, "is superseded")):
        with session_scope(engine) as session, pytest.raises(NotAllowed, match=why):
            objectives.decide(
                session, "home", number or 0, verdict="approve", who="ada", reason="yes"
            )
    with session_scope(engine) as session, pytest.raises(NotAllowed, match="reason"):
        objectives.decide(session, "home", newer.id or 0, verdict="approve", who="a", reason=" ")
    with session_scope(engine) as session:
        objectives.decide(
            session, "home", newer.id or 0, verdict="approve", who="ada", reason="yes"
        )
    held = controller._weighed().services.settings
    assert held.objective_weights == {"watch_time": 0.25, "retention": 0.75}
    with session_scope(engine) as session:
        objectives.reset(session, "home", who="bob", reason="too early")
        told = [(one.who, one.action) for one in audit.entries(session)]
        with pytest.raises(NotFound):
            objectives.reset(session, "home", who="bob", reason="again")
    assert controller._weighed().services.settings.objectives == settings.objectives
    assert told[:2] == [("bob", "objectives: reset"), ("ada", "objectives: approve")]


@pytest.mark.slow
def test_it_studies_what_serves_beside_what_a_cycle_would_try(world: World) -> None:
    world = world.with_settings(simulated_users=60, simulated_days=2, trials=1)
    controller = world.controller()
    controller.evolve(kinds=("individual",))
    told = controller.propose_objectives()
    assert told.state in ("waiting", "refused")
    assert sum(told.before.values()) == pytest.approx(1.0)
    assert sum(told.after.values()) == pytest.approx(1.0)
    assert told.evidence["users"] == 60
    with session_scope(world.services.engine) as session:
        (kept,) = objectives.list_all(session, "home")
        entries = memory.search(session, "home", agent="objective_configurator")
    assert kept.id == told.id
    assert entries[0].row.lesson == told.reason
    assert "risk=" in configuration.in_words(told.after)
