"""What a canary that is over leaves behind: an entry in the empirical memory, and the test split.

A composition that came to serve through a canary is measured on the sealed test split like any
other that was promoted: once, and the opening is recorded.
"""

from __future__ import annotations

import math
from typing import Any

from sqlmodel import Session

from agenticrs.agents.experimentation.canary import Canary
from agenticrs.registry import canaries, compositions, memory, openings
from agenticrs.registry.tables import CanaryRow, CycleRow, MemoryRow

_KEY = "cycle-"


def key_of(cycle_id: int) -> str:
    """Key of the canary that a cycle begins."""
    return f"{_KEY}{cycle_id}"


def cycle_of(session: Session, row: CanaryRow) -> CycleRow | None:
    """The cycle that began it; None when somebody else did."""
    number = row.key.removeprefix(_KEY)
    known = row.key.startswith(_KEY) and number.isdecimal()
    return session.get(CycleRow, int(number)) if known else None


def remember(session: Session, row: CanaryRow) -> bool:
    """Keep the outcome of one that is over (once); return whether the entry is new."""
    state = Canary.model_validate(row.ladder)
    composition = compositions.get(session, row.surface, row.after)
    cycle = cycle_of(session, row)
    verdict, lesson = _verdict(row, state)
    return memory.remember(
        session,
        MemoryRow(
            surface=row.surface,
            agent=row.surface,
            cycle_id=None if cycle is None else cycle.id,
            key=f"canary:{row.id}",
            origin="canary",
            proposal=f"composition {row.after} in place of {row.before}",
            reason=row.reason,
            outcome=_outcome(state),
            cost={"steps": state.step},
            verdict=verdict,
            lesson=lesson,
            dataset=composition.dataset,
            fingerprint=composition.fingerprint,
        ),
    )


def unopened(session: Session, surface: str) -> tuple[CanaryRow, CycleRow] | None:
    """The surface's last canary, where its composition serves all and its test was never opened.

    With the cycle that began it, whose data and split are those to open.
    """
    row = next(iter(canaries.all_of(session, surface, limit=1)), None)
    if row is None or row.under_way or row.state != "promoted":
        return None
    cycle = cycle_of(session, row)
    if cycle is None or "split" not in cycle.request:
        return None
    known = openings.find(
        session,
        surface=surface,
        composition=row.after,
        fingerprint=cycle.fingerprint,
        split=str(cycle.request["split"]),
    )
    return (row, cycle) if known is None else None


def _verdict(row: CanaryRow, state: Canary) -> tuple[str, str]:
    users = f"after {state.step} steps, at {state.ladder.stages[state.stage]:.0%} of the users"
    if row.state == "promoted":
        return "promoted", f"users let it pass {users}: {state.reason}"
    if state.decision == "roll back":
        return "rejected", f"users sent it back {users}: {state.reason}"
    return "superseded", f"it was cut off {users}: {state.reason}"


def _outcome(state: Canary) -> dict[str, Any]:
    """The gain of each metric that was seen, with its interval; ``lift`` is the reward's."""
    found: dict[str, Any] = {"share": state.ladder.stages[state.stage]}
    for name, judged in state.verdicts().items():
        if math.isfinite(judged.low):
            found |= {name: judged.gain, f"{name}_low": judged.low, f"{name}_high": judged.high}
    reward = found.get(state.ladder.reward.metric)
    return found if reward is None else {**found, "lift": reward}
