"""What a business wants, in one number for each user: objectives and how much each counts.

A person sets the weights. Objectives are told in units of their own (minutes, shares, events), so
each is measured against a reference, the mean of what serves:

    reward(u) = 1 + sum_o w_o s_o (x_o(u) - reference_o) / unit_o / sum_o w_o

with s = -1 for what should not happen and unit the reference itself, or 1 where that is
practically 0 (as in ``blend.lift``). At the reference the mean is 1 whatever the weights are, and
the mean less 1 is the weighted mean of the lifts: so rewards of what serves and of a candidate can
go into ``blend.blended_difference`` as they are.

================ =============================================================================
objective        what is measured for each user, within the same time for everybody
================ =============================================================================
watch_time       time spent watching, in any unit
retention        came back (0 or 1), or on how many days
satisfaction     what the user said or showed: a rating, a like, a survey
long_term_value  what the user will be worth, delayed rewards included (``delayed.py``)
risk             events that must not happen: complaints, reports, unsubscribing. Less is better
================ =============================================================================
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Literal, get_args

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from agenticrs.platform.errors import DataError, SettingsError
from agenticrs.rewards.blend import unit

Objective = Literal["watch_time", "retention", "satisfaction", "long_term_value", "risk"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
UNWANTED: frozenset[Objective] = frozenset({"risk"})


class Weights(BaseModel):
    """How much each objective counts. Only their ratios matter; an objective at 0 is not asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    watch_time: float = Field(default=0.0, ge=0.0)
    retention: float = Field(default=0.0, ge=0.0)
    satisfaction: float = Field(default=0.0, ge=0.0)
    long_term_value: float = Field(default=0.0, ge=0.0)
    risk: float = Field(default=0.0, ge=0.0)
    """Of events that must not happen; given as a positive number."""

    @model_validator(mode="after")
    def _check(self) -> Weights:
        if not self.shares:
            raise ValueError("at least one objective must have a weight above 0")
        return self

    @property
    def shares(self) -> dict[Objective, float]:
        """The objectives that count, with weights that sum to 1."""
        given = {name: float(getattr(self, name)) for name in OBJECTIVES}
        total = sum(given.values())
        return {name: weight / total for name, weight in given.items() if weight > 0}


def parse(setting: Mapping[str, object]) -> Weights:
    """Weights as a person wrote them, ``{"watch_time": 1, "risk": 0.5}``.

    Raises SettingsError for a name that is not known, a weight that is no number from 0 on, or
    nothing that counts.
    """
    for name in setting:
        if name not in OBJECTIVES:
            close = difflib.get_close_matches(str(name), OBJECTIVES, n=1)
            raise SettingsError(
                f"{name!r} is no objective",
                hint=(f"did you mean {close[0]}? " if close else "")
                + "objectives: "
                + ", ".join(OBJECTIVES),
            )
    try:
        return Weights.model_validate(dict(setting))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"])) or "the weights of objectives"
        raise SettingsError(
            f"{where}: {fault['msg']}", hint="for example watch_time = 1, risk = 0.5"
        ) from error


def references(measured: Mapping[Objective, Tensor]) -> dict[Objective, float]:
    """The mean of each objective over the users of what serves: what others are measured by."""
    return {name: float(values.to(torch.float64).mean()) for name, values in measured.items()}


def outer_reward(
    measured: Mapping[Objective, Tensor],
    weights: Weights,
    reference: Mapping[Objective, float],
) -> Tensor:
    """One reward for each user, (U,) float64; ``measured`` holds (U,) for every objective.

    Use the same ``reference`` for all that is compared. Raises DataError when an objective that
    counts was not measured, is not finite, or is told of other users.
    """
    parts = [
        share * _lifts(name, measured, reference) * (-1.0 if name in UNWANTED else 1.0)
        for name, share in weights.shares.items()
    ]
    lengths = {len(part) for part in parts}
    if len(lengths) > 1:
        raise DataError(f"objectives must be of the same users, got {sorted(lengths)} of them")
    return 1.0 + torch.stack(parts).sum(0)


def _lifts(
    name: Objective, measured: Mapping[Objective, Tensor], reference: Mapping[Objective, float]
) -> Tensor:
    if name not in measured or name not in reference:
        raise DataError(
            f"objective {name} counts, but was not measured",
            hint="set its weight to 0, or log what it needs",
        )
    values, usual = measured[name].to(torch.float64), reference[name]
    if values.ndim != 1 or not bool(values.isfinite().all()):
        raise DataError(f"objective {name} must be one finite number for each user")
    return (values - usual) / unit(usual)
