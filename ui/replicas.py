"""The open routes on Ray Serve, in several processes and on several nodes, behind one address.

Each replica is the same app around the same runtime: it opens the registry, MLflow and the
snapshots by the settings, loads what should serve, and follows it by itself. Feedback goes into the
registry's database at once, whichever replica takes it; the others lay it over their histories with
their next look. This is the only module that knows Ray Serve.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from agenticrs.platform.errors import JobError
from agenticrs.platform.settings import Settings
from agenticrs.ui.garbage import look_at_new_objects_only

if TYPE_CHECKING:
    from fastapi import FastAPI

NAME = "agenticrs"
_ONGOING = 256
"""Requests that a replica takes at a time: far more than a batch, so that batches fill."""


@contextmanager
def replicas(
    settings: Settings, build: Callable[[Settings], FastAPI] | None = None
) -> Iterator[str]:
    """``settings.replicas`` copies on the Ray that this process is joined to, and their address.

    ``build`` makes the app of a replica, in its process (None = ``build_app``). They end with the
    block. Raises JobError when Ray Serve is not installed or does not start.
    """
    try:
        from ray import serve as ray_serve
    except ImportError as error:
        raise JobError(
            f"replicas need Ray Serve, which is not installed: {error}",
            hint="pip install 'agenticrs[serve]', or set replicas (AGENTICRS_REPLICAS) to 0",
        ) from None

    serve: Any = ray_serve  # its own types miss what its decorators do
    made_by = build or build_app

    def app() -> FastAPI:  # called in the replica's process
        made = made_by(settings)
        look_at_new_objects_only()
        return made

    try:
        serve.start(http_options={"host": settings.host, "port": settings.replica_port})
        deployment = serve.deployment(
            serve.ingress(app)(),
            name=NAME,
            num_replicas=settings.replicas,
            max_ongoing_requests=_ONGOING,
            ray_actor_options={"num_cpus": 0},  # trials are what the cores are counted for
        )
        serve.run(deployment.bind(), name=NAME, route_prefix="/")
    except (RuntimeError, OSError, ValueError) as error:
        serve.shutdown()
        raise JobError(
            f"Ray Serve does not start: {error}",
            hint="is replica_port (AGENTICRS_REPLICA_PORT) free?",
        ) from error
    try:
        yield f"http://{settings.host}:{settings.replica_port}"
    finally:
        serve.shutdown()


def build_app(settings: Settings) -> FastAPI:
    """The app of one replica, with what should serve in memory."""
    from agenticrs.platform import tracing
    from agenticrs.ui.api.app import create_app
    from agenticrs.ui.api.dependencies import AppDependencies
    from agenticrs.ui.serving import ServingModel
    from agenticrs.ui.wiring import build_controller

    controller = build_controller(settings)
    services = controller.services
    tracer = tracing.start(settings)
    serving = ServingModel(
        services.engine, services.tracking, services.datasets, settings, tracer=tracer
    )
    serving.refresh()
    deps = AppDependencies(
        engine=services.engine,
        tracking=services.tracking,
        datasets=services.datasets,
        serving=serving,
        governance=controller,
        settings=settings,
        tracer=tracer,
    )
    return create_app(deps, surface_only=True)
