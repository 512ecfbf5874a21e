"""Trials: one row for each candidate, from the moment it is proposed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, or_
from sqlmodel import Session, col, select

from agenticrs.platform.errors import NotFound
from agenticrs.registry import provenance
from agenticrs.registry.tables import CycleRow, TrialRow, utc_now

RUNGS = "rungs"
"""Where a trial's note keeps what it reached before it was done or stopped: a list, a rung each,
of ``reward`` and ``metrics``."""
_GPU_TRIALS = 50
"""Newest trials whose memory on a GPU says what the next ones need."""
_MOST_ELSEWHERE = 200
"""Most trials that are read of each other snapshot."""
INPUTS = "inputs"
"""Where a trial's note keeps the digest of the lists that agents above it put out."""


@dataclass(frozen=True)
class Cost:
    """What fully trained candidates of an agent took; None where none is known.

    Means of seconds and of GPU-seconds, those that cost nothing left out, and the ``least``
    seconds of one.
    """

    seconds: float | None = None
    gpu_seconds: float | None = None
    least: float | None = None


def propose(
    session: Session,
    *,
    cycle_id: int,
    agent: str,
    number: int,
    method: str,
    config: Mapping[str, Any],
    seed: int,
    dataset: str,
    fingerprint: str,
    split: str,
    note: Mapping[str, Any] | None = None,
) -> TrialRow:
    """Write down a candidate before anything is spent on training it."""
    row = TrialRow(
        cycle_id=cycle_id,
        agent=agent,
        number=number,
        method=method,
        state="proposed",
        config=dict(config),
        note=dict(note or {}),
        seed=seed,
        dataset=dataset,
        fingerprint=fingerprint,
        split=split,
        code_version=provenance.code_version(),
        environment=provenance.environment(),
    )
    session.add(row)
    session.flush()
    return row


def get(session: Session, trial_id: int) -> TrialRow:
    """The trial with that id; raises NotFound."""
    row = session.get(TrialRow, trial_id)
    if row is None:
        raise NotFound(f"there is no trial {trial_id}")
    return row


def of_cycle(session: Session, cycle_id: int, agent: str | None = None) -> list[TrialRow]:
    """Trials of a cycle (of one agent), in the order of their making."""
    query = select(TrialRow).where(TrialRow.cycle_id == cycle_id).order_by(col(TrialRow.id))
    if agent is not None:
        query = query.where(TrialRow.agent == agent)
    return list(session.exec(query))


def of_agent(session: Session, surface: str, agent: str, limit: int = 1000) -> list[TrialRow]:
    """The newest trials of an agent on a surface, the oldest of them first."""
    newest = session.exec(
        select(TrialRow)
        .join(CycleRow, col(CycleRow.id) == TrialRow.cycle_id)
        .where(CycleRow.surface == surface, TrialRow.agent == agent)
        .order_by(col(TrialRow.id).desc())
        .limit(limit)
    )
    return list(reversed(newest.all()))


def finished(
    session: Session, agent: str, *, fingerprint: str, split: str, limit: int = 200
) -> list[TrialRow]:
    """Fully trained candidates of an agent on that data and split, newest first."""
    return list(
        session.exec(
            select(TrialRow)
            .where(
                TrialRow.agent == agent,
                TrialRow.state == "done",
                TrialRow.fingerprint == fingerprint,
                TrialRow.split == split,
            )
            .order_by(col(TrialRow.id).desc())
            .limit(limit)
        )
    )


def failed(session: Session, agent: str, limit: int) -> list[TrialRow]:
    """The newest candidates of an agent that could not be trained."""
    return list(
        session.exec(
            select(TrialRow)
            .where(TrialRow.agent == agent, TrialRow.state == "failed")
            .order_by(col(TrialRow.id).desc())
            .limit(limit)
        )
    )


def earlier(session: Session, agent: str, *, before_cycle: int, limit: int = 400) -> list[TrialRow]:
    """The newest candidates of earlier cycles, whatever came of them, oldest first."""
    newest = session.exec(
        select(TrialRow)
        .where(TrialRow.agent == agent, col(TrialRow.cycle_id) < before_cycle)
        .order_by(col(TrialRow.id).desc())
        .limit(limit)
    )
    return list(newest)[::-1]


def elsewhere(
    session: Session,
    agent: str,
    fingerprint: str,
    *,
    inputs: str = "",
    snapshots: int,
    before_cycle: int,
) -> list[list[TrialRow]]:
    """Fully trained candidates of earlier cycles, on each of the newest other snapshots.

    Other lists from above on the same snapshot (``inputs``) are as good as another one. The newest
    comes first, and of each the newest candidate; not more than ``_MOST_ELSEWHERE`` of each, so
    that what is read does not grow with the history.
    """
    earlier = (
        TrialRow.agent == agent,
        TrialRow.state == "done",
        or_(col(TrialRow.fingerprint) != fingerprint, _inputs() != inputs),
        col(TrialRow.cycle_id) < before_cycle,
    )
    place = (
        select(TrialRow.id, TrialRow.fingerprint, _inputs().label(INPUTS))
        .where(*earlier)
        .subquery()
        .c
    )
    newest = session.exec(
        select(place.fingerprint, place.inputs)
        .group_by(place.fingerprint, place.inputs)
        .order_by(func.max(place.id).desc())
        .limit(snapshots)
    ).all()
    return [
        list(
            session.exec(
                select(TrialRow)
                .where(*earlier, TrialRow.fingerprint == other, _inputs() == lists)
                .order_by(col(TrialRow.id).desc())
                .limit(_MOST_ELSEWHERE)
            )
        )
        for other, lists in newest
    ]


def best_reward(
    session: Session,
    agent: str,
    fingerprint: str,
    split: str,
    *,
    inputs: str = "",
    before_cycle: int | None = None,
) -> float | None:
    """The best inner reward of an agent on that data and split (before a cycle), or None.

    Of agents that work on lists from above only trials on the same ``inputs`` count.
    """
    query = select(func.max(TrialRow.reward)).where(
        TrialRow.agent == agent,
        TrialRow.state == "done",
        TrialRow.fingerprint == fingerprint,
        TrialRow.split == split,
        _inputs() == inputs,
    )
    if before_cycle is not None:
        query = query.where(col(TrialRow.cycle_id) < before_cycle)
    return session.exec(query).one()


def mean_seconds(session: Session, agent: str) -> float | None:
    """What a fully trained candidate of that agent has cost on average, or None."""
    mean: float | None = session.exec(
        select(func.avg(TrialRow.seconds)).where(
            TrialRow.agent == agent, TrialRow.state == "done", TrialRow.seconds > 0
        )
    ).one()
    return mean


def cost(session: Session, agent: str, dataset: str) -> Cost:
    """What a fully trained candidate of that agent has cost on a dataset, whatever its snapshot."""
    of_agent = (TrialRow.agent == agent, TrialRow.state == "done", TrialRow.dataset == dataset)
    mean, least = session.exec(
        select(func.avg(TrialRow.seconds), func.min(TrialRow.seconds)).where(
            *of_agent, TrialRow.seconds > 0
        )
    ).one()
    on_gpu = session.exec(
        select(func.avg(TrialRow.gpu_seconds)).where(*of_agent, TrialRow.gpu_seconds > 0)
    ).one()
    return Cost(mean, on_gpu, least)


def same_content(session: Session, content: str) -> list[TrialRow]:
    """Trials with that content that came to an end without failing, newest first."""
    if not content:
        return []
    return list(
        session.exec(
            select(TrialRow)
            .where(TrialRow.content == content, col(TrialRow.state).in_(("done", "pruned")))
            .order_by(col(TrialRow.id).desc())
        )
    )


def set_content(session: Session, trial_id: int, content: str, inputs: str = "") -> None:
    """Note what the trial's result depends on, as a digest; and the one of its inputs alone."""
    row = get(session, trial_id)
    row.content = content
    row.note = {**row.note, **noted(inputs)}
    session.add(row)


def notes(session: Session, agent: str, fingerprint: str) -> list[dict[str, Any]]:
    """What is noted with an agent's candidates on that data, whatever came of them."""
    found = session.exec(
        select(TrialRow.note).where(TrialRow.agent == agent, TrialRow.fingerprint == fingerprint)
    )
    return [dict(note) for note in found]


def add_note(session: Session, trial_id: int, note: Mapping[str, Any]) -> None:
    """Note something with a trial, beside what is noted already."""
    row = get(session, trial_id)
    row.note = {**row.note, **note}
    session.add(row)


def noted(inputs: str) -> dict[str, str]:
    """The part of a note that keeps a digest of inputs: nothing where there are none."""
    return {INPUTS: inputs} if inputs else {}


def inputs_of(row: TrialRow) -> str:
    """Digest of the lists that a trial worked on; empty: on none, or nobody knows."""
    return str(row.note.get(INPUTS, ""))


def most_of_a_gpu(session: Session, agent: str) -> float | None:
    """The largest share of a GPU's memory that a finished trial of that agent held, or None."""
    metrics = session.exec(
        select(TrialRow.metrics)
        .where(TrialRow.agent == agent, TrialRow.state == "done", TrialRow.device == "cuda")
        .order_by(col(TrialRow.id).desc())
        .limit(_GPU_TRIALS)
    )
    shares = [found["gpu_share"] for found in metrics if "gpu_share" in found]
    return max(shares, default=None)


def record_short(session: Session, trial_id: int, **found: Any) -> None:
    """A rung is passed and the candidate goes on (arguments as ``record_full``)."""
    _record(session, trial_id, "short", **found)


def record_pruned(session: Session, trial_id: int, **found: Any) -> None:
    """A rung is reached and the candidate stops there (arguments as ``record_full``)."""
    _record(session, trial_id, "pruned", **found)


def record_full(
    session: Session,
    trial_id: int,
    *,
    metrics: Mapping[str, float],
    reward: float,
    seconds: float,
    device: str,
    gpu_seconds: float = 0.0,
    note: Mapping[str, Any] | None = None,
) -> None:
    """The candidate is fully trained and measured.

    ``seconds`` and ``gpu_seconds`` add up over the rungs; ``note`` joins what is noted already.
    """
    _record(
        session,
        trial_id,
        "done",
        metrics=metrics,
        reward=reward,
        seconds=seconds,
        device=device,
        gpu_seconds=gpu_seconds,
        note=note,
    )


def record_failed(
    session: Session,
    trial_id: int,
    *,
    error: str,
    seconds: float = 0.0,
    gpu_seconds: float = 0.0,
) -> None:
    """The candidate cannot be trained; the error stays with it."""
    record_interrupted(session, trial_id, error=error, seconds=seconds, gpu_seconds=gpu_seconds)
    row = get(session, trial_id)
    row.state, row.finished_at = "failed", utc_now()
    session.add(row)


def record_interrupted(
    session: Session,
    trial_id: int,
    *,
    error: str,
    seconds: float = 0.0,
    gpu_seconds: float = 0.0,
) -> None:
    """A training was cut off by what may pass: it is still open, and what it took counts."""
    row = get(session, trial_id)
    row.error = error[:2000]
    row.seconds += seconds
    row.gpu_seconds += gpu_seconds
    session.add(row)


def set_run(session: Session, trial_id: int, run_id: str) -> None:
    """Note the MLflow run that shows the trial."""
    row = get(session, trial_id)
    row.run_id = run_id
    session.add(row)


def _inputs() -> ColumnElement[str]:
    """``inputs_of`` as SQL."""
    return func.coalesce(col(TrialRow.note)[INPUTS].as_string(), "")


def _record(
    session: Session,
    trial_id: int,
    state: str,
    *,
    metrics: Mapping[str, float],
    reward: float,
    seconds: float,
    device: str,
    gpu_seconds: float = 0.0,
    note: Mapping[str, Any] | None = None,
) -> None:
    row = get(session, trial_id)
    row.state, row.reward, row.device, row.error = state, reward, device, ""
    row.note = {**row.note, **(note or {})}
    if state == "done":
        row.metrics = dict(metrics)
    else:
        reached = {"reward": reward, "metrics": dict(metrics)}
        row.note = {**row.note, RUNGS: [*row.note.get(RUNGS, ()), reached]}
    row.seconds += seconds
    row.gpu_seconds += gpu_seconds
    row.finished_at = None if state == "short" else utc_now()
    session.add(row)
