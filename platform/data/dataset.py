"""What a dataset is: an interaction log with the features of its users and items.

Everything is a numpy array over dense indices, so that one copy in shared memory serves every
trial. This module knows nothing of files, splits or models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
CodeArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float32]

BEHAVIOURS = (
    "click",
    "long_view",
    "like",
    "follow",
    "comment",
    "forward",
    "hate",
    "rating",
    "watch_time",
    "duration",
)
"""Known behaviour columns. Counts and flags are >= 0; watch_time and duration are seconds."""


@dataclass(frozen=True)
class Interactions:
    """Log rows in the order (user, timestamp, finer order of the source, hash of the item's id).

    Shapes: every array is (n,). ``user`` and ``item`` are dense indices; ``timestamp`` is Unix
    seconds, or the place in the user's history where a source has no times.
    """

    user: CodeArray
    item: CodeArray
    timestamp: IntArray
    behaviours: Mapping[str, FloatArray] = field(default_factory=dict)
    context: Mapping[str, CodeArray] = field(default_factory=dict)
    """Optional categorical context (tab, hour of day), as codes."""

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: npt.NDArray[Any]) -> Interactions:
        """The rows at ``rows`` (indices or a boolean mask of shape (n,)), order kept."""
        return Interactions(
            user=self.user[rows],
            item=self.item[rows],
            timestamp=self.timestamp[rows],
            behaviours={name: column[rows] for name, column in self.behaviours.items()},
            context={name: column[rows] for name, column in self.context.items()},
        )


@dataclass(frozen=True)
class Features:
    """Features of users or of items, one row per dense index.

    ``categorical``: codes (n,), 0 = unknown; ``cardinality`` says how many codes there are.
    ``multi_hot``: (n, n_tags) of 0/1 float32 (genres, tags, topics). ``numeric``: (n,) float32,
    never NaN (missing is 0 beside an indicator that the importer adds where it matters).
    """

    categorical: Mapping[str, CodeArray] = field(default_factory=dict)
    cardinality: Mapping[str, int] = field(default_factory=dict)
    multi_hot: Mapping[str, FloatArray] = field(default_factory=dict)
    numeric: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True)
class Positive:
    """Which rows count as positive: ``behaviour >= minimum``."""

    behaviour: str
    minimum: float


@dataclass(frozen=True)
class Dataset:
    """A named, fingerprinted snapshot of a log.

    ``user_ids`` and ``item_ids`` map a dense index to the source's own id (as text). Indices are
    only ever appended within one dataset name, so a version trained on an older snapshot can
    serve on a newer one. ``value`` names the behaviour that the business counts (watch time, say)
    or is None when every positive is worth the same.
    """

    name: str
    fingerprint: str
    interactions: Interactions
    user_ids: npt.NDArray[np.str_]
    item_ids: npt.NDArray[np.str_]
    item_titles: npt.NDArray[np.str_]
    user_features: Features
    item_features: Features
    positive: Positive
    value: str | None = None
    has_times: bool = True
    """False where ``timestamp`` is only the place in a user's own history."""

    @property
    def n_users(self) -> int:
        """Number of user indices."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """Number of item indices."""
        return len(self.item_ids)

    def is_positive(self, rows: Interactions) -> npt.NDArray[np.bool_]:
        """Mask (n,) of the rows that count as positive."""
        mask: npt.NDArray[np.bool_] = (
            rows.behaviours[self.positive.behaviour] >= self.positive.minimum
        )
        return mask

    def value_of(self, rows: Interactions) -> FloatArray:
        """What each row was worth to the business, (n,) float32, >= 0; 1 where not declared."""
        if self.value is None:
            return np.ones(len(rows), dtype=np.float32)
        return rows.behaviours[self.value]


@dataclass(frozen=True)
class Fold:
    """What a trial may see: history to learn from, and held-out positives to be scored on.

    The held-out rows never contain an item that the user already has among the positives of the
    history, because full ranking masks those. ``split`` is the split's name, ``part`` says which
    of its parts is held out ("valid" or "test"), ``users`` are the held-out users (sorted).
    Arrays come read-only out of shared memory: never write into them.
    """

    dataset: Dataset
    """The snapshot with *only the history rows* as its interactions."""
    heldout: Interactions
    """Positive rows only, in order of user."""
    split: str
    part: str

    @property
    def users(self) -> CodeArray:
        """Users with at least one held-out positive, ascending, (n_heldout_users,)."""
        return np.unique(self.heldout.user)
