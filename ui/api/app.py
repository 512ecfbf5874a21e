"""Puts the app together: routes, sessions, metrics, guard. Nothing lives at module level."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI

from agenticrs.platform.settings import Settings
from agenticrs.ui.api import (
    administration,
    canary,
    errors,
    experiments,
    governance,
    health,
    mlflow_webhook,
    objectives,
    openapi,
    recommendations,
    schedules,
)
from agenticrs.ui.api.attempts import LoginAttempts
from agenticrs.ui.api.dependencies import AppDependencies
from agenticrs.ui.api.guard import Guard
from agenticrs.ui.api.metrics import CountRequests, Metrics
from agenticrs.ui.api.pace import KeepPace
from agenticrs.ui.api.sessions import Sessions, session_key
from agenticrs.ui.api.tracing import TraceRequests
from agenticrs.ui.batches import Batches, BatchLimits
from agenticrs.ui.console import install as install_console
from agenticrs.ui.gate import Gate
from agenticrs.ui.loaded_model import Answer, Asked

FEEDBACK_AT_ONCE = 32
"""Batches of feedback that may wait for the database; it takes one after the other."""


def create_app(deps: AppDependencies, *, surface_only: bool = False) -> FastAPI:
    """The API and the console. While it runs, it follows what should serve.

    ``surface_only`` has the open routes alone: recommendations, feedback, health and metrics.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        deps.serving.start()
        yield
        app.state.batches.close()
        deps.serving.stop()

    app = FastAPI(
        title="AgenticRS",
        summary="Recommendations, feedback, and the governance of what serves.",
        version=_version(),
        # Their pages load scripts from another host.
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        lifespan=lifespan,
    )
    app.state.dependencies = deps
    key = session_key(deps.settings.home)
    app.state.sessions = Sessions(key, deps.engine)
    app.state.attempts = LoginAttempts(deps.engine, key)
    app.state.metrics = Metrics(deps.serving, deps.settings.surface)
    app.state.batches = Batches(_answering(deps, app.state.metrics), _limits(deps.settings))
    errors.install(app)
    openapi.install(app)
    app.state.feedback = Gate(FEEDBACK_AT_ONCE)
    app.include_router(recommendations.router)
    app.include_router(health.router)
    if not surface_only:
        app.include_router(governance.router)
        app.include_router(administration.router)
        app.include_router(canary.router)
        app.include_router(experiments.router)
        app.include_router(objectives.router)
        app.include_router(schedules.router)
        app.include_router(mlflow_webhook.router)
        install_console(app)
    # The last one added stands outermost.
    app.add_middleware(KeepPace, per_minute=deps.settings.requests_per_minute)
    app.add_middleware(Guard, host=deps.settings.host)
    app.add_middleware(CountRequests, metrics=app.state.metrics)
    if deps.tracer is not None:
        app.add_middleware(TraceRequests, tracer=deps.tracer)
    return app


def _answering(
    deps: AppDependencies, metrics: Metrics
) -> Callable[[Sequence[Asked]], Sequence[Answer | Exception]]:
    def answer(asked: Sequence[Asked]) -> Sequence[Answer | Exception]:
        metrics.batches.observe(len(asked))
        return deps.serving.recommend_all(asked)

    return answer


def _limits(settings: Settings) -> BatchLimits:
    return BatchLimits(
        size=settings.batch_size,
        wait=settings.batch_wait_ms / 1000,
        workers=settings.batches_at_once,
        waiting=settings.most_waiting,
    )


def _version() -> str:
    try:
        return version("agenticrs")
    except PackageNotFoundError:
        return "0"
