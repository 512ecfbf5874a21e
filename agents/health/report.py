"""What health checks found: a row for each check, and whether all of them passed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One check: what was looked at, and what to do where it failed."""

    name: str
    passed: bool
    detail: str
    advice: str = ""


@dataclass(frozen=True)
class HealthReport:
    """All rows, in the order in which they were checked."""

    rows: tuple[Row, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Row, ...]:
        """The rows that failed."""
        return tuple(row for row in self.rows if not row.passed)

    def summary(self) -> str:
        """One line: what failed and why, or how many checks passed."""
        if self.passed:
            return f"{len(self.rows)} health checks passed"
        return "; ".join(f"{row.name}: {row.detail}" for row in self.failures)

    def as_json(self) -> list[dict[str, Any]]:
        """The rows as plain values, to be stored."""
        return [asdict(row) for row in self.rows]


@dataclass(frozen=True)
class Check:
    """A named question. ``find`` answers with a fault, or with "" when there is none."""

    name: str
    find: Callable[[], str]
    advice: str

    def run(self) -> Row:
        """Ask it. A question that cannot be asked to its end is a fault itself."""
        try:
            fault = self.find()
        except Exception as error:  # what a candidate raises is the finding
            fault = f"{type(error).__name__}: {error}"
        return Row(self.name, not fault, fault or "as it should be", self.advice if fault else "")
