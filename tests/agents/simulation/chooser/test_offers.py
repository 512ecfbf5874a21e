from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from agenticrs.agents.agent import Agent, AgentConfig
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.contract import N_USERS, small_log
from agenticrs.agents.simulation.chooser.agent import SimulatedUser
from agenticrs.agents.simulation.chooser.offers import Offers, choice_accuracy
from agenticrs.agents.training_data import Heldout


def histories() -> UserBatch:
    """Three users of 50 items: one with most of them, one with two, one with nothing."""
    items = torch.cat([torch.arange(44), torch.tensor([7, 9])])
    return UserBatch(torch.arange(3), torch.tensor([0, 44, 46, 46]), items)


def test_the_item_stands_once_among_others_that_the_user_never_had() -> None:
    offers = Offers.of(histories(), 50)
    user, taken = torch.tensor([0, 1, 2]), torch.tensor([3, 9, 20])
    made = offers.make(user, taken, 5, 0)
    assert made.shape == (3, 5)
    for row, (owner, item) in enumerate(zip(user.tolist(), taken.tolist(), strict=True)):
        own = histories().take(torch.tensor([owner])).items.tolist()
        shown = [one for one in made[row].tolist() if one >= 0]
        assert shown.count(item) == 1
        assert len(set(shown)) == len(shown)
        assert not (set(shown) - {item}) & set(own)


def test_pads_come_last_where_nearly_everything_was_had() -> None:
    made = Offers.of(histories(), 50).make(torch.tensor([0]), torch.tensor([3]), 20, 0)[0]
    pads = (made < 0).tolist()
    assert any(pads)
    assert pads == sorted(pads)


def test_items_that_are_held_out_are_not_offered_as_others() -> None:
    many = torch.arange(30, 50)
    truth = Heldout(torch.tensor([2]), torch.tensor([0, 20]), many, torch.ones(20))
    offers = Offers.of(histories(), 50, truth)
    user = torch.full((20,), 2)
    made = offers.make(user, many, 6, 0)
    assert ((made >= 30) == (made == many[:, None])).all()


def test_an_offer_depends_on_who_gets_it_and_the_turn_alone() -> None:
    offers = Offers.of(histories(), 50)
    user, taken = torch.tensor([1, 2, 2]), torch.tensor([9, 20, 21])
    together = offers.make(user, taken, 8, 0)
    for row in range(3):
        alone = offers.make(user[row : row + 1], taken[row : row + 1], 8, 0)
        assert torch.equal(alone[0], together[row])
    assert not torch.equal(offers.make(user, taken, 8, 1), together)


def test_the_place_of_the_item_tells_nothing() -> None:
    offers = Offers.of(histories(), 50)
    turns = [offers.make(torch.tensor([2]), torch.tensor([20]), 4, turn) for turn in range(400)]
    place = (torch.cat(turns) == 20).to(torch.int8).argmax(1)
    assert torch.bincount(place, minlength=4).min() > 60


class Sure(Agent[AgentConfig]):
    """Chooses the largest, or the smallest, number of those offered."""

    spec = SimulatedUser.spec
    config_type = AgentConfig
    largest = True

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        (source,) = inputs
        key = source.items if self.largest else torch.where(source.items < 0, 99, source.items)
        first = source.items.gather(1, key.argsort(dim=1, descending=self.largest)[:, :k])
        return Candidates(first, torch.zeros(first.shape))


@pytest.mark.parametrize("largest", [True, False])
def test_accuracy_is_the_share_of_the_user_s_held_out_items_that_are_chosen(largest: bool) -> None:
    data = small_log()
    # Nobody had items 26 to 29: so 29 is always the largest, and never the smallest.
    users = torch.arange(N_USERS)
    truth = Heldout(users, torch.arange(N_USERS + 1), torch.full((N_USERS,), 29), torch.ones(1))
    agent = Sure(AgentConfig())
    agent.largest = largest
    assert choice_accuracy(agent, data, truth, 5).tolist() == [float(largest)] * N_USERS


def test_whoever_puts_out_nothing_is_never_right() -> None:
    class Silent(Sure):
        def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
            return Candidates.empty(len(users), k)

    data = small_log()
    truth = Heldout(torch.arange(2), torch.arange(3), torch.tensor([28, 29]), torch.ones(2))
    assert choice_accuracy(Silent(AgentConfig()), data, truth, 5).tolist() == [0.0, 0.0]
