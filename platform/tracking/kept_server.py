"""The embedded MLflow server, started again when it dies: nobody watches an unattended service.

How a server is started and ended is told in ``server.py``; this knows only that it may be gone.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Protocol

from agenticrs.platform.errors import TrackingError
from agenticrs.platform.logs import get_logger

LOOK_SECONDS = 1.0
LONGEST_WAIT = 60.0
"""Between two attempts to start a server that does not come up; the first wait is a look's."""
_log = get_logger(__name__)


class Server(Protocol):
    """A server process (``MlflowServer``)."""

    @property
    def url(self) -> str:
        """Where it listens."""

    @property
    def ended(self) -> int | None:
        """The status of a server that was started and has ended by itself; None otherwise."""

    def start(self) -> None:
        """Start it and wait until it answers; TrackingError when it does not."""

    def stop(self) -> None:
        """End it and all that is left of it. Safe to repeat."""


class KeptServer:
    """Keeps a server running between ``start`` and ``stop``.

    The first start raises what the server raises; later failures are logged, and tried again after
    longer and longer waits.
    """

    def __init__(self, server: Server, look_seconds: float = LOOK_SECONDS) -> None:
        self._server = server
        self._look_seconds = look_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="mlflow server", daemon=True)

    def __enter__(self) -> KeptServer:
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
        """Where it listens; the same after each start."""
        return self._server.url

    def start(self) -> None:
        """Start the server, and look after it. Raises TrackingError when it does not come up."""
        self._server.start()
        self._thread.start()

    def stop(self) -> None:
        """Look no more, and end the server. Safe to repeat."""
        self._stopped.set()
        self._server.stop()  # also one that is just being started again
        if self._thread.is_alive():
            self._thread.join()
            self._server.stop()

    def _keep(self) -> None:
        running, wait = True, self._look_seconds
        while not self._stopped.wait(wait):
            if running and self._server.ended is None:
                continue
            if running:
                _log.error("the MLflow server has ended and is started again")
            try:
                self._server.stop()  # what is left of it may still hold its port
                self._server.start()
            except TrackingError as error:
                running, wait = False, min(2 * wait, LONGEST_WAIT)
                if not self._stopped.is_set():
                    _log.error("MLflow does not start", error=str(error), again_after=wait)
            else:
                running, wait = True, self._look_seconds
                _log.info("the MLflow server answers again")
