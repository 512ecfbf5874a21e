"""``agenticrs up``: API, console, MLflow, Ray and the schedule, started together, stopped together.

The API and the console run in this process; MLflow's server and Ray are its children, unless the
settings name others. What runs where stands in ``<home>/run/services.json`` while it runs, so that
other commands use the same (``wiring.py``).
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine

from agenticrs.evolution import schedule
from agenticrs.evolution.controller import Controller
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import AgenticRSError, Conflict
from agenticrs.platform.jobs.job import JobRunner
from agenticrs.platform.jobs.ray_runner import RayRunner
from agenticrs.platform.logs import get_logger
from agenticrs.platform.settings import Settings
from agenticrs.platform.tracking.server import MlflowServer
from agenticrs.registry import accounts
from agenticrs.ui.api.app import create_app
from agenticrs.ui.api.dependencies import AppDependencies
from agenticrs.ui.serving import ServingModel
from agenticrs.ui.wiring import build_controller, ray_token

ADMIN = "admin"


def up(settings: Settings) -> None:
    """Run everything until Ctrl-C or SIGTERM.

    Raises Conflict when it runs already on this home, TrackingError when MLflow does not start.
    """
    import uvicorn

    out = Console()
    with ExitStack() as stack:
        record = stack.enter_context(_only_one(settings.home))
        addresses = {"console and API": f"http://{settings.host}:{settings.port}"}
        if settings.mlflow_uri is None:
            server = MlflowServer(settings.home, "127.0.0.1", settings.mlflow_port)
            with out.status("starting MLflow"):
                server.start()
            stack.callback(server.stop)
            addresses["MLflow"] = server.url
        else:
            addresses["MLflow"] = settings.mlflow_uri
        if settings.ray_address is None:
            _make_ray_token(settings.home)
        with out.status("starting Ray"):
            runner = stack.enter_context(RayRunner(settings.ray_address, settings.home))
        addresses["Ray"] = settings.ray_address or runner.address
        _write(
            record,
            {
                "api": addresses["console and API"],
                "mlflow": addresses["MLflow"],
                "ray": addresses["Ray"],
            },
        )
        controller = _with_runner(build_controller(settings), runner)
        password = _first_account(controller.services.engine, settings)
        serving = _serving(controller)
        if settings.schedule:
            started = schedule.start(settings.schedule, lambda: _cycle(controller))
            stack.callback(started.shutdown, wait=False)
        app = create_app(
            AppDependencies(
                engine=controller.services.engine,
                tracking=controller.services.tracking,
                datasets=controller.services.datasets,
                serving=serving,
                governance=controller,
                settings=settings,
            )
        )
        addresses["schedule"] = settings.schedule or "none (AGENTICRS_SCHEDULE)"
        out.print(_shown(addresses, password))
        # Uvicorn raises the signal again when it has shut down: by then everything else must end.
        signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
        with suppress(KeyboardInterrupt):
            uvicorn.run(app, host=settings.host, port=settings.port, log_level="warning")


def _make_ray_token(home: Path) -> None:
    """Let Ray demand a token that only the owner of the home can read (read when Ray starts)."""
    path = ray_token(home)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(path)


def _with_runner(controller: Controller, runner: JobRunner) -> Controller:
    """The controller, using the Ray that runs already for every cycle."""
    services = replace(controller.services, open_runner=lambda: nullcontext(runner))
    return replace(controller, services=services)


def _serving(controller: Controller) -> ServingModel:
    services = controller.services
    model = ServingModel(services.engine, services.tracking, services.datasets, services.settings)
    model.refresh()
    return model


def _cycle(controller: Controller) -> None:
    try:
        controller.evolve()
    except AgenticRSError as error:
        get_logger(__name__).error("scheduled cycle failed", error=str(error))


def _first_account(engine: Engine, settings: Settings) -> str | None:
    """Make the admin's account at the first start; return the password if we chose it."""
    with session_scope(engine) as session:
        if accounts.any_exists(session):
            return None
        given = settings.admin_password
        password = given.get_secret_value() if given else secrets.token_urlsafe(12)
        accounts.create(session, ADMIN, password)
        return None if given else password


def _shown(addresses: dict[str, str], password: str | None) -> Table:
    shown = Table(title="AgenticRS runs; Ctrl-C stops it", title_justify="left", show_header=False)
    for name, value in addresses.items():
        shown.add_row(f"[bold]{name}[/bold]", value)
    if password is not None:
        shown.add_row("[bold]log in as[/bold]", f"{ADMIN}, password {password} (shown only once)")
    return shown


@contextmanager
def _only_one(home: Path) -> Iterator[Path]:
    """The file that says what runs on this home; refuses a second start."""
    path = home / "run" / "services.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    pid = _recorded_pid(path)
    if pid is not None:
        raise Conflict(
            f"`agenticrs up` runs already on {home} (process {pid})",
            hint="stop it, or choose another AGENTICRS_HOME",
        )
    _write(path, {})
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _write(path: Path, addresses: dict[str, str]) -> None:
    aside = path.with_suffix(".new")
    aside.write_text(json.dumps({**addresses, "pid": os.getpid()}))
    aside.replace(path)


def _recorded_pid(path: Path) -> int | None:
    try:
        pid = int(json.loads(path.read_text())["pid"])
        os.kill(pid, 0)
    except (OSError, ValueError, KeyError):
        return None  # nothing recorded, or the process is gone
    return pid if pid != os.getpid() else None
