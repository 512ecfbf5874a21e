"""The numbered content of one snapshot: made from a raw log, perhaps on top of an older snapshot.

Users, items and categories get dense indices that only grow. Rows get one canonical order, by
user, timestamp, ``order``, and last by a hash of the item's id: rows of one user with the same
time have no order of their own, and a hash favours no kind of item as the last one. The
fingerprint follows from the content alone, not from the order of input rows or of imports.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from agenticrs.platform.data import encoding
from agenticrs.platform.data.dataset import BEHAVIOURS, Dataset, IntArray, Interactions
from agenticrs.platform.data.encoding import Vocabulary
from agenticrs.platform.data.raw import Declaration, FeatureKind, RawLog
from agenticrs.platform.errors import DataError

LONGEST_TITLE = 200
"""Longer titles are cut when a dataset is loaded."""


@dataclass(frozen=True)
class Snapshot:
    """Rows in canonical order, with ``users`` and ``items`` in the order of their indices.

    ``order`` (n,) is 0 where the source has none. Vocabularies are by column name.
    """

    rows: Interactions
    order: IntArray
    users: pa.Table
    items: pa.Table
    declaration: Declaration
    user_vocabularies: Mapping[str, Vocabulary]
    item_vocabularies: Mapping[str, Vocabulary]
    context_vocabularies: Mapping[str, Vocabulary]

    def dataset(self, name: str, fingerprint: str) -> Dataset:
        """The snapshot as arrays, under a name."""
        declared = self.declaration
        ids = _text_array(self.items, "item_id")
        return Dataset(
            name=name,
            fingerprint=fingerprint,
            interactions=self.rows,
            user_ids=_text_array(self.users, "user_id"),
            item_ids=ids,
            item_titles=_titles(self.items) if "title" in self.items.column_names else ids,
            user_features=encoding.encode(
                self.users, declared.user_features, self.user_vocabularies
            ),
            item_features=encoding.encode(
                self.items, declared.item_features, self.item_vocabularies
            ),
            positive=declared.positive,
            value=declared.value,
            has_times=declared.has_times,
        )


def build(raw: RawLog, previous: Snapshot | None = None) -> tuple[Snapshot, int]:
    """Number a checked log, on top of ``previous`` where there is one.

    Rows that stand in ``previous`` already (same user, item, timestamp and order) are skipped;
    rows of users and items replace older ones with the same id.

    Returns:
        The snapshot, and how many rows were skipped.

    Raises:
        DataError: There is no row at all, or the declarations contradict each other.
    """
    declaration = _merge_declarations(raw.declaration, previous)
    log = raw.interactions
    old_users = previous.users if previous else _empty("user_id")
    old_items = previous.items if previous else _empty("item_id")
    users = _merge_entities("user_id", old_users, raw.users, log["user_id"])
    items = _merge_entities("item_id", old_items, raw.items, log["item_id"])
    context_vocabularies = dict(previous.context_vocabularies) if previous else {}
    for name in raw.declaration.context:
        column = encoding.column_of(log, name)
        context_vocabularies[name] = encoding.extend(context_vocabularies.get(name, ()), column)
    fresh = Interactions(
        user=_places(log, users, "user_id"),
        item=_places(log, items, "item_id"),
        timestamp=encoding.column_of(log, "timestamp").to_numpy(zero_copy_only=False),
        behaviours={
            name: encoding.numeric(encoding.column_of(log, name)) for name in raw.behaviours
        },
        context={
            name: encoding.codes(encoding.column_of(log, name), context_vocabularies[name])
            for name in raw.declaration.context
        },
    )
    order = np.zeros(len(fresh), dtype=np.int64)
    if "order" in log.column_names:
        order = encoding.column_of(log, "order").to_numpy(zero_copy_only=False).astype(np.int64)
    if previous:
        fresh = _stack(previous.rows, fresh)
        order = np.concatenate([previous.order, order])
    if not len(fresh):
        raise DataError("the log has no rows", hint="import a log with at least one good row")
    rows, order, skipped = _canonical(fresh, order, encoding.column_of(items, "item_id"))
    snapshot = Snapshot(
        rows=rows,
        order=order,
        users=users,
        items=items,
        declaration=declaration,
        user_vocabularies=_extend_all(
            previous.user_vocabularies if previous else {}, users, declaration.user_features
        ),
        item_vocabularies=_extend_all(
            previous.item_vocabularies if previous else {}, items, declaration.item_features
        ),
        context_vocabularies=context_vocabularies,
    )
    return snapshot, skipped


def fingerprint(snapshot: Snapshot) -> str:
    """16 hex digits over the content; the same however indices, codes and rows came about."""
    digest = hashlib.sha256(b"agenticrs dataset 1")
    digest.update(json.dumps(asdict(snapshot.declaration), sort_keys=True).encode())
    rank = {}
    for key, table in (("user_id", snapshot.users), ("item_id", snapshot.items)):
        by_id = _id_order(encoding.column_of(table, key).to_pylist())
        rank[key] = np.empty(len(by_id), dtype=np.int64)
        rank[key][by_id] = np.arange(len(by_id))
        ordered = table.take(pa.array(by_id))
        for name in sorted(table.column_names):
            digest.update(name.encode())
            _hash_column(digest, encoding.column_of(ordered, name))
    rows = snapshot.rows
    user = rank["user_id"][rows.user]
    by_user = np.argsort(user, kind="stable")
    arrays: dict[str, npt.NDArray[Any]] = {
        "user": user,
        "item": rank["item_id"][rows.item],
        "timestamp": rows.timestamp,
        "order": snapshot.order,
        **{f"behaviour {name}": column for name, column in sorted(rows.behaviours.items())},
    }
    for name, array in arrays.items():
        digest.update(name.encode())
        digest.update(_little(array[by_user]))
    for name, codes in sorted(rows.context.items()):
        digest.update(f"context {name}".encode())
        values = pa.array([None, *snapshot.context_vocabularies[name]], pa.string())
        _hash_column(digest, values.take(pa.array(codes[by_user])))
    return digest.hexdigest()[:16]


def _merge_declarations(new: Declaration, previous: Snapshot | None) -> Declaration:
    if previous is None:
        return new
    old = previous.declaration
    for what in ("positive", "value", "has_times"):
        if getattr(new, what) != getattr(old, what):
            raise DataError(
                f"the stored dataset has {what} = {getattr(old, what)}, the new log has "
                f"{getattr(new, what)}",
                hint="import it under another name",
            )
    for side in ("user_features", "item_features"):
        kinds, known = getattr(new, side), getattr(old, side)
        for name in kinds:
            if known.get(name, kinds[name]) != kinds[name]:
                raise DataError(
                    f"feature {name!r} is stored as {known[name]}, the new log says {kinds[name]}",
                    hint="import it under another name",
                )
    return replace(
        old,
        user_features={**old.user_features, **new.user_features},
        item_features={**old.item_features, **new.item_features},
        context=tuple(dict.fromkeys((*old.context, *new.context))),
    )


def _merge_entities(key: str, old: pa.Table, new: pa.Table, used: pa.ChunkedArray) -> pa.Table:
    """All entities in the order of their indices: the old ones stay, new ones go to the end."""
    known = encoding.column_of(old, key)
    listed = encoding.column_of(new, key)
    candidates = {*listed.to_pylist(), *pc.unique(used).to_pylist()}
    added = list(candidates.difference(known.to_pylist()))
    added = [added[place] for place in _id_order(added)]
    ids = pa.array([*known.to_pylist(), *added], pa.string())
    in_new = pc.index_in(ids, value_set=listed)
    in_old = pc.index_in(ids, value_set=known)
    columns: dict[str, pa.Array] = {key: ids}
    for name in dict.fromkeys((*old.column_names, *new.column_names)):
        if name == key:
            continue
        if name not in new.column_names:
            columns[name] = encoding.column_of(old, name).take(in_old)
        elif name not in old.column_names:
            columns[name] = encoding.column_of(new, name).take(in_new)
        else:
            fresh = encoding.column_of(new, name)
            both = pa.concat_arrays([encoding.column_of(old, name).cast(fresh.type), fresh])
            columns[name] = both.take(pc.coalesce(pc.add(in_new, len(old)), in_old))
    return pa.table(columns)


def _id_order(ids: Sequence[str]) -> list[int]:
    """Places of the ids in order: shorter first, so that plain numbers stand as numbers do."""
    return sorted(range(len(ids)), key=lambda place: (len(ids[place]), ids[place]))


def _places(log: pa.Table, entities: pa.Table, key: str) -> npt.NDArray[np.int32]:
    found = pc.index_in(encoding.column_of(log, key), value_set=encoding.column_of(entities, key))
    places: npt.NDArray[np.int32] = found.to_numpy(zero_copy_only=False).astype(np.int32)
    return places


def _stack(old: Interactions, new: Interactions) -> Interactions:
    """The rows of both; a behaviour or context that one of them lacks is 0 there."""

    def stacked(
        one: Mapping[str, npt.NDArray[Any]],
        two: Mapping[str, npt.NDArray[Any]],
        name: str,
        kind: Any,
    ) -> npt.NDArray[Any]:
        first = one.get(name, np.zeros(len(old), dtype=kind))
        return np.concatenate([first, two.get(name, np.zeros(len(new), dtype=kind))])

    return Interactions(
        user=np.concatenate([old.user, new.user]),
        item=np.concatenate([old.item, new.item]),
        timestamp=np.concatenate([old.timestamp, new.timestamp]),
        behaviours={
            name: stacked(old.behaviours, new.behaviours, name, np.float32)
            for name in BEHAVIOURS
            if name in old.behaviours or name in new.behaviours
        },
        context={
            name: stacked(old.context, new.context, name, np.int32)
            for name in dict.fromkeys((*old.context, *new.context))
        },
    )


def _canonical(
    rows: Interactions, order: IntArray, item_ids: pa.Array
) -> tuple[Interactions, IntArray, int]:
    """Sort the rows and keep the first of those that say the same; count the others."""
    hashes = [
        hashlib.blake2b(text.encode(), digest_size=8).digest() for text in item_ids.to_pylist()
    ]
    by_hash = np.argsort(np.array([int.from_bytes(value, "big") for value in hashes], np.uint64))
    tie = np.empty(len(by_hash), dtype=np.int64)
    tie[by_hash] = np.arange(len(by_hash))
    key = (tie[rows.item], order, rows.timestamp, rows.user)
    by_key = np.lexsort(key)
    same = np.ones(max(len(rows) - 1, 0), dtype=np.bool_)
    for column in key:
        ordered = column[by_key]
        same &= ordered[1:] == ordered[:-1]
    keep = by_key[np.concatenate([[True], ~same])]
    return rows.take(keep), order[keep], len(rows) - len(keep)


def _extend_all(
    old: Mapping[str, Vocabulary], table: pa.Table, kinds: Mapping[str, FeatureKind]
) -> dict[str, Vocabulary]:
    return {
        name: encoding.extend(old.get(name, ()), encoding.column_of(table, name))
        for name, kind in kinds.items()
        if kind != "numeric"
    }


def _hash_column(digest: Any, column: pa.Array) -> None:
    """Feed values, not codes or chunks, into the digest."""
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        values = pc.fill_null(column.cast(pa.float64()), float("nan"))
        digest.update(_little(values.to_numpy(zero_copy_only=False)))
        return
    vocabulary = tuple(encoding.distinct(column))
    digest.update(json.dumps(vocabulary).encode())
    if pa.types.is_list(column.type):
        digest.update(encoding.multi_hot(column, vocabulary).astype(np.uint8).tobytes())
    else:
        digest.update(_little(encoding.codes(column, vocabulary)))


def _little(array: npt.NDArray[Any]) -> bytes:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()


def _empty(key: str) -> pa.Table:
    return pa.table({key: pa.array([], pa.string())})


def _text_array(table: pa.Table, name: str) -> npt.NDArray[np.str_]:
    return np.array(encoding.column_of(table, name).to_pylist(), dtype=np.str_)


def _titles(items: pa.Table) -> npt.NDArray[np.str_]:
    titles = encoding.column_of(items, "title")
    titles = pc.coalesce(titles, encoding.column_of(items, "item_id"))
    return np.array(pc.utf8_slice_codeunits(titles, 0, LONGEST_TITLE).to_pylist(), dtype=np.str_)
