"""Accuracy of ranked lists against held-out items: full ranking, one value per user.

Nothing is sampled: the lists are cut from a ranking of the whole catalogue (Krichene & Rendle
2020, On sampled metrics for item recommendation). ``ranked`` is (U, K) int64, best first, -1 pads
anywhere; the truth is CSR, ``offsets`` (U + 1,) and ``items`` (T,) int64. Lists and truths must
not repeat an item within a user. A user without held-out items gets 0 everywhere.

========= =====================================================================================
metric    at k, with rel_j = 1 where the item at rank j is held out, and T held-out items
========= =====================================================================================
recall    sum rel_j / T
precision sum rel_j / k
hit       1 when any rel_j is
mrr       1 / rank of the first hit (Voorhees 1999)
ndcg      sum rel_j / log2(j + 1) over the same sum of an ideal list, with min(T, k) hits
          (Järvelin & Kekäläinen 2002)
map       sum rel_j precision@j / T (Buckley & Voorhees 2000: average precision over *all* relevant)
========= =====================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def ranking_metrics(
    ranked: Tensor, offsets: Tensor, items: Tensor, ks: Sequence[int]
) -> dict[str, Tensor]:
    """All metrics at all cut-offs, keyed ``"ndcg@10"``; each value is (U,) float64 in [0, 1]."""
    for k in ks:
        if k < 1:
            raise ValueError(f"a cut-off must be at least 1, got {k}")
    hits = relevance(ranked, offsets, items).to(torch.float64)
    total = (offsets[1:] - offsets[:-1]).to(torch.float64)
    at_least_one = total.clamp(min=1.0)
    ranks = torch.arange(1, hits.shape[1] + 1, device=hits.device, dtype=torch.float64)
    found = hits.cumsum(1)
    discounted = (hits / torch.log2(ranks + 1)).cumsum(1)
    reciprocal = torch.where((found == 1) & (hits == 1), 1 / ranks, 0.0).cumsum(1)
    precision_at_hits = (hits * found / ranks).cumsum(1)
    metrics: dict[str, Tensor] = {}
    for k in ks:
        n_found = _at(found, k)
        metrics[f"recall@{k}"] = n_found / at_least_one
        metrics[f"precision@{k}"] = n_found / k
        metrics[f"hit@{k}"] = (n_found > 0).to(torch.float64)
        metrics[f"mrr@{k}"] = _at(reciprocal, k)
        metrics[f"ndcg@{k}"] = _at(discounted, k) / _ideal_dcg(total, k)
        metrics[f"map@{k}"] = _at(precision_at_hits, k) / at_least_one
    return metrics


def order_auc(ranked: Tensor, offsets: Tensor, items: Tensor, k: int) -> Tensor:
    """Chance that of the first ``k`` a held-out item stands above one that is not, (U,) float64.

    The area under the ROC curve of each user's list by itself (Zhu et al. 2017, Optimized cost per
    click, call its mean GAUC): it judges an order of candidates, and not which they are. One half
    for a user whose list has no two such items.
    """
    hit = relevance(ranked[:, :k], offsets, items)
    miss = (ranked[:, :k] >= 0) & ~hit
    below = miss.sum(1, keepdim=True) - miss.cumsum(1)
    pairs = hit.sum(1) * miss.sum(1)
    won = (hit * below).sum(1).to(torch.float64)
    return torch.where(pairs > 0, won / pairs.clamp(min=1), 0.5)


def relevance(ranked: Tensor, offsets: Tensor, items: Tensor) -> Tensor:
    """Where a ranked item is held out for its user, (U, K) bool; False at pads."""
    return positions(ranked, offsets, items)[0]


def positions(ranked: Tensor, offsets: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """``relevance`` and, where it holds, the index into ``items`` of the match, both (U, K).

    One binary search over sorted keys ``user * stride + item`` serves all users at once.
    """
    if not len(items) or not ranked.numel():
        return torch.zeros_like(ranked, dtype=torch.bool), torch.zeros_like(ranked)
    n_users = len(offsets) - 1
    users = torch.arange(n_users, device=items.device)
    stride = int(torch.maximum(items.max(), ranked.max())) + 1
    keys = torch.repeat_interleave(users, offsets[1:] - offsets[:-1]) * stride + items
    keys, order = keys.sort()
    wanted = users[:, None] * stride + ranked
    place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    return (keys[place] == wanted) & (ranked >= 0), order[place]


def _at(cumulative: Tensor, k: int) -> Tensor:
    """Column k of a running sum; lists shorter than k end where they end."""
    if not cumulative.shape[1]:
        return cumulative.new_zeros(len(cumulative))
    return cumulative[:, min(k, cumulative.shape[1]) - 1]


def _ideal_dcg(total: Tensor, k: int) -> Tensor:
    ranks = torch.arange(1, k + 1, device=total.device, dtype=torch.float64)
    ideal = (1 / torch.log2(ranks + 1)).cumsum(0)
    return ideal[total.to(torch.int64).clamp(min=1, max=k) - 1]
