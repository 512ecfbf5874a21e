from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from agenticrs.agents.retrieval import softmax_loss as module
from agenticrs.agents.retrieval.softmax_loss import softmax_loss


def problem() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(23, 8, generator=generator, requires_grad=True)
    table = torch.randn(11, 8, generator=generator, requires_grad=True)
    return hidden, table, torch.randint(11, (23,), generator=generator)


@pytest.mark.parametrize("cells", [11, 50, 10_000], ids=["one row", "blocks", "all at once"])
def test_loss_and_gradients_are_those_of_plain_cross_entropy(
    monkeypatch: pytest.MonkeyPatch, cells: int
) -> None:
    monkeypatch.setattr(module, "_CELLS_AT_ONCE", cells)
    monkeypatch.setattr(module, "_FEWEST_ROWS", 1)
    hidden, table, target = problem()
    expected = functional.cross_entropy(hidden @ table.T, target)
    wanted = torch.autograd.grad(3.0 * expected, [hidden, table])
    loss = softmax_loss(hidden, table, target)
    found = torch.autograd.grad(3.0 * loss, [hidden, table])
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(found, wanted)


def test_bfloat16_stays_within_its_precision() -> None:
    hidden, table, target = problem()
    exact = softmax_loss(hidden, table, target)
    rough = softmax_loss(hidden, table, target, bfloat16=True)
    torch.testing.assert_close(rough, exact, rtol=0.02, atol=0.0)
    assert rough != exact


def test_a_nan_is_not_hidden() -> None:
    hidden, table, target = problem()
    broken = hidden.detach().clone()
    broken[3, 2] = torch.nan
    assert torch.isnan(softmax_loss(broken, table, target))
