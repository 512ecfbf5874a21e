from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from agenticrs.agents.simulation.chooser import group_policy

seeds = st.integers(0, 10_000)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(seeds)
def test_advantages_are_relative_to_the_group(seed: int) -> None:
    found = torch.randn(5, 8, generator=generator(seed))
    made = group_policy.advantages(found)
    torch.testing.assert_close(made.mean(1), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(made.std(1, correction=0), torch.ones(5), atol=1e-4, rtol=0)
    torch.testing.assert_close(group_policy.advantages(3 * found + 7), made, atol=1e-3, rtol=1e-3)


def test_a_group_in_which_all_earned_the_same_teaches_nothing() -> None:
    chosen, taken = torch.tensor([[1, 1, 1], [0, 1, 1]]), torch.tensor([1, 1])
    made = group_policy.advantages(group_policy.rewards(chosen, taken))
    assert made[0].tolist() == [0.0, 0.0, 0.0]
    assert made[1, 0] < 0 < made[1, 1]


def pull(now: float, advantage: float, clip: float = 0.2) -> float:
    """The gradient of the objective for one answer whose log chance was 0 when it was drawn."""
    chance = torch.tensor([[now]], requires_grad=True)
    before = torch.zeros(1, 1)
    gain = group_policy.objective(chance, before, torch.tensor([[advantage]]), clip)
    gain.backward()  # type: ignore[no-untyped-call]
    assert chance.grad is not None
    return float(chance.grad)


def test_an_answer_that_moved_far_enough_in_its_favour_pulls_no_further() -> None:
    assert pull(0.0, 1.0) > 0
    assert pull(0.3, 1.0) == 0
    assert pull(-0.3, -1.0) == 0


def test_an_answer_that_moved_the_wrong_way_is_always_pulled_back() -> None:
    assert pull(-0.5, 1.0) > 0
    assert pull(0.5, -1.0) < 0


@given(seeds)
def test_the_divergence_is_none_only_from_oneself(seed: int) -> None:
    logits = torch.randn(2, 4, 6, generator=generator(seed))
    logits[:, :, 5] = -torch.inf
    policy, other = logits.log_softmax(2)
    apart = group_policy.divergence(policy, other)
    assert (apart > 0).all()
    torch.testing.assert_close(group_policy.divergence(policy, policy), torch.zeros(4))
    real = [float((p[:5].exp() * (p - q)[:5]).sum()) for p, q in zip(policy, other, strict=True)]
    torch.testing.assert_close(apart, torch.tensor(real))


def test_the_divergence_has_a_gradient_beside_pads() -> None:
    logits = torch.tensor([[1.0, 0.5, -torch.inf]], requires_grad=True)
    other = torch.tensor([[0.0, 0.0, -torch.inf]]).log_softmax(1)
    group_policy.divergence(logits.log_softmax(1), other).sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def learnt(kl_weight: float) -> tuple[Tensor, Tensor]:
    """Log chances of four answers, the third of which is right, before and after 60 rounds."""
    drawing = generator(0)
    logits = torch.zeros(32, 4, requires_grad=True)
    reference = logits.detach().log_softmax(1)
    optimizer = torch.optim.Adam([logits], lr=0.05)
    right = torch.full((32,), 2)
    for _ in range(60):
        before = logits.detach().log_softmax(1)
        chosen = group_policy.draw(before.exp(), 8, drawing)
        advantage = group_policy.advantages(group_policy.rewards(chosen, right))
        now = logits.log_softmax(1)
        gain = group_policy.objective(
            now.gather(1, chosen), before.gather(1, chosen), advantage, 0.2
        )
        loss = kl_weight * group_policy.divergence(now, reference).mean() - gain
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return reference, logits.detach().log_softmax(1)


def test_what_is_rewarded_becomes_likely() -> None:
    before, after = learnt(0.001)
    assert float(before.exp()[:, 2].mean()) == 0.25
    assert float(after.exp()[:, 2].mean()) > 0.7


def test_a_heavy_divergence_keeps_the_policy_near_its_reference() -> None:
    (_, free), (_, held) = learnt(0.001), learnt(10.0)
    assert float(held.exp()[:, 2].mean()) < float(free.exp()[:, 2].mean()) - 0.2
