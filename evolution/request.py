"""What may be asked of one cycle. Stored with it, so that a restart asks for the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

CycleKind = Literal["bootstrap", "individual", "compositional"]
"""bootstrap: first versions and a first composition; individual: agents change, the graph stands
still; compositional: the graph changes."""
Kinds = tuple[CycleKind, ...] | Literal["alternating"]
"""Cycles one after the other, or whichever comes next by what the last ones brought."""
KindsAsked = Literal["both", "individual", "compositional", "alternating"]
KINDS: Mapping[KindsAsked, Kinds] = {
    "both": ("individual", "compositional"),
    "individual": ("individual",),
    "compositional": ("compositional",),
    "alternating": "alternating",
}
"""By the words in which people ask for them."""


Share = Annotated[float, Field(gt=0, lt=1)]


class EvolveRequest(BaseModel):
    """Scope and budget of one cycle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: CycleKind
    who: str = "evolution"
    """Who asked for it: nobody approves what they asked for."""
    why: str = ""
    """Why it comes now and is of this kind, where that was not what somebody asked for."""
    anew: bool = False
    """Agents are trained once again because the world has moved; nothing is searched for."""
    agents: tuple[str, ...] = ()
    """Agents that may take part; empty = all that are admitted."""
    trials: int = Field(ge=1)
    """Candidates for each agent; compositions: ``trials * compositions_per_trial``."""
    seconds: float = Field(gt=0)
    """Sum of trial seconds after which no new candidate is drawn."""
    gpu_seconds: float | None = Field(default=None, gt=0)
    """The same for seconds times the share of a GPU; None: no limit."""
    llm_money: float | None = Field(default=None, ge=0)
    """Most money for language models, where that is less than the setting; None: the setting."""
    split: str
    seed: int = 0
    rungs: tuple[Share, ...] = (0.25, 0.5)
    """Shares of the epochs after which a training pauses, and ends when it is behind; rising."""
    depth: int = Field(default=100, ge=10)
    """Candidates that retrievers and fusion hand on."""
    compositions_per_trial: int = Field(default=5, ge=1)
    """A candidate composition costs far less than training, so more of them are tried."""
