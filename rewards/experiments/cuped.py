"""CUPED: take out of a reward what was known of the user before (Deng, Xu, Kohavi & Walker 2013).

What users did before an experiment cannot be its effect, but explains much of why they differ. The
adjusted rewards have the same difference between arms on average, and 1 - R^2 of the variance: with
half of it explained, half of the users do.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from agenticrs.platform.errors import DataError


@dataclass(frozen=True)
class Adjusted:
    """``reward`` (U,) float64 with the same mean as before, and how much was explained (R^2)."""

    reward: Tensor
    explained: float


def cuped(reward: Tensor, before: Tensor) -> Adjusted:
    """Rewards less (before - mean before) theta, theta by least squares over *all* arms together.

    ``before`` is (U,) or (U, C): values from before the first exposure, of the users of all arms.
    NaN (a user without a past) counts as the mean. Raises DataError for other shapes or a reward
    that is not finite.
    """
    values = reward.detach().to("cpu", torch.float64)
    past = before.detach().to("cpu", torch.float64)
    past = past[:, None] if past.ndim == 1 else past
    if past.ndim != 2 or values.ndim != 1 or len(past) != len(values) or not len(values):
        raise DataError(
            f"need a past for each reward, got {tuple(before.shape)} for {tuple(reward.shape)}"
        )
    if not bool(values.isfinite().all()):
        raise DataError("rewards must be finite")
    centred = (past - past.nanmean(0)).nan_to_num(0.0, 0.0, 0.0)
    centred = centred - centred.mean(0)
    deviation = values - values.mean()
    theta = torch.linalg.lstsq(centred, deviation[:, None], driver="gelsd").solution
    fitted = (centred @ theta)[:, 0]
    total = float(deviation.square().sum())
    explained = 1 - float((deviation - fitted).square().sum()) / total if total > 0 else 0.0
    return Adjusted(values - fitted, max(0.0, explained))
