"""What a schedule's times demand now: run, wait, leave out. Pure: no clock, no database.

Policies: a run that is later than the grace is *missed*; of several that are due, ``coalesce``
keeps the last; in a blackout a run waits for its end, or is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from agenticrs.evolution.scheduling.spec import ScheduleSpec

MOST = 1000
"""Times that are counted one by one; after a longer absence the rest is left out uncounted."""


@dataclass(frozen=True)
class Plan:
    """``run``: the due time that runs now, if any; the row's next ``due`` and ``start``."""

    run: datetime | None
    due: datetime | None
    start: datetime | None
    left_out: int = 0
    why: str = ""
    """Why ``left_out`` times are left out."""


def begin(spec: ScheduleSpec, name: str, anchor: datetime, now: datetime) -> Plan:
    """The first time after ``now``: of a schedule that is new, changed or resumed."""
    due = spec.next_due(now, anchor)
    return Plan(None, due, _start(spec, name, due))


def plan(
    spec: ScheduleSpec, name: str, anchor: datetime, due: datetime, start: datetime, now: datetime
) -> Plan | None:
    """What to do about ``due``, which begins at ``start``; None before that."""
    if now < start:
        return None
    end = spec.blackout_end(now)
    if end is not None and spec.in_blackout == "wait":
        return Plan(None, due, end)
    late, fresh, after = _due(spec, name, anchor, (due, start), now)
    if end is not None:
        left = late + len(fresh)
        return Plan(None, after, _start(spec, name, after), left, "in a blackout window")
    missed = f"nobody could begin them within {spec.grace_seconds:g} seconds" if late else ""
    if not fresh:
        return Plan(None, after, _start(spec, name, after), late, missed)
    if spec.coalesce and len(fresh) > 1:
        why = "; ".join(filter(None, [missed, "several were due at once, and the last one runs"]))
        left = late + len(fresh) - 1
        return Plan(fresh[-1], after, _start(spec, name, after), left, why)
    onward = fresh[1] if len(fresh) > 1 else after
    return Plan(fresh[0], onward, _start(spec, name, onward), late, missed)


def _due(
    spec: ScheduleSpec,
    name: str,
    anchor: datetime,
    first: tuple[datetime, datetime],
    now: datetime,
) -> tuple[int, list[datetime], datetime | None]:
    """How many due times are too late, those that are not, and the next one that is not due."""
    grace = timedelta(seconds=spec.grace_seconds)
    due, start = first
    # It may have waited for a blackout's end: its lateness counts from there.
    fresh = [due] if now - start <= grace else []
    late = 1 - len(fresh)
    following = spec.next_due(due, anchor)
    horizon = now - grace - timedelta(seconds=spec.jitter_seconds)
    while following is not None and following < horizon and late < MOST:
        late += 1
        following = spec.next_due(following, anchor)
    if following is not None and following < horizon:
        following = spec.next_due(horizon, anchor)
    while following is not None and (begins := _begins(spec, name, following)) <= now:
        if len(fresh) == MOST:
            following = spec.next_due(now, anchor)
            break
        if now - begins <= grace:
            fresh.append(following)
        else:
            late += 1
        following = spec.next_due(following, anchor)
    return late, fresh, following


def _begins(spec: ScheduleSpec, name: str, due: datetime) -> datetime:
    return due + spec.jitter(due, name)


def _start(spec: ScheduleSpec, name: str, due: datetime | None) -> datetime | None:
    return None if due is None else _begins(spec, name, due)
