"""Leases: at most one holder at a time, taken over when the holder stops renewing.

Every change is one conditional statement, so that two processes cannot both succeed, on SQLite and
on PostgreSQL alike. ``hold`` keeps a lease alive while a block runs, and says when it is lost: that
is when somebody else has it, or when the database could not be reached for as long as it lasts.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import Engine, delete, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlmodel import col

from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import Conflict, LeaseLost
from agenticrs.platform.logs import get_logger
from agenticrs.registry.tables import LeaseRow, utc_now

_BEATS = 4
"""How often a lease is renewed in the time that it lasts."""
_WAITS = (0.2, 1.0, 3.0, 6.0)
"""Seconds between attempts to give a lease back."""
_log = get_logger(__name__)


def acquire(engine: Engine, name: str, holder: str, seconds: float) -> bool:
    """Take the lease for ``seconds``; False while somebody else holds it."""
    now = utc_now()
    until = now + timedelta(seconds=seconds)
    with session_scope(engine) as session:
        taken = session.connection().execute(
            update(LeaseRow)
            .where(col(LeaseRow.name) == name)
            .where((col(LeaseRow.expires_at) < now) | (col(LeaseRow.holder) == holder))
            .values(holder=holder, expires_at=until)
        )
        if taken.rowcount:
            return True
    try:
        with session_scope(engine) as session:
            session.add(LeaseRow(name=name, holder=holder, expires_at=until))
    except IntegrityError:
        return False
    return True


def renew(engine: Engine, name: str, holder: str, seconds: float) -> bool:
    """Prolong an own lease; False when it was lost."""
    with session_scope(engine) as session:
        kept = session.connection().execute(
            update(LeaseRow)
            .where(col(LeaseRow.name) == name, col(LeaseRow.holder) == holder)
            .values(expires_at=utc_now() + timedelta(seconds=seconds))
        )
        return bool(kept.rowcount)


def release(engine: Engine, name: str, holder: str) -> None:
    """Give the lease back; nothing happens when somebody else holds it by now."""
    with session_scope(engine) as session:
        session.connection().execute(
            delete(LeaseRow).where(col(LeaseRow.name) == name, col(LeaseRow.holder) == holder)
        )


def holder_of(engine: Engine, name: str) -> str | None:
    """Who holds the lease (expired or not), or None."""
    with session_scope(engine) as session:
        row = session.get(LeaseRow, name)
        return row.holder if row else None


def is_held(engine: Engine, name: str) -> bool:
    """Whether somebody holds the lease who may still be at work."""
    with session_scope(engine) as session:
        row = session.get(LeaseRow, name)
    return row is not None and row.expires_at >= utc_now() and not is_dead(row.holder)


def release_if_dead(engine: Engine, name: str) -> None:
    """Give back a lease whose holder was a process of this machine that is gone."""
    holder = holder_of(engine, name)
    if holder is not None and is_dead(holder):
        release(engine, name, holder)


def new_holder() -> str:
    """A name for this process and one purpose: machine, process, something that nobody else has."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


class Held:
    """A lease that is kept alive. ``check`` is asked by whoever works under it.

    It is lost when somebody said so, and also when it has not been renewed for as long as it lasts:
    a beat that hangs says nothing. ``clock`` gives seconds that only grow.
    """

    def __init__(
        self, name: str, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self._seconds = seconds
        self._clock = clock
        self._renewed = clock()
        self._why = ""

    @property
    def lost(self) -> bool:
        """Whether somebody else may hold it by now."""
        return bool(self._why) or self._clock() - self._renewed >= self._seconds

    def check(self) -> None:
        """Raise LeaseLost when it is lost."""
        if self.lost:
            why = self._why or f"the database was away for {self._seconds:g} seconds"
            raise LeaseLost(
                f"the lease {self.name!r} was lost: {why}",
                hint="whoever holds it now goes on; nothing of what was finished is lost",
            )

    def beat(self, engine: Engine, holder: str) -> None:
        """Renew it; a database that cannot be reached is asked again at the next beat."""
        begun = self._clock()
        try:
            if renew(engine, self.name, holder, self._seconds):
                self._renewed = begun
            else:
                self._why = f"{holder_of(engine, self.name) or 'nobody'} holds it"
        except SQLAlchemyError as error:
            _log.warning("lease was not renewed", lease=self.name, error=str(error))


@contextmanager
def hold(
    engine: Engine,
    name: str,
    seconds: float,
    *,
    busy: str = "somebody else holds it",
    hint: str = "",
) -> Iterator[Held]:
    """Hold the lease while the block runs, renewed by a thread; ``seconds`` is how long it lasts.

    Raises Conflict, with the words of ``busy``, while somebody else holds it.
    """
    holder = new_holder()
    release_if_dead(engine, name)
    held = Held(name, seconds)
    if not acquire(engine, name, holder, seconds):
        raise Conflict(f"{busy}: {holder_of(engine, name)}", hint=hint)
    stopped = threading.Event()

    def keep() -> None:
        while not held.lost and not stopped.wait(seconds / _BEATS):
            held.beat(engine, holder)

    heartbeat = threading.Thread(target=keep, name=f"lease {name}", daemon=True)
    heartbeat.start()
    try:
        yield held
    finally:
        stopped.set()
        heartbeat.join()
        if not held.lost:
            _give_back(engine, name, holder)


def _give_back(engine: Engine, name: str, holder: str) -> None:
    """Release it, also when the database is away for a moment: else everybody must wait."""
    for wait in (*_WAITS, None):
        try:
            return release(engine, name, holder)
        except SQLAlchemyError as error:
            if wait is None:
                _log.warning("lease was not given back", lease=name, error=str(error))
                return None
            time.sleep(wait)
    return None


def is_dead(holder: str) -> bool:
    """Whether the holder was a process of this machine that is gone."""
    host, _, rest = holder.partition(":")
    pid = rest.partition(":")[0]
    return host == socket.gethostname() and pid.isdecimal() and not _alive(int(pid))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
