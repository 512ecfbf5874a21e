"""What is told, and what every way of telling it fulfils."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from agenticrs.platform.errors import AgenticRSError


class NotDelivered(AgenticRSError):
    """The message did not arrive; it may be tried again."""


@dataclass(frozen=True)
class Message:
    """One message; ``uid`` is the same each time it is sent."""

    uid: str
    event: str
    surface: str
    subject: str
    text: str
    at: datetime
    link: str = ""
    """Where a person reads on; empty where no address is known."""
    data: Mapping[str, Any] = field(default_factory=dict)


class Channel(Protocol):
    """A way of telling: ``name`` is what the outbox calls it."""

    @property
    def name(self) -> str:
        """``webhook`` or ``email``."""

    def send(self, message: Message) -> None:
        """Return when it has been taken; raises NotDelivered."""
