"""Reasons to begin a cycle besides the time: new data, and a world that has moved.

New data are what has come in since the surface's last cycle began: feedback events, and rows of
imports. Drift is looked at only when there are some, because looking reads the dataset.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from agenticrs.evolution.controller import Controller
from agenticrs.evolution.drift import LEAST_ROWS
from agenticrs.evolution.scheduling.spec import ScheduleSpec
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import UnknownDataset
from agenticrs.registry import cycles, feedback
from agenticrs.registry.tables import ScheduleRow


@dataclass(frozen=True)
class Seen:
    """What a look has shown; ``cause`` None: nothing that begins a cycle."""

    cause: Literal["data", "drift"] | None
    words: str


def due_for_a_look(row: ScheduleRow, spec: ScheduleSpec, now: datetime) -> bool:
    """Whether it is time to look, and a run would not come too soon after the last one."""
    if not spec.triggered:
        return False
    if row.checked_at and now - row.checked_at < timedelta(seconds=spec.check_seconds):
        return False
    cooldown = timedelta(seconds=spec.cooldown_seconds)
    return row.fired_at is None or now - row.fired_at >= cooldown


def look(controller: Controller, spec: ScheduleSpec) -> Seen:
    """Count what is new; where drift matters, compare it with what the champion learnt."""
    new = new_interactions(controller)
    if new is None:
        return Seen(None, "no cycle has run yet, so nothing counts as new")
    words = f"{new:,} new interactions since the last cycle began"
    if spec.new_events is not None and new >= spec.new_events:
        return Seen("data", words)
    if spec.on_drift and new >= LEAST_ROWS:
        found = controller.look()
        alpha = controller.services.settings.alpha
        if found is not None and found.drift.detected(alpha):
            signal = max(found.drift.signals, key=lambda one: one.deviation)
            return Seen("drift", f"{signal.name} have drifted (p {found.drift.p_value:.3f})")
        words += ", no drift"
    return Seen(None, words)


def new_interactions(controller: Controller) -> int | None:
    """Feedback events and imported rows since the last cycle began; None before the first one.

    Feedback may or may not be part of the newest snapshot: what counts is the larger number of the
    two ways to count, so nothing is counted twice.
    """
    services = controller.services
    with session_scope(services.engine) as session:
        last = next(iter(cycles.list_all(session, controller.surface, limit=1)), None)
        if last is None:
            return None
        events = feedback.count_since(session, last.dataset, last.started_at)
    try:
        known = services.datasets.summary(last.dataset, last.fingerprint)
        newest = services.datasets.summary(last.dataset)
    except UnknownDataset:  # its snapshot is gone: only feedback can be counted
        return events
    if newest.fingerprint == known.fingerprint:
        return events
    with session_scope(services.engine) as session:
        later = feedback.count_since(session, last.dataset, newest.created)
    return max(events, max(0, newest.n_interactions - known.n_interactions) + later)
