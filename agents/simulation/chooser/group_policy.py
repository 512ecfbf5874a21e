"""Group-relative policy optimisation: several answers to one question, judged against each other.

Shao et al. 2024 (DeepSeekMath, arXiv 2402.03300), for users that choose as in VRAgent-R1 (arXiv
2507.02626):

    A_k = (R_k - mean R) / std R                          over the answers of one question
    loss = -mean min(r A, clip(r, 1 - c, 1 + c) A) + beta KL(policy || reference)

with r the ratio of an answer's chance now to its chance when it was drawn. A choice among a few
items has so few answers that the divergence is exact, not estimated.
"""

from __future__ import annotations

import torch
from torch import Tensor

_RIGHT, _WRONG = 2.0, -1.5
"""As published. With two outcomes the advantage is the same for any two numbers."""


def rewards(chosen: Tensor, taken: Tensor) -> Tensor:
    """What answers (B, G) are worth where ``taken`` (B,) is right, (B, G)."""
    return torch.where(chosen == taken[:, None], _RIGHT, _WRONG)


def advantages(found: Tensor) -> Tensor:
    """Rewards (B, G) relative to their group; zero where all answers earned the same."""
    above = found - found.mean(1, keepdim=True)
    spread = found.std(1, correction=0, keepdim=True)
    return torch.where(spread > 1e-6, above / spread.clamp(min=1e-6), 0.0)


def objective(now: Tensor, before: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """The clipped objective of answers (B, G) by their log chances now and when drawn, a mean.

    An answer that has already moved by more than ``clip`` in its own favour pulls no further.
    """
    ratio = (now - before).exp()
    held = ratio.clamp(1 - clip, 1 + clip)
    return torch.minimum(ratio * advantage, held * advantage).mean()


def divergence(policy: Tensor, reference: Tensor) -> Tensor:
    """KL(policy || reference) of log chances (B, N) in nats, (B,); -inf stands at pads of both."""
    there = policy > -torch.inf
    gap = torch.where(there, policy, 0.0) - torch.where(there, reference, 0.0)
    return (policy.exp() * gap).sum(1)


def draw(chances: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """``n`` answers to each question, drawn with replacement by ``chances`` (B, N), (B, n)."""
    return torch.multinomial(chances, n, replacement=True, generator=generator)
