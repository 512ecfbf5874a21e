"""The words of items' titles as numbers: what a table of words is read by."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

MOST_WORDS = 12
"""Words of a title that count; what follows them is left out."""


def title_words(
    titles: npt.NDArray[np.str_], ids: npt.NDArray[np.str_]
) -> npt.NDArray[np.int64] | None:
    """A number for each word of each title, (n, at most ``MOST_WORDS``), -1 pads.

    The number depends on the word alone (CRC-32 of its lower case), so a word that a later
    snapshot brings has one already. An item that is called by its id has no title, and a dataset
    without any title gives None.
    """
    named = np.flatnonzero(titles != ids)
    if not len(named):
        return None
    lower = pc.utf8_lower(pa.array(titles[named].tolist(), pa.string()))
    split = pc.split_pattern_regex(lower, r"[^\p{L}\p{N}]+")
    words = split.flatten().dictionary_encode()
    hashes = np.array([zlib.crc32(word.encode()) for word in words.dictionary.to_pylist()])
    kept = ~np.isin(words.dictionary.to_pylist(), [""])
    code = words.indices.to_numpy()
    row = named[pc.list_parent_indices(split).to_numpy()]
    row, code = row[kept[code]], code[kept[code]]
    if not len(row):
        return None
    place = np.arange(len(row)) - np.searchsorted(row, row)
    inside = place < MOST_WORDS
    found = np.full((len(titles), int(place[inside].max()) + 1), -1, dtype=np.int64)
    found[row[inside], place[inside]] = hashes[code[inside]]
    return found
