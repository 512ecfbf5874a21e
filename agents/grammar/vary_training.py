"""Operators that change how a document is trained, and leave its blocks alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

import numpy as np

from agenticrs.agents.grammar.draft import Draft
from agenticrs.agents.grammar.training import USUAL_RATES, Schedule
from agenticrs.agents.grammar.vary_settings import Operator, pick


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


TRAINING: Mapping[str, Operator] = {"optimizer": optimizer, "schedule": schedule}
"""Both by name."""
