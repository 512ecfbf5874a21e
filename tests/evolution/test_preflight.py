"""A budget that pays for no comparison is refused before anything is spent, and says why."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agenticrs.evolution import individual, preflight
from agenticrs.evolution.request import CycleKind, EvolveRequest
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry import cycles, trials
from agenticrs.registry.trials import Cost

from .opened import opened
from .searching import admit

if TYPE_CHECKING:
    from agenticrs.evolution.cycle import Cycle

    from .conftest import World


def paid(world: World, agent: str, seconds: float, cycle: int = 1, **given: Any) -> None:
    """A fully trained candidate that took so long."""
    with session_scope(world.services.engine) as session:
        row = trials.propose(
            session,
            cycle_id=cycle,
            agent=agent,
            number=len(trials.of_cycle(session, cycle, agent)),
            method="tpe",
            config={},
            seed=0,
            dataset=given.pop("dataset", "generated"),
            fingerprint="an earlier snapshot",
            split="leave_one_out",
        )
        found = {"metrics": {}, "reward": 0.1, "device": "cpu", "seconds": seconds, **given}
        trials.record_full(session, row.id or 0, **found)


def budget(cycle: Cycle, **changed: Any) -> None:
    cycle.request = cycle.request.model_copy(update=changed)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"trials": 0}, "trials is 0.*one candidate for each agent.*--trials"),
        ({"seconds": 0.0}, "seconds is 0.*above 0.*AGENTICRS_SECONDS or --seconds"),
        ({"seconds": math.inf}, "seconds is inf"),
        ({"gpu_seconds": -1.0}, "gpu_seconds is -1.*AGENTICRS_GPU_SECONDS or --gpu-seconds"),
    ],
)
def test_numbers_that_make_no_cycle_are_refused(world: World, given: Any, match: str) -> None:
    with pytest.raises(EvolutionError, match=match):
        world.controller().evolve(**given)
    with session_scope(world.services.engine) as session:
        assert cycles.list_all(session) == []


def test_seconds_below_a_trial_of_the_cheapest_agent_are_refused(world: World) -> None:
    with opened(world, trials=2, agents=("ease", "itemknn")) as cycle:
        paid(world, "ease", 40.0)
        paid(world, "ease", 20.0)
        paid(world, "itemknn", 90.0)
        budget(cycle, seconds=29.0)
        with pytest.raises(EvolutionError) as refused:
            preflight.refuse_too_small(cycle, ["ease", "itemknn"])
        assert str(refused.value) == (
            "seconds is 29, too little for one comparison: a full trial of ease, the cheapest "
            "that is planned, needs 30 (raise AGENTICRS_SECONDS or --seconds to 30 or more, or "
            "plan agents that are cheaper)"
        )
        budget(cycle, seconds=30.0)
        preflight.refuse_too_small(cycle, ["ease", "itemknn"])


def test_an_agent_whose_cost_is_unknown_here_is_no_reason_to_refuse(world: World) -> None:
    with opened(world, trials=2, agents=("ease", "itemknn")) as cycle:
        paid(world, "ease", 40.0)
        paid(world, "itemknn", 90.0, dataset="another one")
        paid(world, "itemknn", 0.0)
        budget(cycle, seconds=1.0, gpu_seconds=0.1)
        preflight.refuse_too_small(cycle, ["ease", "itemknn"])
        preflight.refuse_too_small(cycle, [])


def test_gpu_seconds_below_a_trial_are_refused(world: World) -> None:
    with opened(world, trials=2, agents=("bpr",)) as cycle:
        paid(world, "bpr", 40.0, gpu_seconds=10.0)
        preflight.refuse_too_small(cycle, ["bpr"])
        budget(cycle, gpu_seconds=9.0)
        with pytest.raises(
            EvolutionError, match=r"gpu_seconds is 9.*needs 10.*--gpu-seconds to 10"
        ):
            preflight.refuse_too_small(cycle, ["bpr"])


@pytest.mark.parametrize(("agent", "needs"), [("ease", 40), ("bpr", 26.7)])
def test_a_time_limit_below_the_quickest_trial_is_refused(
    world: World, agent: str, needs: float
) -> None:
    # Both rungs of an agent with epochs are in the seconds, and each has the limit for itself.
    for limit, fits in ((needs - 1, False), (needs, True)):
        with opened(world.with_settings(trial_seconds=limit), trials=2, agents=(agent,)) as cycle:
            paid(world, agent, 40.0)
            paid(world, agent, 80.0)
            if fits:
                preflight.refuse_too_small(cycle, [agent])
                continue
            with pytest.raises(EvolutionError, match="AGENTICRS_TRIAL_SECONDS to") as refused:
                preflight.refuse_too_small(cycle, [agent])
            assert "--trial" not in refused.value.hint


def test_a_refused_cycle_leaves_no_row_and_the_old_ones_stand(world: World) -> None:
    controller = world.controller()
    (first,) = controller.evolve(("bootstrap",))
    with session_scope(world.services.engine) as session:
        for row in trials.of_cycle(session, first):
            row.seconds = 50.0
            session.add(row)
    kinds: tuple[CycleKind, ...] = ("individual", "compositional")
    for kind in kinds:
        paid(world, "home", 50.0)
        with pytest.raises(EvolutionError, match="too little for one comparison"):
            controller.evolve((kind,), seconds=10.0)
    with session_scope(world.services.engine) as session:
        assert [row.id for row in cycles.list_all(session)] == [first]


def test_who_cannot_be_paid_is_left_out_of_the_plan_with_the_reason(world: World) -> None:
    world.controller().evolve(("bootstrap",))
    admit(world, "bpr")
    with opened(world, trials=2, agents=("ease", "itemknn", "popularity", "bpr")) as cycle:
        for agent in ("itemknn", "popularity"):
            paid(world, agent, 100.0)
        paid(world, "bpr", 1.0, gpu_seconds=30.0)
        budget(cycle, seconds=120.0, gpu_seconds=20.0)
        made = individual.plan(cycle)
        assert made["agents"] == list(made["turns"])
        assert {"ease"} < set(made["agents"])
        assert "GPU-seconds" in made["left_out"]["bpr"]
        assert ("itemknn" in made["left_out"]) != ("popularity" in made["left_out"])
        assert math.fsum(t["seconds"] for t in made["turns"].values()) == pytest.approx(120.0)
        assert math.fsum(t["gpu_seconds"] for t in made["turns"].values()) == pytest.approx(20.0)
        budget(cycle, seconds=0.001, gpu_seconds=None)
        paid(world, "ease", 100.0)
        with pytest.raises(EvolutionError, match=r"comparison of no agent.*ease: a comparison"):
            individual.plan(cycle)


COSTS = st.builds(Cost, st.none() | st.floats(0.01, 100), st.none() | st.floats(0.01, 100))
CASES = st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.floats(0.01, 1), COSTS), min_size=1)


@given(CASES, st.floats(0.1, 300), st.none() | st.floats(0.1, 300))
@example({"a": (0.32045001195983003, Cost(0.984375, None))}, 0.984375, None)
def test_turns_pay_for_a_trial_and_nobody_is_dropped_for_nothing(
    case: dict[str, tuple[float, Cost]], seconds: float, gpu_seconds: float | None
) -> None:
    request = EvolveRequest(
        kind="individual", trials=1, seconds=seconds, gpu_seconds=gpu_seconds, split="x"
    )
    total = math.fsum(share for share, _ in case.values())
    turns = {
        name: {"trials": 1, "seconds": seconds * share / total, "reason": ""}
        for name, (share, _) in case.items()
    }
    known = {name: cost for name, (_, cost) in case.items()}
    kept, left_out = preflight.afforded(turns, known, request)
    assert set(kept) | set(left_out) == set(turns)
    assert not set(kept) & set(left_out)
    assert list(kept) == [name for name in turns if name in kept], "the order stays"
    for name, turn in kept.items():
        assert (known[name].seconds or 0) <= turn["seconds"] * (1 + 1e-9)
        if gpu_seconds is not None:
            assert (known[name].gpu_seconds or 0) <= turn["gpu_seconds"] * (1 + 1e-9)
    if kept:
        assert math.fsum(turn["seconds"] for turn in kept.values()) == pytest.approx(seconds)
    else:
        assert all(
            (cost.seconds or 0) > seconds or (cost.gpu_seconds or 0) > (gpu_seconds or math.inf)
            for cost in known.values()
        )
