"""Where MLflow and the registry say different things, and what a person can do about it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine

from agenticrs.platform.database import session_scope
from agenticrs.platform.tracking.port import Tracking
from agenticrs.registry import compositions, promotion, versions
from agenticrs.registry.graph import Graph


@dataclass(frozen=True)
class Divergence:
    """A model whose alias ``champion`` is not where the registry has it."""

    model: str
    ours: int
    """The version that serves."""
    theirs: int | None
    """The version that the alias points at; None: there is no alias, or no such model."""
    what: str
    next: str


def look(engine: Engine, tracking: Tracking, surface: str) -> list[Divergence]:
    """All divergences of what serves now. Raises TrackingError when MLflow cannot be reached."""
    with session_scope(engine) as session:
        row = promotion.serving(session, surface)
    if row is None:
        return []
    agents = Graph.model_validate(row.graph).agents()
    expected = {row.model: row.number} | {
        versions.model_name(surface, agent): number for agent, number in agents.items()
    }
    found = tracking.aliases(list(expected))
    diverging = []
    with session_scope(engine) as session:
        known = {row.model: lambda n: compositions.find(session, surface, n) is not None} | {
            versions.model_name(surface, agent): (
                lambda n, agent=agent: versions.find(session, surface, agent, n) is not None
            )
            for agent in agents
        }
        for model, ours in expected.items():
            theirs = found.get(model, {}).get("champion")
            if theirs != ours:
                is_known = theirs is not None and known[model](theirs)
                diverging.append(_explained(model, ours, theirs, model in found, is_known))
    return diverging


def _explained(
    model: str, ours: int, theirs: int | None, exists: bool, is_known: bool
) -> Divergence:
    back = f"Set the alias champion of {model} to version {ours} in MLflow, or roll back from here."
    if not exists:
        what = "MLflow has no model of that name: it was renamed or deleted"
        back = f"Give it the name {model} again in MLflow, or let a cycle make new versions."
    elif theirs is None:
        what = "the alias champion was deleted, or its version was"
        back += (
            f" Where version {ours} is there still, what stood there before serves again when the "
            "alias has been gone for a minute."
        )
    elif is_known:
        what = f"the alias was moved to version {theirs}"
        back = "Serving follows it at its next look, unless an agent of it is no longer admitted."
    else:
        what = f"the alias points at version {theirs}, which the registry does not know"
    return Divergence(model, ours, theirs, f"{what}; version {ours} keeps serving", back)
