"""What happens to promotions that were cut off, cross each other, or that MLflow refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import col, select, update

from agenticrs.agents import catalogue
from agenticrs.platform.database import make_engine, session_scope
from agenticrs.platform.errors import Conflict, NotFound, Stale, TrackingAway, TrackingError
from agenticrs.platform.tracking.memory import MemoryTracking
from agenticrs.platform.tracking.port import RunRecord
from agenticrs.registry import (
    agents,
    audit,
    compositions,
    cycles,
    promotion,
    schema,
    trials,
    versions,
)
from agenticrs.registry.admission import AdmissionReport
from agenticrs.registry.graph import Graph
from agenticrs.registry.tables import AgentRow, PromotionRow, utc_now


class Killed(BaseException):
    """Stands for kill -9."""


@dataclass
class Meddled:
    """A tracking server; ``before`` and ``after`` see each call's name and may do or raise."""

    inner: MemoryTracking
    before: Callable[[str], None] = lambda _: None
    after: Callable[[str], None] = lambda _: None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.before(name)
            answer = getattr(self.inner, name)(*arguments, **named)
            self.after(name)
            return answer

        return call


def once(name: str, do: Callable[[], object], at: int = 1) -> Callable[[str], None]:
    """Does it at the n-th call of that name, and only then."""
    calls = 0

    def hook(called: str) -> None:
        nonlocal calls
        calls += called == name
        if called == name and calls == at:
            do()

    return hook


def kill() -> None:
    raise Killed


@dataclass
class World:
    """Surface "home": ease and rrf at three versions; compositions 1 to 3 pin (n, n)."""

    engine: Engine
    mlflow: MemoryTracking

    def promote(
        self, after: int, key: str = "", tracking: Any = None, instead_of: int | None = None
    ) -> PromotionRow:
        return promotion.promote(
            self.engine,
            tracking or self.mlflow,
            surface="home",
            after=after,
            who="ada",
            reason="because",
            cause="approval",
            key=key or f"to-{after}",
            instead_of=instead_of,
        )

    def rollback(self, to: int | None, tracking: Any = None) -> PromotionRow:
        return promotion.rollback(
            self.engine, tracking or self.mlflow, surface="home", to=to, who="bob", reason="worse"
        )

    def reconcile(self, tracking: Any = None) -> PromotionRow | None:
        return promotion.reconcile(self.engine, tracking or self.mlflow, "home")

    def cut_off(self, after: int, at: int = 1, key: str = "") -> None:
        """A promotion that is killed before it moves its n-th alias, long ago."""
        with pytest.raises(Killed):
            self.promote(after, key, Meddled(self.mlflow, before=once("set_alias", kill, at)))
        self.age()

    def age(self) -> None:
        with session_scope(self.engine) as session:
            session.connection().execute(
                update(PromotionRow)
                .where(col(PromotionRow.state) == "pending")
                .values(at=utc_now() - promotion.IN_FLIGHT - timedelta(seconds=1))
            )

    def serving(self) -> int | None:
        with session_scope(self.engine) as session:
            row = promotion.serving(session, "home")
        return row.number if row else None

    def members(self) -> dict[str, int]:
        with session_scope(self.engine) as session:
            row = promotion.serving(session, "home")
        assert row is not None
        return Graph.model_validate(row.graph).agents()

    def champions(self) -> tuple[int | None, ...]:
        """Versions of the composition, of ease and of rrf that carry the alias in MLflow."""
        models = ["home.composition", "home.ease", "home.rrf"]
        found = self.mlflow.aliases(models)
        return tuple(found.get(model, {}).get("champion") for model in models)

    def promotions(self) -> list[tuple[int | None, int, str]]:
        with session_scope(self.engine) as session:
            rows = session.exec(select(PromotionRow).order_by(col(PromotionRow.id)))
            return [(row.before, row.after, row.state) for row in rows]

    def audited(self, action: str) -> list[str]:
        with session_scope(self.engine) as session:
            return [entry.reason for entry in audit.entries(session, action=action)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    engine = make_engine(f"sqlite:///{tmp_path}/registry.db")
    schema.upgrade(engine)
    mlflow = MemoryTracking(tmp_path / "mlflow")
    kinds = catalogue.load_agents()
    with session_scope(engine) as session:
        for name in ("ease", "rrf"):
            agents.record(
                session, kinds[name].spec, AdmissionReport(checks=[], admitted=True), name
            )
        cycle = cycles.open_cycle(
            session,
            surface="home",
            kind="individual",
            dataset="d",
            fingerprint="f",
            seed=0,
            request={},
        )
    for number in (1, 2, 3):
        for agent in ("ease", "rrf"):
            with session_scope(engine) as session:
                trial = trials.propose(
                    session,
                    cycle_id=cycle.id or 0,
                    agent=agent,
                    number=number,
                    method="default",
                    config={},
                    seed=0,
                    dataset="d",
                    fingerprint="f",
                    split="leave_one_out",
                )
                trials.record_full(
                    session, trial.id or 0, metrics={}, reward=0.1, seconds=1, device="cpu"
                )
            versions.register(
                engine, mlflow, surface="home", trial_id=trial.id or 0, artifacts={"a": b"a"}
            )
        compositions.register(
            engine,
            mlflow,
            surface="home",
            graph=graph(number, number),
            dataset="d",
            fingerprint="f",
            metrics={},
            parent=None,
        )
    made = World(engine, mlflow)
    made.promote(1)
    return made


def graph(ease: int, rrf: int) -> Graph:
    return Graph.model_validate(
        {
            "nodes": [
                {"id": "ease", "agent": "ease", "version": ease},
                {"id": "rrf", "agent": "rrf", "version": rrf, "inputs": ["ease"]},
            ],
            "output": "rrf",
        }
    )


# Cut off


def test_killed_after_the_last_alias_a_promotion_is_marked_and_audited_once(world: World) -> None:
    with pytest.raises(Killed):
        world.promote(2, tracking=Meddled(world.mlflow, after=once("set_alias", kill, at=3)))
    assert world.serving() == 1
    world.promote(2)
    assert world.serving() == 2
    assert promotion.finish_pending(world.engine, world.mlflow, "home") == 0
    assert len(world.audited("promote")) == 2


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_promotion_that_was_cut_off_never_undoes_a_later_one(world: World, at: int) -> None:
    world.cut_off(2, at)
    world.promote(3)
    promotion.finish_pending(world.engine, world.mlflow, "home")
    assert world.reconcile() is None
    assert world.serving() == 3
    assert world.champions() == (3, 3, 3)
    assert world.promotions() == [(None, 1, "done"), (1, 2, "done"), (2, 3, "done")]


def test_what_was_cut_off_is_completed_by_the_poll_once_it_is_old(world: World) -> None:
    world.cut_off(2, at=2)
    world.reconcile()
    assert world.serving() == 2
    assert world.champions() == (2, 2, 2)
    assert world.audited("promote") == ["because", "because"]


def test_a_rollback_counts_from_what_was_cut_off(world: World) -> None:
    world.cut_off(2, at=3)
    assert world.rollback(None).after == 1
    assert world.champions() == (1, 1, 1)


def test_two_who_complete_the_same_promotion_audit_it_once(world: World) -> None:
    world.cut_off(2)

    def other() -> None:
        promotion.finish_pending(world.engine, world.mlflow, "home")

    both = Meddled(world.mlflow, after=once("set_alias", other, at=3))
    promotion.finish_pending(world.engine, both, "home")
    assert len(world.audited("promote")) == 2


# Crossing


def test_a_rollback_to_elsewhere_is_not_answered_with_one_that_was_cut_off(world: World) -> None:
    world.promote(2)
    world.promote(3)
    with pytest.raises(Killed):
        world.rollback(1, Meddled(world.mlflow, before=once("set_alias", kill)))
    with pytest.raises(Conflict, match="under way"):
        world.rollback(2)
    world.age()
    assert world.rollback(2).after == 2
    assert world.serving() == 2
    assert world.champions() == (2, 2, 2)


def test_one_key_means_one_composition(world: World) -> None:
    with pytest.raises(Conflict, match=r"'to-1'.* composition 1"):
        world.promote(2, key="to-1")


def eve_writes_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """Behind the first look at a composition, somebody else's promotion of 3 is in this state."""
    look = compositions.get
    looked: list[int] = []

    def meanwhile(*arguments: Any) -> Any:
        found = look(*arguments)
        if not looked:
            looked.append(1)
            with session_scope(world.engine) as session:
                session.add(
                    PromotionRow(
                        surface="home",
                        before=1,
                        after=3,
                        state=state,
                        who="eve",
                        reason="too",
                        cause="approval",
                        key="eve",
                    )
                )
        return found

    monkeypatch.setattr(compositions, "get", meanwhile)


def test_two_that_start_at_the_same_moment_do_not_both_go_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both look before either has written: the second one is written right behind the look."""
    eve_writes_meanwhile(world, monkeypatch, "pending")
    with pytest.raises(Conflict, match="under way"):
        world.promote(2)
    assert world.champions() == (1, 1, 1)
    assert world.promotions() == [(None, 1, "done"), (1, 3, "pending")]


def test_a_promotion_instead_of_what_no_longer_serves_is_refused(world: World) -> None:
    world.promote(2, instead_of=1)
    with pytest.raises(Stale, match="compared with composition 1, but composition 2 serves now"):
        world.promote(3, instead_of=1)
    assert world.champions() == (2, 2, 2)
    assert world.promote(2, instead_of=1).after == 2, "it has been carried out"
    world.rollback(1)
    world.promote(3, instead_of=1)
    assert world.serving() == 3


def test_what_begins_to_serve_while_it_looks_makes_a_promotion_stale(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the intention somebody else's promotion is carried out."""
    eve_writes_meanwhile(world, monkeypatch, "done")
    with pytest.raises(Stale, match="composition 3 serves now"):
        world.promote(2, instead_of=1)
    assert world.promotions() == [(None, 1, "done"), (1, 3, "done")]
    assert world.champions() == (1, 1, 1), "no alias was moved for it"


def test_a_promotion_of_our_own_is_never_taken_for_one_in_mlflow(world: World) -> None:
    during = Meddled(world.mlflow, before=once("aliases", lambda: world.promote(2)))
    assert world.reconcile(during) is None
    assert world.reconcile() is None
    assert world.promotions() == [(None, 1, "done"), (1, 2, "done")]


def test_a_promotion_under_way_is_never_taken_for_one_in_mlflow(world: World) -> None:
    def begin() -> None:
        with pytest.raises(Killed):
            world.promote(2, tracking=Meddled(world.mlflow, after=once("set_alias", kill, at=3)))

    assert world.reconcile(Meddled(world.mlflow, before=once("aliases", begin))) is None
    assert world.promotions() == [(None, 1, "done"), (1, 2, "pending")]


# MLflow


def test_all_agents_that_were_moved_in_mlflow_are_followed(world: World) -> None:
    world.mlflow.set_alias("home.ease", "champion", 2)
    world.mlflow.set_alias("home.rrf", "champion", 3)
    moved = world.reconcile()
    assert moved is not None
    assert world.members() == {"ease": 2, "rrf": 3}
    assert "home.ease" in moved.reason
    assert "home.rrf" in moved.reason
    assert world.champions() == (4, 2, 3)
    assert world.reconcile() is None


def test_of_a_composition_and_an_agent_moved_at_once_the_composition_wins(world: World) -> None:
    world.mlflow.set_alias("home.composition", "champion", 2)
    world.mlflow.set_alias("home.ease", "champion", 3)
    world.reconcile()
    assert world.champions() == (2, 2, 2)


@pytest.mark.parametrize("agent", ["ease", "rrf"])
def test_an_agent_alias_that_is_gone_is_audited_once_and_not_put_back(
    world: World, agent: str
) -> None:
    world.mlflow.delete_alias(f"home.{agent}", "champion")
    for _ in range(3):
        assert world.reconcile() is None
    assert len(world.audited("divergence")) == 1
    assert None in world.champions()


def test_a_version_that_only_mlflow_knows_is_not_followed(world: World) -> None:
    run = world.mlflow.log_run("elsewhere", RunRecord(name="theirs", artifacts={"model/a": b"a"}))
    number = world.mlflow.register("home.ease", run, "model", tags={}, description="")
    world.mlflow.set_alias("home.ease", "champion", number)
    for _ in range(2):
        assert world.reconcile() is None
    assert world.serving() == 1
    assert len(world.audited("divergence")) == 1
    assert f"version {number}" in world.audited("divergence")[0]


def test_an_agent_that_is_a_tool_by_now_is_not_followed(world: World) -> None:
    with session_scope(world.engine) as session:
        row = session.get_one(AgentRow, "ease")
        row.status = "tool"
        session.add(row)
    world.mlflow.set_alias("home.ease", "champion", 2)
    for _ in range(2):
        assert world.reconcile() is None
    assert world.serving() == 1
    assert len(world.audited("divergence")) == 1
    assert "unknown agent 'ease'" in world.audited("divergence")[0]


@pytest.mark.parametrize("gone", ["home.composition", "home.ease", "home.rrf"])
def test_a_change_that_mlflow_refuses_is_withdrawn_and_stops_nothing(
    world: World, gone: str
) -> None:
    world.mlflow.delete_version(gone, 2)
    with pytest.raises(TrackingError, match="does not exist"):
        world.promote(2)
    assert world.serving() == 1
    assert world.champions() == (1, 1, 1)
    assert world.reconcile() is None
    assert len(world.audited("refused")) == 1
    world.promote(3)
    assert world.serving() == 3


def test_a_move_in_mlflow_that_it_then_refuses_is_audited_once(world: World) -> None:
    world.mlflow.delete_version("home.rrf", 2)
    world.mlflow.delete_version("home.ease", 1)
    world.mlflow.set_alias("home.composition", "champion", 2)
    with pytest.raises(TrackingError, match="does not exist"):
        world.reconcile()
    for _ in range(3):
        assert world.reconcile() is None
    assert world.serving() == 1
    assert len(world.audited("refused")) == 1
    assert len(world.audited("divergence")) == 1


def test_what_was_cut_off_and_is_refused_by_now_stops_nothing(world: World) -> None:
    world.cut_off(2, at=2)
    world.mlflow.delete_version("home.rrf", 2)
    assert promotion.finish_pending(world.engine, world.mlflow, "home") == 0
    assert world.champions() == (1, 1, 1)
    assert world.promote(3).state == "done"


def test_while_mlflow_is_away_the_intention_stays(world: World) -> None:
    def away() -> None:
        world.mlflow.reachable = False

    with pytest.raises(TrackingError, match="reached"):
        world.promote(2, tracking=Meddled(world.mlflow, before=once("set_alias", away, at=2)))
    with pytest.raises(TrackingError, match="reached"):
        promotion.finish_pending(world.engine, world.mlflow, "home")
    world.mlflow.reachable = True
    assert promotion.finish_pending(world.engine, world.mlflow, "home") == 1
    assert world.champions() == (2, 2, 2)


def test_mlflow_that_is_away_for_a_moment_has_refused_nothing(world: World) -> None:
    def away() -> None:
        raise TrackingAway("the connection was lost")

    with pytest.raises(TrackingAway):
        world.promote(2, tracking=Meddled(world.mlflow, before=once("set_alias", away, at=2)))
    assert world.promotions()[-1] == (1, 2, "pending"), "it answers again, but was only away"
    assert promotion.finish_pending(world.engine, world.mlflow, "home") == 1
    assert world.champions() == (2, 2, 2)


def test_an_unknown_composition_leaves_no_intention(world: World) -> None:
    with pytest.raises(NotFound, match="99"):
        world.promote(99)
    assert world.promotions() == [(None, 1, "done")]
