"""The systems of alternating least squares: solved exactly, or brought some steps nearer.

A row's vector v solves (S + X^T X + r I) v = X^T 1, where X (L, d) holds the vectors of the row's
L entries, r is its regularisation and S is the same for all rows. Exactly, the matrices are formed
and factored. The way nearer is conjugate gradients from the vectors of the round before (Takács et
al. 2011), which never form them: a few passes over the entries, a quarter of the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from agenticrs.agents.batch import UserBatch
from agenticrs.agents.retrieval.entry_scores import entry_scores

_CELLS_AT_ONCE = 1_000_000
"""Numbers of systems and of vectors in memory at a time: few enough to stay in cache."""
_ROWS_AT_ONCE = 65_536
"""Rows brought nearer at a time; their vectors are held six times over."""
_STEPS = 3
"""With the mean system as a preconditioner, as good after ten rounds as solving exactly."""
_TINY = 1e-30


@dataclass(frozen=True)
class LeastSquares:
    """Systems of rows whose entries are among the vectors ``other`` (n, d).

    S is ``unobserved_weight`` times the Gram matrix of ``other``, and the r of a row with L entries
    is ``l2`` * (L + ``unobserved_weight`` * n) ^ ``power``.
    """

    other: Tensor
    unobserved_weight: float
    l2: float
    power: float

    @cached_property
    def shared(self) -> Tensor:
        """S, (d, d)."""
        return self.unobserved_weight * (self.other.T @ self.other)

    def strength(self, rows: UserBatch) -> Tensor:
        """The r of each row, (B,)."""
        return self.l2 * (rows.lengths + self.unobserved_weight * len(self.other)) ** self.power

    def solved(self, rows: UserBatch) -> Tensor:
        """The vectors of all rows, (B, d); zeros for rows without entries."""
        size = self.other.shape[1]
        lengths, strength = rows.lengths, self.strength(rows)
        # What a pad adds to a system.
        padded = torch.cat([self.other, self.other.new_zeros(1, size)])
        solved = self.other.new_zeros(len(rows), size)
        order = torch.argsort(lengths)
        order = order[lengths[order] > 0]
        start = 0
        while start < len(order):  # rows of like length together, so that little is padded
            stop = _fitting(lengths[order[start:]], size) + start
            chosen = order[start:stop]
            items, _ = rows.take(chosen).newest(int(lengths[chosen[-1]]))
            known = functional.embedding(items.remainder(len(padded)), padded)
            system = torch.baddbmm(self.shared, known.transpose(1, 2), known)
            system.diagonal(dim1=1, dim2=2).add_(strength[chosen][:, None])
            factor = torch.linalg.cholesky_ex(system).L
            solved[chosen] = torch.cholesky_solve(known.sum(1)[..., None], factor)[..., 0]
            start = stop
        return solved

    def nearer(self, rows: UserBatch, vectors: Tensor) -> Tensor:
        """``vectors`` (B, d), some steps nearer to the solutions; zeros for rows without entries.

        The preconditioner is what all rows have in common: S and their mean r.
        """
        strength = self.strength(rows)
        mean = self.shared + strength.mean() * torch.eye(len(self.shared), device=strength.device)
        inverse = torch.linalg.pinv(mean, hermitian=True)
        found = vectors * (rows.lengths > 0)[:, None]
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = slice(start, min(start + _ROWS_AT_ONCE, len(rows)))
            _descend(_Systems(self, rows, part, strength[part, None]), inverse, found[part])
        return found


class _Systems:
    """The systems of some rows as what they do to vectors, one for each row."""

    def __init__(
        self, squares: LeastSquares, rows: UserBatch, part: slice, strength: Tensor
    ) -> None:
        offsets = rows.offsets[part.start : part.stop + 1]
        self._squares, self._strength = squares, strength
        self._items = rows.items[offsets[0] : offsets[-1]]
        self._offsets = offsets - offsets[0]

    def lack(self, vectors: Tensor) -> Tensor:
        """X^T 1 less the systems times ``vectors``."""
        return self._gathered(1.0 - self._scores(vectors)).sub_(self._plain(vectors))

    def times(self, vectors: Tensor) -> Tensor:
        """The systems times ``vectors``."""
        return self._plain(vectors).add_(self._gathered(self._scores(vectors)))

    def _plain(self, vectors: Tensor) -> Tensor:
        return (vectors @ self._squares.shared).addcmul_(vectors, self._strength)

    def _scores(self, vectors: Tensor) -> Tensor:
        """X v of all rows, one number for each entry."""
        return entry_scores(self._offsets, self._items, vectors, self._squares.other)

    def _gathered(self, weights: Tensor) -> Tensor:
        """X^T w of all rows."""
        return functional.embedding_bag(
            self._items,
            self._squares.other,
            self._offsets,
            per_sample_weights=weights,
            mode="sum",
            include_last_offset=True,
        )


def _descend(systems: _Systems, inverse: Tensor, vectors: Tensor) -> None:
    """Move ``vectors`` by preconditioned conjugate gradients, all rows side by side."""
    lack = systems.lack(vectors)
    ahead = lack @ inverse
    direction = ahead
    length = (lack * ahead).sum(1, keepdim=True)
    for _ in range(_STEPS):
        effect = systems.times(direction)
        far = length / (direction * effect).sum(1, keepdim=True).clamp_(min=_TINY)
        vectors.addcmul_(far, direction)
        lack.addcmul_(far, effect, value=-1.0)
        ahead = lack @ inverse
        before, length = length, (lack * ahead).sum(1, keepdim=True)
        direction = torch.addcmul(ahead, length / before.clamp(min=_TINY), direction)


def _fitting(lengths: Tensor, size: int) -> int:
    """How many of these rows, ascending in length, fit into memory together; at least one."""
    place = torch.arange(1, len(lengths) + 1, device=lengths.device)
    cells = place * (lengths * size + size * size)
    return max(1, int((cells <= _CELLS_AT_ONCE).sum()))
