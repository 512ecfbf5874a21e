from __future__ import annotations

import torch

from agenticrs.agents.retrieval.transformer import Dropout, Transformer


def model(length: int = 6) -> Transformer:
    network = Transformer(n_items=20, length=length, size=8, layers=2, heads=2)
    network.initialise(torch.Generator().manual_seed(0))
    return network.requires_grad_(False)


def test_a_later_item_never_changes_an_earlier_place() -> None:
    network = model()
    items = torch.tensor([[3, 1, 4, 1, 5, 9]])
    changed = items.clone()
    changed[0, 4] = 7
    before, after = network(items, torch.tensor([6])), network(changed, torch.tensor([6]))
    torch.testing.assert_close(after[:, :4], before[:, :4])
    assert not torch.allclose(after[:, 4:], before[:, 4:])


def test_an_earlier_item_does_change_a_later_place() -> None:
    network = model()
    items = torch.tensor([[3, 1, 4]])
    before = network(items, torch.tensor([3]))
    after = network(torch.tensor([[2, 1, 4]]), torch.tensor([3]))
    assert (after[0, 2] - before[0, 2]).abs().max() > 1e-3


def test_padding_changes_nothing() -> None:
    network = model()
    bare = network(torch.tensor([[3, 1, 4]]), torch.tensor([3]))
    padded = network(torch.tensor([[3, 1, 4, -1, -1, -1]]), torch.tensor([3]))
    torch.testing.assert_close(padded[:, :3], bare)


def test_all_weights_come_from_the_generator() -> None:
    torch.manual_seed(1)
    first = model()
    torch.manual_seed(2)
    second = model()
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, second.state_dict()[name]), name


def test_dropout_keeps_the_mean_and_repeats_with_its_seed() -> None:
    ones = torch.ones(100_000)
    dropped = Dropout(0.3, torch.Generator().manual_seed(4))(ones)
    assert abs(float((dropped == 0).float().mean()) - 0.3) < 0.01
    assert abs(float(dropped.mean()) - 1.0) < 0.01
    assert torch.equal(dropped, Dropout(0.3, torch.Generator().manual_seed(4))(ones))
    assert Dropout(0.0, torch.Generator())(ones) is ones
