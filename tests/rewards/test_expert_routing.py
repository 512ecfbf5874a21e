from __future__ import annotations

import pytest
import torch

from agenticrs.rewards.expert_routing import balance, routing_health, stability, utilisation

EVEN = torch.full((4, 4), 0.25)
ONE = torch.eye(4)[[0, 0, 0, 0]]
TURNS = torch.eye(4)


def test_balance_is_about_the_work_of_all_users_together() -> None:
    assert balance(EVEN) == pytest.approx(1.0)
    assert balance(TURNS) == pytest.approx(1.0)
    assert balance(ONE) == pytest.approx(0.0, abs=1e-9)
    assert balance(torch.ones(3, 1)) == 1.0


def test_utilisation_counts_the_experts_that_do_something() -> None:
    assert utilisation(EVEN) == 1.0
    assert utilisation(ONE) == 0.25
    assert utilisation(torch.tensor([[0.9, 0.1, 0.0, 0.0]])) == 0.25


def test_stability_is_each_users_own() -> None:
    moved = TURNS.clone()
    moved[0] = torch.tensor([0.5, 0.5, 0.0, 0.0])
    assert stability(TURNS, moved).tolist() == [0.5, 1.0, 1.0, 1.0]


def test_health_is_their_mean() -> None:
    assert routing_health(EVEN, EVEN).tolist() == pytest.approx([1.0] * 4)
    assert routing_health(ONE, TURNS).tolist() == pytest.approx(
        [(0.0 + 0.25 + 1.0) / 3, *[(0.25 + 0.0) / 3] * 3], abs=1e-9
    )
