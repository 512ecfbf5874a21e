"""ranx or LensKit: metrics of ready lists. Arguments: ranx|lenskit, file of arrays."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from protocol import serve

METRICS = ("ndcg", "recall", "precision", "hit_rate", "mrr")
CUTS = (10, 50)


def ranx_side(arrays: dict[str, np.ndarray]) -> Callable[[], dict[str, float]]:
    """Dictionaries are built before the clock runs: only the metrics count."""
    from ranx import Qrels, Run, evaluate

    ranked, offsets, items = arrays["ranked"], arrays["offsets"], arrays["items"]
    users = range(len(ranked))
    truth = Qrels({str(u): {str(i): 1 for i in items[offsets[u] : offsets[u + 1]]} for u in users})
    order = np.arange(ranked.shape[1], 0, -1).astype(float)
    run = Run({str(u): dict(zip(map(str, ranked[u]), order, strict=True)) for u in users})
    names = [f"{metric}@{cut}" for metric in METRICS for cut in CUTS]

    def once() -> dict[str, float]:
        found = evaluate(truth, run, names)
        return {"ndcg@10": float(found["ndcg@10"]), "recall@50": float(found["recall@50"])}

    return once


def lenskit_side(arrays: dict[str, np.ndarray]) -> Callable[[], dict[str, float]]:
    """Collections are built before the clock runs: only the metrics count."""
    from lenskit.data import ItemList, ItemListCollection
    from lenskit.metrics import NDCG, Hit, Precision, Recall, RecipRank, RunAnalysis

    ranked, offsets, items = arrays["ranked"], arrays["offsets"], arrays["items"]
    recommended = ItemListCollection(["user_id"])
    truth = ItemListCollection(["user_id"])
    for user in range(len(ranked)):
        recommended.add(ItemList(item_ids=ranked[user], ordered=True), user_id=user)
        truth.add(ItemList(item_ids=items[offsets[user] : offsets[user + 1]]), user_id=user)
    analysis = RunAnalysis()
    for cut in CUTS:
        for metric in (NDCG, Recall, Precision, Hit, RecipRank):
            analysis.add_metric(metric(n=cut))

    def once() -> dict[str, float]:
        found = analysis.measure(recommended, truth).list_metrics()
        return {"ndcg@10": float(found["NDCG@10"].mean())}

    return once


side = {"ranx": ranx_side, "lenskit": lenskit_side}[sys.argv[1]]
serve(side(dict(np.load(sys.argv[2]))))
