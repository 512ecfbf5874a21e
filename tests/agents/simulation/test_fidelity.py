from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from agenticrs.agents.simulation.choice import choices
from agenticrs.agents.simulation.fidelity import Fidelity, fidelity, replayed
from agenticrs.agents.simulation.trust import trust
from agenticrs.agents.simulation.world import Study


@pytest.fixture(scope="module")
def found(fitted: Study) -> Fidelity:
    return fidelity(fitted, seed=0, days=4)


def test_every_part_is_measured_where_the_log_has_times_and_exposures(found: Fidelity) -> None:
    parts = {figure.part for figure in found.figures}
    assert parts == {"response", "sequence", "items", "visits"}
    assert [choice.m for choice in found.choices] == [1, 2, 3, 9]
    for figure in found.figures:
        for value in (figure.distance, figure.noise, figure.naive):
            assert 0 <= value <= 1, figure


def test_fitted_users_are_nearer_to_real_ones_than_users_without_character(
    found: Fidelity,
) -> None:
    figures = {figure.signal: figure for figure in found.figures}
    own = figures["a user's mean satisfaction"]
    assert own.distance < own.naive
    for figure in found.part("response") + found.part("visits"):
        assert figure.distance < figure.noise + 0.25, figure


def test_fidelity_is_measured_on_held_out_users_alone(fitted: Study, found: Fidelity) -> None:
    log = fitted.heldout()
    assert set(fitted.group[log.user].tolist()) == {2}
    assert found.events == len(log)
    assert found.users == len(torch.unique(log.user))


def test_a_replay_keeps_who_met_what_and_invents_the_rest(fitted: Study) -> None:
    log = fitted.heldout()
    once, again, other = (replayed(fitted, log, seed) for seed in (0, 0, 1))
    assert torch.equal(once.item, log.item)
    assert torch.equal(once.level, again.level)
    assert not torch.equal(once.level, other.level)
    assert not torch.equal(once.level, log.level)


def test_users_who_respond_by_chance_are_trusted_less(fitted: Study, found: Fidelity) -> None:
    response = fitted.world.response
    first = response.first
    blind = replace(
        first, scale=torch.zeros_like(first.scale), offset=torch.zeros_like(first.offset)
    )
    foolish = replace(fitted, world=replace(fitted.world, response=replace(response, first=blind)))
    assert trust(fidelity(foolish, seed=0, days=4)).score < trust(found).score - 0.1


def test_an_offer_holds_one_wanted_item_for_every_m_others(fitted: Study) -> None:
    for choice in choices(fitted, seed=0):
        user, _ = choice.taken[0]
        assert choice.users == len(torch.unique(user))
        assert 0 <= choice.precision <= 1
        if choice.users:
            assert int(torch.bincount(user).max()) <= 20 // (1 + choice.m)
