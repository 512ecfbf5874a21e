"""What a log says of a user in a few numbers, by which segments are told apart.

========== ====================================================================================
activity   length of the history, logarithmic
recency    days since the newest item, logarithmic; 0 where times are not known
breadth    how far apart in taste the items of the history are: 0 for one taste, near 1 for many
mainstream how popular the items are on average, in [0, 1]
========== ====================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from agenticrs.agents.batch import UserBatch
from agenticrs.agents.item_vectors import item_vectors
from agenticrs.agents.retrieval.common import log_popularity
from agenticrs.agents.training_data import TrainingData

NAMES = ("activity", "recency", "breadth", "mainstream")
WIDTH = 32
"""Most numbers in an item's taste vector."""
_DAY = 86400.0


@dataclass(frozen=True)
class Ground:
    """What statistics are taken from: ``tastes`` (n_items, d), d <= WIDTH, and ``popularity``.

    ``newest`` are the Unix seconds of the log's last event, (1,); 0: not known.
    """

    tastes: Tensor
    popularity: Tensor
    newest: Tensor

    @staticmethod
    def of(data: TrainingData, seed: int) -> Ground:
        """Out of a log; tastes that are described by more numbers are projected at random."""
        tastes = item_vectors(data)
        if tastes.shape[1] > WIDTH:
            generator = torch.Generator().manual_seed(seed)
            mix = torch.randn(tastes.shape[1], WIDTH, generator=generator).to(tastes.device)
            tastes = torch.nn.functional.normalize(tastes @ mix, dim=1)
        times = data.histories.times
        newest = float(times.max()) if times is not None and len(times) else 0.0
        return Ground(
            tastes.to(torch.float32),
            log_popularity(data.histories, data.n_items),
            torch.tensor([newest], dtype=torch.float64, device=tastes.device),
        )

    def of_users(self, users: UserBatch) -> Tensor:
        """(B, 4) float32, in the order of ``NAMES``; zeros for a user without a history."""
        lengths = users.lengths
        count = lengths.clamp(min=1).to(torch.float32)
        mean = torch.zeros(len(users), self.tastes.shape[1], device=self.tastes.device)
        mean.index_add_(0, users.rows, self.tastes[users.items])
        liked = torch.zeros(len(users), device=self.tastes.device)
        liked.index_add_(0, users.rows, self.popularity[users.items])
        known = (lengths > 0).to(torch.float32)
        breadth = (1 - mean.norm(dim=1) / count).clamp(min=0) * known
        return torch.stack(
            [lengths.to(torch.float32).log1p(), self._recency(users), breadth, liked / count], 1
        )

    def _recency(self, users: UserBatch) -> Tensor:
        last = users.newest_times(1)
        if last is None or not bool(self.newest > 0):
            return torch.zeros(len(users), device=self.tastes.device)
        seen = last[:, 0].to(torch.float64)
        days = (self.newest - seen).clamp(min=0) / _DAY
        return torch.where(seen > 0, days.log1p(), 0.0).to(torch.float32)
