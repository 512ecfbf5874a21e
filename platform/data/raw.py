"""A log as an importer hands it over: Arrow tables with the source's own ids, and a declaration.

Nothing here is checked (``validation.py``) or numbered (``store.py``). The tables hold:

* ``interactions``: ``user_id``, ``item_id`` (text), ``timestamp`` (int64, Unix seconds, or the
  place in the user's history where ``has_times`` is false), any of the known behaviours (numbers),
  any context columns (text), and optionally ``order`` (int64), which puts rows with the same
  timestamp in order (the milliseconds of a source that has them, say);
* ``users``: ``user_id`` and the declared features;
* ``items``: ``item_id``, optionally ``title``, and the declared features.

Features are text (categorical), lists of text (multi_hot) or numbers (numeric); null is "unknown".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

from agenticrs.platform.data.dataset import BEHAVIOURS, Positive
from agenticrs.platform.errors import DataError

FeatureKind = Literal["categorical", "multi_hot", "numeric"]
ID_COLUMNS = ("user_id", "item_id", "timestamp", "order")
"""Columns of ``interactions`` that are neither a behaviour nor context."""


@dataclass(frozen=True)
class Declaration:
    """What the columns of a log mean.

    ``positive`` says which rows count; ``value`` names the behaviour that the business counts, or
    is None when every positive is worth the same. ``has_times`` is false where ``timestamp`` is
    only the place in a user's history, so that times of two users cannot be compared.
    """

    positive: Positive
    value: str | None = None
    user_features: Mapping[str, FeatureKind] = field(default_factory=dict)
    item_features: Mapping[str, FeatureKind] = field(default_factory=dict)
    context: tuple[str, ...] = ()
    has_times: bool = True


@dataclass(frozen=True)
class RawLog:
    """An interaction log with its users and items, not yet checked.

    ``users_complete``/``items_complete``: the table claims to list every user/item, so an
    interaction with another id is a bad row. ``row_numbers`` are the numbers of the interaction
    rows in the source (first data row = 1) where rows were left out; None means 1, 2, 3, ...
    ``notes`` say in plain words what the importer left out, merged or assumed.
    """

    interactions: pa.Table
    users: pa.Table
    items: pa.Table
    declaration: Declaration
    users_complete: bool = False
    items_complete: bool = False
    row_numbers: pa.Array | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse tables that do not fit the declaration (DataError names table and column)."""
        _require(self.interactions, "interactions", ID_COLUMNS[:3])
        _require(self.users, "users", ("user_id", *self.declaration.user_features))
        _require(self.items, "items", ("item_id", *self.declaration.item_features))
        _require(self.interactions, "interactions", self.declaration.context)
        for name in self.declaration.context:
            if name in ID_COLUMNS or name in BEHAVIOURS:
                raise DataError(
                    f"context {name!r} has the name of a column of the schema",
                    hint="give it another name",
                )
        for name in (*self.declaration.user_features, *self.declaration.item_features):
            if name in {"user_id", "item_id", "title"}:
                raise DataError(f"feature {name!r} has a reserved name", hint="rename the column")
        known = {*ID_COLUMNS, *BEHAVIOURS, *self.declaration.context}
        for name in self.interactions.column_names:
            if name not in known:
                raise DataError(
                    f"interactions: column {name!r} is no known behaviour",
                    hint="behaviours are " + ", ".join(BEHAVIOURS) + "; declare others as context",
                )
        wanted = [self.declaration.positive.behaviour]
        wanted += [self.declaration.value] if self.declaration.value else []
        _require(self.interactions, "interactions", wanted)

    @property
    def behaviours(self) -> tuple[str, ...]:
        """The behaviour columns that this log has, in the order of ``BEHAVIOURS``."""
        return tuple(name for name in BEHAVIOURS if name in self.interactions.column_names)


@dataclass(frozen=True)
class Event:
    """One interaction that came back from serving: ids of the source, Unix seconds, behaviours."""

    user_id: str
    item_id: str
    timestamp: int
    behaviours: Mapping[str, float] = field(default_factory=dict)


def events_table(events: Iterable[Event], behaviours: Iterable[str]) -> pa.Table:
    """The events as an ``interactions`` table with exactly these behaviours (0 where not given).

    Raises DataError when an event has a behaviour that is not among BEHAVIOURS.
    """
    events = list(events)
    names = set(behaviours).union(*(event.behaviours for event in events))
    for name in sorted(names.difference(BEHAVIOURS)):
        raise DataError(
            f"an event has the unknown behaviour {name!r}",
            hint="behaviours are " + ", ".join(BEHAVIOURS),
        )
    columns: dict[str, Any] = {
        "user_id": pa.array([event.user_id for event in events], pa.string()),
        "item_id": pa.array([event.item_id for event in events], pa.string()),
        "timestamp": pa.array([event.timestamp for event in events], pa.int64()),
    }
    for name in BEHAVIOURS:
        if name in names:
            values = [float(event.behaviours.get(name, 0.0)) for event in events]
            columns[name] = pa.array(values, pa.float32())
    return pa.table(columns)


def _require(table: pa.Table, name: str, columns: Iterable[str]) -> None:
    for column in columns:
        if column not in table.column_names:
            raise DataError(
                f"{name}: column {column!r} is missing",
                hint="it has " + (", ".join(table.column_names) or "no columns"),
            )
