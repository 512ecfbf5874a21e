"""Metrics by segment of users: whose lists got better, and whose worse.

Segments are told by the length of a user's history, which every dataset has. Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from agenticrs.platform.data.dataset import Dataset
from agenticrs.platform.data.splits import search_users

Segments = dict[str, dict[str, float]]
"""Segment -> metric -> mean over the segment's users."""
_SHORT, _MIDDLE = 10, 50


def by_history(dataset: Dataset, users: npt.NDArray[Any]) -> dict[str, npt.NDArray[np.bool_]]:
    """Segment -> mask (U,) over ``users``: those with short, middle and long histories."""
    log = dataset.interactions
    positives = log.user[dataset.is_positive(log)]
    lengths = np.bincount(positives, minlength=dataset.n_users)[users]
    return {
        f"up to {_SHORT} items": lengths <= _SHORT,
        f"{_SHORT + 1} to {_MIDDLE}": (lengths > _SHORT) & (lengths <= _MIDDLE),
        f"more than {_MIDDLE}": lengths > _MIDDLE,
    }


def steering(
    dataset: Dataset,
    users: npt.NDArray[Any],
    per_user: Mapping[str, npt.NDArray[Any]],
    metrics: Iterable[str],
) -> Segments:
    """Means of these metrics (U,) over the search users of each segment that has some.

    What the others got stays unseen: they decide who wins, and this is told to who proposes.
    """
    known = [name for name in dict.fromkeys(metrics) if name in per_user]
    found = {
        name: {metric: float(per_user[metric][mask].mean()) for metric in known}
        for name, inside in by_history(dataset, users).items()
        if (mask := inside & search_users(users)).any()
    }
    return found if known else {}
