"""A working stand-in for MLflow: runs, versions and aliases in this process, files in a folder.

It passes the same contract tests as the real client, and can be told to be out of reach.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from agenticrs.platform.errors import RunWithoutFiles, TrackingAway, TrackingError
from agenticrs.platform.tracking.artifacts import refuse_pickles, write_files
from agenticrs.platform.tracking.port import Alias, RunRecord


@dataclass(frozen=True)
class MemoryVersion:
    """A registered version: where its files are, and what was said about it."""

    run_id: str
    folder: str
    tags: Mapping[str, str]
    description: str


@dataclass
class MemoryModel:
    """A registered model. Numbers are never used twice."""

    versions: dict[int, MemoryVersion] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    last: int = 0


class MemoryTracking:
    """Fulfils ``Tracking``. Set ``reachable`` to False to let every call raise TrackingError.

    Without a ``folder`` the files lie in a temporary one that goes with the object.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(tempfile.mkdtemp(prefix="agenticrs-tracking-"))
        if folder is None:
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._lock = threading.Lock()
        self.reachable = True
        self.experiments: dict[str, list[str]] = {}
        self.runs: dict[str, RunRecord] = {}
        self.models: dict[str, MemoryModel] = {}

    def log_run(self, experiment: str, record: RunRecord) -> str:
        """Log one finished run and return its id."""
        self._check()
        refuse_pickles(record.artifacts)
        with self._lock:
            run_id = f"{len(self.runs) + 1:032x}"
            self.runs[run_id] = record
            self.experiments.setdefault(experiment, []).append(run_id)
        write_files(self._folder / run_id, record.artifacts)
        return run_id

    def find_run(self, experiment: str, tag: str, value: str) -> str | None:
        """Id of a finished run of the experiment with that tag, or None."""
        self._check()
        runs = self.experiments.get(experiment, [])
        return next((run for run in runs if self.runs[run].tags.get(tag) == value), None)

    def register(
        self, model: str, run_id: str, folder: str, *, tags: Mapping[str, str], description: str
    ) -> int:
        """Make the run's artifact folder the next version of ``model``; return its number."""
        self._check()
        if run_id not in self.runs:
            raise TrackingError(f"run {run_id!r} does not exist", hint="log the run first")
        if not any((self._folder / run_id / folder).glob("*")):
            raise RunWithoutFiles(f"run {run_id} has no files under {folder!r}")
        with self._lock:
            versions = self.models.setdefault(model, MemoryModel())
            for number, version in versions.versions.items():
                if (version.run_id, version.folder) == (run_id, str(PurePosixPath(folder))):
                    return number
            versions.last += 1
            versions.versions[versions.last] = MemoryVersion(
                run_id, str(PurePosixPath(folder)), dict(tags), description
            )
            return versions.last

    def set_alias(self, model: str, alias: Alias, version: int) -> None:
        """Move the alias to the version (idempotent)."""
        self._check()
        self._version(model, version)
        self.models[model].aliases[alias] = version

    def delete_alias(self, model: str, alias: Alias) -> None:
        """Remove the alias (idempotent)."""
        self._check()
        if model in self.models:
            self.models[model].aliases.pop(alias, None)

    def aliases(self, models: list[str]) -> dict[str, dict[str, int]]:
        """Model -> alias -> version for the given models; models that do not exist are absent."""
        self._check()
        return {name: dict(self.models[name].aliases) for name in models if name in self.models}

    def versions(self, prefix: str) -> dict[str, dict[int, str]]:
        """Model -> version -> id of its run, of all models whose names begin so."""
        self._check()
        return {
            name: {number: version.run_id for number, version in model.versions.items()}
            for name, model in self.models.items()
            if name.startswith(prefix) and model.versions
        }

    def download(self, model: str, version: int) -> Path:
        """Folder with the version's files."""
        self._check()
        found = self._version(model, version)
        return self._folder / found.run_id / found.folder

    def run_url(self, run_id: str) -> str | None:
        """None: there are no pages."""
        return None

    def version_url(self, model: str, version: int) -> str | None:
        """None: there are no pages."""
        return None

    def delete_version(self, model: str, version: int) -> None:
        """What a person may do on MLflow's page: the version goes, with the aliases on it."""
        self._version(model, version)
        aliases = self.models[model].aliases
        for alias in [alias for alias, number in aliases.items() if number == version]:
            del aliases[alias]
        del self.models[model].versions[version]

    def _check(self) -> None:
        if not self.reachable:
            raise TrackingAway("MLflow cannot be reached", hint="the test said so")

    def _version(self, model: str, version: int) -> MemoryVersion:
        if model not in self.models or version not in self.models[model].versions:
            raise TrackingError(f"version {version} of model {model!r} does not exist")
        return self.models[model].versions[version]
