"""What has come of the cycles on a surface since its graph changed: read for ``alternation.py``.

A graph is as old as the last promotion that was not an individual cycle's: those exchange versions
and leave the graph alone. A rollback and a move in MLflow begin anew, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlmodel import Session

from agenticrs.evolution import sensing
from agenticrs.evolution.alternation import Ended, Record
from agenticrs.evolution.canaries import outcomes
from agenticrs.evolution.drift import NOTHING, Look
from agenticrs.evolution.services import Services
from agenticrs.platform.database import session_scope
from agenticrs.registry import agents, canaries, cycles, promotion, proposals
from agenticrs.registry.tables import CycleRow

_MOST = 1000
"""Promotions and cycles that are looked back at."""
Steps = Mapping[str, Mapping[str, Any]]


def read(services: Services, surface: str, look: Look | None, asked: tuple[str, ...]) -> Record:
    """The record; ``look`` is one at the newest data, None when nothing serves.

    ``asked``: the agents that individual cycles are asked for (empty: all). One that was asked for
    others, and brought nothing, says nothing about these.
    """
    snapshot = look.snapshot if look else ""
    with session_scope(services.engine) as session:
        served = {row.key for row in promotion.history(session, surface, _MOST)}
        since = _graph_since(session, surface)
        rows = [
            (row, {step.name: step.result for step in cycles.steps(session, row.id or 0)})
            for row in reversed(cycles.list_all(session, surface, _MOST))
            if row.state in ("done", "waiting") and (since is None or row.started_at > since)
        ]
        world = f"{snapshot} {sensing.digest(agents.admitted(session))}"
        waiting = _waiting(session, surface)
    ended = [
        found for row, steps in rows if (found := _ended(row, steps, served, asked)) is not None
    ]
    answered = look is not None and any(_saw(row, steps, look) for row, steps in rows)
    if look is not None and answered:
        look = replace(look, drift=NOTHING)
    return Record(
        serves=look is not None,
        world=world,
        trigger=sensing.restructure_first(services, surface, look),
        waiting=waiting,
        ended=tuple(ended),
    )


def _graph_since(session: Session, surface: str) -> datetime | None:
    """When the graph that serves began to; None when nothing serves."""
    individual = {
        outcomes.key_of(row.id or 0)
        for row in cycles.list_all(session, surface, _MOST, kind="individual")
    }
    done = promotion.history(session, surface, _MOST)
    return next((row.at for row in done if row.key not in individual), None)


def _waiting(session: Session, surface: str) -> str:
    canary = canaries.under_way(session, surface)
    if canary is not None:
        return f"canary {canary.id} is under way"
    filed = next(iter(proposals.list_all(session, surface, "waiting", limit=1)), None)
    return "" if filed is None else f"proposal {filed.id} ({filed.title}) waits for a person"


def _ended(row: CycleRow, steps: Steps, served: set[str], asked: tuple[str, ...]) -> Ended | None:
    """What the cycle came to; None where it says nothing about the present question."""
    world = f"{row.fingerprint} {steps.get('sense', {}).get('agents', '')}"
    if row.kind == "compositional":  # had it brought a graph, that would be the one that serves
        return Ended(row.id or 0, "compositional", brought=False, world=world)
    if row.kind != "individual" or row.request.get("anew"):
        return None
    approved = steps.get("approve", {})
    inside = outcomes.key_of(row.id or 0) in served
    brought = inside or bool(approved.get("outside"))
    only = set(row.request.get("agents", ()))
    if not brought and only and not (asked and set(asked) <= only):
        return None
    lifts = [
        verdict["blended"]["mean"]
        for verdict in steps.get("select", {}).get("verdicts", ())
        if verdict["accepted"] and (inside or verdict["agent"] in approved.get("outside", {}))
    ]
    return Ended(row.id or 0, "individual", brought, max(lifts, default=None), world)


def _saw(row: CycleRow, steps: Steps, look: Look) -> bool:
    """Whether a compositional cycle has looked for another graph after this drift already."""
    sensed = steps.get("sense", {})
    return (
        row.kind == "compositional"
        and bool(sensed.get("drift", {}).get("detected"))
        and sensed.get("champion_fingerprint") == look.champion
    )
