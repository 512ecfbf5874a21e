"""What schedules may spend in a day and in a month: asked before each cycle that they begin.

Days and months are those of UTC. All trials of the surface count, also of cycles that a person
began; only what begins by itself is trimmed or refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import Engine

from agenticrs.evolution.controller import Budget
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import EvolutionError
from agenticrs.platform.settings import Settings
from agenticrs.registry import spending
from agenticrs.registry.tables import utc_now

Period = Literal["day", "month"]
KINDS = ("seconds", "gpu_seconds", "llm_money")
_LEAST = 1.0
"""Seconds that are not worth a cycle."""
_WORDS = {
    "seconds": "trial seconds",
    "gpu_seconds": "GPU-seconds",
    "llm_money": "money for language models",
}


class UsedUp(EvolutionError):
    """The budget of the day or of the month is used up."""


@dataclass(frozen=True)
class Account:
    """One sort of budget in one period; ``limit`` None: there is none."""

    period: Period
    kind: str
    spent: float
    limit: float | None

    @property
    def left(self) -> float | None:
        """What may still be spent; None without a limit."""
        return None if self.limit is None else max(0.0, self.limit - self.spent)

    @property
    def setting(self) -> str:
        """Name of the setting that limits it."""
        return f"{self.period}_{self.kind}"

    def in_words(self) -> str:
        """What is used of what, for people."""
        return (
            f"{self.spent:,.4g} of the {self.period}'s {self.limit:,.6g} {_WORDS[self.kind]} "
            "are used"
        )


def begins(period: Period, now: datetime) -> datetime:
    """When the day or month of ``now`` began."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight if period == "day" else midnight.replace(day=1)


def accounts(engine: Engine, settings: Settings, now: datetime) -> list[Account]:
    """Everything that is counted, with what is spent of it."""
    periods: tuple[Period, ...] = ("day", "month")
    with session_scope(engine) as session:
        spent = {
            period: spending.since(session, settings.surface, begins(period, now))
            for period in periods
        }
    return [
        Account(period, kind, getattr(spent[period], kind), getattr(settings, f"{period}_{kind}"))
        for period in periods
        for kind in KINDS
    ]


@dataclass(frozen=True)
class Allowance:
    """What a scheduled cycle may still spend; ``trim`` is what the controller asks."""

    engine: Engine
    settings: Settings
    clock: Callable[[], datetime] = utc_now

    def trim(self, budget: Budget) -> Budget:
        """The budget, not above what is left; raises UsedUp when that is too little for a cycle."""
        trimmed = dict(budget)
        for account in accounts(self.engine, self.settings, self.clock()):
            left = account.left
            if left is None:
                continue
            if account.kind != "llm_money" and left < _LEAST:
                raise UsedUp(
                    account.in_words(),
                    hint=f"raise AGENTICRS_{account.setting.upper()}, or wait for the next "
                    f"{account.period}",
                )
            asked = trimmed.get(account.kind)
            # Without money language models are not asked; mutation and crossover go on.
            trimmed[account.kind] = left if asked is None else min(asked, left)
        return trimmed
