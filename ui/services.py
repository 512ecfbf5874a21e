"""``agenticrs up``: API, console, MLflow, Ray, the schedules: started and stopped together.

The API and the console run in this process; MLflow's server and Ray are its children, unless the
settings name others. What runs where stands in ``<home>/run/services.json`` while it runs, so that
other commands use the same (``wiring.py``).

It stops in order: HTTP, schedules, Ray, MLflow. A cycle at work is cut off as if it had been
killed, and the next start goes on from its last row: losing Ray and MLflow would look like failures
to it, so its thread ends at the first thing that it would write once the stopping has begun.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, event

from agenticrs.evolution.controller import Controller
from agenticrs.evolution.scheduling import edits
from agenticrs.evolution.scheduling.scheduler import Scheduler
from agenticrs.evolution.scheduling.spec import ScheduleSpec
from agenticrs.platform import tracing
from agenticrs.platform.allocator import bound_heaps
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import Conflict, SettingsError
from agenticrs.platform.jobs.job import JobRunner
from agenticrs.platform.jobs.ray_runner import RayRunner
from agenticrs.platform.llm.spending import Tariff
from agenticrs.platform.logs import get_logger
from agenticrs.platform.settings import Settings
from agenticrs.platform.tracking.kept_server import KeptServer
from agenticrs.platform.tracking.server import MlflowServer
from agenticrs.registry import accounts, schedules
from agenticrs.ui.api.app import create_app
from agenticrs.ui.api.dependencies import AppDependencies
from agenticrs.ui.canary_steps import CanarySteps
from agenticrs.ui.courier import Courier, channels_of
from agenticrs.ui.garbage import look_at_new_objects_only
from agenticrs.ui.on_ray import OnRay
from agenticrs.ui.serving import ServingModel
from agenticrs.ui.wiring import build_controller, ray_token

ADMIN = "admin"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_SECONDS = 3
"""How long requests under way may take when it stops; pages that follow a cycle never end."""
LEAVE_SECONDS = 15
"""How long a cycle that is cut off may take to notice, once its trials have been killed."""


def up(
    settings: Settings, make_controller: Callable[[Settings], Controller] = build_controller
) -> None:
    """Run everything until Ctrl-C or SIGTERM.

    Raises Conflict when it runs already on this home, SettingsError when the port is taken,
    TrackingError or JobError when MLflow or Ray does not start.
    """
    import uvicorn

    bound_heaps()
    out, scheduled = Console(), ScheduledCycles()
    with ExitStack() as stack:
        stack.enter_context(_stoppable())
        stack.callback(_leave, scheduled)  # when everything else has stopped
        record = stack.enter_context(_only_one(settings.home))
        # Taken first: a port that is in use is told now, not after MLflow and Ray have started.
        listening = stack.enter_context(_listen(settings.host, settings.port))
        addresses = {"console and API": _url(settings.host, settings.port)}
        if settings.mlflow_uri is None:
            server = KeptServer(MlflowServer(settings.home, "127.0.0.1", settings.mlflow_port))
            with out.status("starting MLflow"):
                stack.enter_context(server)
            addresses["MLflow"] = server.url
        else:
            addresses["MLflow"] = settings.mlflow_uri
        if settings.ray_address is None:
            _make_ray_token(settings.home)
        stack.callback(scheduled.wait, LEAVE_SECONDS)  # after Ray, but before MLflow goes
        on_ray = OnRay(settings, addresses, lambda: _write(record, _told(addresses)))
        with out.status("starting Ray"):
            runner = stack.enter_context(
                RayRunner(settings.ray_address, settings.home, rejoined=on_ray.again)
            )
        _hear_signals()  # Ray has put its own handler in place
        on_ray.joined(runner.address)
        stack.callback(on_ray.end)
        controller = _with_runner(make_controller(settings), runner)
        _name_unpriced(settings)
        password = _first_account(controller.services.engine, settings)
        tracer = tracing.start(settings)
        if tracer is not None:
            stack.callback(tracer.close)
        serving = _serving(controller, tracer)
        if settings.canary:
            steps = CanarySteps(controller)
            steps.start()
            stack.callback(steps.stop)
        with out.status("starting replicas"):
            on_ray.replicate()
        stack.callback(scheduled.freeze, controller.services.engine)
        scheduled.begin(controller)
        stack.callback(scheduled.stop)  # before all else: another process may lead now
        app = create_app(
            AppDependencies(
                engine=controller.services.engine,
                tracking=controller.services.tracking,
                datasets=controller.services.datasets,
                serving=serving,
                governance=controller,
                settings=settings,
                tracer=tracer,
            )
        )
        addresses["schedules"] = _scheduled(controller)
        out.print(_shown(addresses, password))
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        look_at_new_objects_only()
        # It raises the signal that stopped it again: then the stack above ends everything else.
        uvicorn.Server(config).run(sockets=[listening])


class ScheduledCycles:
    """What runs unattended: the schedules with their cycles, and the messages that go out."""

    def __init__(self) -> None:
        self._scheduler: Scheduler | None = None
        self._courier: Courier | None = None

    @property
    def at_work(self) -> bool:
        """Whether a cycle of a schedule runs now, in this process."""
        return self._scheduler is not None and self._scheduler.at_work

    def begin(self, controller: Controller) -> None:
        """Keep the setting as a row, then look for what is due. Raises SettingsError."""
        services = controller.services
        settings = services.settings
        edits.follow_setting(services.engine, settings.surface, settings.schedule)
        self._courier = Courier(
            services.engine, settings.surface, channels_of(settings), settings.public_url or ""
        )
        self._scheduler = Scheduler(controller)
        self._scheduler.start()
        self._courier.start()

    def stop(self) -> None:
        """Begin nothing more, and send nothing more."""
        if self._scheduler is not None:
            self._scheduler.stop()
        if self._courier is not None:
            self._courier.stop()

    def freeze(self, engine: Engine) -> None:
        """Let cycles write nothing more: what they see from now on is our stopping."""
        if self.at_work:
            get_logger(__name__).warning("stopped in the middle of a cycle: the next start goes on")
        # Whoever's they are: a person's decision goes on with cycles in a thread of a request.
        for moment in ("before_cursor_execute", "commit"):
            event.listen(engine, moment, _end_thread)

    def wait(self, seconds: float) -> bool:
        """Wait until no cycle is at work; return whether that came about."""
        return self._scheduler is None or self._scheduler.wait(seconds)


def _scheduled(controller: Controller) -> str:
    """The schedules that are active, in words."""
    with session_scope(controller.services.engine) as session:
        rows = schedules.list_all(session, controller.surface)
    active = [
        f"{row.name} ({ScheduleSpec.model_validate(row.spec).in_words()})"
        for row in rows
        if row.state == "active"
    ]
    return ", ".join(active) or "none (agenticrs schedules add)"


def _end_thread(*_: object) -> None:
    # No Exception: a cycle must take it for its end, not for a failure that it records.
    if threading.current_thread() is not threading.main_thread():
        sys.exit()


def _leave(scheduled: ScheduledCycles) -> None:
    if scheduled.at_work:  # deep in a computation: its thread would keep the process alive
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal stop it; while it stops, none of them is heard."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    _hear_signals()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _hear_signals() -> None:
    for number in _SIGNALS:
        signal.signal(number, _stop)


def _stop(_number: int, _frame: FrameType | None) -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(0)


@contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    """The socket of the API and the console. Raises SettingsError when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise SettingsError(
            f"the API cannot listen on {host}:{port}: {error.strerror or error}",
            hint="set port (AGENTICRS_PORT) to a free one, or host to an address of this machine",
        ) from error
    with listening:
        yield listening


def _url(host: str, port: int) -> str:
    """Where a person on this machine reaches it."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if address.is_unspecified:
        return f"http://127.0.0.1:{port}"
    return f"http://[{host}]:{port}" if address.version == 6 else f"http://{host}:{port}"


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


def _serving(controller: Controller, tracer: tracing.Tracer | None) -> ServingModel:
    services = controller.services
    model = ServingModel(
        services.engine,
        services.tracking,
        services.datasets,
        services.settings,
        tracer=tracer,
    )
    model.refresh()
    return model


def _name_unpriced(settings: Settings) -> None:
    """Warn of language models that the cap on money says nothing about."""
    tariff = Tariff(settings.prices)
    if names := tariff.unpriced(settings.language_models):
        get_logger(__name__).warning(tariff.warning(names))


def _first_account(engine: Engine, settings: Settings) -> str | None:
    """Make the admin's account at the first start; return the password if we chose it."""
    with session_scope(engine) as session:
        if accounts.any_exists(session):
            return None
        given = settings.admin_password
        password = given.get_secret_value() if given else secrets.token_urlsafe(12)
        accounts.create(session, ADMIN, password, "admin")
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
    """The file that says what runs on this home; refuses a second start.

    A lock decides, not the process number in the file: numbers are used again, and the lock goes
    with its holder however that ends. A file that was left behind is replaced.
    """
    path = home / "run" / "services.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / "up.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"`agenticrs up` runs already on {home}{_recorded(path)}",
                hint="stop it, or choose another AGENTICRS_HOME",
            ) from None
        if path.exists():
            get_logger(__name__).info("replacing what an `agenticrs up` that was killed left")
        _write(path, {})
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def _told(addresses: dict[str, str]) -> dict[str, str]:
    """What other commands look for in the file (``wiring.py``)."""
    names = {"api": "console and API", "mlflow": "MLflow", "ray": "Ray"}
    return {name: addresses[shown] for name, shown in names.items()}


def _write(path: Path, addresses: dict[str, str]) -> None:
    aside = path.with_suffix(".new")
    aside.write_text(json.dumps({**addresses, "pid": os.getpid()}))
    aside.replace(path)


def _recorded(path: Path) -> str:
    """What the file says of the other one, in words."""
    try:
        found = json.loads(path.read_text())
        return f" (process {int(found['pid'])}, {found.get('api', 'still starting')})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
