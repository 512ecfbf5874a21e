"""CSV and Parquet files with any column names: the mapping says which column is what.

The same mapping reads both formats. What it does not name is left out, and the notes say so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from agenticrs.platform.data.dataset import BEHAVIOURS, Positive
from agenticrs.platform.data.importers import reading
from agenticrs.platform.data.raw import Declaration, FeatureKind, RawLog
from agenticrs.platform.errors import DataError

TimeUnit = Literal["s", "ms", "us", "iso", "place"]
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "place": 1.0}
_UNITS_PER_SECOND = {"ms": 1_000, "us": 1_000_000}


@dataclass(frozen=True)
class _Format:
    """How one kind of file is read: its column names, and some of its columns as a table."""

    header: Callable[[Path], Sequence[str]]
    read: Callable[[Path, Sequence[str]], pa.Table]


class ColumnMapping(BaseModel):
    """Which column of a file is what.

    Where ``behaviours`` is None, every column named like a known behaviour is taken; a file with
    none of them counts every row as one click.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str = "user_id"
    item: str = "item_id"
    timestamp: str = "timestamp"
    time_unit: TimeUnit = "s"
    """``iso`` for ISO 8601 text or Arrow times; ``place`` where the column is only the place in
    the user's history (then the dataset has no times)."""
    order: str | None = None
    """A number that puts rows with the same time in order; with ms and us it is the rest of the
    second unless given."""
    behaviours: Mapping[str, str] | None = None
    """Known behaviour -> column of the file."""
    scale: Mapping[str, float] = Field(default_factory=dict)
    """Known behaviour -> factor (0.001 turns milliseconds into seconds)."""
    context: Mapping[str, str] = Field(default_factory=dict)
    """Context name -> column of the file."""
    positive: str | None = None
    """Behaviour that makes a row positive; None: click, or else the first behaviour there is."""
    positive_minimum: float = 1.0
    value: str | None = None
    """Behaviour that the business counts."""
    title: str | None = "title"
    """Column of the items file with titles (left out where it does not exist)."""
    user_features: Mapping[str, FeatureKind] = Field(default_factory=dict)
    item_features: Mapping[str, FeatureKind] = Field(default_factory=dict)
    """Column of the users/items file -> categorical, multi_hot or numeric."""
    complete: bool = True
    """Whether a given users or items file lists all of them: other ids are then bad rows."""
    delimiter: str = Field(default=",", min_length=1)
    encoding: str = "utf-8"
    tag_separator: str = Field(default="|", min_length=1)


def read_csv(
    path: Path,
    mapping: ColumnMapping | None = None,
    *,
    users: Path | None = None,
    items: Path | None = None,
) -> RawLog:
    """Read a delimited interaction log (.gz too), with optional files of users and items.

    Args:
        path: The log; its first row names the columns.
        mapping: Which column is what; None for the names of the schema itself.
        users: File of users: the mapping's ``user`` column and ``user_features``.
        items: File of items: the mapping's ``item`` column, ``title`` and ``item_features``.

    Raises:
        DataError: A file, column or cell is not usable; the message names it and the fix.
    """
    mapping = mapping or ColumnMapping()

    def header(file: Path) -> Sequence[str]:
        return reading.header(file, mapping.delimiter, mapping.encoding)

    def read(file: Path, columns: Sequence[str]) -> pa.Table:
        return reading.read_text_table(
            file, columns=columns, delimiter=mapping.delimiter, encoding=mapping.encoding
        )

    return _read(_Format(header, read), mapping, path, users, items)


def read_parquet(
    path: Path,
    mapping: ColumnMapping | None = None,
    *,
    users: Path | None = None,
    items: Path | None = None,
) -> RawLog:
    """Read an interaction log from a Parquet file or a folder of them; see ``read_csv``."""
    parquet = _Format(reading.parquet_header, reading.read_parquet_table)
    return _read(parquet, mapping or ColumnMapping(), path, users, items)


def _read(
    form: _Format, mapping: ColumnMapping, path: Path, users: Path | None, items: Path | None
) -> RawLog:
    present = form.header(path)
    behaviours = _behaviours(mapping, present)
    columns = [mapping.user, mapping.item, mapping.timestamp, *behaviours.values()]
    columns += [mapping.order] if mapping.order else []
    columns += mapping.context.values()
    source = form.read(path, list(dict.fromkeys(columns)))
    interactions = _interactions(source, mapping, behaviours, path.name)
    notes = _left_out(path, present, columns)
    if not behaviours:
        notes.append(f"{path.name}: no behaviour column, so every row counts as one click")
    positive = mapping.positive or next(
        name for name in BEHAVIOURS if name in interactions.column_names
    )
    for name in filter(None, (positive, mapping.value)):
        if name not in interactions.column_names:
            raise DataError(
                f"{path.name}: there is no behaviour {name!r} to count",
                hint="map its column, or choose one of "
                + ", ".join(name for name in BEHAVIOURS if name in interactions.column_names),
            )
    user_table, user_notes = _users(form, mapping, users)
    item_table, item_notes = _items(form, mapping, items)
    return RawLog(
        interactions=interactions,
        users=user_table,
        items=item_table,
        declaration=Declaration(
            positive=Positive(positive, mapping.positive_minimum),
            value=mapping.value,
            user_features=dict(mapping.user_features) if users else {},
            item_features=dict(mapping.item_features) if items else {},
            context=tuple(mapping.context),
            has_times=mapping.time_unit != "place",
        ),
        users_complete=users is not None and mapping.complete,
        items_complete=items is not None and mapping.complete,
        notes=(*notes, *user_notes, *item_notes),
    )


def _behaviours(mapping: ColumnMapping, present: Sequence[str]) -> dict[str, str]:
    if mapping.behaviours is None:
        return {name: name for name in BEHAVIOURS if name in present}
    for name in mapping.behaviours:
        if name not in BEHAVIOURS:
            raise DataError(
                f"the mapping names the unknown behaviour {name!r}",
                hint="behaviours are " + ", ".join(BEHAVIOURS),
            )
    return dict(mapping.behaviours)


def _interactions(
    source: pa.Table, mapping: ColumnMapping, behaviours: Mapping[str, str], file: str
) -> pa.Table:
    clock = source[mapping.timestamp]
    order: pa.ChunkedArray | None = None
    if mapping.time_unit == "iso":
        times = reading.moments(clock, file, mapping.timestamp)
    else:
        times = reading.integers(clock, file, mapping.timestamp, _SECONDS[mapping.time_unit])
        if mapping.time_unit in _UNITS_PER_SECOND and mapping.order is None:
            order = reading.rest_of_second(
                clock, times, file, mapping.timestamp, _UNITS_PER_SECOND[mapping.time_unit]
            )
    if mapping.order:
        order = reading.integers(source[mapping.order], file, mapping.order)
    columns = {
        "user_id": reading.texts(source[mapping.user]),
        "item_id": reading.texts(source[mapping.item]),
        "timestamp": times,
    }
    if order is not None:
        columns["order"] = order
    for name, column in behaviours.items():
        values = reading.numbers(source[column], file, column)
        columns[name] = reading.scaled(values, mapping.scale.get(name, 1.0))
    if not behaviours:
        columns["click"] = pa.chunked_array([np.ones(source.num_rows)])
    for name, column in mapping.context.items():
        columns[name] = reading.texts(source[column])
    return pa.table(columns)


def _users(form: _Format, mapping: ColumnMapping, path: Path | None) -> tuple[pa.Table, list[str]]:
    if path is None:
        return pa.table({"user_id": pa.array([], pa.string())}), []
    columns = list(dict.fromkeys([mapping.user, *mapping.user_features]))
    source = form.read(path, columns)
    table = {"user_id": reading.texts(source[mapping.user])}
    table |= _features(source, mapping.user_features, path.name, mapping.tag_separator)
    return pa.table(table), _left_out(path, form.header(path), columns)


def _items(form: _Format, mapping: ColumnMapping, path: Path | None) -> tuple[pa.Table, list[str]]:
    if path is None:
        return pa.table({"item_id": pa.array([], pa.string())}), []
    present = form.header(path)
    title = [mapping.title] if mapping.title in present else []
    columns = list(dict.fromkeys([mapping.item, *mapping.item_features, *filter(None, title)]))
    source = form.read(path, columns)
    table = {"item_id": reading.texts(source[mapping.item])}
    if title:
        table["title"] = reading.texts(source[mapping.title])
    table |= _features(source, mapping.item_features, path.name, mapping.tag_separator)
    return pa.table(table), _left_out(path, present, columns)


def _features(
    source: pa.Table, features: Mapping[str, FeatureKind], file: str, separator: str
) -> dict[str, pa.ChunkedArray]:
    table = {}
    for name, kind in features.items():
        column = source[name]
        if kind == "numeric":
            table[name] = reading.numbers(column, file, name)
        elif kind == "multi_hot":
            table[name] = reading.tags(column, separator)
        else:
            table[name] = reading.texts(column)
    return table


def _left_out(path: Path, present: Sequence[str], taken: Sequence[str]) -> list[str]:
    left = [name for name in present if name not in taken]
    return [f"{path.name}: columns left out: {', '.join(left)}"] if left else []
