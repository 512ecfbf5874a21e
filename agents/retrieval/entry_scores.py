"""Scores of the items that rows list, and of no others."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor


def entry_scores(offsets: Tensor, items: Tensor, vectors: Tensor, table: Tensor) -> Tensor:
    """vectors[b] . table[i] for each entry i of each row b, (len(items),).

    Shapes: ``offsets`` (B + 1,) and ``items`` as in a UserBatch, ``vectors`` (B, d), ``table``
    (n, d). No vector is copied: a fifth of the time of gathering two and multiplying them.
    """
    with warnings.catch_warnings():  # "in beta state": tests compare it with a dense product
        warnings.filterwarnings("ignore", message="Sparse", category=UserWarning)
        cells = torch.sparse_csr_tensor(
            offsets,
            items,
            vectors.new_zeros(len(items)),
            (len(vectors), len(table)),
            check_invariants=False,
        )
    torch.sparse.sampled_addmm(cells, vectors, table.T, beta=0.0, out=cells)
    return cells.values()
