"""A canary as people are shown it: on the command line, by the API, on the console."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from agenticrs.agents.experimentation.canary import Canary
from agenticrs.platform.database import session_scope
from agenticrs.registry import canaries
from agenticrs.registry.tables import CanaryRow
from agenticrs.rewards.experiments.guardrails import Judged
from agenticrs.rewards.experiments.sequential import Gathered


@dataclass(frozen=True)
class MetricView:
    """A metric's gain among the candidate's users, relative to the champion's.

    ``may_lose`` is how much of it the users of the next stage may lose. Without an interval (None)
    fewer than ten users of an arm were seen.
    """

    metric: str
    verdict: str
    gain: float | None
    low: float | None
    high: float | None
    may_lose: float
    candidate_users: int
    champion_users: int


@dataclass(frozen=True)
class CanaryView:
    """Where a canary stands."""

    canary: int
    state: str
    under_way: bool
    candidate: int
    champion: int
    share: float
    next_share: float
    step: int
    decision: str
    reason: str
    met_candidate: int
    met_champion: int
    ratio_p: float
    """Always valid p-value of the arms' shares of the users who came due."""
    started: datetime
    stepped: datetime
    metrics: Sequence[MetricView]

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def canary_view(engine: Engine, row: CanaryRow) -> CanaryView:
    """What is stored of it, with its metrics judged as the ladder judges them."""
    state = Canary.model_validate(row.ladder)
    with session_scope(engine) as session:
        candidate, champion = canaries.users_seen(session, row)
    verdicts = state.verdicts()
    return CanaryView(
        canary=row.id or 0,
        state=row.state,
        under_way=row.under_way,
        candidate=row.after,
        champion=row.before,
        share=row.share,
        next_share=state.next_share,
        step=state.step,
        decision=state.decision,
        reason=state.reason,
        met_candidate=candidate,
        met_champion=champion,
        ratio_p=state.ratio_p,
        started=row.started_at,
        stepped=row.stepped_at,
        metrics=[
            metric_view(
                rule.metric,
                verdicts[rule.metric],
                state.seen.get(rule.metric),
                may_lose=rule.allowed(state.next_share),
            )
            for rule in state.ladder.metrics
        ],
    )


def metric_view(name: str, found: Judged, seen: Gathered | None, *, may_lose: float) -> MetricView:
    """A metric as it was judged on what was gathered of it; None: nothing was."""
    known = math.isfinite(found.low)
    return MetricView(
        metric=name,
        verdict=found.verdict,
        gain=found.gain if known else None,
        low=found.low if known else None,
        high=found.high if known else None,
        may_lose=may_lose,
        candidate_users=seen.treated if seen else 0,
        champion_users=seen.controls if seen else 0,
    )
