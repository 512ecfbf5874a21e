"""The minimum of a smooth loss over a few weights, by L-BFGS (Liu & Nocedal 1989)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def minimise(loss: Callable[[], Tensor], weights: list[Tensor], steps: int = 100) -> None:
    """Change the weights, which want gradients, in place until ``loss()`` falls no more."""
    optimiser = torch.optim.LBFGS(weights, max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(closure)  # type: ignore[no-untyped-call]
