"""What serves changes once or not at all, whatever is cut off, and follows MLflow."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DatabaseError

from agenticrs.agents import catalogue
from agenticrs.platform.database import make_engine, session_scope
from agenticrs.platform.errors import Conflict, NotAllowed, NotFound
from agenticrs.platform.tracking.memory import MemoryTracking
from agenticrs.registry import (
    accounts,
    agents,
    audit,
    compositions,
    cycles,
    feedback,
    lease,
    promotion,
    proposals,
    schema,
    trials,
    versions,
)
from agenticrs.registry.admission import AdmissionReport
from agenticrs.registry.feedback import FeedbackEvent
from agenticrs.registry.graph import Graph
from agenticrs.registry.tables import CompositionRow


class Killed(BaseException):
    """Stands for kill -9."""


@dataclass
class Dying:
    """A tracking server before whose n-th call the process dies (0 = never)."""

    inner: MemoryTracking
    at: int = 0
    calls: int = 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            if self.calls == self.at:
                raise Killed
            return getattr(self.inner, name)(*arguments, **named)

        return call


@dataclass
class Place:
    """A registry with two ease versions, one itemknn version, and compositions of them."""

    engine: Engine
    tracking: MemoryTracking
    first: CompositionRow
    second: CompositionRow

    def promote(self, number: int, key: str, tracking: Any = None) -> None:
        promotion.promote(
            self.engine,
            tracking or self.tracking,
            surface="home",
            after=number,
            who="ada",
            reason="because",
            cause="approval",
            key=key,
        )

    def serving(self) -> int | None:
        with session_scope(self.engine) as session:
            row = promotion.serving(session, "home")
            return row.number if row else None

    def audited(self, action: str) -> list[str]:
        with session_scope(self.engine) as session:
            return [f"{e.who}: {e.reason}" for e in audit.entries(session, action=action)]

    def alias(self, model: str) -> int | None:
        return self.tracking.aliases([model]).get(model, {}).get("champion")


def version(engine: Engine, tracking: Any, cycle: int, agent: str, number: int) -> int:
    with session_scope(engine) as session:
        trial = trials.propose(
            session,
            cycle_id=cycle,
            agent=agent,
            number=number,
            method="default",
            config={"n": number},
            seed=0,
            dataset="d",
            fingerprint="f",
            split="leave_one_out",
        )
        trials.record_full(
            session, trial.id or 0, metrics={"ndcg@10": 0.1}, reward=0.1, seconds=1, device="cpu"
        )
    row = versions.register(
        engine, tracking, surface="home", trial_id=trial.id or 0, artifacts={"a.json": b"{}"}
    )
    return row.number


def composition(engine: Engine, tracking: Any, ease: int) -> CompositionRow:
    graph = Graph.model_validate(
        {
            "nodes": [
                {"id": "ease", "agent": "ease", "version": ease},
                {"id": "rrf", "agent": "rrf", "version": 1, "inputs": ["ease"]},
            ],
            "output": "rrf",
        }
    )
    return compositions.register(
        engine,
        tracking,
        surface="home",
        graph=graph,
        dataset="d",
        fingerprint="f",
        metrics={},
        parent=None,
    )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    engine = make_engine(f"sqlite:///{tmp_path}/registry.db")
    schema.upgrade(engine)
    tracking = MemoryTracking(tmp_path / "mlflow")
    specs = {name: kind.spec for name, kind in catalogue.load_agents().items()}
    with session_scope(engine) as session:
        for name in ("ease", "itemknn", "rrf"):
            agents.record(session, specs[name], AdmissionReport(checks=[], admitted=True), name)
        cycle = cycles.open_cycle(
            session,
            surface="home",
            kind="bootstrap",
            dataset="d",
            fingerprint="f",
            seed=0,
            request={},
        )
    number = cycle.id or 0
    for agent, count in (("ease", 2), ("itemknn", 1), ("rrf", 1)):
        for place_of in range(count):
            version(engine, tracking, number, agent, place_of)
    found = Place(
        engine,
        tracking,
        composition(engine, tracking, 1),
        composition(engine, tracking, 2),
    )
    found.promote(found.first.number, "one")
    return found


def test_killed_before_any_call_to_mlflow_the_promotion_is_completed_once(place: Place) -> None:
    for at in (1, 2, 3):
        dying = Dying(place.tracking, at=at)
        with pytest.raises(Killed):
            place.promote(place.second.number, f"two-{at}", dying)
        assert place.serving() == place.first.number
        assert promotion.finish_pending(place.engine, place.tracking, "home") == 1
        assert promotion.finish_pending(place.engine, place.tracking, "home") == 0
        assert place.serving() == place.second.number
        assert place.alias("home.ease") == 2
        place.promote(place.first.number, f"back-{at}")
    assert len(place.audited("promote")) == 1 + 2 * 3


def test_a_key_that_was_used_is_not_carried_out_again(place: Place) -> None:
    place.promote(place.second.number, "two")
    place.promote(place.first.number, "three")
    place.promote(place.second.number, "two")
    assert place.serving() == place.first.number


def test_while_one_change_is_under_way_another_is_refused(place: Place) -> None:
    with pytest.raises(Killed):
        place.promote(place.second.number, "two", Dying(place.tracking, at=1))
    with pytest.raises(Conflict, match="under way"):
        place.promote(place.second.number, "three")
    assert promotion.reconcile(place.engine, place.tracking, "home") is None


def test_a_composition_alias_that_was_moved_in_mlflow_is_followed(place: Place) -> None:
    place.tracking.set_alias("home.composition", "champion", place.second.number)
    assert promotion.reconcile(place.engine, place.tracking, "home") is not None
    assert place.serving() == place.second.number
    assert place.alias("home.ease") == 2
    assert place.audited("promote")[0].startswith("mlflow: alias champion of home.composition")
    assert promotion.reconcile(place.engine, place.tracking, "home") is None


def test_an_agent_alias_that_was_moved_in_mlflow_derives_a_composition(place: Place) -> None:
    place.tracking.set_alias("home.ease", "champion", 2)
    promotion.reconcile(place.engine, place.tracking, "home")
    with session_scope(place.engine) as session:
        row = promotion.serving(session, "home")
    assert row is not None
    assert Graph.model_validate(row.graph).agents()["ease"] == 2
    assert place.alias("home.composition") == row.number


def test_what_cannot_be_followed_keeps_serving_and_is_audited_once(place: Place) -> None:
    place.tracking.delete_alias("home.composition", "champion")
    for _ in range(3):
        assert promotion.reconcile(place.engine, place.tracking, "home") is None
    assert place.serving() == place.first.number
    assert len(place.audited("divergence")) == 1
    assert "was deleted" in place.audited("divergence")[0]


def test_aliases_of_agents_outside_the_composition_change_nothing(place: Place) -> None:
    place.tracking.set_alias("home.itemknn", "champion", 1)
    assert promotion.reconcile(place.engine, place.tracking, "home") is None


def test_rollback_needs_a_reason_and_something_to_go_back_to(place: Place) -> None:
    def back(to: int | None, reason: str) -> None:
        promotion.rollback(
            place.engine, place.tracking, surface="home", to=to, who="ada", reason=reason
        )

    with pytest.raises(NotFound, match="first that ever served"):
        back(None, "why not")
    place.promote(place.second.number, "two")
    with pytest.raises(NotAllowed, match="reason"):
        back(None, " ")
    with pytest.raises(Conflict, match="serves already"):
        back(place.second.number, "again")
    with pytest.raises(NotFound, match="no composition 99"):
        back(99, "typo")
    back(None, "worse in the evening")
    assert place.serving() == place.first.number
    back(None, "it was the holiday")
    assert place.serving() == place.second.number


def test_a_rollback_leads_to_nothing_that_has_never_served(place: Place) -> None:
    with pytest.raises(NotAllowed, match="has never served"):
        promotion.rollback(
            place.engine,
            place.tracking,
            surface="home",
            to=place.second.number,
            who="an operator, who may approve nothing",
            reason="it was rejected, and I like it",
        )
    assert place.serving() == place.first.number


def test_registering_the_same_again_gives_the_same_version(place: Place) -> None:
    again = composition(place.engine, place.tracking, 1)
    assert again.number == place.first.number
    with session_scope(place.engine) as session:
        row = versions.get(session, "home", "ease", 1)
    same = versions.register(
        place.engine, place.tracking, surface="home", trial_id=row.trial_id or 0, artifacts={}
    )
    assert same.number == 1


@pytest.mark.parametrize("statement", ["UPDATE audit SET who = 'x'", "DELETE FROM audit"])
def test_the_database_refuses_to_change_the_audit_log(place: Place, statement: str) -> None:
    with place.engine.connect() as connection, pytest.raises(DatabaseError, match="append-only"):
        connection.execute(text(statement))


def test_of_racing_decisions_exactly_one_wins(place: Place) -> None:
    with session_scope(place.engine) as session:
        proposal = proposals.file(
            session,
            surface="home",
            cycle_id=1,
            title="t",
            before=place.first.number,
            after=place.second.number,
            digest=place.second.digest,
            evidence={"guardrails": [{"name": "latency", "passed": True}]},
        )
    won: list[str] = []

    def decide(name: str) -> None:
        try:
            with session_scope(place.engine) as session:
                proposals.decide(
                    session, proposal.id or 0, verdict="approve", who=name, reason="yes"
                )
            won.append(name)
        except Conflict:
            pass

    racers = [threading.Thread(target=decide, args=(f"p{i}",)) for i in range(6)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert len(won) == 1
    assert len(place.audited("approve")) == 1


def test_of_racing_holders_exactly_one_gets_the_lease(place: Place) -> None:
    got: list[bool] = []

    def take(name: str) -> None:
        got.append(lease.acquire(place.engine, "l", name, 60))

    racers = [threading.Thread(target=take, args=(f"p{i}",)) for i in range(6)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert sum(got) == 1


def test_an_expired_lease_is_taken_over_and_its_old_holder_has_lost_it(place: Place) -> None:
    assert lease.acquire(place.engine, "l", "old", -1)
    assert lease.acquire(place.engine, "l", "new", 60)
    assert not lease.renew(place.engine, "l", "old", 60)
    lease.release(place.engine, "l", "old")
    assert lease.holder_of(place.engine, "l") == "new"


def test_feedback_is_known_by_its_key(place: Place) -> None:
    event = FeedbackEvent("k", "u", "i", 1, {"click": 1})
    with session_scope(place.engine) as session:
        assert feedback.append(session, "d", [event]).new == 1
    with session_scope(place.engine) as session:
        assert feedback.append(session, "d", [event]).repeated == 1
        assert feedback.count(session, "d") == 1


def test_only_the_right_password_opens_an_account(place: Place) -> None:
    with session_scope(place.engine) as session:
        with pytest.raises(NotAllowed, match="shorter"):
            accounts.create(session, "ada", "short")
        accounts.create(session, "ada", "long enough")
        assert accounts.verify(session, "ada", "long enough")
        assert not accounts.verify(session, "ada", "wrong")
        assert not accounts.verify(session, "nobody", "long enough")
