"""Versions of agents: immutable, in MLflow with their files, in the registry with their origin."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlalchemy import Engine, func
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import NotFound, RegistryError, RunWithoutFiles
from agenticrs.platform.tracking.port import RunRecord, Tracking
from agenticrs.registry import agents, trials
from agenticrs.registry.model_files import FOLDER, flat, metric_names, model_folder
from agenticrs.registry.tables import TrialRow, VersionRow


def model_name(surface: str, agent: str) -> str:
    """Name of the agent's registered model in MLflow."""
    return f"{surface}.{agent}"


def register(
    engine: Engine,
    tracking: Tracking,
    *,
    surface: str,
    trial_id: int,
    artifacts: Mapping[str, bytes],
) -> VersionRow:
    """Make a finished trial the agent's next version (once: a repetition returns the first).

    The run's id is written down as soon as it is known, so that a call that was cut off goes on
    with the same run. Raises RegistryError for a trial that is not done.
    """
    with session_scope(engine) as session:
        known = of_trial(session, trial_id)
        if known is not None:
            return known
        trial = trials.get(session, trial_id)
        spec = agents.get(session, trial.agent).spec
    if trial.state != "done":
        raise RegistryError(f"trial {trial_id} is {trial.state}: only a finished one is a version")

    def log() -> str:
        found = tracking.log_run(f"{surface}.versions", _record(trial, artifacts, spec))
        with session_scope(engine) as session:
            trials.set_run(session, trial_id, found)
        return found

    def named(run_id: str) -> int:
        return tracking.register(
            model_name(surface, trial.agent),
            run_id,
            FOLDER,
            tags={"agent": trial.agent, "trial": str(trial_id), "fingerprint": trial.fingerprint},
            description=f"{spec['summary']} Cycle {trial.cycle_id}, trial {trial.number}.",
        )

    run_id = trial.run_id or log()
    try:
        number = named(run_id)
    except RunWithoutFiles:  # it was logged as one of a search, when nobody wanted its files
        run_id = log()
        number = named(run_id)
    row = row_of(trial, surface, number, run_id)
    try:
        with session_scope(engine) as session:
            session.add(row)
    except IntegrityError:  # another process did the same at the same time
        with session_scope(engine) as session:
            known = of_trial(session, trial_id)
        if known is None:
            raise
        return known
    return row


def row_of(trial: TrialRow, surface: str, number: int, run_id: str) -> VersionRow:
    """What the registry says of a version that was made of a trial."""
    return VersionRow(
        surface=surface,
        agent=trial.agent,
        number=number,
        model=model_name(surface, trial.agent),
        run_id=run_id,
        config=trial.config,
        metrics=trial.metrics,
        seed=trial.seed,
        dataset=trial.dataset,
        fingerprint=trial.fingerprint,
        code_version=trial.code_version,
        environment=trial.environment,
        trial_id=trial.id,
    )


def find(session: Session, surface: str, agent: str, number: int) -> VersionRow | None:
    """That version, or None."""
    return session.exec(
        select(VersionRow).where(
            VersionRow.surface == surface,
            VersionRow.agent == agent,
            VersionRow.number == number,
        )
    ).first()


def get(session: Session, surface: str, agent: str, number: int) -> VersionRow:
    """That version; raises NotFound."""
    row = find(session, surface, agent, number)
    if row is None:
        raise NotFound(
            f"agent {agent!r} has no version {number} on {surface!r}",
            hint=f"see `agenticrs versions {agent}`",
        )
    return row


def of_agent(session: Session, surface: str, agent: str | None = None) -> list[VersionRow]:
    """Versions (of one agent), newest first."""
    query = (
        select(VersionRow).where(VersionRow.surface == surface).order_by(col(VersionRow.id).desc())
    )
    if agent is not None:
        query = query.where(VersionRow.agent == agent)
    return list(session.exec(query))


def counts(session: Session, surface: str) -> dict[str, int]:
    """How many versions each agent has on a surface; agents without one are absent."""
    query = (
        select(VersionRow.agent, func.count())
        .where(VersionRow.surface == surface)
        .group_by(col(VersionRow.agent))
    )
    return dict(session.exec(query).all())


def latest(session: Session, surface: str, agent: str) -> VersionRow | None:
    """The newest version of an agent, or None."""
    return next(iter(of_agent(session, surface, agent)), None)


def of_trial(session: Session, trial_id: int) -> VersionRow | None:
    """The version that was made of a trial, or None."""
    return session.exec(select(VersionRow).where(VersionRow.trial_id == trial_id)).first()


def _record(
    trial: TrialRow, artifacts: Mapping[str, bytes], spec: Mapping[str, object]
) -> RunRecord:
    files = {
        **artifacts,
        "spec.json": json.dumps(spec, indent=1, sort_keys=True).encode(),
        "environment.json": json.dumps(trial.environment, indent=1, sort_keys=True).encode(),
    }
    return RunRecord(
        name=f"{trial.agent}-cycle-{trial.cycle_id}-trial-{trial.number}",
        params={
            **flat(trial.config),
            "seed": trial.seed,
            "dataset": trial.dataset,
            "fingerprint": trial.fingerprint,
            "split": trial.split,
            "code_version": trial.code_version,
        },
        metrics={**metric_names(trial.metrics), "seconds": trial.seconds},
        tags={
            "agent": trial.agent,
            "role": str(spec["role"]),
            "cycle": str(trial.cycle_id),
            "trial": str(trial.id),
            "method": trial.method,
        },
        artifacts=model_folder(files, agent=trial.agent, seed=trial.seed),
    )
