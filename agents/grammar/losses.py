"""Losses of documents, and the negatives that they are computed against.

Those over a catalogue are for places that predict an item, out of queries and item vectors. They
take ``query`` (M, d), ``table`` (n_items, d) and ``target`` (M,); a bias travels as one more
column. Sampled ones share one draw of negatives over the batch, so that they are one product of
matrices, and leave out those that are the target itself. Those over lists take logits.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from agenticrs.agents.grammar.training import CatalogueLoss, ListLoss, Sampler
from agenticrs.agents.retrieval.sampled_loss import sampled_loss
from agenticrs.agents.retrieval.softmax_loss import softmax_loss


class Draws:
    """Draws the negatives of a step, the same ones for all its places.

    ``counts`` (n_items,) say how often each item stands in what is learnt from; ``negatives`` are
    drawn where the sampler leaves it open.
    """

    def __init__(
        self, sampler: Sampler, negatives: int, counts: Tensor, generator: torch.Generator
    ) -> None:
        self._draw = sampler.draw
        self._negatives = sampler.negatives or negatives
        self._generator = generator
        weights = counts.to(torch.float64).pow(sampler.power if self._draw == "popularity" else 1)
        self._chances = weights / weights.sum()
        self._upto = self._chances.cumsum(0)

    def draw(self, target: Tensor) -> tuple[Tensor, Tensor | None]:
        """Items (N,), and how likely a draw was each of them; None: all alike.

        ``in_batch`` takes N of the step's targets, or all where there are fewer: an item is among
        them as often as it is taken.
        """
        n, generator, device = self._negatives, self._generator, target.device
        if self._draw == "in_batch":
            chosen = torch.randperm(len(target), generator=generator, device=device)[:n]
            drawn = target[chosen]
        elif self._draw == "popularity":
            point = torch.rand(n, dtype=torch.float64, generator=generator, device=device)
            drawn = torch.searchsorted(self._upto, point * self._upto[-1], right=True)
            drawn = drawn.clamp(max=len(self._upto) - 1)
        else:
            n_items = len(self._upto)
            return torch.randint(n_items, (n,), generator=generator, device=device), None
        return drawn, self._chances[drawn].to(torch.float32)


def catalogue_loss(
    kind: CatalogueLoss,
    query: Tensor,
    table: Tensor,
    target: Tensor,
    *,
    draws: Draws,
    calibration: float,
    bfloat16: bool = False,
) -> Tensor:
    """The mean loss over the M places.

    ``softmax`` is the cross-entropy over all items. ``sampled`` is that over the target and N
    draws, whose logits are lowered by the log of how often each was to be expected among them, to
    make up for the items that were not drawn (Bengio & Senecal 2008; Yi et al. 2019 for draws out
    of the batch). ``bce`` is SASRec's binary one with one negative, in expectation: the mean over
    the draws. ``gbce`` sums over them, and takes the positive's probability to a power so that
    ``calibration`` = 1 undoes the overconfidence of sampling (Petrov & Macdonald 2023, arXiv
    2308.07192, eq. 5 to 8). ``bpr`` is -log sigmoid of the difference (Rendle 2009), the mean over
    the draws. With ``bfloat16`` products with the table are in that.
    """
    if kind == "softmax":
        return softmax_loss(query, table, target, bfloat16=bfloat16)
    drawn, chances = draws.draw(target)
    return sampled_loss(
        kind,
        query,
        table,
        target,
        drawn,
        chances=chances,
        calibration=calibration,
        bfloat16=bfloat16,
    )


def as_cosines(query: Tensor, table: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Query and table whose products are the cosines of these over a ``temperature`` above 0."""
    return functional.normalize(query, dim=1) / temperature, functional.normalize(table, dim=1)


def list_loss(kind: ListLoss, logits: Tensor) -> Tensor:
    """The mean loss of lists (B, 1 + N) whose first candidate is the one that was taken.

    ``listwise`` is the cross-entropy within the list, ``pairwise`` -log sigmoid of the difference
    to each other candidate (Burges et al. 2005, RankNet), ``pointwise`` the binary one; the latter
    two are means over the N.
    """
    if kind == "listwise":
        target = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
        return functional.cross_entropy(logits, target)
    right, wrong = logits[:, :1], logits[:, 1:]
    if kind == "pairwise":
        return functional.softplus(wrong - right).mean()
    return functional.softplus(-right).mean() + functional.softplus(wrong).mean()
