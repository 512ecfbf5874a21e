"""Sends what the outbox holds: by webhook and by e-mail, in a thread of ``agenticrs up``.

Every process may have one: each delivery is claimed by one of them. A message that was sent and not
marked (the process was killed in between) goes out again, with the same id.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from sqlalchemy import Engine

from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import SettingsError
from agenticrs.platform.logs import get_logger
from agenticrs.platform.notices.mail import Mail
from agenticrs.platform.notices.message import Channel, Message, NotDelivered
from agenticrs.platform.notices.webhook import Webhook
from agenticrs.platform.settings import Settings
from agenticrs.registry import outbox
from agenticrs.registry.tables import DeliveryRow, NoticeRow

LOOK_SECONDS = 5.0
_log = get_logger(__name__)


def channels_of(settings: Settings) -> list[Channel]:
    """The ways that the settings name; raises SettingsError for a secret that is none."""
    found: list[Channel] = []
    if settings.webhook_url is not None and settings.webhook_secret is not None:
        try:
            found.append(
                Webhook(
                    settings.webhook_url.get_secret_value(),
                    settings.webhook_secret.get_secret_value(),
                )
            )
        except ValueError as error:
            raise SettingsError(
                f"webhook_secret is not usable: {error}", hint="correct AGENTICRS_WEBHOOK_SECRET"
            ) from None
    if settings.smtp_url is not None:
        server = settings.smtp_url.get_secret_value()
        found.append(Mail(server, settings.mail_from, settings.mail_receivers))
    return found


class Courier:
    """Delivers the notices of a surface; ``deliver`` is one round, for tests and commands."""

    def __init__(
        self, engine: Engine, surface: str, channels: Sequence[Channel], public_url: str = ""
    ) -> None:
        self._engine = engine
        self._surface = surface
        self._channels = {channel.name: channel for channel in channels}
        self._public_url = public_url.rstrip("/")
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="courier", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, soon. Safe to repeat."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(LOOK_SECONDS)

    def deliver(self) -> int:
        """Send everything whose time has come; return how much arrived."""
        with session_scope(self._engine) as session:
            outbox.address(session, self._surface, list(self._channels))
        arrived = 0
        while not self._stopped.is_set():
            with session_scope(self._engine) as session:
                found = outbox.claim(session, self._surface)
            if found is None:
                break
            arrived += self._send(*found)
        return arrived

    def _send(self, row: DeliveryRow, notice: NoticeRow) -> bool:
        error = ""
        channel = self._channels.get(row.channel)
        if channel is None:
            error = f"{row.channel} is not set up any more"
        else:
            try:
                channel.send(self._message(notice))
            except NotDelivered as failure:
                error = failure.message
        with session_scope(self._engine) as session:
            if error:
                outbox.failed(session, row, notice, error)
            else:
                outbox.sent(session, row)
        told = {"notice": notice.uid, "topic": notice.event, "channel": row.channel}
        if error:
            _log.warning("notice was not delivered", **told, attempt=row.attempts, error=error)
        else:
            _log.info("notice was delivered", **told, attempt=row.attempts)
        return not error

    def _message(self, notice: NoticeRow) -> Message:
        path = str(notice.data.get("path", ""))
        return Message(
            uid=notice.uid,
            event=notice.event,
            surface=notice.surface,
            subject=notice.subject,
            text=notice.text,
            at=notice.at,
            link=f"{self._public_url}{path}" if self._public_url and path else "",
            data={name: value for name, value in notice.data.items() if name != "path"},
        )

    def _follow(self) -> None:
        while not self._stopped.is_set():
            try:
                self.deliver()
            except Exception as error:  # the database is away: the next round comes
                _log.error("notices were not delivered", error=str(error))
            self._stopped.wait(LOOK_SECONDS)
