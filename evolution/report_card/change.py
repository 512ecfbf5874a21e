"""How a composition has come through change: drift that was seen, and data that came after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlmodel import Session

from agenticrs.evolution.cycle import Result
from agenticrs.evolution.drift import drift
from agenticrs.evolution.evidence import Estimate
from agenticrs.evolution.report_card.card import Figure
from agenticrs.evolution.report_card.one_pass import Pass
from agenticrs.evolution.stages import OUTER
from agenticrs.registry import cycles, proposals

_CYCLES = 200
"""Newest cycles whose looks at the data are counted."""


def newer_data(then: Pass, now: Pass | None) -> tuple[Figure, ...]:
    """The reward where the members learnt, and on the newest snapshot where that is another."""
    if now is None:
        how = "not measured: the dataset has no newer snapshot than the composition"
        return (Figure(name=f"{OUTER} on newer data", value=None, how=how),)
    known = len(then.cycle.dataset.interactions)
    total = len(now.cycle.dataset.interactions)
    moved = drift(now.cycle.dataset, known)
    return (
        Figure.estimated(
            f"{OUTER} on its own data",
            then.mean(then.result.per_user[OUTER]),
            f"as under task quality; {known:,} interactions",
        ),
        Figure.estimated(
            f"{OUTER} on newer data",
            now.mean(now.result.per_user[OUTER]),
            f"the same without training anew, on the held-out users of the newest snapshot, "
            f"{total - known:,} interactions later: other rows, so a difference is not all decay",
        ),
        Figure(
            name="p-value of drift",
            value=moved.p_value if moved.rows else None,
            how=f"the newest {moved.rows:,} rows beside what blocks of those before lead to expect"
            if moved.rows
            else "not measured: too few new rows, too many, or a log without times",
        ),
    )


def history(session: Session, surface: str) -> tuple[Figure, ...]:
    """How often cycles found that the data had drifted, and what the changes after that gained."""
    looks = [found for found in _looks(session, surface) if "detected" in found[1]]
    drifted = [cycle for cycle, look in looks if look["detected"]]
    where = f"step sense of the surface's newest {_CYCLES} cycles, in the registry"
    figures = [
        Figure(name="looks for drift", value=float(len(looks)), how=where),
        Figure(name="drift seen", value=float(len(drifted)), how=where),
    ]
    for cycle in drifted:
        proposal = proposals.of_cycle(session, cycle)
        gained: Any = proposal.evidence.get("reward") if proposal is not None else None
        if proposal is None or not isinstance(gained, dict):
            continue
        figures.append(
            Figure.estimated(
                f"{gained['metric']} gained after the drift",
                Estimate.model_validate(gained["difference"]),
                f"proposal {proposal.id} ({proposal.state}), before {gained['before']['mean']:.4f}"
                f" and after {gained['after']['mean']:.4f} on its confirm users",
                of=f"cycle {cycle}",
            )
        )
    return tuple(figures)


def _looks(session: Session, surface: str) -> Iterator[tuple[int, Result]]:
    """(cycle, what it found of drift), oldest first."""
    for row in reversed(cycles.list_all(session, surface, limit=_CYCLES)):
        for step in cycles.steps(session, row.id or 0):
            look: Any = step.result.get("drift")
            if step.name == "sense" and isinstance(look, dict):
                yield row.id or 0, look
