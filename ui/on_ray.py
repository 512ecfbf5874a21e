"""What depends on which Ray it is: where others find it, and the replicas that run on it.

A Ray that was lost is joined or started anew by its runner, at the next job; then both follow.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from agenticrs.platform.settings import Settings
from agenticrs.ui.replicas import replicas


class OnRay:
    """Keeps ``addresses`` up to date, and hands them to ``tell``. End it before Ray ends."""

    def __init__(
        self, settings: Settings, addresses: dict[str, str], tell: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._addresses = addresses
        self._tell = tell
        self._copies = ExitStack()

    def joined(self, address: str) -> None:
        """Ray is there."""
        self._addresses["Ray"] = self._settings.ray_address or address
        self._tell()

    def again(self, address: str) -> None:
        """Another Ray has taken the place of one that was lost, with its replicas."""
        self.joined(address)
        self.end()
        self.replicate()

    def replicate(self) -> None:
        """Start the replicas, if the settings want any. Raises JobError."""
        if self._settings.replicas:
            self._addresses["replicas"] = self._copies.enter_context(replicas(self._settings))

    def end(self) -> None:
        """Stop them."""
        self._copies.close()
