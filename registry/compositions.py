"""Compositions: immutable graphs, in MLflow as models, in the registry by content."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, select

from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import NotFound
from agenticrs.platform.tracking.port import RunRecord, Tracking
from agenticrs.registry import agents, surface_rows, versions
from agenticrs.registry.graph import Graph, validate
from agenticrs.registry.model_files import FOLDER, metric_names, model_folder
from agenticrs.registry.tables import CompositionRow


def model_name(surface: str) -> str:
    """Name of the surface's composition among MLflow's registered models."""
    return f"{surface}.composition"


def register(
    engine: Engine,
    tracking: Tracking,
    *,
    surface: str,
    graph: Graph,
    dataset: str,
    fingerprint: str,
    metrics: Mapping[str, float],
    parent: int | None,
    tags: Mapping[str, str] = MappingProxyType({}),
) -> CompositionRow:
    """Make a graph the surface's next composition (once by content).

    ``tags`` are told of its run in MLflow beside its own.

    Raises InvalidComposition for a graph that could not run, NotFound for a member's version that
    does not exist.
    """
    digest = graph.digest()
    with session_scope(engine) as session:
        known = _by_digest(session, surface, digest)
        if known is not None:
            return known
        validate(graph, agents.admitted(session))
        for agent, number in graph.agents().items():
            versions.get(session, surface, agent, number)
    members = ", ".join(f"{agent}:{number}" for agent, number in sorted(graph.agents().items()))
    content = graph.model_dump_json(indent=1).encode()
    # A call that was cut off may have logged this content already: go on with its run.
    experiment = f"{surface}.compositions"
    run_id = tracking.find_run(experiment, "digest", digest) or tracking.log_run(
        experiment,
        RunRecord(
            name=f"composition-{digest[:12]}",
            params={"dataset": dataset, "fingerprint": fingerprint, "digest": digest},
            metrics=metric_names(metrics),
            tags={**tags, "members": members, "surface": surface, "digest": digest},
            artifacts=model_folder({"graph.json": content}, surface=surface, digest=digest),
        ),
    )
    number = tracking.register(
        model_name(surface),
        run_id,
        FOLDER,
        tags={"members": members, "digest": digest},
        description=f"Composition of {members}",
    )
    row = CompositionRow(
        surface=surface,
        number=number,
        model=model_name(surface),
        run_id=run_id,
        graph=graph.model_dump(mode="json"),
        digest=digest,
        metrics=dict(metrics),
        parent=parent,
        dataset=dataset,
        fingerprint=fingerprint,
    )
    try:
        with session_scope(engine) as session:
            session.add(row)
    except IntegrityError:  # the same content was registered at the same time
        with session_scope(engine) as session:
            known = _by_digest(session, surface, digest)
        if known is None:
            raise
        return known
    return row


def find(session: Session, surface: str, number: int) -> CompositionRow | None:
    """That composition, or None."""
    return session.exec(
        select(CompositionRow).where(
            CompositionRow.surface == surface, CompositionRow.number == number
        )
    ).first()


def get(session: Session, surface: str, number: int) -> CompositionRow:
    """That composition; raises NotFound."""
    row = find(session, surface, number)
    if row is None:
        raise NotFound(
            f"surface {surface!r} has no composition {number}", hint="see `agenticrs versions`"
        )
    return row


def all_of(
    session: Session, surface: str, limit: int | None = None, offset: int = 0
) -> list[CompositionRow]:
    """The surface's compositions, newest first."""
    return surface_rows.newest(session, CompositionRow, surface, limit, offset)


def count(session: Session, surface: str) -> int:
    """How many compositions the surface has."""
    return surface_rows.count(session, CompositionRow, surface)


def _by_digest(session: Session, surface: str, digest: str) -> CompositionRow | None:
    return session.exec(
        select(CompositionRow).where(
            CompositionRow.surface == surface, CompositionRow.digest == digest
        )
    ).first()
