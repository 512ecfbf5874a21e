"""Stored datasets: immutable, fingerprinted snapshots under a name.

    <root>/<name>/<fingerprint>/
        interactions.parquet   index of user and of item, time, behaviours, context codes
        users.parquet          row i = user index i, with the features as in the source
        items.parquet          row i = item index i
        dataset.json           what it is and where it comes from

A snapshot is written beside its place and then renamed into it, under a lock of its name: readers
see all of it or nothing, and writers of one name wait for each other. What the files mean is in
``snapshot.py``; this module only keeps them.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from agenticrs.platform.data import snapshot as snapshots
from agenticrs.platform.data.dataset import Dataset, Positive
from agenticrs.platform.data.raw import Event, RawLog, events_table
from agenticrs.platform.data.snapshot import Snapshot
from agenticrs.platform.data.snapshot_files import (
    declaration_of,
    read_entry,
    read_snapshot,
    write_tables,
)
from agenticrs.platform.data.validation import InvalidRows, ValidationReport, validate
from agenticrs.platform.errors import DataError, UnknownDataset

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Summary:
    """What a person wants to know of a snapshot before loading it.

    ``first`` and ``last`` are the first and last timestamp of the log, ``snapshots`` how many the
    name has, ``notes`` what was left out, merged or assumed on the way in.
    """

    name: str
    fingerprint: str
    created: datetime
    n_users: int
    n_items: int
    n_interactions: int
    n_positives: int
    first: int
    last: int
    positive: Positive
    value: str | None
    has_times: bool
    behaviours: tuple[str, ...]
    notes: tuple[str, ...]
    snapshots: int


class DatasetStore:
    """The datasets under one folder. ``clock`` gives the present in Unix seconds."""

    def __init__(self, root: Path, clock: Callable[[], float] = time.time) -> None:
        self._root = root
        self._clock = clock

    def save(self, name: str, raw: RawLog, *, keep_good: bool = False) -> Dataset:
        """Check the log, add it to the dataset ``name`` and return the new snapshot.

        A name that exists keeps its rows and indices: new rows, users and items are appended, rows
        that it has already are skipped (and counted in the notes). When nothing is new, the
        present snapshot is returned and none is made.

        Args:
            name: Lower-case letters, digits, ``-`` and ``_``.
            raw: The log.
            keep_good: Leave out bad rows (counted in the notes) instead of refusing the log.

        Raises:
            InvalidRows: There are bad rows; ``report`` lists them.
            DataError: The name is malformed, nothing is left, or the declaration contradicts the
                stored one.
        """
        _check_name(name)
        report = validate(raw, int(self._clock()))
        if not report.ok and not keep_good:
            raise InvalidRows(report, hint="correct the rows, or keep the good ones only")
        raw = _only_good(raw, report)
        with self._locked(name):
            latest = self._latest(name)
            previous = read_snapshot(self._folder(name, latest)) if latest else None
            content, skipped = snapshots.build(raw, previous)
            fingerprint = snapshots.fingerprint(content)
            if fingerprint != latest:
                notes = list(raw.notes)
                if skipped:
                    notes.append(f"{skipped:,} rows that the dataset already has skipped")
                self._write(name, fingerprint, content, notes, latest)
        return content.dataset(name, fingerprint)

    def append_events(
        self, name: str, events: Sequence[Event], *, keep_good: bool = False
    ) -> Dataset:
        """Add feedback to the dataset and return the new snapshot (or the present one if no news).

        Users may be new, items must be known. Behaviours that an event does not give are 0.

        Raises:
            UnknownDataset: There is no such dataset.
            InvalidRows: Events are bad (and ``keep_good`` is not set); row i is the i-th event.
        """
        latest = self.fingerprints(name)[-1]
        if not events:
            return self.load(name, latest)
        previous = read_snapshot(self._folder(name, latest))
        declared = replace(previous.declaration, user_features={}, item_features={}, context=())
        raw = RawLog(
            interactions=events_table(events, previous.rows.behaviours),
            users=pa.table({"user_id": pa.array([], pa.string())}),
            items=previous.items.select(["item_id"]),
            declaration=declared,
            items_complete=True,
        )
        return self.save(name, raw, keep_good=keep_good)

    def load(self, name: str, fingerprint: str | None = None) -> Dataset:
        """A snapshot as arrays; the newest one of the name when no fingerprint is given.

        Raises:
            UnknownDataset: There is no such dataset or snapshot; the hint says what there is.
            DataError: Its files cannot be read.
        """
        known = self.fingerprints(name)
        fingerprint = fingerprint or known[-1]
        if fingerprint not in known:
            raise UnknownDataset(
                f"dataset {name!r} has no snapshot {fingerprint!r}",
                hint="snapshots, oldest first: " + ", ".join(known),
            )
        return read_snapshot(self._folder(name, fingerprint)).dataset(name, fingerprint)

    def list(self) -> tuple[Summary, ...]:
        """The newest snapshot of every dataset, by name."""
        return tuple(self.summary(name) for name in self.names())

    def summary(self, name: str, fingerprint: str | None = None) -> Summary:
        """What a snapshot is; the newest one of the name when no fingerprint is given."""
        known = self.fingerprints(name)
        fingerprint = fingerprint or known[-1]
        if fingerprint not in known:
            raise UnknownDataset(
                f"dataset {name!r} has no snapshot {fingerprint!r}",
                hint="snapshots, oldest first: " + ", ".join(known),
            )
        entry = read_entry(self._folder(name, fingerprint))
        declaration = declaration_of(entry["declaration"])
        return Summary(
            name=name,
            fingerprint=fingerprint,
            created=datetime.fromisoformat(entry["created"]),
            positive=declaration.positive,
            value=declaration.value,
            has_times=declaration.has_times,
            behaviours=tuple(entry["behaviours"]),
            notes=tuple(entry["notes"]),
            snapshots=len(known),
            **entry["counts"],
        )

    def fingerprints(self, name: str, *, or_none: bool = False) -> tuple[str, ...]:
        """The snapshots of a dataset, oldest first.

        Raises:
            UnknownDataset: There is no such dataset (unless ``or_none``: then nothing is returned).
        """
        _check_name(name)
        folder = self._root / name
        found = [
            (int(read_entry(path)["sequence"]), path.name)
            for path in (folder.iterdir() if folder.is_dir() else ())
            if _FINGERPRINT.fullmatch(path.name)
        ]
        if not found and not or_none:
            raise UnknownDataset(
                f"there is no dataset {name!r}",
                hint="stored: " + (", ".join(self.names()) or "none yet, import or generate one"),
            )
        return tuple(fingerprint for _, fingerprint in sorted(found))

    def names(self) -> tuple[str, ...]:
        """The stored datasets, by name."""
        if not self._root.is_dir():
            return ()
        names = [path.name for path in self._root.iterdir() if _NAME.fullmatch(path.name)]
        return tuple(sorted(name for name in names if self.fingerprints(name, or_none=True)))

    def _latest(self, name: str) -> str | None:
        known = self.fingerprints(name, or_none=True)
        return known[-1] if known else None

    def _folder(self, name: str, fingerprint: str) -> Path:
        return self._root / name / fingerprint

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        folder = self._root / name
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left_over in folder.glob(".writing-*"):  # of a writer that died
                shutil.rmtree(left_over, ignore_errors=True)
            yield

    def _write(
        self,
        name: str,
        fingerprint: str,
        content: Snapshot,
        notes: Sequence[str],
        parent: str | None,
    ) -> None:
        folder = self._root / name
        place = folder / f".writing-{uuid.uuid4().hex}"
        place.mkdir()
        write_tables(place, content)
        rows = content.rows
        positive = content.declaration.positive
        entry = {
            "format": 1,
            "name": name,
            "fingerprint": fingerprint,
            "sequence": read_entry(folder / parent)["sequence"] + 1 if parent else 1,
            "parent": parent,
            "created": datetime.fromtimestamp(self._clock(), UTC).isoformat(),
            "counts": {
                "n_users": content.users.num_rows,
                "n_items": content.items.num_rows,
                "n_interactions": len(rows),
                "n_positives": int((rows.behaviours[positive.behaviour] >= positive.minimum).sum()),
                "first": int(rows.timestamp.min()),
                "last": int(rows.timestamp.max()),
            },
            "behaviours": list(rows.behaviours),
            "declaration": asdict(content.declaration),
            "notes": list(notes),
        }
        (place / "dataset.json").write_text(json.dumps(entry, indent=2) + "\n")
        for path in [*place.iterdir(), place]:
            _sync(path)
        if (folder / fingerprint).is_dir():
            # Features went back to what they once were: the old snapshot becomes the newest. Its
            # vocabularies may have grown, but every code that a reader may hold stays right.
            for file in ("interactions.parquet", "users.parquet", "items.parquet", "dataset.json"):
                (place / file).replace(folder / fingerprint / file)
            place.rmdir()
        else:
            place.rename(folder / fingerprint)
        _sync(folder)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise DataError(
            f"{name[:80]!r} is no name for a dataset",
            hint="use up to 64 lower-case letters, digits, '-' and '_', a letter or digit first",
        )


def _only_good(raw: RawLog, report: ValidationReport) -> RawLog:
    if report.ok:
        return raw
    note = "bad rows left out: " + report.summary()
    return replace(
        raw,
        interactions=raw.interactions.filter(pa.array(report.good["interactions"])),
        users=raw.users.filter(pa.array(report.good["users"])),
        items=raw.items.filter(pa.array(report.good["items"])),
        row_numbers=None,
        notes=(*raw.notes, note),
    )


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
