"""implicit and LensKit: training on ML-1M. Arguments: what, file of arrays, epochs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import numpy as np
from protocol import serve

Arrays = dict[str, np.ndarray]
THREADS = int(os.environ["OMP_NUM_THREADS"])


def matrix(arrays: Arrays) -> object:
    """Users x items, ones where something was seen."""
    from scipy.sparse import csr_matrix

    rows, items = arrays["rows"], arrays["items"]
    shape = (int(arrays["n_users"]), int(arrays["n_items"]))
    return csr_matrix((np.ones(len(rows), np.float32), (rows, items)), shape)


def bpr(arrays: Arrays, epochs: int) -> Callable[[], None]:
    """Implicit's C++ loop: one uniform negative for each positive."""
    from implicit.bpr import BayesianPersonalizedRanking

    seen = matrix(arrays)

    def once() -> None:
        BayesianPersonalizedRanking(
            factors=64, iterations=epochs, num_threads=THREADS, random_state=0
        ).fit(seen, show_progress=False)

    return once


def ials(arrays: Arrays, epochs: int) -> Callable[[], None]:
    """Implicit's C++ loop, by default three steps of conjugate gradients, as ours goes."""
    from implicit.als import AlternatingLeastSquares

    seen = matrix(arrays)

    def once() -> None:
        AlternatingLeastSquares(
            factors=64, iterations=epochs, num_threads=THREADS, random_state=0
        ).fit(seen, show_progress=False)

    return once


def ease(arrays: Arrays, epochs: int) -> Callable[[], None]:
    """LensKit's closed form."""
    from lenskit.data import from_interactions_df
    from lenskit.knn.ease import EASEScorer
    from pandas import DataFrame

    data = from_interactions_df(DataFrame({"user_id": arrays["rows"], "item_id": arrays["items"]}))

    def once() -> None:
        EASEScorer(regularization=300.0).train(data)

    return once


what, path, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3])
serve({"bpr": bpr, "ials": ials, "ease": ease}[what](dict(np.load(path)), epochs))
