"""The embedded MLflow server: its pages for people, its HTTP interface for other programs.

It works on the same SQLite file and artifact folder that clients without a server use, so both
see the same. It has no login: keep it on a loopback address.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from urllib.error import URLError
from urllib.request import urlopen

from agenticrs.platform.errors import TrackingError
from agenticrs.platform.settings import Settings
from agenticrs.platform.tracking.client import QUIET, MlflowTracking

_START_WITHIN = 180.0
_STOP_WITHIN = 15.0
_ENVIRONMENT = QUIET | {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its job runner doubles start and memory
    "PYTHONUNBUFFERED": "1",
}


def embedded_uri(home: Path) -> str:
    """URI of the home's own MLflow store."""
    return f"sqlite:///{home.absolute() / 'mlflow.db'}"


def connect(settings: Settings) -> MlflowTracking:
    """Tracking as the settings say.

    An explicit ``mlflow_uri``; else the server that a running ``agenticrs up`` of this home has
    written into ``run/services.json``, if it answers; else the home's SQLite store directly.
    """
    cache = settings.home / "cache" / "models"
    uri = settings.mlflow_uri
    if uri is not None:
        return MlflowTracking(uri, cache, pages=uri if uri.startswith("http") else None)
    live = _recorded_server(settings.home)
    if live is not None:
        return MlflowTracking(live, cache, pages=live)
    return MlflowTracking(embedded_uri(settings.home), cache)


class MlflowServer:
    """``mlflow server`` as a child; it ends with this process, however that ends."""

    def __init__(self, home: Path, host: str = "127.0.0.1", port: int = 5321) -> None:
        self._home = home.absolute()
        self._host = host
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> MlflowServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where clients on this machine and people reach it."""
        everywhere = self._host in ("0.0.0.0", "::")  # noqa: S104 (asked, not bound)
        host = "127.0.0.1" if everywhere else self._host
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    @property
    def ended(self) -> int | None:
        """The status of a server that was started and has ended by itself; None otherwise."""
        return None if self._process is None else self._process.poll()

    @property
    def log_file(self) -> Path:
        """Where the server's own output goes."""
        return self._home / "logs" / "mlflow.log"

    def start(self) -> None:
        """Start the server and wait until it answers (some 10 s).

        Raises TrackingError when the port is taken or the server does not come up.
        """
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start the server without waiting for it."""
        if self._process is not None:
            raise TrackingError("the MLflow server was started already")
        self._refuse_taken_port()
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        artifacts = self._home / "mlartifacts"
        artifacts.mkdir(parents=True, exist_ok=True)
        # Plain paths as artifact root: clients on this machine write the files themselves,
        # with or without a server, and the pages read them from the same place.
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        command += ["--backend-store-uri", embedded_uri(self._home)]
        command += ["--default-artifact-root", artifacts.as_uri()]
        command += ["--artifacts-destination", artifacts.as_uri()]
        command += ["--host", self._host, "--port", str(self._port)]
        guard = [sys.executable, "-m", "agenticrs.platform.tracking.guard"]
        environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 (our own command)
                guard + command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_ENVIRONMENT | environment,
                cwd=self._home,
                start_new_session=True,
            )

    def wait(self, seconds: float = _START_WITHIN) -> None:
        """Wait until the server answers; TrackingError (and no server) when it does not."""
        process = self._process
        if process is None:
            raise TrackingError("the MLflow server was not started")
        deadline = time.monotonic() + seconds
        while not answers(self.url):
            ended = process.poll()
            if ended is not None or time.monotonic() > deadline:
                self.stop()
                what = (
                    f"ended with {ended}" if ended is not None else f"is silent after {seconds:g} s"
                )
                raise TrackingError(
                    f"the MLflow server {what}; the end of its log:\n{self._log_tail()}",
                    hint=f"the whole log is in {self.log_file}",
                )
            time.sleep(0.1)

    def stop(self) -> None:
        """End the server and everything that it started. Safe to repeat."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()  # the guard's sign to end its group
        try:
            process.wait(timeout=_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.returncode < 0:  # a guard that was killed has ended nobody
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def _refuse_taken_port(self) -> None:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self._host, self._port))
            except OSError as error:
                raise TrackingError(
                    f"the MLflow server cannot listen on {self._host}:{self._port}: "
                    f"{error.strerror}",
                    hint="set mlflow_port (AGENTICRS_MLFLOW_PORT) to a free port",
                ) from error

    def _log_tail(self, lines: int = 15) -> str:
        try:
            text = self.log_file.read_text("utf-8", errors="replace")
        except OSError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:])


def answers(url: str) -> bool:
    """Whether an MLflow server answers there."""
    try:
        with urlopen(f"{url}/health", timeout=2) as response:  # noqa: S310 (http, our own)
            return bool(response.read(16).strip() == b"OK")
    except (URLError, OSError, ValueError):
        return False


def _recorded_server(home: Path) -> str | None:
    try:
        services = json.loads((home / "run" / "services.json").read_text("utf-8"))
        url = services["mlflow"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return url if isinstance(url, str) and answers(url) else None
