"""Losses over drawn items beside what autograd makes of their definitions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from agenticrs.agents.retrieval import sampled_loss as module
from agenticrs.agents.retrieval.sampled_loss import Kind, sampled_loss

KINDS: tuple[Kind, ...] = ("sampled", "bce", "gbce", "bpr")


def problem() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(23, 8, generator=generator, requires_grad=True)
    table = torch.randn(11, 8, generator=generator, requires_grad=True)
    target = torch.randint(11, (23,), generator=generator)
    return hidden, table, target, torch.randint(11, (7,), generator=generator)


def defined(kind: Kind, hidden: Tensor, table: Tensor, target: Tensor, drawn: Tensor) -> Tensor:
    """All logits at once, as the papers write it; calibration .5."""
    right, wrong = (hidden * table[target]).sum(1), hidden @ table[drawn].T
    other = drawn != target[:, None]
    if kind == "sampled":
        raised = (wrong + math.log(11 / 7)).masked_fill(~other, -torch.inf)
        return functional.cross_entropy(
            torch.cat([right[:, None], raised], 1), torch.zeros_like(target)
        )
    if kind == "bpr":
        return (-functional.logsigmoid(right[:, None] - wrong) * other).sum(1).mean() / 7
    false = (-functional.logsigmoid(-wrong) * other).sum(1)
    rate = 7 / 10
    power = 1.0 if kind == "bce" else rate * (0.5 * (1 - 1 / rate) + 1 / rate)
    weight = 1 / 7 if kind == "bce" else 1.0
    return (-power * functional.logsigmoid(right) + weight * false).mean()


@pytest.mark.parametrize("cells", [7, 50, 10_000], ids=["one row", "blocks", "all at once"])
@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradients_are_those_of_the_definition(
    monkeypatch: pytest.MonkeyPatch, kind: Kind, cells: int
) -> None:
    monkeypatch.setattr(module, "_CELLS_AT_ONCE", cells)
    monkeypatch.setattr(module, "_FEWEST_ROWS", 1)
    hidden, table, target, drawn = problem()
    expected = defined(kind, hidden, table, target, drawn)
    wanted = torch.autograd.grad(3.0 * expected, [hidden, table])
    loss = sampled_loss(kind, hidden, table, target, drawn, calibration=0.5)
    found = torch.autograd.grad(3.0 * loss, [hidden, table])
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(found, wanted)


def test_unequal_chances_lower_the_logits_of_the_softmax_alone() -> None:
    hidden, table, target, drawn = problem()
    chances = torch.rand(11, generator=torch.Generator().manual_seed(4)).softmax(0)[drawn]
    wrong = hidden @ table[drawn].T - (7 * chances).log()
    wrong = wrong.masked_fill(drawn == target[:, None], -torch.inf)
    right = (hidden * table[target]).sum(1, keepdim=True)
    expected = functional.cross_entropy(torch.cat([right, wrong], 1), torch.zeros_like(target))
    loss = sampled_loss("sampled", hidden, table, target, drawn, chances=chances)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(
        torch.autograd.grad(loss, [hidden, table]), torch.autograd.grad(expected, [hidden, table])
    )
    same = sampled_loss("sampled", hidden, table, target, drawn, chances=torch.full((7,), 1 / 11))
    torch.testing.assert_close(same, sampled_loss("sampled", hidden, table, target, drawn))
    for kind in KINDS[1:]:
        plain = sampled_loss(kind, hidden, table, target, drawn)
        assert torch.equal(plain, sampled_loss(kind, hidden, table, target, drawn, chances=chances))


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_stays_within_its_precision(kind: Kind) -> None:
    parts = problem()
    exact = sampled_loss(kind, *parts, calibration=0.5)
    rough = sampled_loss(kind, *parts, calibration=0.5, bfloat16=True)
    torch.testing.assert_close(rough, exact, rtol=0.01, atol=0.0)
    assert rough != exact
    wanted = torch.autograd.grad(exact, parts[:2])
    found = torch.autograd.grad(rough, parts[:2])
    torch.testing.assert_close(found, wanted, rtol=0.05, atol=0.005)


@pytest.mark.parametrize("kind", KINDS)
def test_a_nan_is_not_hidden(kind: Kind) -> None:
    hidden, table, target, drawn = problem()
    broken = hidden.detach().clone()
    broken[3, 2] = torch.nan
    assert torch.isnan(sampled_loss(kind, broken, table, target, drawn))


def test_nobody_has_no_loss() -> None:
    hidden, table, target, drawn = problem()
    loss = sampled_loss("bce", hidden[:0], table, target[:0], drawn)
    assert float(loss.detach()) == 0.0
