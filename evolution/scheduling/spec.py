"""What a schedule says: when cycles begin by themselves, and with what. Written by people.

Refusals name the field, so that a form, a command and the API can all point at it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from agenticrs.evolution.request import KindsAsked
from agenticrs.evolution.scheduling import blackout, times
from agenticrs.platform.errors import AgenticRSError

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_AHEAD = 500
"""Times that are looked at to find those outside of blackouts."""
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
Word = Annotated[str, StringConstraints(max_length=60)]


class InvalidSchedule(AgenticRSError):
    """A schedule is refused; ``fields`` says what is wrong with which (in order)."""

    def __init__(self, fields: dict[str, str]) -> None:
        text = "; ".join(f"{name}: {problem}" for name, problem in fields.items())
        super().__init__(f"the schedule is not valid: {text}", hint="correct the named fields")
        self.fields = fields


class ScheduleSpec(BaseModel):
    """Times, triggers, policies and budget of one schedule."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timezone: str = Field(default="UTC", max_length=60)
    """Of the cron fields and the blackout windows: a name like ``Europe/Berlin``."""
    cron: str = Field(default="", max_length=200)
    """Five fields, minute hour day month weekday; empty: by ``every_seconds`` or triggers alone."""
    every_seconds: float | None = Field(default=None, ge=60, le=366 * 86400, allow_inf_nan=False)
    """Seconds from one run to the next, counted from the schedule's making."""
    jitter_seconds: float = Field(default=0.0, ge=0, le=86400, allow_inf_nan=False)
    """Each run begins up to so many seconds late, so that many surfaces do not begin at once."""
    grace_seconds: float = Field(default=3600.0, ge=1, le=31 * 86400, allow_inf_nan=False)
    """A run that could not begin within this time counts as missed, and is left out."""
    coalesce: bool = True
    """Of several runs that are due at once, only the last one runs; else one after the other."""
    blackouts: tuple[Word, ...] = Field(default=(), max_length=20)
    """Windows in which nothing begins by itself: ``mon-fri 08:00-20:00``."""
    in_blackout: Literal["wait", "skip"] = "wait"
    """Whether a run that falls into one begins at its end, or is left out."""
    new_events: int | None = Field(default=None, ge=1, le=10**12)
    """Begin also when so many interactions have come in since the last cycle began."""
    on_drift: bool = False
    """Begin also when the newest interactions have drifted from what the champion learnt."""
    check_seconds: float = Field(default=300.0, ge=5, le=86400, allow_inf_nan=False)
    """How often new data and drift are looked at."""
    cooldown_seconds: float = Field(default=21600.0, ge=0, le=366 * 86400, allow_inf_nan=False)
    """Least time between two runs that new data or drift begin."""
    kind: KindsAsked = "both"
    """``alternating`` begins a cycle only when one is due by what the last ones brought."""
    agents: tuple[Word, ...] = Field(default=(), max_length=100)
    """Only these agents take part in individual cycles; empty: the usual ones."""
    trials: int | None = Field(default=None, ge=1, le=100_000)
    """Candidates for each agent; None: the setting. So too the two budgets of a cycle below."""
    seconds: float | None = Field(default=None, gt=0, le=1e9, allow_inf_nan=False)
    gpu_seconds: float | None = Field(default=None, gt=0, le=1e9, allow_inf_nan=False)

    @field_validator("timezone", mode="after")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        times.zone_of(value)
        return value

    @field_validator("cron", mode="after")
    @classmethod
    def _comes_about(cls, value: str, info: ValidationInfo) -> str:
        value = " ".join(value.split())
        zone = info.data.get("timezone", "UTC")
        if value and times.next_by_cron(value, zone, _LONG_AGO) is None:
            raise ValueError(f"{value!r} never comes about")
        return value

    @field_validator("blackouts", mode="after")
    @classmethod
    def _windows(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            blackout.parse(text)
        return value

    @model_validator(mode="after")
    def _begins(self) -> ScheduleSpec:
        if self.cron and self.every_seconds is not None:
            raise PydanticCustomError("cron", "give either a cron expression or an interval")
        if not (self.cron or self.every_seconds or self.new_events or self.on_drift):
            raise PydanticCustomError(
                "cron", "give a cron expression, an interval, new events or drift: else never"
            )
        if self.every_seconds is not None and self.jitter_seconds > self.every_seconds:
            raise PydanticCustomError("jitter_seconds", "is longer than the interval")
        if self.kind == "compositional" and self.agents:
            raise PydanticCustomError("agents", "belong to individual cycles")
        return self

    @property
    def triggered(self) -> bool:
        """Whether new data or drift may begin a run."""
        return self.new_events is not None or self.on_drift

    def next_due(self, after: datetime, anchor: datetime) -> datetime | None:
        """The first time later than ``after``, without jitter; None where it has no times.

        ``anchor``: when the schedule was made, from which intervals count.
        """
        if self.cron:
            return times.next_by_cron(self.cron, self.timezone, after)
        if self.every_seconds is not None:
            return times.next_by_interval(self.every_seconds, anchor, after)
        return None

    def jitter(self, due: datetime, name: str) -> timedelta:
        """How much later than ``due`` the run begins: drawn by name and time, always the same."""
        # Nothing secret is drawn, and whoever asks must get the same answer.
        drawn = random.Random(f"{name} {due.astimezone(UTC).isoformat()}")  # noqa: S311
        return timedelta(seconds=drawn.uniform(0, self.jitter_seconds))

    def blackout_end(self, now: datetime) -> datetime | None:
        """When the blackout ends that holds ``now``; None outside of all windows."""
        windows = [blackout.parse(text) for text in self.blackouts]
        return blackout.ends(windows, now, times.zone_of(self.timezone))

    def upcoming(self, after: datetime, anchor: datetime, name: str) -> Iterator[datetime]:
        """When runs will begin, as far as the times say it: with jitter, around the blackouts."""
        due = self.next_due(after, anchor)
        for _ in range(_AHEAD):  # windows may leave nothing at all
            if due is None:
                return
            begins = due + self.jitter(due, name)
            end = self.blackout_end(begins)
            if end is None or self.in_blackout == "wait":
                yield end or begins
            due = self.next_due(due, anchor)

    def in_words(self) -> str:
        """When it begins, for a table."""
        times = f"cron {self.cron}" if self.cron else ""
        if self.every_seconds is not None:
            times = f"every {span(self.every_seconds)}"
        triggers = [f"{self.new_events:,} new events"] if self.new_events else []
        triggers += ["drift"] if self.on_drift else []
        return " or ".join(filter(None, [times, *triggers]))


def spec_of(values: dict[str, Any]) -> ScheduleSpec:
    """A spec from plain values; raises InvalidSchedule, which names the fields."""
    try:
        return ScheduleSpec.model_validate(values)
    except ValidationError as error:
        raise InvalidSchedule(problems(error)) from None


def problems(error: ValidationError) -> dict[str, str]:
    """Field -> what is wrong with it."""
    found: dict[str, str] = {}
    for one in error.errors(include_url=False, include_input=False):
        # What concerns several fields carries the name of one as its type.
        name = str(one["loc"][0]) if one["loc"] else one["type"]
        found.setdefault(name, str(one["msg"]).removeprefix("Value error, "))
    return found


def check_name(name: str) -> str:
    """The name of a schedule; raises InvalidSchedule."""
    if not NAME.fullmatch(name):
        raise InvalidSchedule(
            {"name": "should be up to 40 lower-case letters, digits, '-' and '_', no sign first"}
        )
    return name


def span(seconds: float) -> str:
    """A length of time in words: ``6 h``, ``90 s``."""
    for name, unit in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds and seconds % unit == 0:
            return f"{seconds / unit:g} {name}"
    return f"{seconds:g} s"
