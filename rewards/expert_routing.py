"""How well a mixture's router does its own work, whatever the mixture is used for.

Balance and utilisation ask whether all experts are needed; stability whether a user is treated
alike from one moment to the next. All are in [0, 1], larger is better.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def routing_health(shares: Tensor, moment_before: Tensor) -> Tensor:
    """Mean of balance, utilisation and stability for each user, (U,) float64.

    ``shares`` (U, E): how much of each user goes to each expert, rows sum to 1;
    ``moment_before``: the same for the histories without their newest item. Balance and utilisation
    are those of all users, so that they are alike in every row; stability is the user's own.
    """
    both = 0.5 * (balance(shares) + utilisation(shares))
    return (2 * both + stability(shares, moment_before)) / 3


def balance(shares: Tensor) -> float:
    """Entropy of the mean shares over its largest, log E; 1 for a single expert."""
    mean = shares.to(torch.float64).mean(0)
    if len(mean) == 1:
        return 1.0
    entropy = -(mean * mean.clamp(min=1e-12).log()).sum()
    return float(entropy / math.log(len(mean)))


def utilisation(shares: Tensor) -> float:
    """Share of the experts that do at least half of an even part of the work."""
    mean = shares.to(torch.float64).mean(0)
    return float((mean >= 0.5 / len(mean)).to(torch.float64).mean())


def stability(shares: Tensor, moment_before: Tensor) -> Tensor:
    """1 - total variation between a user's shares now and a moment before, (U,) float64."""
    return 1 - 0.5 * (shares - moment_before).to(torch.float64).abs().sum(1)
