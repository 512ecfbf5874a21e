"""Tracking on MLflow: a server by HTTP, or its SQLite store directly.

Importing MLflow takes seconds, so it happens at the first call. Everything of a run goes in one
batch. What the registry knows by its own names (``ndcg@10``) is spelt as MLflow allows
(``ndcg_at_10``).
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

from agenticrs.platform.errors import RunWithoutFiles, TrackingAway, TrackingError
from agenticrs.platform.masking import masked
from agenticrs.platform.tracking.artifacts import refuse_pickles, write_files
from agenticrs.platform.tracking.port import Alias, RunRecord

if TYPE_CHECKING:
    from mlflow.entities import Experiment
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

T = TypeVar("T")

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    # A server that is gone must be noticed in seconds: its own defaults wait for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
"""Variables of MLflow that we set unless the person did."""

_PARAMS_IN_BATCH = 100
_METRICS_IN_BATCH = 500
_LONGEST_PARAM = 6000
_LONGEST_TAG = 5000
_PAGE = 1000


class MlflowTracking:
    """Fulfils ``Tracking``. Safe to use from several threads.

    Args:
        uri: ``http(s)://`` of a server, or ``sqlite:///path``; artifacts of new experiments then
            lie in ``mlartifacts`` beside the file, where a server started later finds them.
        cache: folder for downloaded versions.
        pages: where people see MLflow's pages; None when no server is known.
    """

    def __init__(self, uri: str, cache: Path, pages: str | None = None) -> None:
        self.uri = uri
        self._cache = cache / hashlib.sha256(uri.encode()).hexdigest()[:12]
        self._pages = None if pages is None else _without_credentials(pages)
        self._lock = threading.Lock()
        self._made: MlflowClient | None = None

    def log_run(self, experiment: str, record: RunRecord) -> str:
        """Log one finished run and return its id."""
        refuse_pickles(record.artifacts)
        with self._translated(f"log run {record.name!r}") as client:
            run = client.create_run(self._experiment_id(client, experiment), run_name=record.name)
            run_id = str(run.info.run_id)
            self._log_values(client, run_id, record)
            if record.artifacts:
                with tempfile.TemporaryDirectory(prefix="agenticrs-run-") as folder:
                    write_files(Path(folder), record.artifacts)
                    self._log_files(str(run.info.artifact_uri), folder)
            client.set_terminated(run_id, "FINISHED")
            return run_id

    def find_run(self, experiment: str, tag: str, value: str) -> str | None:
        """Id of a finished run of the experiment with that tag, or None."""
        with self._translated(f"look for a run of {experiment!r}") as client:
            found = client.get_experiment_by_name(experiment)
            if found is None:
                return None
            wanted = f"attributes.status = 'FINISHED' and tags.{_tag(tag)} = {_quoted(value)}"
            runs = client.search_runs([found.experiment_id], wanted, max_results=1)
            return str(runs[0].info.run_id) if runs else None

    def register(
        self, model: str, run_id: str, folder: str, *, tags: Mapping[str, str], description: str
    ) -> int:
        """Make the run's artifact folder the next version of ``model``; return its number.

        Raises TrackingError when the run has no files there.
        """
        source = f"runs:/{run_id}/{folder.strip('/')}"
        with self._translated(f"register {source} as {model!r}") as client:
            if not client.list_artifacts(run_id, folder):
                raise RunWithoutFiles(f"run {run_id} has no files under {folder!r}")
            self._ensure_model(client, model)
            mine = client.search_model_versions(f"name={_quoted(model)} and run_id='{run_id}'")
            for version in mine:
                if version.source == source:
                    return int(version.version)
            made = client.create_model_version(
                model,
                source=source,
                run_id=run_id,
                tags={name: _cut(value, _LONGEST_TAG) for name, value in tags.items()},
                description=description,
                await_creation_for=60,
            )
            return int(made.version)

    def set_alias(self, model: str, alias: Alias, version: int) -> None:
        """Move the alias to the version (idempotent)."""
        with self._translated(f"set alias {alias} of {model!r} to version {version}") as client:
            client.set_registered_model_alias(model, alias, str(version))

    def delete_alias(self, model: str, alias: Alias) -> None:
        """Remove the alias (idempotent)."""
        with self._translated(f"delete alias {alias} of {model!r}") as client:
            if _unless_missing(lambda: client.get_registered_model(model)) is not None:
                client.delete_registered_model_alias(model, alias)

    def aliases(self, models: list[str]) -> dict[str, dict[str, int]]:
        """Model -> alias -> version for the given models; models that do not exist are absent."""
        if not models:
            return {}
        with self._translated("read aliases") as client:
            # One search over the names' common beginning, not one call for each model.
            pattern = f"name LIKE {_quoted(_common_start(models) + '%')}"
            found: dict[str, dict[str, int]] = {}
            token: str | None = None
            while True:
                page = client.search_registered_models(pattern, _PAGE, page_token=token)
                for model in page:
                    if model.name in models:
                        found[model.name] = {
                            alias: int(version) for alias, version in model.aliases.items()
                        }
                token = page.token
                if not token:
                    return found

    def versions(self, prefix: str) -> dict[str, dict[int, str]]:
        """Model -> version -> id of its run, of all models whose names begin so."""
        found: dict[str, dict[int, str]] = {}
        with self._translated("list versions") as client:
            pattern, token = f"name LIKE {_quoted(prefix + '%')}", None
            while True:
                page = client.search_model_versions(pattern, _PAGE, page_token=token)
                for version in page:
                    if version.name.startswith(prefix):  # to LIKE, "_" is any letter
                        numbers = found.setdefault(version.name, {})
                        numbers[int(version.version)] = str(version.run_id)
                token = page.token
                if not token:
                    return found

    def download(self, model: str, version: int) -> Path:
        """Local folder with the version's files, fetched once.

        Raises TrackingError when the version is gone, has no files or brings a pickle, or when
        the server cannot be reached; not for what is in the cache.
        """
        target = self._cache / quote(model, safe="") / str(version)
        if target.is_dir():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            self._translated(f"download version {version} of {model!r}") as client,
            tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetching-") as fetching,
        ):
            fetched = self._fetch(client, client.get_model_version(model, str(version)), fetching)
            names = [str(path.relative_to(fetched)) for path in fetched.rglob("*")]
            if not names:
                raise TrackingError(f"version {version} of {model!r} has no files")
            refuse_pickles(names)
            try:
                fetched.rename(target)
            except OSError:
                if not target.is_dir():  # else another process was faster, with the same files
                    raise
        return target

    def run_url(self, run_id: str) -> str | None:
        """Where a person sees the run, or None when no server with pages is known."""
        return None if self._pages is None else f"{self._pages}/#/runs/{quote(run_id)}"

    def version_url(self, model: str, version: int) -> str | None:
        """Where a person sees the version, or None."""
        if self._pages is None:
            return None
        return f"{self._pages}/#/models/{quote(model, safe='')}/versions/{version}"

    def _client(self) -> MlflowClient:
        with self._lock:
            if self._made is None:
                for name, value in QUIET.items():
                    os.environ.setdefault(name, value)
                from mlflow.tracking import MlflowClient

                for name in ("mlflow", "alembic"):
                    logging.getLogger(name).setLevel(logging.WARNING)
                _prepare_sqlite(self.uri)
                self._made = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            return self._made

    @contextmanager
    def _translated(self, what: str) -> Iterator[MlflowClient]:
        """Yield the client; whatever MLflow raises becomes a TrackingError."""
        # The import comes after _client(), which makes it quiet.
        try:
            client = self._client()
            from mlflow.exceptions import MlflowException
        except ImportError as error:
            raise TrackingError(f"MLflow cannot be imported: {error}") from error
        except Exception as error:  # opening a store raises whatever its database raises
            raise self._failure("open the store", error) from error
        try:
            yield client
        except (MlflowException, OSError) as error:
            raise self._failure(what, error) from error

    def _failure(self, what: str, error: Exception) -> TrackingError:
        where = masked(self.uri)
        if self.uri.startswith("http"):
            hint = f"is the MLflow server at {where} running, and is the request allowed?"
        else:
            hint = f"see whether {where} can be read and written"
        first = masked(str(error)).strip().splitlines()
        kind = TrackingAway if _lost(error) else TrackingError
        return kind(f"MLflow could not {what}: {first[0] if first else error!r}", hint=hint)

    def _experiment_id(self, client: MlflowClient, name: str) -> str:
        found: Experiment | None = client.get_experiment_by_name(name)
        if found is None:
            try:
                return client.create_experiment(name, artifact_location=self._location(name))
            except Exception:
                found = client.get_experiment_by_name(name)  # made by somebody else just now?
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _location(self, experiment: str) -> str | None:
        path = sqlite_path(self.uri)
        if path is None:
            return None  # the server decides
        return (path.parent / "mlartifacts" / quote(experiment, safe=" ")).as_uri()

    def _log_values(self, client: MlflowClient, run_id: str, record: RunRecord) -> None:
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        metrics = [Metric(mlflow_name(n), float(v), now, 0) for n, v in record.metrics.items()]
        params = [
            Param(mlflow_name(n), _cut(str(v), _LONGEST_PARAM)) for n, v in record.params.items()
        ]
        tags = [RunTag(mlflow_name(n), _cut(v, _LONGEST_TAG)) for n, v in record.tags.items()]
        while metrics or params or tags:  # one round, unless a run has very many
            client.log_batch(
                run_id,
                metrics=_take(metrics, _METRICS_IN_BATCH),
                params=_take(params, _PARAMS_IN_BATCH),
                tags=_take(tags, _PARAMS_IN_BATCH),
            )

    def _log_files(self, place: str, folder: str) -> None:
        # Not by the client: it keeps a pool of threads and a queue for each of a thousand runs.
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        files: Any = get_artifact_repository(place, tracking_uri=self.uri)
        files.log_artifacts(folder)

    def _ensure_model(self, client: MlflowClient, model: str) -> None:
        if _unless_missing(lambda: client.get_registered_model(model)) is None:
            try:
                client.create_registered_model(model)
            except Exception:
                client.get_registered_model(model)  # made by somebody else just now, or raise

    def _fetch(self, client: MlflowClient, version: ModelVersion, folder: str) -> Path:
        source = str(client.get_model_version_download_uri(version.name, str(version.version)))
        run = re.fullmatch(r"runs:/([^/]+)/(.+)", source)
        if run:
            return Path(client.download_artifacts(run[1], run[2], folder))
        from mlflow.artifacts import download_artifacts

        return Path(download_artifacts(artifact_uri=source, dst_path=folder, tracking_uri=self.uri))


def mlflow_name(name: str) -> str:
    """A metric's, parameter's or tag's name as MLflow allows it: ``ndcg@10`` -> ``ndcg_at_10``."""
    return re.sub(r"[^\w.\-/: ]", "_", name.replace("@", "_at_"))


def sqlite_path(uri: str) -> Path | None:
    """File of an ``sqlite:///`` URI, or None for any other."""
    return Path(uri.removeprefix("sqlite:///")).absolute() if uri.startswith("sqlite:///") else None


def _prepare_sqlite(uri: str) -> None:
    path = sqlite_path(uri)
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # WAL stays with the file: readers (the server's pages) and our writer do not block each other.
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def _lost(error: BaseException | None) -> bool:
    """Whether no answer came, not one that says no: MLflow wraps what ``requests`` raises."""
    if error is None:
        return False
    from requests.exceptions import HTTPError, RequestException

    if isinstance(error, RequestException) and not isinstance(error, HTTPError):
        return True
    return _lost(error.__cause__ or error.__context__)


def _common_start(names: Sequence[str]) -> str:
    columns = zip(*names, strict=False)
    return "".join(column[0] for column in takewhile(lambda c: len(set(c)) == 1, columns))


def _unless_missing(read: Any) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return read()
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _take(values: list[T], n: int) -> Sequence[T]:
    taken, values[:] = values[:n], values[n:]
    return taken


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _tag(name: str) -> str:
    return f"`{mlflow_name(name)}`"


def _quoted(text: str) -> str:
    if "'" in text or "\\" in text:
        raise TrackingError(f"model name {text!r} holds a quote or a backslash")
    return f"'{text}'"


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")
