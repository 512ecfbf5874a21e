"""Operators that change how a document is trained, and leave its blocks alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np

from agenticrs.agents.grammar.draft import Draft
from agenticrs.agents.grammar.training import USUAL_RATES, WAYS, Sampler, Schedule
from agenticrs.agents.grammar.vary_settings import Operator, another, pick

_NEGATIVES: Mapping[str, Sequence[int]] = {
    "dot": (64, 128, 256, 512, 1024, 2048, 4096),
    "logits": (5, 10, 20, 50, 100),
}
"""By the head."""


def loss(draft: Draft, rng: np.random.Generator) -> str | None:
    """Learn by another loss; the sampler goes where the new one cannot have it."""
    head, old = draft.head["head"], draft.training
    now = old.loss or WAYS[head].usual
    new = pick(rng, [name for name in WAYS[head].losses if name != now])
    changed = old.model_copy(update={"loss": new})
    if changed.refusals(head):
        changed = changed.model_copy(update={"sampler": None})
    draft.training = changed
    return f"loss {now or 'of the settings'} became {new}"


def sampler(draft: Draft, rng: np.random.Generator) -> str | None:
    """Draw negatives in another way, or another number of them; by ``sampled``, if need be."""
    head, old = draft.head["head"], draft.training
    draws = WAYS[head].draws
    now = old.sampler or Sampler(draw=draws[0])
    if rng.random() < 0.5:
        (many,) = another(rng, _NEGATIVES[head], now.negatives) or (now.negatives,)
        new = now.model_copy(update={"negatives": many})
    else:
        draw = pick(rng, [draw for draw in draws if draw != now.draw])
        new = now.model_copy(update={"draw": draw})
    changed = old.model_copy(update={"sampler": new})
    under = ""
    if changed.refusals(head):  # the loss draws nothing, or not so
        changed = changed.model_copy(update={"loss": "sampled"})
        under = ", the loss sampled"
    draft.training = changed
    return f"sampler {now.said} became {new.said}{under}"


def optimizer(draft: Draft, rng: np.random.Generator) -> str | None:
    """Go down the gradient by another optimiser, at a rate that suits it."""
    old = draft.training
    new = pick(rng, [name for name in USUAL_RATES if name != old.optimizer])
    draft.training = old.model_copy(update={"optimizer": new, "rate": USUAL_RATES[new]})
    return f"optimiser {old.optimizer} became {new}"


def schedule(draft: Draft, rng: np.random.Generator) -> str | None:
    """Let the rate change in another way until the last epoch."""
    old = draft.training.schedule
    new = pick(rng, [name for name in get_args(Schedule) if name != old])
    draft.training = draft.training.model_copy(update={"schedule": new})
    return f"schedule {old} became {new}"


TRAINING: Mapping[str, Operator] = {
    "optimizer": optimizer,
    "schedule": schedule,
    "loss": loss,
    "sampler": sampler,
}
"""All of them by name."""
