"""The log of a cycle, out of what it has written down: steps, candidates, what people decided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from agenticrs.registry.tables import CycleRow, DecisionRow, StepRow, TrialRow

MOST = 300
"""Newest lines that are shown."""


@dataclass(frozen=True)
class Event:
    """Something that happened; ``kind`` is a state for its colour."""

    at: datetime
    kind: str
    text: str


def timeline(
    cycle: CycleRow,
    steps: Sequence[StepRow],
    trials: Sequence[TrialRow],
    decisions: Sequence[DecisionRow] = (),
) -> list[Event]:
    """What happened, newest first."""
    events = [
        Event(cycle.started_at, "running", f"{cycle.kind} cycle begins on {cycle.dataset}"),
        *(event for step in steps for event in _of_step(step)),
        *(event for trial in trials for event in _of_trial(trial)),
        *(Event(d.at, d.verdict, f"{d.who} says {d.verdict}: {d.reason}") for d in decisions),
    ]
    if cycle.finished_at is not None:
        ended = f"the cycle is {cycle.state}" + (f": {cycle.error}" if cycle.error else "")
        events.append(Event(cycle.finished_at, cycle.state, ended))
    # Of the same moment, what was written down later stands above.
    return sorted(reversed(events), key=lambda event: event.at, reverse=True)[:MOST]


def _of_step(step: StepRow) -> Iterator[Event]:
    again = f", attempt {step.attempts}" if step.attempts > 1 else ""
    yield Event(step.started_at, "running", f"{step.name} begins{again}")
    if step.finished_at is not None:
        seconds = (step.finished_at - step.started_at).total_seconds()
        said = f"{step.name} is {step.state} after {seconds:.1f} s"
        yield Event(step.finished_at, step.state, said + (f": {step.error}" if step.error else ""))


def _of_trial(trial: TrialRow) -> Iterator[Event]:
    name = f"{trial.agent} trial {trial.number}"
    yield Event(trial.created_at, "proposed", f"{name} is proposed by {trial.method}")
    if trial.finished_at is not None:
        said = f": {trial.error}" if trial.error else ""
        if trial.reward is not None:
            said = f" with reward {trial.reward:.4f}"
        yield Event(trial.finished_at, trial.state, f"{name} is {trial.state}{said}")
