"""What goes in and out of the HTTP API."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from agenticrs.platform.data.dataset import BEHAVIOURS

Id = Annotated[str, Field(min_length=1, max_length=200)]


def _known(behaviours: dict[str, float]) -> dict[str, float]:
    for name, value in behaviours.items():
        if name not in BEHAVIOURS:
            raise ValueError(f"unknown behaviour {name!r}: one of {', '.join(BEHAVIOURS)}")
        if not math.isfinite(value) or value < 0:
            raise ValueError(f"{name} must be a finite number >= 0, got {value}")
    return behaviours


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RecommendRequest(_Input):
    """A user who wants a slate."""

    user_id: Id
    k: int = Field(default=10, ge=1, le=100)
    history: list[Id] = Field(default_factory=list, max_length=1000)
    """Items that a user without a history here has liked, oldest first."""
    trace: bool = False


class ItemOut(BaseModel):
    """One place of a slate."""

    item: str
    title: str
    score: float


class TraceOut(BaseModel):
    """What one agent did for the request."""

    node: str
    agent: str
    status: str
    milliseconds: float
    error: str


class RecommendResponse(BaseModel):
    """A slate and the composition that made it."""

    surface: str
    composition: int
    items: list[ItemOut]
    trace: list[TraceOut] | None = None


class FeedbackEventIn(_Input):
    """What a user did with an item. Sending the same key again changes nothing."""

    key: Id
    user_id: Id
    item_id: Id
    timestamp: int | None = Field(default=None, ge=0, le=4_102_444_800)
    """Unix seconds; now when left out."""
    behaviours: Annotated[dict[str, float], AfterValidator(_known)] = Field(min_length=1)


class FeedbackRequest(_Input):
    """A batch of feedback."""

    events: list[FeedbackEventIn] = Field(min_length=1, max_length=1000)


class FeedbackResponse(BaseModel):
    """How many events were new, and how many were known by their key."""

    new: int
    repeated: int


class DecisionIn(_Input):
    """Why a proposal is approved or rejected."""

    reason: str = Field(min_length=1, max_length=2000)


class RollbackIn(_Input):
    """Which composition shall serve again (None: the one before), and why."""

    to: int | None = Field(default=None, ge=1, le=2**31 - 1)
    reason: str = Field(min_length=1, max_length=2000)


class ErrorOut(BaseModel):
    """What went wrong and what to do next."""

    error: str
    hint: str = ""


class Health(BaseModel):
    """Whether the service can answer."""

    status: str
    composition: int | None
    mlflow: str


Row = dict[str, Any]
