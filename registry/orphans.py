"""Versions that MLflow has and the registry does not.

A version is made in MLflow first and written down here afterwards. Whoever is cut off in between
does both again, with the same run, so nothing is left behind. Where nobody does, because the cycle
failed or was cancelled, an agent's version is adopted: its trial says all that there is to say of
it. What has no such trial was made in MLflow by somebody else, or is a composition that nobody
proposed; it serves nobody, and is named with what can be done about it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, select

from agenticrs.platform.database import session_scope
from agenticrs.platform.tracking.port import Tracking
from agenticrs.registry import audit, compositions, versions
from agenticrs.registry.tables import CompositionRow, TrialRow, VersionRow


@dataclass(frozen=True)
class Orphan:
    """A version that MLflow alone has, and why the registry has no row of it."""

    model: str
    number: int
    why: str


def adopt(engine: Engine, tracking: Tracking, surface: str) -> int:
    """Write down versions of agents whose trial is known; return how many.

    Raises TrackingError when MLflow cannot be reached.
    """
    adopted = 0
    for model, number, run_id in _unknown(engine, tracking, surface):
        try:
            with session_scope(engine) as session:
                adopted += _adopted(session, surface, model, number, run_id)
        except IntegrityError:  # whoever makes it has just written it down
            continue
    return adopted


def look(engine: Engine, tracking: Tracking, surface: str) -> list[Orphan]:
    """Those that nobody may adopt. Raises TrackingError when MLflow cannot be reached."""
    found = _unknown(engine, tracking, surface)
    with session_scope(engine) as session:
        return [
            Orphan(model, number, why)
            for model, number, run_id in found
            if (why := _why_not(session, surface, model, _trial(session, run_id)))
        ]


def _unknown(engine: Engine, tracking: Tracking, surface: str) -> list[tuple[str, int, str]]:
    """Model, version and run of what has no row."""
    theirs = tracking.versions(f"{surface}.")
    with session_scope(engine) as session:
        ours = {
            (model, number)
            for table in (VersionRow, CompositionRow)
            for model, number in session.exec(
                select(table.model, table.number).where(table.surface == surface)
            )
        }
    return [
        (model, number, run_id)
        for model, numbers in sorted(theirs.items())
        for number, run_id in sorted(numbers.items())
        if (model, number) not in ours
    ]


def _adopted(session: Session, surface: str, model: str, number: int, run_id: str) -> bool:
    trial = _trial(session, run_id)
    if trial is None or _why_not(session, surface, model, trial):
        return False
    session.add(versions.row_of(trial, surface, number, run_id))
    session.flush()
    audit.record(
        session,
        who="evolution",
        action="adopt version",
        subject=f"{model} version {number}",
        reason=f"it was made of trial {trial.id}, and could not be written down then",
        after={"trial": trial.id, "run": run_id},
    )
    return True


def _why_not(session: Session, surface: str, model: str, trial: TrialRow | None) -> str:
    """Why a version that is made of that trial, if of any, may not be adopted; empty: it may."""
    if model == compositions.model_name(surface):
        return (
            "a cycle that was cut off made it, and did not go on; or somebody did in MLflow. "
            "It gets its row when the same composition is made again; else it can be deleted."
        )
    known = None if trial is None else versions.of_trial(session, trial.id or 0)
    if known is not None:
        return f"it is the same as version {known.number}, which the registry knows; delete it."
    if trial is None or trial.state != "done" or model != versions.model_name(surface, trial.agent):
        return "no trial of the registry has its run: somebody made it in MLflow; it never serves."
    return ""


def _trial(session: Session, run_id: str) -> TrialRow | None:
    return session.exec(select(TrialRow).where(TrialRow.run_id == run_id)).first()
