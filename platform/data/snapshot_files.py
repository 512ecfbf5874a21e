"""How a snapshot lies in its folder: three Parquet tables and dataset.json.

Vocabularies travel in the tables' metadata, so that dataset.json stays small enough for a person.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from agenticrs.platform.data.dataset import Interactions, Positive
from agenticrs.platform.data.encoding import Vocabulary, column_of
from agenticrs.platform.data.raw import Declaration
from agenticrs.platform.data.snapshot import Snapshot
from agenticrs.platform.errors import DataError

_BEHAVIOUR, _CONTEXT = "behaviour.", "context."
_VOCABULARIES = b"agenticrs.vocabularies"


def write_tables(place: Path, content: Snapshot) -> None:
    """Write the three tables into the folder ``place``."""
    rows = content.rows
    columns: dict[str, Any] = {
        "user": rows.user,
        "item": rows.item,
        "timestamp": rows.timestamp,
        "order": content.order,
        **{_BEHAVIOUR + name: column for name, column in rows.behaviours.items()},
        **{_CONTEXT + name: column for name, column in rows.context.items()},
    }
    tables = (
        ("interactions", pa.table(columns), content.context_vocabularies),
        ("users", content.users, content.user_vocabularies),
        ("items", content.items, content.item_vocabularies),
    )
    for name, table, vocabularies in tables:
        metadata = {_VOCABULARIES: json.dumps(vocabularies).encode()}
        pyarrow.parquet.write_table(
            table.replace_schema_metadata(metadata), place / f"{name}.parquet", compression="zstd"
        )


def read_snapshot(folder: Path) -> Snapshot:
    """Read a snapshot back; DataError names the file that cannot be read."""
    entry = read_entry(folder)
    rows, contexts = _read_table(folder / "interactions.parquet")
    users, user_vocabularies = _read_table(folder / "users.parquet")
    items, item_vocabularies = _read_table(folder / "items.parquet")
    columns = {
        name: column_of(rows, name).to_numpy(zero_copy_only=False) for name in rows.column_names
    }
    return Snapshot(
        rows=Interactions(
            user=columns["user"],
            item=columns["item"],
            timestamp=columns["timestamp"],
            behaviours=_with_prefix(columns, _BEHAVIOUR),
            context=_with_prefix(columns, _CONTEXT),
        ),
        order=columns["order"],
        users=users,
        items=items,
        declaration=declaration_of(entry["declaration"]),
        user_vocabularies=user_vocabularies,
        item_vocabularies=item_vocabularies,
        context_vocabularies=contexts,
    )


def _read_table(path: Path) -> tuple[pa.Table, dict[str, Vocabulary]]:
    try:
        table = pyarrow.parquet.read_table(path, memory_map=False, partitioning=None)
        stored = json.loads(table.schema.metadata[_VOCABULARIES])
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: the stored table cannot be read ({error})",
            hint="delete the snapshot's folder and import the log again",
        ) from error
    return table, {name: tuple(values) for name, values in stored.items()}


def _with_prefix(columns: Mapping[str, np.ndarray[Any, Any]], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): column
        for name, column in columns.items()
        if name.startswith(prefix)
    }


def read_entry(folder: Path) -> dict[str, Any]:
    """What dataset.json says; DataError when it cannot be read."""
    path = folder / "dataset.json"
    try:
        entry = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read ({error})",
            hint="delete the snapshot's folder and import the log again",
        ) from error
    if not isinstance(entry, dict) or entry.get("format") != 1:
        raise DataError(f"{path}: unknown format", hint="it was written by another version")
    return entry


def declaration_of(stored: Mapping[str, Any]) -> Declaration:
    """The declaration as it was before it became JSON."""
    return Declaration(
        **{
            **stored,
            "positive": Positive(**stored["positive"]),
            "context": tuple(stored["context"]),
        }
    )
