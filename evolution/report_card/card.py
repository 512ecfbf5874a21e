"""The report card of a composition: figures in five dimensions, each with how it was measured."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from agenticrs.evolution.evidence import Estimate


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(_Frozen):
    """A number of an agent, a node or a group of users; of the whole composition where it is "".

    ``value`` None: it could not be measured, and ``how`` says why. ``low`` and ``high`` are the
    bootstrap interval over users, where it is a mean over them.
    """

    of: str = ""
    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    how: str

    @staticmethod
    def estimated(name: str, estimate: Estimate | None, how: str, *, of: str = "") -> Figure:
        """A mean over users with its interval; None where there were no users."""
        if estimate is None:
            return Figure(of=of, name=name, value=None, how="not measured: it is for no user here")
        return Figure(
            of=of, name=name, value=estimate.mean, low=estimate.low, high=estimate.high, how=how
        )


class Dimension(_Frozen):
    """One of the five: ``key`` for programs, ``title`` for people."""

    key: str
    title: str
    figures: tuple[Figure, ...]

    def by_name(self) -> dict[str, tuple[Figure, ...]]:
        """The figures that can be compared, under the name they share, in the order of names."""
        names = dict.fromkeys(figure.name for figure in self.figures)
        return {name: tuple(f for f in self.figures if f.name == name) for name in names}


class ReportCard(_Frozen):
    """A composition, measured on the validation part of a snapshot's split.

    ``users`` are those whose rows neither steered a search nor taught an agent; ``seconds`` is what
    measuring took.
    """

    surface: str
    composition: int
    dataset: str
    fingerprint: str
    split: str
    users: int
    made_at: datetime
    seconds: float
    dimensions: tuple[Dimension, ...]
