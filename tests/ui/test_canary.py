"""A canary from the promotion to its end: simulated users ask and answer over the real app."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from agenticrs.agents.experimentation.canary import Ladder
from agenticrs.evolution import stages
from agenticrs.evolution.canaries import rollout
from agenticrs.evolution.controller import Controller
from agenticrs.evolution.cycle import Cycle, Waiting
from agenticrs.evolution.request import EvolveRequest
from agenticrs.evolution.services import Services
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import AgentError, Conflict, NotAllowed, NotFound, TrackingError
from agenticrs.platform.jobs.inline import InlineRunner
from agenticrs.registry import (
    audit,
    canaries,
    compositions,
    cycles,
    memory,
    promotion,
    proposals,
)
from agenticrs.registry.graph import Graph, Node
from agenticrs.registry.tables import CanaryRow, OpeningRow
from agenticrs.rewards.experiments.assignment import unit_interval
from agenticrs.rewards.experiments.guardrails import Guardrail
from agenticrs.ui.canary_steps import CanarySteps, stepped
from agenticrs.ui.canary_view import canary_view
from agenticrs.ui.loaded_model import LoadedModel

HORIZON = 3600.0
QUICK = Ladder(
    stages=(0.1, 0.4, 1.0),
    users=10,
    planned=30.0,
    patience=6,
    reward=Guardrail("reward", margin=0.5, larger_is_better=True, tolerated=0.0),
)


class Killed(BaseException):
    """The process ends here."""


class Dying:
    """MLflow, until a call kills the process (or MLflow is away)."""

    def __init__(self, inner: Any, name: str, error: BaseException) -> None:
        self._inner, self._name, self._error = inner, name, error

    def __getattr__(self, name: str) -> Any:
        if name == self._name:

            def fail(*_: Any, **__: Any) -> None:
                raise self._error

            return fail
        return getattr(self._inner, name)


class World:
    """Composition 1 serves, 2 is its candidate; new users come every hour."""

    def __init__(self, place: Any) -> None:
        self.place = place
        self.client: TestClient = place.client()
        self.now = 1_700_000_000.0
        self.users = 0
        self.failed = 0
        place.serving._settings = place.settings.model_copy(update={"canary": True})
        place.serving._canary._clock = lambda: self.now
        dataset = place.datasets.load("generated")
        self.items = [str(item) for item in dataset.item_ids]
        self.value = dataset.value or dataset.positive.behaviour

    def begin(
        self, tracking: Any = None, ladder: Ladder = QUICK, key: str = "cycle-9"
    ) -> CanaryRow:
        row = rollout.begin(
            self.place.engine,
            tracking or self.place.tracking,
            surface="home",
            after=2,
            ladder=ladder,
            horizon=HORIZON,
            key=key,
            who="ada",
            reason="better offline",
            cause="approval",
        )
        self.place.serving.refresh()
        return row

    def hour(
        self,
        pleased: Callable[[int], float],
        users: int = 120,
        stays: Callable[[int], float] = lambda number: 0.0,
    ) -> dict[str, int]:
        """New users ask, and bring what the composition that answered them deserves.

        ``stays``: with which chance they ask once more.
        """
        arms: dict[str, int] = {}
        events = []
        for _ in range(users):
            self.users += 1
            user = f"visitor-{self.users}"
            answer = self.client.post("/v1/recommend", json={"user_id": user, "k": 1})
            self.failed += answer.status_code != 200
            body = answer.json()
            arms[str(body["arm"])] = arms.get(str(body["arm"]), 0) + 1
            worth = pleased(body["composition"]) * (0.5 + (self.users * 7919 % 100) / 100)
            if self.users * 6967 % 100 < 100 * stays(body["composition"]):
                self.client.post("/v1/recommend", json={"user_id": user, "k": 1})
            events.append(
                {
                    "key": f"seen-{user}",
                    "user_id": user,
                    "item_id": self.items[self.users % len(self.items)],
                    "behaviours": {self.value: worth},
                    "timestamp": int(self.now) + 60,
                }
            )
        told = self.client.post("/v1/feedback", json={"events": events})
        assert told.status_code == 200, told.text
        self.now += HORIZON + 1
        return arms

    def step(self, tracking: Any = None) -> CanaryRow:
        self.place.serving.refresh()
        row = rollout.step(
            self.place.engine,
            tracking or self.place.tracking,
            self.place.datasets,
            "home",
            now=self.now,
        )
        self.place.serving.refresh()
        return row

    def until_over(
        self, pleased: Callable[[int], float], steps: int = 8, **how: Any
    ) -> list[CanaryRow]:
        rows: list[CanaryRow] = []
        while len(rows) < steps and (not rows or rows[-1].under_way):
            self.hour(pleased, **how)
            rows.append(self.step())
        return rows

    def serving(self) -> int | None:
        with session_scope(self.place.engine) as session:
            row = promotion.serving(session, "home")
        return row.number if row else None

    def promotions(self) -> list[int]:
        with session_scope(self.place.engine) as session:
            return [row.after for row in promotion.history(session, "home")]

    def aliases(self) -> dict[str, int]:
        found: dict[str, int] = self.place.tracking.aliases(["home.composition"])[
            "home.composition"
        ]
        return found

    def told(self) -> list[tuple[str, str]]:
        """Who decided what, oldest first."""
        with session_scope(self.place.engine) as session:
            entries = audit.entries(session)
        return [(e.who, e.action) for e in reversed(entries) if e.action.startswith("canary")]

    def row(self) -> CanaryRow:
        with session_scope(self.place.engine) as session:
            return canaries.latest(session, "home")


@pytest.fixture
def world(place: Any) -> World:
    return World(place)


def test_a_better_version_climbs_and_the_champion_moves_once(world: World) -> None:
    world.begin()
    assert (world.serving(), world.aliases()) == (1, {"champion": 1, "canary": 2})
    first = world.hour(lambda number: 2.0 if number == 2 else 1.0)
    assert 0 < first["candidate"] < first["champion"]
    rows = [world.step(), *world.until_over(lambda number: 2.0 if number == 2 else 1.0)]
    assert [row.share for row in rows] == [0.4, 1.0]
    assert (rows[-1].state, rows[-1].under_way) == ("promoted", False)
    assert world.promotions() == [2, 1]
    assert world.aliases() == {"champion": 2}
    assert world.place.serving.status.composition == 2
    assert world.hour(lambda number: 1.0, users=2) == {"None": 2}
    assert world.told() == [
        ("ada", "canary begins"),
        ("policy: canary", "canary: advance"),
        ("policy: canary", "canary: advance"),
    ]
    assert world.failed == 0


def test_a_worse_version_is_rolled_back_and_rejected_with_the_reason(world: World) -> None:
    world.begin()
    rows = world.until_over(lambda number: 0.2 if number == 2 else 1.0)
    assert (rows[-1].state, rows[-1].share) == ("rolled back", 0.0)
    assert world.promotions() == [1]
    assert world.aliases() == {"champion": 1}
    assert world.told()[-1] == ("policy: canary", "canary: roll back")
    with session_scope(world.place.engine) as session:
        assert "reward is worse" in str(canaries.rejection(session, "home", 2))
    assert world.hour(lambda number: 1.0, users=2) == {"None": 2}


GUARDED = QUICK.model_copy(
    update={
        "guardrails": (
            Guardrail("leaving", margin=0.1, worst=0.5),
            Guardrail("latency", margin=0.2, worst=0.6),
        ),
        "planned": 100.0,
        "patience": 8,
    }
)


def in_ticks(world: World, monkeypatch: pytest.MonkeyPatch, slower: float) -> None:
    """Every answer takes some milliseconds of a clock of the test's own."""
    ticks, real = [0.0], LoadedModel.recommend

    def recommend(model: LoadedModel, *asked: Any) -> Any:
        ticks[0] += 0.003 * (1 + len(ticks) % 5 / 5) * (slower if model.composition == 2 else 1.0)
        ticks.append(ticks[0])
        return real(model, *asked)

    monkeypatch.setattr(LoadedModel, "recommend", recommend)
    world.place.serving._canary._timer = lambda: ticks[0]


def test_a_version_that_is_slow_goes_back_though_it_brings_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_ticks(world, monkeypatch, slower=3.0)
    world.begin(ladder=GUARDED)
    rows = world.until_over(lambda number: 1.5 if number == 2 else 1.0)
    assert (rows[-1].state, world.serving()) == ("rolled back", 1)
    assert rows[-1].ladder["reason"].startswith("latency is worse: -")
    with session_scope(world.place.engine) as session:
        assert audit.entries(session)[0].reason == rows[-1].ladder["reason"]


def test_a_version_that_makes_users_leave_goes_back_though_it_brings_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_ticks(world, monkeypatch, slower=1.0)
    world.begin(ladder=GUARDED)
    rows = world.until_over(
        lambda number: 1.5 if number == 2 else 1.0,
        stays=lambda number: 0.1 if number == 2 else 0.7,
    )
    assert (rows[-1].state, world.serving()) == ("rolled back", 1)
    assert rows[-1].ladder["reason"].startswith("leaving is worse: -")
    shown = {one.metric: one for one in canary_view(world.place.engine, rows[-1]).metrics}
    assert (shown["leaving"].verdict, shown["latency"].verdict) == ("broken", "kept")
    assert (shown["leaving"].gain or 0.0) < -1


def test_a_version_that_is_as_quick_and_keeps_its_users_climbs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_ticks(world, monkeypatch, slower=1.0)
    world.begin(ladder=GUARDED)
    rows = world.until_over(lambda number: 1.5, stays=lambda number: 0.5)
    assert all(row.state in ("running", "promoted") for row in rows)
    assert rows[-1].share > 0.1


def test_answers_are_counted_in_their_time_and_the_first_one_says_whose_they_are(
    world: World,
) -> None:
    row = world.begin()
    first = canaries.Exposure("eve", True, 1000, milliseconds=5.0)
    for later in (
        first,
        replace(first, candidate=False, at=1500, answers=2, milliseconds=1.0),
        replace(first, at=1001 + int(HORIZON)),
    ):
        with session_scope(world.place.engine) as session:
            canaries.expose(session, row, [later])
    with session_scope(world.place.engine) as session:
        (due,) = canaries.due(session, row, 1000 + HORIZON)
    assert (due.candidate, due.answers, due.milliseconds) == (True, 3, 2.0)


def test_what_users_brought_before_is_taken_out_of_the_reward(world: World) -> None:
    dataset = world.place.datasets.load("generated")
    value = dataset.value or dataset.positive.behaviour
    row = world.begin(ladder=QUICK.model_copy(update={"adjust": True}))
    users = [f"u-{n}" for n in range(200)]
    met = []
    for n, (user, at) in enumerate(zip(users, unit_interval(users, row.salt), strict=True)):
        taste = 1.0 + n * 7919 % 100
        past, now = ({value: taste + n % 3},), ({value: taste},)
        met.append(canaries.Due(n, user, bool(at < 0.1), now, before=past))
    adjusted = rollout.observation(row, met, dataset)
    plain = rollout.observation(
        row.model_copy(update={"ladder": {**row.ladder, "ladder": QUICK.model_dump(mode="json")}}),
        met,
        dataset,
    )
    assert adjusted.control["reward"].variance < 0.01 * plain.control["reward"].variance
    assert adjusted.control["leaving"] == plain.control["leaving"]


def test_users_stay_in_their_arm_and_the_figures_say_who_answered(world: World) -> None:
    row = world.begin()
    ids = [f"u-{n}" for n in range(40)]
    chosen = {user for user, at in zip(ids, unit_interval(ids, row.salt), strict=True) if at < 0.1}
    for _ in range(2):
        for user in ids:
            body = world.client.get("/v1/recommend", params={"user_id": user, "k": 1}).json()
            assert (body["arm"], body["composition"]) == (
                ("candidate", 2) if user in chosen else ("champion", 1)
            )
    anonymous = world.client.post("/v1/recommend", json={"user_id": None, "k": 1}).json()
    assert (anonymous["arm"], anonymous["composition"]) == (None, 1)
    world.place.serving.refresh()
    with session_scope(world.place.engine) as session:
        assert canaries.users_seen(session, row) == (len(chosen), 40 - len(chosen))
    figures = world.client.get("/metrics").text
    expected = 2.0 * len(chosen)
    assert f'canary_requests_total{{arm="candidate",composition="2"}} {expected}' in figures


def test_a_user_counts_once_and_only_when_the_time_is_over(world: World) -> None:
    row = world.begin()
    world.hour(lambda number: 1.0, users=30)
    world.now -= HORIZON
    assert world.step().ladder["seen"]["reward"]["controls"] == 0
    world.now += HORIZON
    counted = world.step().ladder["seen"]["reward"]
    assert counted["treated"] + counted["controls"] == 30
    assert world.step().ladder["seen"]["reward"] == counted
    with session_scope(world.place.engine) as session:
        assert canaries.due(session, row, world.now) == []


def test_whom_the_border_has_passed_says_nothing(world: World) -> None:
    row = world.begin()
    dataset = world.place.datasets.load("generated")
    ids = [f"u-{n}" for n in range(200)]
    met = [
        canaries.Due(n, user, bool(at < 0.1), ())
        for n, (user, at) in enumerate(zip(ids, unit_interval(ids, row.salt), strict=True))
    ]
    before = rollout.observation(row, met, dataset)
    after = rollout.observation(row.model_copy(update={"share": 0.4}), met, dataset)
    assert before.exposed == (before.treatment["reward"].n, before.control["reward"].n)
    assert after.treatment["reward"].n == before.treatment["reward"].n
    assert after.control["reward"].n == after.exposed[1] < before.exposed[1]
    assert sum(after.exposed) == 200


@pytest.mark.parametrize("broken", ["loads", "raises"])
def test_a_broken_candidate_goes_back_and_no_request_fails(
    world: World, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if broken == "loads":
        world.place.tracking.delete_version("home.rrf", 1)
        world.begin()
    else:
        world.begin()
        candidate = world.place.serving._canary._candidate
        assert candidate is not None

        def fail(*_: Any) -> None:
            raise RuntimeError("no such segment")

        monkeypatch.setattr(candidate.model, "recommend", fail)
    world.hour(lambda number: 1.0, users=40)
    world.place.serving.refresh()
    row = world.row()
    assert (row.state, row.under_way, world.failed) == ("rolled back", False, 0)
    assert world.told()[-1] == ("serving", "canary: roll back")
    assert world.aliases() == {"champion": 1}
    assert world.hour(lambda number: 1.0, users=2) == {"None": 2}


def test_an_agent_that_raises_is_a_broken_candidate_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.begin()
    candidate = world.place.serving._canary._candidate
    assert candidate is not None
    real = candidate.model.recommend

    def stand_in(*asked: Any) -> Any:
        (found,) = real(*asked)
        trace = (replace(found.trace[0], status="failed", error="boom"), *found.trace[1:])
        return [replace(found, trace=trace)]

    monkeypatch.setattr(candidate.model, "recommend", stand_in)
    arms = world.hour(lambda number: 1.0, users=40)
    assert "candidate" not in arms
    world.place.serving.refresh()
    assert "boom" in world.row().ladder["reason"]


def test_while_mlflow_is_away_a_candidate_that_cannot_be_fetched_is_not_to_blame(
    world: World,
) -> None:
    away = TrackingError("MLflow is away")
    world.place.serving._canary._tracking = Dying(world.place.tracking, "aliases", away)
    real = world.place.serving._tracking
    world.place.serving._tracking = Dying(real, "download", away)
    world.begin()
    assert world.hour(lambda number: 1.0, users=3) == {"None": 3}
    assert world.row().state == "running"
    world.place.serving._tracking = real
    world.place.serving.refresh()
    assert "None" not in world.hour(lambda number: 1.0, users=3)


@pytest.mark.parametrize("call", ["set_alias", "delete_alias"])
def test_killed_between_the_decision_and_mlflow_nothing_happens_twice(
    world: World, call: str
) -> None:
    world.begin(ladder=QUICK.model_copy(update={"stages": (0.4, 1.0)}))
    world.hour(lambda number: 2.0 if number == 2 else 1.0)
    dying = Dying(world.place.tracking, call, Killed())
    if call == "set_alias":
        # The alias of the canary is moved first: let the process die in the promotion.
        real, champion = world.place.tracking, world.place.tracking.set_alias

        def die_at_champion(model: str, alias: Any, version: int) -> None:
            if alias == "champion":
                raise Killed
            champion(model, alias, version)

        dying = Dying(real, "", Killed())
        dying.set_alias = die_at_champion  # type: ignore[attr-defined]
    with pytest.raises(Killed):
        world.step(dying)
    assert (world.row().state, world.row().under_way) == ("promoted", True)
    seen = world.row().ladder["seen"]
    row = world.step()
    assert not row.under_way
    assert row.ladder["seen"] == seen
    assert world.promotions() == [2, 1]
    assert world.aliases() == {"champion": 2}
    with session_scope(world.place.engine) as session:
        assert len([e for e in audit.entries(session) if e.action == "promote"]) == 2
    with pytest.raises(NotFound):
        world.step()


def test_of_two_that_step_at_once_one_is_refused_and_users_count_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.begin()
    world.hour(lambda number: 1.0, users=30)
    world.place.serving.refresh()
    real = canaries.due
    other: list[CanaryRow] = []

    def meanwhile(*asked: Any) -> Any:
        found = real(*asked)
        if not other:
            other.append(world.row())
            other.append(world.step())
        return found

    monkeypatch.setattr(canaries, "due", meanwhile)
    with pytest.raises(Conflict, match="somebody else"):
        world.step()
    row = world.row()
    assert row.ladder["step"] == 1
    seen = row.ladder["seen"]["reward"]
    assert seen["treated"] + seen["controls"] == 30


def test_it_asks_when_nothing_is_decided_and_a_person_answers(world: World) -> None:
    world.begin(ladder=QUICK.model_copy(update={"patience": 1}))
    row = world.step()
    assert (row.state, row.share) == ("paused", 0.1)
    with pytest.raises(AgentError, match="paused"):
        world.step()
    assert not rollout.is_due(row)
    tell = (world.place.engine, world.place.tracking, "home")
    with pytest.raises(NotAllowed):
        rollout.answer(*tell, "watch", who="bob", reason=" ")
    assert rollout.answer(*tell, "advance", who="bob", reason="looks fine").share == 0.4
    assert world.told()[-1] == ("bob", "canary: advance")
    with pytest.raises(AgentError, match="nothing was asked"):
        rollout.answer(*tell, "watch", who="bob", reason="again")
    gone = rollout.answer(*tell, "roll back", who="bob", reason="complaints")
    assert (gone.state, gone.under_way) == ("rolled back", False)
    assert world.aliases() == {"champion": 1}


def test_one_at_a_time_and_one_for_a_key(world: World) -> None:
    with pytest.raises(Killed):
        world.begin(Dying(world.place.tracking, "set_alias", Killed()))
    row = world.row()
    assert world.aliases() == {"champion": 1}
    assert world.begin().id == row.id
    assert world.aliases() == {"champion": 1, "canary": 2}
    assert world.told() == [("ada", "canary begins")]
    with pytest.raises(Conflict, match="under way"):
        world.begin(key="cycle-10")


def test_somebody_who_moves_the_champion_ends_the_canary(world: World) -> None:
    world.begin()
    world.place.promote(2, key="by-hand")
    assert world.step().state == "promoted"
    assert world.promotions() == [2, 1]
    assert world.aliases() == {"champion": 2}


def test_a_canary_whose_champion_went_is_over_but_rejects_nothing(world: World) -> None:
    world.begin()
    third = world.place.compose(
        Graph(nodes=(Node(id="itemknn", agent="itemknn", version=1),), output="itemknn")
    )
    world.place.promote(third.number)
    row = world.step()
    assert (row.state, row.under_way) == ("rolled back", False)
    with session_scope(world.place.engine) as session:
        assert canaries.rejection(session, "home", 2) is None
    assert world.serving() == third.number


def test_what_a_canary_decided_before_another_composition_served_is_not_carried_out(
    world: World,
) -> None:
    world.begin()
    with session_scope(world.place.engine) as session:
        row = canaries.under_way(session, "home")
        assert row is not None
        state = {**row.ladder, "status": "promoted", "decision": "advance"}
        told = {"who": "policy: canary", "decision": "advance", "reason": "it passed"}
        canaries.change(session, row, state="promoted", ladder=state, share=1.0, **told)
    third = world.place.compose(
        Graph(nodes=(Node(id="itemknn", agent="itemknn", version=1),), output="itemknn")
    )
    world.place.promote(third.number)
    row = world.step()
    assert (row.state, row.under_way) == ("rolled back", False)
    assert f"composition {third.number} serves now, not 1" in row.ladder["reason"]
    assert world.serving() == third.number
    assert world.aliases() == {"champion": third.number}


def test_no_canary_begins_with_what_was_compared_with_another_composition(world: World) -> None:
    third = world.place.compose(
        Graph(nodes=(Node(id="itemknn", agent="itemknn", version=1),), output="itemknn")
    )
    world.place.promote(third.number)
    cycle = cycle_of(world.place, number=77, on=True)
    cycle.results["approve"]["before"] = 1
    told = stages.promote_composition(cycle, "policy", "better")
    assert isinstance(told, dict)
    assert "a canary of composition 2 is stale" in told["stale"]
    with session_scope(world.place.engine) as session:
        assert canaries.all_of(session, "home") == []
    cycle.results["approve"]["before"] = third.number
    stages.promote_composition(cycle, "policy", "better")
    assert world.row().before == third.number


def test_off_by_default_a_canary_in_the_registry_changes_no_request(world: World) -> None:
    world.place.serving._settings = world.place.settings
    assert world.place.settings.canary is False
    world.begin()
    assert world.hour(lambda number: 1.0, users=20) == {"None": 20}


def cycle_of(place: Any, *, number: int, on: bool) -> Cycle:
    """A cycle that stands before its promotion of composition 2."""
    settings = place.settings.model_copy(update={"canary": on})
    services = Services(place.engine, place.tracking, place.datasets, settings, InlineRunner)
    cycle = Cycle(
        services=services,
        id=number,
        surface="home",
        dataset_name="generated",
        fingerprint=place.datasets.load("generated").fingerprint,
        request=EvolveRequest(kind="compositional", trials=1, seconds=9.0, split="leave_one_out"),
        watch=lambda event: None,
    )
    cycle.results["approve"] = {"composition": 2}
    return cycle


def test_with_the_setting_a_promotion_begins_a_canary_at_one_percent(world: World) -> None:
    told = stages.promote_composition(cycle_of(world.place, number=77, on=True), "policy", "better")
    again = stages.promote_composition(
        cycle_of(world.place, number=77, on=True), "policy", "better"
    )
    row = world.row()
    rules = "experiment_orchestrator at its defaults"
    assert told == {"composition": None, "canary": row.id, "rules": rules} == again
    assert (row.share, row.before, row.after, row.horizon) == (0.01, 1, 2, 86400.0)
    assert world.serving() == 1
    other = stages.promote_composition(cycle_of(world.place, number=78, on=True), "policy", "new")
    assert other == {"composition": None, "waits_for_canary": row.id}
    rollout.broke(world.place.engine, world.place.tracking, row.id or 0, who="x", reason="it broke")
    later = stages.promote_composition(cycle_of(world.place, number=79, on=True), "policy", "new")
    assert later == {"composition": None, "rejected_by_canary": "it broke"}


def test_without_the_setting_a_promotion_serves_at_once(world: World) -> None:
    told = stages.promote_composition(cycle_of(world.place, number=77, on=False), "me", "better")
    assert told == {"composition": 2}
    assert world.serving() == 2
    with session_scope(world.place.engine) as session:
        assert canaries.all_of(session, "home") == []


def test_what_a_person_approved_waits_for_the_canary_and_a_rollback_rejects_it(
    world: World,
) -> None:
    with session_scope(world.place.engine) as session:
        before, after = (compositions.get(session, "home", n) for n in (1, 2))
    proposal = world.place.propose(before, after)
    with session_scope(world.place.engine) as session:
        proposals.decide(session, proposal.id or 0, verdict="approve", who="ada", reason="go")
    first = world.begin()
    approved = cycle_of(world.place, number=proposal.cycle_id or 0, on=True)
    waits = stages.promote_composition(approved, "policy", "")
    assert isinstance(waits, Waiting)
    assert waits.result == {"composition": None, "waits_for_canary": first.id}
    tell = (world.place.engine, world.place.tracking, "home")
    rollout.answer(*tell, "roll back", who="bob", reason="mine first")
    stages.promote_composition(approved, "policy", "")
    row = world.row()
    assert (row.who, row.reason, row.proposal_id) == ("ada", "go", proposal.id)
    rollout.answer(*tell, "roll back", who="bob", reason="complaints")
    with session_scope(world.place.engine) as session:
        assert proposals.get(session, proposal.id or 0).state == "rejected"


def test_its_end_is_remembered_with_the_gain_of_each_metric_and_a_lesson(world: World) -> None:
    world.begin()
    (row,) = world.until_over(lambda number: 0.05 if number == 2 else 1.0, steps=1)
    assert row.state == "rolled back"
    with session_scope(world.place.engine) as session:
        (found,) = memory.search(session, "home", "users sent it back", verdicts=("rejected",))
    assert (found.row.key, found.row.origin) == (f"canary:{row.id}", "canary")
    assert found.row.proposal == "composition 2 in place of 1"
    assert "reward is worse" in found.row.lesson
    assert found.row.outcome["lift"] == found.row.outcome["reward"] < -0.5
    assert found.row.outcome["reward_low"] < found.row.outcome["lift"]
    world.begin(key="cycle-10")
    world.place.promote(2, key="by-hand")
    world.step()
    with session_scope(world.place.engine) as session:
        newest = memory.search(session, "home", limit=1)[0].row
    assert newest.verdict == "promoted"
    assert newest.lesson.startswith("users let it pass after 0 steps, at 100% of the users: some")


def test_what_it_let_serve_is_measured_on_the_sealed_test_once(world: World) -> None:
    request = EvolveRequest(kind="compositional", trials=1, seconds=9.0, split="leave_one_out")
    services = cycle_of(world.place, number=1, on=True).services
    with session_scope(world.place.engine) as session:
        cycle = cycles.open_cycle(
            session,
            surface="home",
            kind="compositional",
            dataset="generated",
            fingerprint=world.place.datasets.load("generated").fingerprint,
            seed=0,
            request=request.model_dump(mode="json"),
        )
        cycles.finish(session, cycle.id or 0, "done")
    world.begin(key=f"cycle-{cycle.id}")
    controller = Controller(services)
    controller.resume()
    with session_scope(world.place.engine) as session:
        assert session.exec(select(OpeningRow)).all() == []
    world.place.promote(2, key="by-hand")
    answered = stepped(controller)
    assert (answered.state, answered.under_way) == ("promoted", False)
    controller.resume()
    with session_scope(world.place.engine) as session:
        (opening,) = session.exec(select(OpeningRow)).all()
    assert opening.composition == 2
    assert 0 < opening.metrics["ndcg@10"] < 1


def test_up_steps_a_canary_when_its_time_has_come(world: World) -> None:
    services = cycle_of(world.place, number=1, on=True).services
    steps = CanarySteps(Controller(services))
    assert steps.look() is None
    row = world.begin(ladder=QUICK)
    assert steps.look() is None
    with session_scope(world.place.engine) as session:
        found = session.get(CanaryRow, row.id)
        assert found is not None
        found.stepped_at -= timedelta(seconds=HORIZON)
        session.add(found)
    due = steps.look()
    assert due is not None
    assert due.ladder["step"] == 1
    view = canary_view(world.place.engine, due)
    assert (view.share, view.next_share, view.metrics[0].verdict) == (0.1, 0.4, "undecided")
    assert view.metrics[0].low is None


def test_a_person_sees_the_canary_and_answers_on_the_console_and_by_the_api(world: World) -> None:
    client = world.place.logged_in()
    assert "AGENTICRS_CANARY" in client.get("/canary").text
    assert "Canary" not in client.get("/").text
    world.begin(ladder=QUICK.model_copy(update={"patience": 1}))
    assert "is shown to 10 % of the users" in client.get("/").text
    running = client.get("/canary").text
    assert "better offline" in running
    assert "Advance without proof" not in running
    world.step()
    page = client.get("/canary").text
    assert "undecided after 1 steps" in page or "0 of 10 users seen" in page
    form = {"choice": "advance", "reason": "we know why"}
    assert client.post("/canary/answer", data=form).status_code == 403
    token = re.search(r'name="csrf" value="([0-9a-f]+)"', page)
    assert token is not None
    form["csrf"] = token.group(1)
    assert client.post("/canary/answer", data=form | {"choice": "x"}).status_code == 403
    assert client.post("/canary/answer", data=form | {"reason": " "}).status_code == 403
    assert client.post("/canary/answer", data=form).status_code == 303
    assert (world.row().share, world.told()[-1]) == (0.4, ("admin", "canary: advance"))
    assert "we know why" in client.get("/canary").text
    known: dict[str, Any] = {"auth": ("admin", "correct horse battery")}
    assert world.client.get("/v1/canary").status_code == 401
    assert world.client.get("/v1/canary", **known).json()["share"] == 0.4
    said = {"choice": "rollback", "reason": "complaints"}
    gone = world.client.post("/v1/canary/answer", json=said, **known).json()
    assert (gone["state"], gone["under_way"]) == ("rolled back", False)
    assert "complaints" in client.get("/canary").text
