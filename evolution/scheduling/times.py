"""The times of schedules, as APScheduler's triggers compute them. Nobody else knows APScheduler.

Only its triggers are used: what is due, and who runs it, stands in the registry's rows
(``docs/decisions``: one row for a schedule, and no pickled jobs).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""By the numbers of cron, in which 0 and 7 are Sunday (APScheduler counts from Monday)."""
_FIELDS = ("minute", "hour", "day", "month", "day_of_week")


def next_by_cron(cron: str, zone: str, after: datetime) -> datetime | None:
    """The first time later than ``after`` by five cron fields in a time zone; None: never.

    Day of month and day of week must both fit. A time that the clocks skip comes when they have
    moved; one that they show twice comes once, unless it is for every hour. Raises ValueError for
    what is no cron expression, and for an unknown time zone.
    """
    from apscheduler.triggers.cron import CronTrigger

    fields = cron.split()
    if len(fields) != len(_FIELDS):
        raise ValueError("should have five fields: minute hour day month weekday")
    *others, weekdays = fields
    named = dict(zip(_FIELDS, [*others, _named(weekdays)], strict=True))
    local = zone_of(zone)
    trigger = CronTrigger(**named, timezone=local)
    while True:
        found = trigger.get_next_fire_time(None, after + timedelta(microseconds=1))
        if found is None:
            return None
        after = found.astimezone(UTC)
        if "*" in fields[1] or not after.astimezone(local).fold:
            return after


def next_by_interval(seconds: float, anchor: datetime, after: datetime) -> datetime:
    """The first time later than ``after`` among ``anchor``, ``anchor`` + ``seconds``, ..."""
    from apscheduler.triggers.interval import IntervalTrigger

    trigger = IntervalTrigger(seconds=seconds, start_date=anchor, timezone=UTC)
    found: datetime = trigger.get_next_fire_time(None, after + timedelta(microseconds=1))
    return found.astimezone(UTC)


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its name in the IANA database; raises ValueError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name[:60]!r} is no time zone; one is Europe/Berlin") from None


def local_zone() -> str:
    """Name of this machine's time zone; UTC where it has none."""
    from apscheduler.triggers.interval import IntervalTrigger

    name = str(IntervalTrigger(seconds=1).timezone)
    try:
        zone_of(name)
    except ValueError:
        return "UTC"
    return name


def _named(field: str) -> str:
    """Cron's field of weekdays with names instead of numbers; raises ValueError."""
    if field == "*":
        return field
    days: list[str] = []
    for part in field.lower().split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begin, end = (0, 6) if span == "*" else (_day(first), _day(last or first))
        if step and not last and span != "*":
            end = 6
        if (step and not (step.isdecimal() and int(step))) or ("-" in span and not last):
            raise ValueError(f"{part!r} is no day of the week")
        if end < begin:  # fri-mon
            end += 7
        days += [_WEEKDAYS[place % 7] for place in range(begin, end + 1, int(step or 1))]
    return ",".join(dict.fromkeys(days))


def _day(text: str) -> int:
    if text.isdecimal() and int(text) <= 7:
        return int(text)
    if text in _WEEKDAYS:
        return _WEEKDAYS.index(text)
    raise ValueError(f"{text!r} is no day of the week: 0 to 7 (Sunday), or mon to sun")
