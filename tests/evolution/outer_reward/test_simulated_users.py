"""Simulated users in cycles: what they may decide hangs on their trust score alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evolution.opened import opened
from tests.evolution.test_cycle import outcome

from agenticrs.agents.simulation import jobs, network
from agenticrs.agents.simulation.judged import JudgedWorld
from agenticrs.agents.simulation.ordering import Ordering
from agenticrs.agents.simulation.trust import Trust as Score
from agenticrs.evolution.cycle import Cycle
from agenticrs.evolution.evidence import Trust
from agenticrs.evolution.outer_reward import simulated_users, simulated_world
from agenticrs.evolution.outer_reward.arena import Arena, Entry
from agenticrs.evolution.outer_reward.simulated_users import SimulatedUsers, Verdict, weigh
from agenticrs.evolution.outer_reward.simulated_world import world_of, world_path
from agenticrs.evolution.selection import blended
from agenticrs.evolution.sensing import look_at, restructure_first
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.data.splits import search_users
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import EvolutionError, SettingsError
from agenticrs.platform.jobs.job import Failed
from agenticrs.registry import compositions, cycles, promotion, proposals
from agenticrs.registry.graph import Graph
from agenticrs.rewards.objectives import OBJECTIVES, Weights

if TYPE_CHECKING:
    from tests.evolution.conftest import MakeWorld, World

USERS, ASKED = 120, 40
THRESHOLD = 0.7
PLACES = np.arange(0, USERS, USERS // ASKED)
Measured = dict[str, npt.NDArray[np.float64]]


def rewards(seed: int, n: int = USERS) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).random(n)


def lives(seed: int, gain: float = 1.0) -> Measured:
    """Objectives of simulated users; a gain above 1 is better in each of them."""
    return {
        name: rewards(seed + place, ASKED) * (1 / gain if name == "risk" else gain)
        for place, name in enumerate(OBJECTIVES)
    }


IN_ORDER = (0.8, 0.2, 1.0)


def verdict(
    score: float,
    gain: float,
    share: float = 0.5,
    order: tuple[float, float, float] | None = IN_ORDER,
) -> Verdict:
    return weigh(
        lives(10),
        lives(10, gain),
        PLACES,
        weights=Weights(watch_time=1, satisfaction=1, risk=0.5),
        trust=Trust(score=score, threshold=THRESHOLD, parts={}, ordering=order, users=50),
        share=share,
        days=5,
        seed=0,
    )


def scored(heard: Verdict | None, weight: float = 0.5, outer_gain: float = 1.0) -> Any:
    inner, outer = rewards(1), rewards(2)
    return blended(
        (inner, outer),
        (inner * 1.01, outer * outer_gain),
        weight,
        seed=0,
        heard=heard.heard if heard else None,
    )


@settings(max_examples=12)
@given(st.floats(0, THRESHOLD, exclude_max=True), st.floats(0.01, 100), st.floats(0, 1))
def test_below_the_threshold_nothing_that_users_say_moves_the_score(
    score: float, gain: float, share: float
) -> None:
    told = verdict(score, gain, share)
    assert told.simulation.share == 0
    assert scored(told) == scored(None)
    assert "inform only" in told.simulation.says


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (None, "no ordering"),
        ((0.4, 0.2, 0.6), "not in their order"),
        ((0.8, 0.0, 1.0), "not in their order"),
        ((-0.4, -0.8, 0.2), "not in their order"),
    ],
)
def test_a_score_is_not_enough_where_known_recommenders_are_not_in_their_order(
    order: tuple[float, float, float] | None, reason: str
) -> None:
    told = verdict(1.0, 50.0, order=order)
    assert scored(told) == scored(None)
    assert reason in told.simulation.says
    assert "inform only" in told.simulation.says


def test_from_the_threshold_on_a_gain_and_a_loss_move_the_score() -> None:
    alone, better, worse = scored(None), verdict(THRESHOLD, 2.0), verdict(THRESHOLD, 0.5)
    assert "50%" in better.simulation.says
    assert scored(better).mean > alone.mean + 0.1
    assert scored(worse).mean < alone.mean - 0.05
    assert scored(better).p_value < 0.01


def test_most_agents_are_lightly_corrected_and_key_agents_are_not() -> None:
    """The share is one of the outer part, and how large that is depends on the agent's role."""
    moved = {w: scored(verdict(0.9, 2.0), w).mean - scored(None, w).mean for w in (0.0, 0.1, 0.5)}
    assert moved[0.0] == 0
    assert moved[0.5] == pytest.approx(5 * moved[0.1])
    lift = verdict(0.9, 2.0).simulation.reward.difference.mean
    assert moved[0.1] == pytest.approx(0.1 * 0.5 * lift)


def test_the_evidence_shows_every_objective_and_what_the_reward_is_made_of() -> None:
    told = verdict(0.9, 1.5).simulation
    assert [one.metric for one in told.objectives] == list(OBJECTIVES)
    assert sum(told.weights.values()) == pytest.approx(1)
    assert told.reward.before.mean == pytest.approx(1)
    expected = 0.4 * 0.5 + 0.4 * 0.5 + 0.2 * (1 - 1 / 1.5)
    assert told.reward.difference.mean == pytest.approx(expected)
    assert told.reward.difference.low > 0


def plant(patch: pytest.MonkeyPatch, trust: float, gain: float) -> None:
    """Users who get ``gain`` times as much from whatever is not what serves."""

    class Assumed:
        assumed = ("everything",)

    judged = JudgedWorld(
        cast(Any, Assumed()), Score(trust, {"choice": trust}), 50, 500, Ordering(*IN_ORDER)
    )

    def live(
        arena: Arena, entries: Sequence[Entry], world: Any, users: Any, days: int
    ) -> dict[str, Measured | Failed]:
        one = np.random.default_rng(0).random(len(users)) + 0.5
        return {
            entry.key: {
                name: one * (1.0 if entry.key == "serving" or name == "risk" else gain)
                for name in OBJECTIVES
            }
            for entry in entries
        }

    patch.setattr(simulated_users, "world_of", lambda cycle: (b"", judged))
    patch.setattr(Arena, "live", live)


def verdicts_of(world: World) -> list[dict[str, Any]]:
    with session_scope(world.services.engine) as session:
        return [
            verdict
            for cycle in cycles.list_all(session)
            for step in cycles.steps(session, cycle.id or 0)
            for verdict in step.result.get("verdicts", ())
        ]


@pytest.mark.slow
def test_low_trust_never_promotes_nor_refuses_and_high_trust_does_both(
    tmp_path: Path, world: World, make_world: MakeWorld
) -> None:
    """The same cycles without simulated users, and with some who rave about every change or rue it.

    Below the threshold trials, versions, compositions and promotions are those without them.
    """

    def evolved(name: str, trust: float, gain: float) -> World:
        home = tmp_path / name
        changed = {"home": home, "simulated_users": 200}
        other = make_world(home, world.services.settings.model_copy(update=changed))
        with pytest.MonkeyPatch.context() as patch:
            plant(patch, trust, gain)
            other.controller().evolve()
        return other

    world.controller().evolve()
    without = outcome(world)
    for name, gain in (("raving", 50.0), ("rueing", 0.01)):
        other = evolved(name, 0.69, gain)
        assert outcome(other) == without, name
        told = [v["simulation"] for v in verdicts_of(other) if v["simulation"]]
        assert told
        assert all(one["share"] == 0 and "inform only" in one["says"] for one in told)
        with session_scope(other.services.engine) as session:
            (waiting,) = proposals.list_all(session, "home", "waiting")
            row = compositions.get(session, "home", waiting.after)
        assert waiting.evidence["simulation"]["share"] == 0
        assert row.metrics["trust"] == 0.69
        assert row.metrics["simulated_share"] == 0
    raving, rueing = evolved("trusted", 0.7, 50.0), evolved("warned", 0.7, 0.01)
    assert outcome(raving) != without
    inside = [v for v in verdicts_of(raving) if v["simulation"]]
    assert inside
    assert all(v["accepted"] for v in inside)
    with session_scope(rueing.services.engine) as session:
        assert proposals.list_all(session, "home", "waiting") == []
    assert not any(v["accepted"] for v in verdicts_of(rueing) if v["simulation"])


@pytest.fixture
def quick(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Users fitted in a few steps, few of whom are asked."""
    monkeypatch.setattr(network, "_STEPS", 60)
    return world.with_settings(simulated_users=60, simulated_days=2)


def fits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every world that is fitted; the first one takes its time, the others none."""
    done: list[int] = []
    kept: dict[int, bytes] = {}

    def counted(fold: Fold, seed: int) -> bytes:
        done.append(seed)
        if seed not in kept:
            kept[seed] = jobs.fit_world_of(fold, seed)
        return kept[seed]

    monkeypatch.setattr(simulated_world, "fit_world_of", counted)
    return done


def test_a_world_is_fitted_once_for_a_snapshot_and_read_after_that(
    quick: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = fits(monkeypatch)
    with opened(quick, trials=1, agents=("ease",)) as cycle:
        first, _ = world_of(cycle)
    with opened(quick, trials=1, agents=("popularity",)) as cycle:
        again, judged = world_of(cycle)
        path = world_path(cycle)
        assert again == first
        assert len(done) == 1
        assert 0 < judged.trust.score < 1
        path.write_bytes(first[:-9])
        anew, _ = world_of(cycle)
        assert len(done) == 2
        assert anew == first
        # Killed while it was written: only a file aside is left, which nobody reads.
        path.unlink()
        (path.parent / ".writing-x").write_bytes(first[:99])
        assert world_of(cycle)[0] == anew
        other = cycle.request.model_copy(update={"seed": 5})
        cycle.request = other
        assert world_path(cycle) != path


@pytest.mark.slow
def test_both_compositions_meet_the_same_users_whom_no_search_saw(quick: World) -> None:
    quick.with_settings(simulated_users=0).controller().evolve(("individual",), agents=("ease",))
    with opened(quick, trials=1, agents=("ease",)) as cycle:
        people = SimulatedUsers(cycle)
        graph = serving_graph(quick)
        entries = [Entry("serving", graph), Entry("candidate", graph)]
        told, why_not = people.judge(entries)
        confirm = cycle.fold.users[~search_users(cycle.fold.users)]
        asked = confirm[people.places]
        again, _ = SimulatedUsers(cycle).judge(entries)
        assert jobs.fit_world_of(cycle.fold, 0) == world_of(cycle)[0]
    assert told is not None
    assert again is not None
    assert why_not == ""
    assert len(asked) == len(set(asked.tolist())) == told.simulation.users == 60
    # Equal luck: the same composition twice is no difference in any user.
    assert np.array_equal(told.heard.before, told.heard.after)
    assert np.array_equal(told.heard.after, again.heard.after)
    assert told.simulation.reward.difference.mean == 0


def serving_graph(world: World) -> Any:
    with session_scope(world.services.engine) as session:
        row = promotion.serving(session, "home")
    assert row is not None
    return Graph.model_validate(row.graph)


@pytest.mark.slow
def test_a_simulation_that_fails_leaves_the_cycle_without_it(
    quick: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(cycle: Cycle) -> Any:
        raise EvolutionError("no simulated users: error: the log is too small")

    monkeypatch.setattr(simulated_users, "world_of", broken)
    agents = ("itemknn", "popularity", "rrf", "ease", "mmr")
    done = quick.controller().evolve(agents=agents)
    with session_scope(quick.services.engine) as session:
        assert all(cycles.get(session, one).state in ("done", "waiting") for one in done)
        filed = proposals.list_all(session, "home")
    assert filed
    assert [one.evidence["simulation"] for one in filed] == [None] * len(filed)
    assert all("too small" in one.evidence["unsimulated"] for one in filed)


def test_switched_off_nobody_is_fitted_or_asked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = fits(monkeypatch)
    with opened(world, trials=1, agents=("ease",)) as cycle:
        entry = Entry("serving", Graph(nodes=(), output=""))
        told, why_not = SimulatedUsers(cycle).judge([entry, entry])
    assert (told, done) == (None, [])
    assert "AGENTICRS_SIMULATED_USERS" in why_not


def test_an_objective_that_nobody_knows_is_refused_before_there_is_a_cycle(world: World) -> None:
    asked = world.with_settings(objectives="watch_time=1,anger=2")
    with pytest.raises(SettingsError, match="anger"):
        asked.controller().evolve()
    with session_scope(world.services.engine) as session:
        assert not cycles.list_all(session)


def test_other_weights_of_objectives_change_the_graph_first(world: World) -> None:
    world.controller().evolve(("compositional",), trials=1)
    dataset = world.services.datasets.load("generated")
    for asked, said in ((60, "business objectives"), (0, "")):
        other = world.with_settings(objectives="risk=1", simulated_users=asked)
        why = restructure_first(other.services, "home", look_at(other.services, "home", dataset))
        assert said in why
        assert bool(why) == bool(said)
