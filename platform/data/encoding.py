"""From text features to codes: vocabularies that only ever grow, and ``Features`` of a table.

A code, once given, keeps its meaning within one dataset name: an agent trained on an older
snapshot reads the newer one's features rightly.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from agenticrs.platform.data.dataset import CodeArray, Features, FloatArray
from agenticrs.platform.data.raw import FeatureKind

Vocabulary = tuple[str, ...]
"""The values of a column in the order of their codes 1, 2, 3, ... (0 is unknown)."""


def column_of(table: pa.Table, name: str) -> pa.Array:
    """The column in one piece."""
    combined = table[name].combine_chunks()
    if isinstance(combined, pa.ChunkedArray):  # an empty column comes back as chunks
        return pa.array([], table[name].type) if not combined.num_chunks else combined.chunk(0)
    return combined


def distinct(column: pa.Array) -> list[str]:
    """The different values of a text column (or of the tags in a list column), sorted."""
    values = column.flatten() if pa.types.is_list(column.type) else column
    return sorted(pc.drop_null(pc.unique(values)).to_pylist())


def extend(vocabulary: Vocabulary, column: pa.Array) -> Vocabulary:
    """The vocabulary with the column's new values at its end, sorted among themselves."""
    known = frozenset(vocabulary)
    return (*vocabulary, *(value for value in distinct(column) if value not in known))


def codes(column: pa.Array, vocabulary: Vocabulary) -> CodeArray:
    """Codes (n,) int32 of a text column; null and unknown values are 0."""
    found = pc.index_in(column, value_set=pa.array(vocabulary, pa.string()))
    places: CodeArray = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int32)
    return places + np.int32(1)


def multi_hot(column: pa.Array, vocabulary: Vocabulary) -> FloatArray:
    """Tags as (n, len(vocabulary)) float32 of 0 and 1; unknown tags are left out."""
    table = np.zeros((len(column), len(vocabulary)), dtype=np.float32)
    rows = pc.list_parent_indices(column).to_numpy(zero_copy_only=False)
    tags = codes(column.flatten(), vocabulary) - 1
    known = tags >= 0
    table[rows[known], tags[known]] = 1.0
    return table


def numeric(column: pa.Array) -> FloatArray:
    """Numbers (n,) float32 with 0 where missing or not finite."""
    values: npt.NDArray[np.float64] = (
        pc.fill_null(column, 0).cast(pa.float64()).to_numpy(zero_copy_only=False)
    )
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    return np.where(np.isfinite(narrow), narrow, np.float32(0))


def encode(
    table: pa.Table, kinds: Mapping[str, FeatureKind], vocabularies: Mapping[str, Vocabulary]
) -> Features:
    """The declared features of a table of users or items, row by row."""
    columns = {name: column_of(table, name) for name in kinds}
    categorical = [name for name, kind in kinds.items() if kind == "categorical"]
    return Features(
        categorical={name: codes(columns[name], vocabularies[name]) for name in categorical},
        cardinality={name: len(vocabularies[name]) + 1 for name in categorical},
        multi_hot={
            name: multi_hot(columns[name], vocabularies[name])
            for name, kind in kinds.items()
            if kind == "multi_hot"
        },
        numeric={name: numeric(columns[name]) for name, kind in kinds.items() if kind == "numeric"},
    )
