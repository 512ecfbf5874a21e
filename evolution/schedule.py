"""Cycles on a schedule: APScheduler runs a function by a cron expression.

Never two at once: the cycle itself holds the surface's lease, so a second start is refused there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from agenticrs.platform.errors import SettingsError


class Schedule(Protocol):
    """A schedule that was started."""

    def shutdown(self, wait: bool = True) -> None:
        """Stop; with ``wait`` a running cycle is finished first."""


def start(cron: str, run_cycle: Callable[[], None]) -> Schedule:
    """Run ``run_cycle`` at the times of a five-field cron expression (local time zone).

    Missed times are made up for once. Raises SettingsError for a malformed expression.
    """
    from apscheduler.schedulers.background import BackgroundScheduler
    from apscheduler.triggers.cron import CronTrigger

    try:
        trigger = CronTrigger.from_crontab(cron)
    except ValueError as error:
        raise SettingsError(
            f"schedule: {cron!r} is no cron expression: {error}",
            hint='five fields, for example AGENTICRS_SCHEDULE="0 3 * * *"',
        ) from error
    scheduler = BackgroundScheduler(
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": 3600}
    )
    scheduler.add_job(run_cycle, trigger, id="evolve")
    scheduler.start()
    schedule: Schedule = scheduler
    return schedule
