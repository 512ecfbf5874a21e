"""What a list is worth besides accuracy: coverage, novelty, diversity, concentration.

``ranked`` is (U, K) int64, -1 pads; cut it to the slate that people see before it comes here.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def coverage(ranked: Tensor, n_items: int) -> float:
    """Share of the catalogue that is shown to at least one user (Ge et al. 2010), in [0, 1]."""
    return float((_exposure(ranked, n_items) > 0).sum()) / n_items if n_items else 0.0


def gini(ranked: Tensor, n_items: int) -> float:
    """Gini index of exposure over the whole catalogue: 0 = equal, (n - 1) / n = one item only.

    sum_i (2 i - n - 1) x_i / (n sum x) over exposures x sorted ascending (Fleder & Hosanagar
    2009). 0 when nothing is shown.
    """
    exposure = _exposure(ranked, n_items).to(torch.float64).sort().values
    total = float(exposure.sum())
    if total == 0.0:
        return 0.0
    rank = torch.arange(1, n_items + 1, device=exposure.device, dtype=torch.float64)
    return float(((2 * rank - n_items - 1) * exposure).sum()) / (n_items * total)


def jain(ranked: Tensor, n_items: int) -> float:
    """Jain's index of exposure over the whole catalogue: 1 = equal, 1 / n = one item only.

    (sum x)^2 / (n sum x^2) over exposures x (Jain, Chiu & Hawe 1984): the share of the catalogue
    that would have to be shown equally often to be as even. 0 when nothing is shown.
    """
    exposure = _exposure(ranked, n_items).to(torch.float64)
    squares = float(exposure.square().sum())
    return float(exposure.sum()) ** 2 / (n_items * squares) if squares else 0.0


def novelty(ranked: Tensor, item_counts: Tensor) -> Tensor:
    """Mean self-information -log2 p(i) of each user's list, (U,) float64, in bits.

    p(i) is the item's share of all interactions (expected free discovery, Vargas & Castells
    2011), with one added to every count so that new items are finite and the most novel.
    ``item_counts`` is (n_items,). An empty list gives 0.
    """
    smoothed = item_counts.to(torch.float64) + 1
    information = torch.log2(smoothed.sum()) - torch.log2(smoothed)
    shown = ranked >= 0
    bits = torch.where(shown, information[ranked.clamp(min=0)], 0.0)
    return bits.sum(1) / shown.sum(1).clamp(min=1)


def intra_list_diversity(ranked: Tensor, item_vectors: Tensor) -> Tensor:
    """Mean cosine distance of all pairs in each user's list (Smyth & McClave 2001), (U,) float64.

    ``item_vectors`` is (n_items, d). Items whose vector is zero (nothing is known of them) are
    left out, else an unlabelled item would look different from everything. A list with fewer
    than two known items gives 0. The pairs are not formed: for unit vectors the sum of all
    cosines is |sum v|^2 less the n squares.
    """
    unit = functional.normalize(item_vectors.to(torch.float64), dim=1)
    known = (ranked >= 0) & (unit.abs().sum(1) > 0)[ranked.clamp(min=0)]
    total = functional.embedding_bag(
        ranked.clamp(min=0), unit, mode="sum", per_sample_weights=known.to(torch.float64)
    )
    n = known.sum(1).to(torch.float64)
    pairs = n * (n - 1)
    similarity = (total.square().sum(1) - n) / pairs.clamp(min=1)
    return torch.where(pairs > 0, (1 - similarity).clamp(min=0.0), 0.0)


def _exposure(ranked: Tensor, n_items: int) -> Tensor:
    return torch.bincount(ranked[ranked >= 0], minlength=n_items)
