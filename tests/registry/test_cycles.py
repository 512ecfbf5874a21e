"""Cycles and steps: what has begun, what is done, and what a start after a kill finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import NotFound
from agenticrs.registry import cycles
from agenticrs.registry.tables import CycleRow, StepRow, utc_now

if TYPE_CHECKING:
    from tests.registry.conftest import Store


def opened(session: Session, surface: str = "home", **request: Any) -> int:
    row = cycles.open_cycle(
        session,
        surface=surface,
        kind="individual",
        dataset="shop",
        fingerprint="f",
        seed=3,
        request=request,
    )
    return row.id or 0


def read(store: Store, cycle_id: int | None = None) -> CycleRow:
    with session_scope(store.engine) as session:
        return cycles.get(session, cycle_id or store.cycle)


def steps(store: Store) -> list[StepRow]:
    with session_scope(store.engine) as session:
        return cycles.steps(session, store.cycle)


def begin(store: Store, name: str) -> None:
    with session_scope(store.engine) as session:
        cycles.begin_step(session, store.cycle, name)


def test_a_new_cycle_runs_and_remembers_what_was_asked_for(store: Store) -> None:
    with session_scope(store.engine) as session:
        number = opened(session, trials=4, agents=["ease"])
    row = read(store, number)
    assert (row.state, row.error, row.finished_at) == ("running", "", None)
    assert row.request == {"trials": 4, "agents": ["ease"]}
    assert row.seed == 3
    assert row.started_at <= utc_now()


def test_a_cycle_that_is_not_there_is_refused_with_a_hint(store: Store) -> None:
    with session_scope(store.engine) as session:
        for call in (
            lambda: cycles.get(session, 99),
            lambda: cycles.finish(session, 99, "done"),
        ):
            with pytest.raises(NotFound, match="no cycle 99") as missing:
                call()
            assert "cycles list" in missing.value.hint


def test_a_cycle_whose_opening_was_not_committed_was_never_there(store: Store) -> None:
    with Session(store.engine) as session:
        lost = opened(session)
        assert cycles.get(session, lost).state == "running"
    with session_scope(store.engine) as session, pytest.raises(NotFound):
        cycles.get(session, lost)


def test_cycles_are_listed_newest_first_by_surface_and_up_to_a_limit(store: Store) -> None:
    with session_scope(store.engine) as session:
        cart = opened(session, "cart")
        home = opened(session)
        everything = [row.id for row in cycles.list_all(session)]
        assert everything == [home, cart, store.cycle]
        assert [row.id for row in cycles.list_all(session, "home")] == [home, store.cycle]
        assert [row.id for row in cycles.list_all(session, "home", limit=1)] == [home]
        assert cycles.list_all(session, "elsewhere") == []


def test_unfinished_are_those_that_run_or_wait_oldest_first(store: Store) -> None:
    with session_scope(store.engine) as session:
        ended = {state: opened(session) for state in ("done", "failed", "cancelled", "waiting")}
        opened(session, "cart")
        for state, number in ended.items():
            cycles.finish(session, number, state)
    with session_scope(store.engine) as session:
        found = [row.id for row in cycles.unfinished(session, "home")]
    assert found == [store.cycle, ended["waiting"]]


@pytest.mark.parametrize("state", ["done", "failed", "cancelled"])
def test_a_cycle_that_has_ended_says_when_and_why(store: Store, state: str) -> None:
    with session_scope(store.engine) as session:
        cycles.finish(session, store.cycle, state, error="select: no users")
    row = read(store)
    assert (row.state, row.error) == (state, "select: no users")
    assert row.finished_at is not None
    assert row.finished_at >= row.started_at
    assert row.finished_at.utcoffset() is not None, "moments know their time zone"


def test_a_cycle_that_waits_has_not_ended(store: Store) -> None:
    with session_scope(store.engine) as session:
        cycles.finish(session, store.cycle, "done")
        cycles.finish(session, store.cycle, "waiting")
    assert read(store).finished_at is None


def test_steps_stand_in_the_order_of_their_beginning(store: Store) -> None:
    assert steps(store) == []
    for name in ("sense", "plan", "evaluate"):
        begin(store, name)
    found = steps(store)
    assert [step.name for step in found] == ["sense", "plan", "evaluate"]
    assert {(step.state, step.attempts, step.finished_at) for step in found} == {
        ("running", 1, None)
    }


def test_a_step_that_begins_again_is_the_same_row_with_one_attempt_more(store: Store) -> None:
    begin(store, "evaluate")
    with session_scope(store.engine) as session:
        cycles.finish_step(session, store.cycle, "evaluate", {}, "failed", error="no memory")
    (failed,) = steps(store)
    assert (failed.state, failed.error) == ("failed", "no memory")
    begin(store, "evaluate")
    (again,) = steps(store)
    assert (again.id, again.state, again.attempts, again.error) == (failed.id, "running", 2, "")


def test_a_step_of_one_cycle_is_none_of_another(store: Store) -> None:
    begin(store, "sense")
    with session_scope(store.engine) as session:
        other = opened(session)
        cycles.begin_step(session, other, "sense")
        cycles.finish_step(session, other, "sense", {"rows": 5})
        assert [s.state for s in cycles.steps(session, store.cycle)] == ["running"]
        assert [s.result for s in cycles.steps(session, other)] == [{"rows": 5}]


@pytest.mark.parametrize("state", ["done", "waiting", "skipped"])
def test_the_result_of_a_step_is_kept_with_its_state(store: Store, state: str) -> None:
    begin(store, "approve")
    result = {"versions": {"ease": 2}, "composition": None, "shares": [0.5, 0.25]}
    with session_scope(store.engine) as session:
        cycles.finish_step(session, store.cycle, "approve", result, state)
    (step,) = steps(store)
    assert (step.state, step.result, step.error) == (state, result, "")
    assert step.finished_at is not None


def test_a_step_that_has_not_begun_cannot_end(store: Store) -> None:
    with (
        session_scope(store.engine) as session,
        pytest.raises(NotFound, match=r"step 'select' of cycle 1 has not begun"),
    ):
        cycles.finish_step(session, store.cycle, "select", {})


def test_a_cycle_that_waited_runs_again_with_its_next_step(store: Store) -> None:
    with session_scope(store.engine) as session:
        cycles.finish(session, store.cycle, "waiting")
    begin(store, "promote")
    assert read(store).state == "running"


def test_no_step_begins_in_a_cycle_that_is_not_there(store: Store) -> None:
    with (
        Session(store.engine) as session,
        pytest.raises((NotFound, IntegrityError)),  # whoever notices first
    ):
        cycles.begin_step(session, 99, "sense")
    with session_scope(store.engine) as session:
        assert cycles.steps(session, 99) == []
