"""Losses over a catalogue: for places that predict an item, out of queries and item vectors.

All take ``query`` (M, d), ``table`` (n_items, d) and ``target`` (M,); a bias travels as one more
column. Sampled ones share one draw of negatives over the batch, so that they are one product of
matrices, and leave out those that are the target itself.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from agenticrs.agents.retrieval.sampled_loss import sampled_loss
from agenticrs.agents.retrieval.softmax_loss import softmax_loss

Loss = Literal["softmax", "sampled", "bce", "gbce", "bpr"]


def catalogue_loss(
    kind: Loss,
    query: Tensor,
    table: Tensor,
    target: Tensor,
    *,
    negatives: int,
    calibration: float,
    generator: torch.Generator,
    bfloat16: bool = False,
) -> Tensor:
    """The mean loss over the M places.

    ``softmax`` is the cross-entropy over all items. ``sampled`` is that over the target and
    ``negatives`` uniform draws, whose logits are raised by log(n_items / negatives) to make up
    for the items that were not drawn (Bengio & Senecal 2008). ``bce`` is SASRec's binary one with
    one negative, in expectation: the mean over the draws. ``gbce`` sums over them, and takes the
    positive's probability to a power so that ``calibration`` = 1 undoes the overconfidence of
    sampling (Petrov & Macdonald 2023, arXiv 2308.07192, eq. 5 to 8). ``bpr`` is -log sigmoid of
    the difference (Rendle 2009), the mean over the draws. With ``bfloat16`` products with the table
    are in that.
    """
    if kind == "softmax":
        return softmax_loss(query, table, target, bfloat16=bfloat16)
    drawn = torch.randint(len(table), (negatives,), generator=generator, device=query.device)
    return sampled_loss(
        kind, query, table, target, drawn, calibration=calibration, bfloat16=bfloat16
    )


def as_cosines(query: Tensor, table: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Query and table whose products are the cosines of these over a ``temperature`` above 0."""
    return functional.normalize(query, dim=1) / temperature, functional.normalize(table, dim=1)
