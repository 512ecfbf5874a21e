"""What the routes work with: the parts of the platform, passed in once by whoever makes the app."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Protocol

from fastapi import Depends, Path, Request
from sqlalchemy import Engine
from sqlmodel import Session

from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.database import session_scope
from agenticrs.platform.settings import Settings
from agenticrs.platform.tracing import Tracer
from agenticrs.platform.tracking.port import Tracking
from agenticrs.registry.proposals import Verdict
from agenticrs.ui.serving import ServingModel


class Governance(Protocol):
    """Decisions of people, carried out (``evolution.controller.Controller`` fulfils it)."""

    def decide(self, proposal_id: int, *, verdict: Verdict, who: str, reason: str) -> None:
        """Record the decision; an approved change is promoted when this returns."""

    def rollback(self, *, to: int | None, who: str, reason: str) -> None:
        """Let an earlier composition serve again (None = the one before the present one)."""


@dataclass(frozen=True)
class AppDependencies:
    """Everything that the app needs; nothing is looked up anywhere else."""

    engine: Engine
    tracking: Tracking
    datasets: DatasetStore
    serving: ServingModel
    governance: Governance
    settings: Settings
    live_seconds: float = 1.0
    """How often a page that shows a running cycle looks for news."""
    tracer: Tracer | None = None


def get_dependencies(request: Request) -> AppDependencies:
    """The app's parts."""
    found: AppDependencies = request.app.state.dependencies
    return found


async def _dependencies(request: Request) -> AppDependencies:
    # Not a plain function: FastAPI would call that in a thread, for each request.
    return get_dependencies(request)


Deps = Annotated[AppDependencies, Depends(_dependencies)]


def get_session(deps: Deps) -> Iterator[Session]:
    """A session of the registry that commits when the route has ended well."""
    with session_scope(deps.engine) as session:
        yield session


Registry = Annotated[Session, Depends(get_session, scope="function")]

Key = Annotated[int, Path(ge=1, le=2**53)]
"""Number of a row in a route's path: what JSON and the databases can hold."""
