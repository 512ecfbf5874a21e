"""What is due now: misfires, several at once, blackout windows, long absences."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agenticrs.evolution.scheduling.plan import Plan, begin, plan
from agenticrs.evolution.scheduling.spec import ScheduleSpec

ANCHOR = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday


def hours(number: float) -> datetime:
    return ANCHOR + timedelta(hours=number)


def hourly(**policy: Any) -> ScheduleSpec:
    return ScheduleSpec(every_seconds=3600, **policy)


def planned(spec: ScheduleSpec, due: float, now: float) -> Plan:
    found = plan(spec, "a", ANCHOR, hours(due), hours(due), hours(now))
    assert found is not None
    return found


def test_nothing_happens_before_the_time() -> None:
    assert plan(hourly(), "a", ANCHOR, hours(5), hours(5.1), hours(5.05)) is None


def test_at_the_time_it_runs_and_the_next_one_is_due() -> None:
    assert planned(hourly(), 5, 5.01) == Plan(hours(5), hours(6), hours(6))


def test_later_than_the_grace_it_is_missed_and_the_next_one_stands() -> None:
    found = planned(hourly(grace_seconds=600), 5, 5.5)
    assert (found.run, found.due, found.left_out) == (None, hours(6), 1)
    assert "600 seconds" in found.why


def test_of_several_within_the_grace_the_last_one_runs() -> None:
    found = planned(hourly(grace_seconds=86400), 5, 8.5)
    assert (found.run, found.due, found.left_out) == (hours(8), hours(9), 3)
    assert "several were due" in found.why


def test_without_coalescing_each_one_runs_in_its_turn() -> None:
    spec = hourly(grace_seconds=86400, coalesce=False)
    ran, due = [], 5.0
    for _ in range(4):
        found = planned(spec, due, 8.5)
        assert found.run is not None
        assert found.due is not None
        ran.append(found.run)
        due = (found.due - ANCHOR).total_seconds() / 3600
    assert ran == [hours(5), hours(6), hours(7), hours(8)]
    assert due == 9


def test_some_may_be_missed_while_later_ones_are_not() -> None:
    found = planned(hourly(grace_seconds=7200), 5, 9.5)
    assert (found.run, found.left_out) == (hours(9), 4)
    assert "7200 seconds" in found.why


def test_a_year_of_absence_costs_no_more_than_a_look_and_the_last_minute_still_counts() -> None:
    spec = ScheduleSpec(cron="* * * * *", grace_seconds=90)
    found = plan(spec, "a", ANCHOR, ANCHOR, ANCHOR, hours(365 * 24) + timedelta(seconds=5))
    assert found is not None
    assert found.run == hours(365 * 24)
    assert found.due == hours(365 * 24) + timedelta(minutes=1)


def test_in_a_blackout_it_waits_for_the_end_and_is_not_late_then() -> None:
    spec = hourly(blackouts=("daily 08:00-20:00",), grace_seconds=600)
    waits = planned(spec, 8, 8)
    assert waits == Plan(None, hours(8), hours(20))
    # At the end, eleven more have become due; the last one is in time and runs.
    found = plan(spec, "a", ANCHOR, hours(8), hours(20), hours(20) + timedelta(seconds=3))
    assert found is not None
    assert (found.run, found.due) == (hours(20), hours(21))


def test_a_single_run_that_waited_for_the_end_runs_then() -> None:
    spec = ScheduleSpec(cron="0 12 * * *", blackouts=("daily 08:00-20:00",), grace_seconds=600)
    found = plan(spec, "a", ANCHOR, hours(12), hours(20), hours(20) + timedelta(seconds=3))
    assert found is not None
    assert (found.run, found.due, found.left_out) == (hours(12), hours(36), 0)


def test_in_a_blackout_it_may_be_left_out_instead() -> None:
    found = planned(hourly(blackouts=("daily 08:00-20:00",), in_blackout="skip"), 8, 8.01)
    assert (found.run, found.due, found.left_out) == (None, hours(9), 1)
    assert "blackout" in found.why


def test_a_new_schedule_begins_with_the_first_time_to_come() -> None:
    found = begin(hourly(jitter_seconds=60), "a", ANCHOR, hours(5.5))
    assert found.due == hours(6)
    assert found.start is not None
    assert timedelta(0) <= found.start - hours(6) <= timedelta(seconds=60)
    assert begin(ScheduleSpec(on_drift=True), "a", ANCHOR, hours(5)) == Plan(None, None, None)


@settings(max_examples=25)
@given(
    due=st.integers(0, 300),
    waited=st.floats(0, 300),
    grace=st.integers(60, 40000),
    coalesce=st.booleans(),
    jitter=st.integers(0, 3600),
)
def test_whatever_the_policies_time_goes_on_and_nothing_runs_too_late(
    due: int, waited: float, grace: int, coalesce: bool, jitter: int
) -> None:
    spec = hourly(grace_seconds=grace, coalesce=coalesce, jitter_seconds=jitter)
    start = hours(due) + spec.jitter(hours(due), "a")
    now = start + timedelta(hours=waited)
    found = plan(spec, "a", ANCHOR, hours(due), start, now)
    assert found is not None
    assert found.due is not None
    assert found.due > hours(due)
    if found.run is not None:
        assert found.run <= now
        assert now - found.run <= timedelta(seconds=grace + jitter)
    if coalesce or found.run is None:
        assert found.start is not None
        assert found.start > now
