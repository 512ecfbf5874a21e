"""What a schedule may say, which field is wrong otherwise, and when it begins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenticrs.evolution.scheduling import times
from agenticrs.evolution.scheduling.spec import (
    InvalidSchedule,
    ScheduleSpec,
    check_name,
    spec_of,
)

ANCHOR = datetime(2026, 3, 1, tzinfo=UTC)


def due(cron: str, zone: str, after: datetime, n: int = 3) -> list[str]:
    found: list[str] = []
    moment: datetime | None = after
    while moment is not None and len(found) < n:
        moment = times.next_by_cron(cron, zone, moment)
        found += [] if moment is None else [moment.strftime("%a %d %H:%M")]
    return found


def test_weekdays_count_from_sunday_as_everywhere_else() -> None:
    assert due("0 3 * * 1", "UTC", ANCHOR, 1) == ["Mon 02 03:00"]
    assert due("0 3 * * 0", "UTC", ANCHOR, 2) == ["Sun 01 03:00", "Sun 08 03:00"]
    assert due("0 3 * * 7", "UTC", ANCHOR, 1) == ["Sun 01 03:00"]
    assert due("0 3 * * 5-7", "UTC", ANCHOR, 3) == [
        "Sun 01 03:00",
        "Fri 06 03:00",
        "Sat 07 03:00",
    ]
    assert due("0 3 * * fri-mon", "UTC", ANCHOR, 3) == [
        "Sun 01 03:00",
        "Mon 02 03:00",
        "Fri 06 03:00",
    ]
    assert due("0 3 * * */3", "UTC", ANCHOR, 3) == [
        "Sun 01 03:00",
        "Wed 04 03:00",
        "Sat 07 03:00",
    ]


def test_a_daily_run_comes_once_a_day_also_when_clocks_change() -> None:
    before = datetime(2026, 3, 27, 12, tzinfo=UTC)
    spring = due("30 2 * * *", "Europe/Berlin", before)
    assert spring == ["Sat 28 01:30", "Sun 29 01:30", "Mon 30 00:30"]
    autumn = due("30 2 * * *", "Europe/Berlin", datetime(2026, 10, 24, 12, tzinfo=UTC))
    assert autumn == ["Sun 25 00:30", "Mon 26 01:30", "Tue 27 01:30"]
    hours = due("0 * * * *", "Europe/Berlin", datetime(2026, 10, 25, 0, tzinfo=UTC))
    assert hours == ["Sun 25 01:00", "Sun 25 02:00", "Sun 25 03:00"], "every hour stays every hour"


@settings(max_examples=15)
@given(
    minutes=st.integers(1, 2000), later=st.integers(0, 10**7), jitter=st.floats(0, 60), n=st.just(3)
)
def test_an_interval_keeps_its_step_from_where_it_began(
    minutes: int, later: int, jitter: float, n: int
) -> None:
    spec = ScheduleSpec(every_seconds=60 * minutes, jitter_seconds=jitter)
    now = ANCHOR + timedelta(seconds=later)
    due = spec.next_due(now, ANCHOR)
    assert due is not None
    assert now < due <= now + timedelta(minutes=minutes)
    assert (due - ANCHOR).total_seconds() % (60 * minutes) == 0
    first = list(islice(spec.upcoming(now, ANCHOR, "a"), n))
    assert first == list(islice(spec.upcoming(now, ANCHOR, "a"), n)), (
        "what is shown is what happens"
    )
    assert timedelta(0) <= first[0] - due <= timedelta(seconds=jitter)


def test_two_schedules_with_jitter_do_not_begin_together() -> None:
    spec = ScheduleSpec(cron="0 3 * * *", jitter_seconds=600)
    due = spec.next_due(ANCHOR, ANCHOR)
    assert due is not None
    assert spec.jitter(due, "a") != spec.jitter(due, "b")


@pytest.mark.parametrize(
    ("values", "field", "says"),
    [
        ({}, "cron", "else never"),
        ({"cron": "* * *"}, "cron", "five fields"),
        ({"cron": "61 * * * *"}, "cron", "61"),
        ({"cron": "0 3 * * 9"}, "cron", "day of the week"),
        ({"cron": "0 0 30 2 *"}, "cron", "never comes about"),
        ({"cron": "0 3 * * *", "timezone": "Mars/Base"}, "timezone", "Europe/Berlin"),
        ({"cron": "0 3 * * *", "every_seconds": 60}, "cron", "either"),
        ({"every_seconds": 5}, "every_seconds", "60"),
        ({"every_seconds": 60, "jitter_seconds": 90}, "jitter_seconds", "longer"),
        ({"every_seconds": float("inf")}, "every_seconds", "finite"),
        ({"cron": "0 3 * * *", "blackouts": ["sometimes"]}, "blackouts", "mon-fri"),
        ({"new_events": 0}, "new_events", "greater"),
        ({"cron": "0 3 * * *", "kind": "all"}, "kind", "individual"),
        ({"cron": "0 3 * * *", "kind": "compositional", "agents": ["bpr"]}, "agents", "individual"),
        ({"cron": "0 3 * * *", "often": True}, "often", "not permitted"),
    ],
)
def test_a_refusal_names_the_field(values: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        spec_of(values)
    assert list(caught.value.fields) == [field]
    assert says in caught.value.fields[field]
    assert field in caught.value.message


def test_every_wrong_field_is_named_at_once() -> None:
    with pytest.raises(InvalidSchedule) as caught:
        spec_of({"cron": "nonsense", "timezone": "Nowhere", "trials": 0})
    assert set(caught.value.fields) == {"cron", "timezone", "trials"}


@pytest.mark.parametrize("name", ["", "-a", "A", "a b", "a/b", "x" * 41])
def test_a_name_that_would_not_fit_an_address_is_refused(name: str) -> None:
    with pytest.raises(InvalidSchedule, match="name"):
        check_name(name)


def test_runs_that_fall_into_a_blackout_are_shown_where_they_will_begin() -> None:
    spec = ScheduleSpec(cron="0 7,12 * * *", blackouts=("mon-fri 08:00-20:00",))
    friday = datetime(2026, 3, 6, 6, tzinfo=UTC)
    shown = [f"{one:%a %H:%M}" for one in islice(spec.upcoming(friday, ANCHOR, "a"), 3)]
    assert shown == ["Fri 07:00", "Fri 20:00", "Sat 07:00"]
    skipping = spec.model_copy(update={"in_blackout": "skip"})
    shown = [f"{one:%a %H:%M}" for one in islice(skipping.upcoming(friday, ANCHOR, "a"), 3)]
    assert shown == ["Fri 07:00", "Sat 07:00", "Sat 12:00"]


def test_windows_that_leave_nothing_do_not_make_anybody_wait_for_ever() -> None:
    never = ScheduleSpec(every_seconds=3600, blackouts=("daily 00:00-24:00",), in_blackout="skip")
    assert list(never.upcoming(ANCHOR, ANCHOR, "a")) == []


@settings(max_examples=15)
@given(cron=st.from_regex(r"([0-9*/,-]{1,6} ){4}[0-9*/,a-z-]{1,8}", fullmatch=True))
def test_whatever_is_typed_is_a_schedule_or_a_refusal_of_that_field(cron: str) -> None:
    wrong = dict[str, str]()
    try:
        spec_of({"cron": cron})
    except InvalidSchedule as error:
        wrong = error.fields
    assert set(wrong) <= {"cron"}
