"""How a document's weights are moved: part of the grammar, so that drafts and chance may change it.

How large the steps are, and for how long, are settings of the agent beside the document.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Optimizer = Literal["adamw", "adam", "sgd", "adagrad"]
Schedule = Literal["constant", "cosine", "linear", "step"]


class Training(BaseModel):
    """Which optimiser goes down the gradient, and how its rate changes until the last epoch.

    ``adamw`` decays weights apart from the gradient, the others within it; ``sgd`` has a momentum
    of 0.9. ``cosine`` and ``linear`` rise along the first twentieth and fall to a tenth; ``step``
    is a third from the middle on, and a tenth in the last quarter.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimizer: Optimizer = "adamw"
    schedule: Schedule | None = None
    """None: the usual one, ``cosine`` under a dot head and ``constant`` under a logits head."""
    rate: float = Field(default=1.0, ge=0.01, le=1000)
    """Times the learning rate of the settings, which is one for AdamW: ``sgd`` wants some 30 times
    that, ``adagrad`` some 5 times."""


USUAL_RATES: Mapping[Optimizer, float] = {"adamw": 1.0, "adam": 1.0, "sgd": 30.0, "adagrad": 5.0}
"""A rate to begin with."""
