"""Windows in which nothing begins: days, nights, holidays, and clocks that are put back."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from agenticrs.evolution.scheduling import blackout

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


@pytest.mark.parametrize(
    ("window", "now", "end"),
    [
        ("mon-fri 08:00-20:00", "2026-03-02 08:00", "2026-03-02 20:00"),  # a Monday
        ("mon-fri 08:00-20:00", "2026-03-02 07:59", None),
        ("mon-fri 08:00-20:00", "2026-03-02 20:00", None),
        ("mon-fri 08:00-20:00", "2026-03-01 12:00", None),  # a Sunday
        ("fri-mon 08:00-24:00", "2026-03-01 12:00", "2026-03-02 00:00"),
        ("sat 22:00-06:00", "2026-03-01 05:59", "2026-03-01 06:00"),  # it began on Saturday
        ("sat 22:00-06:00", "2026-03-02 05:59", None),
        ("Daily 00:00-00:00", "2026-03-02 12:00", "2026-03-03 00:00"),
        ("2026-12-24..2026-12-26", "2026-12-25 09:00", "2026-12-27 00:00"),
        ("2026-12-24", "2026-12-24 23:59", "2026-12-25 00:00"),
        ("2026-12-24", "2026-12-25 00:00", None),
        # 25 October 2026 has 02:00-03:00 twice: the window lasts an hour longer.
        ("sun 01:00-04:00", "2026-10-25 03:30", "2026-10-25 04:00"),
    ],
)
def test_a_window_holds_the_times_that_people_mean(window: str, now: str, end: str | None) -> None:
    found = blackout.parse(window).until(at(now), BERLIN)
    assert found == (None if end is None else at(end))


def test_windows_that_follow_each_other_count_as_one() -> None:
    windows = [blackout.parse("mon 20:00-24:00"), blackout.parse("tue 00:00-06:00")]
    assert blackout.ends(windows, at("2026-03-02 21:00"), BERLIN) == at("2026-03-03 06:00")
    assert blackout.ends(windows, at("2026-03-03 06:00"), BERLIN) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mon 8-20",
        "mon-fri",
        "xyz 08:00-20:00",
        "mon 25:00-26:00",
        "2026-13-01",
        "mon 08:0-9:00",
    ],
)
def test_what_is_no_window_is_refused_with_how_one_looks(text: str) -> None:
    with pytest.raises(ValueError, match="should look like mon-fri"):
        blackout.parse(text)


def test_days_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match="ends before it begins"):
        blackout.parse("2026-12-26..2026-12-24")
