"""Blackout windows: times at which no cycle begins by itself, in a schedule's time zone.

Written as people say them: ``mon-fri 08:00-20:00``, ``daily 22:00-06:00`` (over midnight),
``2026-12-24..2026-12-26`` (whole days, both included).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKLY = re.compile(r"(daily|[a-z]{3}(?:-[a-z]{3})?) (\d\d):(\d\d)-(\d\d):(\d\d)")
_DATES = re.compile(r"(\d{4}-\d\d-\d\d)(?:\.\.(\d{4}-\d\d-\d\d))?")
_HINT = "should look like mon-fri 08:00-20:00, daily 22:00-06:00 or 2026-12-24..2026-12-26"
_FURTHER = 50
"""Windows that follow each other without a gap, until somebody has forbidden everything."""


@dataclass(frozen=True)
class Window:
    """Days of the week (0: Monday) with a time of day to another, or days of the calendar."""

    days: frozenset[int] = frozenset()
    begin: time = time()
    end: time = time()
    first: date | None = None
    last: date | None = None

    def until(self, now: datetime, zone: ZoneInfo) -> datetime | None:
        """When the window ends that holds ``now``, or None outside."""
        now = now.astimezone(UTC)
        local = now.astimezone(zone)
        if self.first is not None and self.last is not None:
            inside = self.first <= local.date() <= self.last
            return _at(self.last + timedelta(days=1), time(), zone) if inside else None
        for back in (0, 1):  # one that goes over midnight began yesterday
            day = local.date() - timedelta(days=back)
            over = self.end <= self.begin
            if day.weekday() not in self.days or (back and not over):
                continue
            begin = _at(day, self.begin, zone)
            end = _at(day + timedelta(days=int(over)), self.end, zone)
            if begin <= now < end:
                return end
        return None


def parse(text: str) -> Window:
    """A window from its words; raises ValueError, which says how it should look."""
    weekly = _WEEKLY.fullmatch(text.strip().lower())
    if weekly:
        days, *numbers = weekly.groups()
        hours, minutes, to_hours, to_minutes = map(int, numbers)
        try:
            # 24:00 is how people write the end of a day.
            end = time() if (to_hours, to_minutes) == (24, 0) else time(to_hours, to_minutes)
            return Window(_days(days), time(hours, minutes), end)
        except ValueError:
            raise ValueError(f"{text!r}: {_HINT}") from None
    dates = _DATES.fullmatch(text.strip())
    if dates is None:
        raise ValueError(f"{text!r}: {_HINT}")
    try:
        first = date.fromisoformat(dates[1])
        last = date.fromisoformat(dates[2]) if dates[2] else first
    except ValueError:
        raise ValueError(f"{text!r}: {_HINT}") from None
    if last < first:
        raise ValueError(f"{text!r} ends before it begins")
    return Window(first=first, last=last)


def ends(windows: Iterable[Window], now: datetime, zone: ZoneInfo) -> datetime | None:
    """When the last of the windows ends that hold ``now`` without a gap; None outside of all."""
    windows, free = tuple(windows), now
    for _ in range(_FURTHER):
        found = [end for window in windows if (end := window.until(free, zone)) is not None]
        if not found:
            return None if free == now else free
        free = max(found)
    return free


def _days(text: str) -> frozenset[int]:
    if text == "daily":
        return frozenset(range(7))
    first, _, last = text.partition("-")
    if first not in DAYS or (last or first) not in DAYS:
        raise ValueError(text)
    begin, end = DAYS.index(first), DAYS.index(last or first)
    return frozenset((begin + step) % 7 for step in range((end - begin) % 7 + 1))


def _at(day: date, clock: time, zone: ZoneInfo) -> datetime:
    # In UTC: times of one zone are compared by their clocks, also where clocks are put back.
    return datetime.combine(day, clock, tzinfo=zone).astimezone(UTC)
