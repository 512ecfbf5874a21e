"""Who steps a canary: a command, a person's answer, and the thread of ``agenticrs up``.

When a canary ends, cycles whose approved composition has waited for that go on.
"""

from __future__ import annotations

import threading
from contextlib import suppress

from agenticrs.evolution.canaries import rollout
from agenticrs.evolution.controller import Controller
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import AgenticRSError, Conflict
from agenticrs.platform.logs import get_logger
from agenticrs.registry import canaries
from agenticrs.registry.tables import CanaryRow

LOOK_SECONDS = 30.0
_log = get_logger(__name__)


def stepped(controller: Controller) -> CanaryRow:
    """One step now (``evolution.canaries.rollout.step``)."""
    services = controller.services
    row = rollout.step(services.engine, services.tracking, services.datasets, controller.surface)
    return _followed(controller, row)


def answered(controller: Controller, choice: str, *, who: str, reason: str) -> CanaryRow:
    """A person's answer (``evolution.canaries.rollout.answer``): watch, advance or rollback."""
    services = controller.services
    row = rollout.answer(
        services.engine,
        services.tracking,
        controller.surface,
        rollout.ANSWERS[choice],
        who=who,
        reason=reason,
    )
    return _followed(controller, row)


class CanarySteps:
    """Steps the canary of a surface whenever its time has come, in a thread."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="canary", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Safe to repeat."""
        self._stopped.set()

    def look(self) -> CanaryRow | None:
        """Step the canary if it is due; a failure is logged, and the next look comes."""
        try:
            with session_scope(self._controller.services.engine) as session:
                row = canaries.under_way(session, self._controller.surface)
            if row is None or not rollout.is_due(row):
                return None
            row = stepped(self._controller)
        except AgenticRSError as error:
            _log.error("canary was not stepped", error=str(error))
            return None
        _log.info("canary stepped", canary=row.id, state=row.state, share=row.share)
        return row

    def _follow(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            try:
                self.look()
            except Exception as error:  # the database is away: the next look comes
                _log.error("canary was not stepped", error=str(error))


def _followed(controller: Controller, row: CanaryRow) -> CanaryRow:
    if not row.under_way:
        with suppress(Conflict):  # who evolves the surface now goes on with them afterwards
            controller.resume()
    return row
