"""The port for experiment tracking and model versions, in the words of MLflow.

The registry depends on this; ``client.py`` fulfils it with MLflow, a fake does so in fast tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

Alias = Literal["champion", "challenger", "canary"]


@dataclass(frozen=True)
class RunRecord:
    """One run to log: everything goes in one batch."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, bytes] = field(default_factory=dict)
    """Relative path inside the run -> content (``model/weights.safetensors``)."""


class Tracking(Protocol):
    """Runs, model versions and aliases on an MLflow server."""

    def log_run(self, experiment: str, record: RunRecord) -> str:
        """Log one finished run and return its id."""

    def find_run(self, experiment: str, tag: str, value: str) -> str | None:
        """Id of a finished run of the experiment with that tag, or None."""

    def register(
        self, model: str, run_id: str, folder: str, *, tags: Mapping[str, str], description: str
    ) -> int:
        """Make the run's artifact folder the next version of ``model``; return its number.

        Idempotent: the same run and folder registered twice gives the same number. Raises
        RunWithoutFiles when there is nothing in the folder.
        """

    def set_alias(self, model: str, alias: Alias, version: int) -> None:
        """Move the alias to the version (idempotent)."""

    def delete_alias(self, model: str, alias: Alias) -> None:
        """Remove the alias (idempotent)."""

    def aliases(self, models: list[str]) -> dict[str, dict[str, int]]:
        """Model -> alias -> version for the given models; models that do not exist are absent."""

    def versions(self, prefix: str) -> dict[str, dict[int, str]]:
        """Model -> version -> id of its run, of all models whose names begin so."""

    def download(self, model: str, version: int) -> Path:
        """Local folder with the version's files (cached: versions are immutable).

        Raises TrackingError when the version is gone or the server cannot be reached.
        """

    def run_url(self, run_id: str) -> str | None:
        """Where a person sees the run, or None when no server with pages is known."""

    def version_url(self, model: str, version: int) -> str | None:
        """Where a person sees the version, or None."""
