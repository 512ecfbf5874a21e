"""How a document is trained: part of the grammar, so that drafts and chance may change it.

Loss, negatives, optimiser and schedule are here. How large the steps are, and for how long, are
settings of the agent beside the document; so is all that the document leaves open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Optimizer = Literal["adamw", "adam", "sgd", "adagrad"]
Schedule = Literal["constant", "cosine", "linear", "step"]
CatalogueLoss = Literal["softmax", "sampled", "bce", "gbce", "bpr"]
ListLoss = Literal["listwise", "pairwise", "pointwise"]
Loss = Literal[CatalogueLoss, ListLoss]
Draw = Literal["uniform", "popularity", "in_batch", "neighbours", "mixed"]
_POWER = 0.75
"""Of popularity, as word2vec draws words (Mikolov et al. 2013)."""


@dataclass(frozen=True)
class Ways:
    """What documents with one kind of head may be trained by."""

    losses: tuple[Loss, ...]
    usual: Loss | None
    """The loss where none is named; None: that of the settings."""
    draws: tuple[Draw, ...]
    """The first one is how it is done where no sampler is named."""
    negatives: int
    """At most so many may be drawn."""


WAYS: Mapping[str, Ways] = {
    "dot": Ways(get_args(CatalogueLoss), None, ("uniform", "popularity", "in_batch"), 16_384),
    "logits": Ways(
        get_args(ListLoss), "listwise", ("mixed", "uniform", "popularity", "neighbours"), 512
    ),
}
"""By the head."""


class Sampler(BaseModel):
    """Which items stand against the one that was taken, and how many of them.

    ``uniform`` draws any items, ``popularity`` by how often each was taken, to the ``power``.
    ``in_batch`` (a dot head) takes other targets of the same step. ``neighbours`` (a logits head)
    are of the history's items, ``mixed`` are from all sources by the shares of the settings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    draw: Draw
    negatives: int | None = Field(default=None, ge=1, le=16_384)
    """Of a step under a dot head, of each list under a logits head; None: as the settings say."""
    power: float = Field(default=_POWER, ge=0, le=1)
    """Of ``popularity``; means nothing elsewhere."""

    @property
    def said(self) -> str:
        """In a few words: ``popularity^0.75, 256 negatives``."""
        power = f"^{self.power:g}" if self.draw == "popularity" else ""
        many = "" if self.negatives is None else f", {self.negatives} negatives"
        return f"{self.draw}{power}{many}"


class Training(BaseModel):
    """By which loss against which negatives, and how an optimiser goes down its gradient.

    ``softmax`` is over the whole catalogue, ``sampled`` over drawn items, corrected by how likely
    each was drawn; ``bce``, ``gbce`` (calibrated, of uniform draws) and ``bpr`` are binary and
    pairwise. Under a logits head ``listwise`` is a softmax over the list, ``pairwise`` compares
    the item that was taken with each other one, ``pointwise`` asks of each whether it was taken.

    ``adamw`` decays weights apart from the gradient, the others within it; ``sgd`` has a momentum
    of 0.9. ``cosine`` and ``linear`` rise along the first twentieth and fall to a tenth; ``step``
    is a third from the middle on, and a tenth in the last quarter.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: Loss | None = Field(default=None, exclude_if=lambda given: given is None)
    """None: as the settings say under a dot head, ``listwise`` under a logits head."""
    sampler: Sampler | None = Field(default=None, exclude_if=lambda given: given is None)
    """None: as the settings say. Under a dot head the loss must be named with it."""
    optimizer: Optimizer = "adamw"
    schedule: Schedule | None = None
    """None: the usual one, ``cosine`` under a dot head and ``constant`` under a logits head."""
    rate: float = Field(default=1.0, ge=0.01, le=1000)
    """Times the learning rate of the settings, which is one for AdamW: ``sgd`` wants some 30 times
    that, ``adagrad`` some 5 times."""

    def refusals(self, head: str) -> list[str]:
        """What a document with that head cannot have of it, each with what to do."""
        ways, sampler, found = WAYS[head], self.sampler, list[str]()
        if self.loss is not None and self.loss not in ways.losses:
            found.append(
                f"training.loss: {self.loss!r} is no loss of a {head} head: choose "
                f"{_or(ways.losses)}, or leave it out"
            )
        if sampler is None:
            return found
        if sampler.draw not in ways.draws:
            found.append(
                f"training.sampler.draw: nothing is drawn by {sampler.draw!r} for a {head} head: "
                f"choose {_or(ways.draws)}"
            )
        if (sampler.negatives or 0) > ways.negatives:
            found.append(
                f"training.sampler.negatives: {sampler.negatives} are too many for a {head} head: "
                f"draw at most {ways.negatives}"
            )
        if head == "dot" and self.loss in (None, "softmax"):
            drawing = _or([loss for loss in ways.losses if loss != "softmax"])
            found.append(
                f"training.sampler: the loss must be one that draws: name {drawing} as "
                "training.loss, or leave the sampler out"
            )
        if self.loss == "gbce" and sampler.draw != "uniform":
            found.append(
                "training.sampler.draw: 'gbce' is calibrated for uniform draws: choose uniform, or "
                "another loss"
            )
        return found

    def plain(self, head: str) -> Training:
        """The same without what is as usual for that head, or means nothing."""
        ways, sampler = WAYS[head], self.sampler
        if sampler is not None and sampler.draw != "popularity":
            sampler = sampler.model_copy(update={"power": _POWER})
        if sampler == Sampler(draw=ways.draws[0]):
            sampler = None
        loss = None if self.loss == ways.usual else self.loss
        return self.model_copy(update={"loss": loss, "sampler": sampler})

    @property
    def descent(self) -> Training:
        """What is said of the way down the gradient, whatever the loss."""
        return self.model_copy(update={"loss": None, "sampler": None})

    @property
    def settled(self) -> frozenset[str]:
        """Names of settings beside the document that mean nothing where this is said."""
        found = set()
        if self.loss is not None:
            found.add("loss")
        if self.loss == "softmax" or (self.sampler is not None and self.sampler.negatives):
            found.add("negatives")
        if self.sampler is not None and self.sampler.draw != "mixed":
            found |= {"neighbour_share", "popular_share", "exposed_share"}
        return frozenset(found)


USUAL_RATES: Mapping[Optimizer, float] = {"adamw": 1.0, "adam": 1.0, "sgd": 30.0, "adagrad": 5.0}
"""A rate to begin with."""


def _or(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
