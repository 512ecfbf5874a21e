"""The best items by inner product, nearly: an inverted file for large tables (extra ``ann``).

``ApproximateSearch`` stands where ``vector_search.search`` stands. It answers exactly until an
index has been built in the background, and for good where one would not pay or not find enough.
"""

from __future__ import annotations

import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from agenticrs.agents import lists
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.vector_search import search
from agenticrs.agents.work_at_exit import started
from agenticrs.platform.logs import get_logger

if TYPE_CHECKING:
    import faiss

FROM_ITEMS: Final = 200_000
"""Rows of a table from which on an index is built."""
LEAST_RECALL: Final = 0.95
"""Share of the exact lists that an index must find, or it is not used."""
_AT_ONCE = 16
"""Most users of one call that the index answers."""
_SAMPLE = 64
"""Queries after which an index is built; it is then tried on them."""
_K = 100
"""Length of the lists on which it is tried."""
_SHARES = (32, 16, 8, 4)
"""Of all lists of items, one in so many is looked through: the first that finds enough."""
_ROUNDS = 8
"""Rounds of k-means; more of them change nothing that can be measured."""
_SHOWN_TO_EACH = 64
"""Items that k-means sees for each of its centres: the rest would only cost time."""
_log = get_logger(__name__)
_NO_OPINION = 1e-6
"""Where no score is larger, only the tie-breaker speaks (``retrieval.common.tie_breaker``)."""


def installed() -> bool:
    """Whether the library is there."""
    return find_spec("faiss") is not None


class VectorIndex:
    """An inverted file of a table: items by direction, of which the nearest lists are scanned.

    Sivic & Zisserman 2003, with inner products (spherical k-means): a query is compared with the
    square root of n_items many centres, and then with the items of the ``probes`` nearest ones.
    Holds a copy of the table. Safe to search from several threads.
    """

    def __init__(self, table: Tensor) -> None:
        """Build it for ``table`` (n_items, d) float32 on the CPU: seconds for a million rows."""
        import faiss

        n_items, size = table.shape
        rows = table.detach().contiguous().numpy()
        self.table = table
        self.n_lists = max(1, round(n_items**0.5))
        self._index: faiss.IndexIVFFlat = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(size), size, self.n_lists, faiss.METRIC_INNER_PRODUCT
        )
        self._index.cp.spherical = True
        self._index.cp.niter = _ROUNDS
        self._index.cp.min_points_per_centroid = 1
        self._index.cp.max_points_per_centroid = _SHOWN_TO_EACH
        self._index.train(rows)
        self._index.add(rows)
        self.look_through(_SHARES[-1])

    @property
    def probes(self) -> int:
        """How many lists a search looks through."""
        return int(self._index.nprobe)

    def look_through(self, share: int) -> None:
        """Look through one in ``share`` lists. Not while others search."""
        self._index.nprobe = max(1, self.n_lists // share)

    def recall(self, queries: Tensor, k: int = _K) -> float:
        """Mean share of the exact ``k`` best that are found for ``queries`` (B, d), in [0, 1]."""
        k = min(k, len(self.table))
        nothing = queries.new_zeros(len(queries) + 1, dtype=torch.int64)
        nobody = UserBatch(nothing[1:], nothing, nothing[:0])
        exact = search(queries, self.table, k, nobody).items
        found = self._nearest(queries, k).items
        # No item stands twice in a list, so what repeats across the two is what both hold.
        both = torch.cat([exact, found], 1)
        return float((lists.repeated(both) & (both >= 0)).sum() / exact.numel())

    def search(self, queries: Tensor, k: int, users: UserBatch) -> Candidates:
        """As ``vector_search.search``; a list that comes out short is searched for exactly.

        So is the list of a user without a history, and one in which no score is larger than the
        tie-breaker: their queries point along one column, where no list of items is near.
        """
        n_items = len(self.table)
        k = min(k, n_items)
        if not len(users):
            return Candidates.empty(0, k, queries.device)
        longest = int(users.lengths.max())
        found = self._nearest(queries, min(n_items, k + longest))
        found = lists.compact(found, lists.allowed(found.items, users, n_items)).top(k)
        doubtful = (found.items[:, -1] < 0) | (users.lengths == 0)
        doubtful |= found.scores[:, 0] <= _NO_OPINION
        rows = doubtful.nonzero()[:, 0]
        if len(rows):
            exact = search(queries[rows], self.table, k, users.take(rows))
            found.items[rows], found.scores[rows] = exact.items, exact.scores
        return found

    def _nearest(self, queries: Tensor, k: int) -> Candidates:
        scores, items = self._index.search(queries.detach().contiguous().numpy(), k)
        found = torch.from_numpy(items)
        return Candidates(found, torch.from_numpy(scores).masked_fill(found < 0, -torch.inf))


class ApproximateSearch:
    """Called as ``vector_search.search``: exact at first, by an index once there is one.

    The first calls for a table are answered exactly and kept as a sample. Then one thread builds
    the index and tries it on them: it is used if it finds ``least_recall`` of what exact search
    finds, with as few probes as that takes. Another table starts anew. Safe to call from several
    threads; nobody waits for the index.
    """

    def __init__(self, from_items: int = FROM_ITEMS, least_recall: float = LEAST_RECALL) -> None:
        self._from_items = from_items
        self._least_recall = least_recall
        self._installed = installed()
        self._lock = threading.Lock()
        self._table: Tensor | None = None
        self._sample: list[Tensor] = []
        self._builder: threading.Thread | None = None
        self._index: VectorIndex | None = None

    def __call__(self, queries: Tensor, table: Tensor, k: int, users: UserBatch) -> Candidates:
        """The k items with the largest queries @ table.T that are not in the users' histories."""
        index = self._index_for(queries, table) if self._pays(queries, table) else None
        if index is None:
            return search(queries, table, k, users)
        return index.search(queries, k, users)

    def settled(self) -> VectorIndex | None:
        """The index in use, after waiting for one that is being built; None: exact search."""
        with self._lock:
            builder = self._builder
        if builder is not None:
            builder.join()
        with self._lock:
            return self._index

    def _pays(self, queries: Tensor, table: Tensor) -> bool:
        # A product of matrices serves many users at once about as fast as the index, and exactly.
        few = 0 < len(queries) <= _AT_ONCE
        large = len(table) >= self._from_items and table.device.type == "cpu"
        return self._installed and few and large

    def _index_for(self, queries: Tensor, table: Tensor) -> VectorIndex | None:
        with self._lock:
            if self._table is not table:
                self._table, self._sample = table, []
                self._builder, self._index = None, None
            if self._builder is None:
                self._sample.append(queries.detach())
                if sum(map(len, self._sample)) >= _SAMPLE:
                    # A request does not wait for seconds; a daemon does not keep the process.
                    self._builder = threading.Thread(
                        target=self._build, args=(table, torch.cat(self._sample)), daemon=True
                    )
                    self._sample = []
                    started(self._builder)
            return self._index

    def _build(self, table: Tensor, sample: Tensor) -> None:
        index = VectorIndex(table)
        for share in _SHARES:
            index.look_through(share)
            recall = index.recall(sample)
            if recall >= self._least_recall:
                break
        used = recall >= self._least_recall
        sizes = {"items": len(table), "lists": index.n_lists, "probes": index.probes}
        _log.info("index tried", **sizes, recall=round(recall, 4), queries=len(sample), used=used)
        if not used:
            return
        with self._lock:
            if self._table is table:  # else another one has come meanwhile
                self._index = index
