from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from agenticrs.agents.experimentation.canary import (
    STAGES,
    Canary,
    Ladder,
    answer,
    step,
)
from agenticrs.agents.experimentation.observation import Observation
from agenticrs.platform.errors import AgentError
from agenticrs.rewards.experiments.guardrails import Guardrail
from agenticrs.rewards.experiments.sequential import Sample

LATENCY = Guardrail("latency", margin=0.05, worst=0.15)
LADDER = Ladder(guardrails=(LATENCY,))


def observed(
    canary: Canary,
    lift: float = 0.0,
    slower: float = 0.0,
    users: int = 100_000,
    got: float = 1.0,
) -> Observation:
    """A step without luck: exactly these effects; ``got`` is the part of its users that arrived."""
    n = round(users * canary.share)
    arms = []
    for size, reward, latency in (
        (n, 1 + lift, 1 + slower),
        (users - n, 1.0, 1.0),
    ):
        arms.append({"reward": Sample(size, reward, 1.0), "latency": Sample(size, latency, 0.1)})
    return Observation(treatment=arms[0], control=arms[1], exposed=(round(n * got), users - n))


def until_it_ends(
    canary: Canary, lift: float = 0.0, slower: float = 0.0, users: int = 100_000, got: float = 1.0
) -> Canary:
    for _ in range(400):
        if canary.status != "running":
            break
        canary = step(canary, observed(canary, lift, slower, users, got))
    return canary


def test_a_good_version_climbs_every_stage_to_all_users() -> None:
    canary, shares = Canary(ladder=LADDER), []
    while canary.status == "running":
        canary = step(canary, observed(canary, lift=0.05))
        if canary.decision == "advance":
            shares.append(canary.share)
    assert canary.status == "promoted"
    assert tuple(shares) == STAGES[1:]


def test_a_worse_version_goes_back_before_a_tenth_of_the_users_see_it() -> None:
    canary = until_it_ends(Canary(ladder=LADDER), lift=-0.1)
    assert canary.status == "rolled back"
    assert canary.decision == "roll back"
    assert canary.ladder.stages[canary.stage] < 0.1
    assert canary.share == 0.0
    assert canary.reason.startswith("reward is worse: -10.0%")


def test_a_broken_guardrail_sends_it_back_whatever_it_gains() -> None:
    canary = until_it_ends(Canary(ladder=LADDER), lift=0.2, slower=0.2)
    assert canary.status == "rolled back"
    assert canary.ladder.stages[canary.stage] < 0.1
    assert canary.reason.startswith("latency is worse: -20.0%")


def test_a_loss_within_the_margin_is_no_harm_for_a_guardrail() -> None:
    assert until_it_ends(Canary(ladder=LADDER), lift=0.05, slower=0.02).status == "promoted"


def test_what_cannot_be_decided_is_paused_for_a_person() -> None:
    canary = until_it_ends(Canary(ladder=Ladder(patience=5)), lift=0.0, users=1000)
    assert canary.status == "paused"
    assert canary.decision == "ask"
    assert canary.since == 5
    assert "undecided after 5 steps at 1%" in canary.reason
    with pytest.raises(AgentError, match="answer it first"):
        step(canary, observed(canary))
    assert answer(canary, "roll back", reason="no time").status == "rolled back"
    going = answer(canary, "watch", reason="wait for the weekend")
    assert (going.status, going.since, going.stage) == ("running", 0, canary.stage)
    assert going.seen == canary.seen
    assert until_it_ends(going, lift=0.0, users=1000).status == "paused"


def test_a_person_may_answer_for_the_next_stage_and_it_is_watched_all_the_same() -> None:
    paused = until_it_ends(Canary(ladder=Ladder(patience=5)), lift=0.0, users=1000)
    moved = answer(paused, "advance", reason="a new database changes nothing")
    assert (moved.decision, moved.status, moved.share) == ("advance", "running", 0.05)
    assert until_it_ends(moved, lift=-0.5).status == "rolled back"
    last = paused.model_copy(update={"stage": 4})
    assert answer(last, "advance", reason="enough").status == "promoted"


def test_lost_users_are_noticed_and_a_person_is_asked() -> None:
    canary = until_it_ends(Canary(ladder=LADDER), lift=0.05, got=0.7)
    assert canary.status == "paused"
    assert canary.reason.startswith("users are not shared as they should: ")
    assert "instead of" in canary.reason
    assert answer(canary, "watch", reason="known: bots").exposed == (0, 0)


def test_users_and_steps_are_waited_for() -> None:
    canary = step(Canary(ladder=Ladder(users=2000)), observed(Canary(), lift=0.05))
    assert (canary.decision, canary.reason) == ("hold", "1000 of 2000 users seen")
    weekly = Canary(ladder=Ladder(steps=7))
    for day in range(1, 7):
        weekly = step(weekly, observed(weekly, lift=0.05))
        assert (weekly.stage, weekly.reason) == (0, f"{day} of 7 steps seen")
    assert step(weekly, observed(weekly, lift=0.05)).stage == 1


def test_a_stage_may_not_risk_more_than_the_margin_of_all_users() -> None:
    """At 10 % of the users a loss of 10 % costs all of them 1 %: so it must be ruled out."""
    canary = Canary(ladder=Ladder(users=10, patience=1000), stage=1)
    while canary.stage == 1:
        canary = step(canary, observed(canary, lift=-0.02, users=2000))
        low = canary.verdicts()["reward"].low
        assert canary.status == "running"
        assert (canary.stage == 2) == (low > -0.1)
    assert canary.step > 10


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(-0.3, 0.3), st.floats(-0.2, 0.3), st.integers(0, 50_000), st.floats(0, 1.2)
        ),
        max_size=25,
    )
)
def test_any_canary_is_resumed_from_its_json_and_never_leaps(
    steps: list[tuple[float, float, int, float]],
) -> None:
    canary = Canary(ladder=LADDER)
    for lift, slower, users, got in steps:
        before = canary
        if canary.status == "paused":
            canary = answer(canary, "watch", reason="")
        if canary.status != "running":
            break
        canary = step(canary, observed(canary, lift, slower, users, got))
        again = Canary.model_validate_json(before.model_dump_json())
        assert again == before
        assert canary.stage - before.stage == (canary.decision == "advance")
        assert (canary.status == "rolled back") == (canary.decision == "roll back")
        assert (canary.status == "promoted") == (canary.share == 1.0)
        assert (canary.status == "paused") == (canary.decision == "ask")
        assert canary.reason


def test_what_is_over_or_was_not_asked_is_refused() -> None:
    over = until_it_ends(Canary(ladder=LADDER), lift=-0.5)
    with pytest.raises(AgentError, match=r"rolled back .*begin another"):
        step(over, observed(over))
    with pytest.raises(AgentError, match="nothing was asked"):
        answer(over, "watch", reason="")
    blind = observed(Canary())
    with pytest.raises(AgentError, match="complaints was not observed"):
        step(Canary(ladder=Ladder(guardrails=(Guardrail("complaints", margin=0.1),))), blind)


def test_rules_that_contradict_themselves_are_refused() -> None:
    for rules, says in (
        ({"stages": (0.1, 0.05, 1.0)}, "must rise"),
        ({"stages": (0.1, 0.5)}, "to 1"),
        ({"guardrails": (LATENCY, LATENCY)}, "guarded twice: reward, latency, latency"),
        ({"patience": 3, "steps": 7}, "ends before"),
        ({"unknown": 1}, "not permitted"),
    ):
        with pytest.raises(ValidationError, match=says):
            Ladder.model_validate(rules)


@pytest.mark.parametrize("status", ["running", "paused", "rolled back", "promoted"])
def test_the_shares_of_users_are_judged_in_every_state(status: str) -> None:
    there = {"status": status, "stage": len(STAGES) - 1 if status == "promoted" else 2}
    fair = Canary.model_validate({**there, "exposed": (100, 900)})
    lost = Canary.model_validate({**there, "exposed": (100, 9000)})
    assert fair.ratio_p == 1.0
    assert (lost.ratio_p < 0.001) == (status != "promoted"), "all users see it: no shares"
    assert Canary().ratio_p == 1.0
