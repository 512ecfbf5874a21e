"""Fitting: minds, the response, coming back; on users that nothing was learnt from."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

from agenticrs.agents.simulation.choice import area_under_curve
from agenticrs.agents.simulation.mind import FEATURES, Mind
from agenticrs.agents.simulation.persona import Persona
from agenticrs.agents.simulation.priors import Priors
from agenticrs.agents.simulation.replay import Moment, replay
from agenticrs.agents.simulation.returning import EndedVisits, Returning
from agenticrs.agents.simulation.world import Study, World, groups, study
from agenticrs.platform.data.dataset import Dataset
from agenticrs.platform.errors import DataError


def test_replaying_side_by_side_is_replaying_one_by_one(fitted: Study) -> None:
    log, priors = fitted.heldout(), fitted.world.priors
    user = int(log.user.mode().values)
    faced: list[torch.Tensor] = []

    def live(moment: Moment) -> torch.Tensor:
        here = log.user[moment.rows] == user
        faced.append(moment.facing(log.item[moment.rows])[here])
        return log.satisfaction[moment.rows]

    replay(log, fitted.persona, fitted.items, priors, live, mood=0.4, most=1000)
    own = log.take(log.user == user)
    mood = 0.4 + float(fitted.persona.mood[user])
    recent = fitted.persona.recent[user].clone()
    seen = torch.cat(faced)
    assert len(seen) == len(own)
    for row in range(len(own)):
        vector = fitted.items.vectors[own.item[row]]
        assert float(seen[row, FEATURES.index("mood")]) == pytest.approx(mood, abs=1e-5)
        assert float(seen[row, FEATURES.index("repeats")]) == pytest.approx(
            float(recent @ vector), abs=1e-5
        )
        assert float(seen[row, FEATURES.index("fatigue")]) == pytest.approx(
            float(own.place[row].float().log1p()), abs=1e-5
        )
        mood += priors.mood_rate * (float(own.satisfaction[row]) - mood)
        recent += priors.recent_rate * (vector - recent)


def test_what_was_not_lived_through_leaves_no_trace() -> None:
    half = torch.full((2,), 0.5)
    mind = Mind(half, half.clone(), half.clone(), half.clone(), torch.zeros(2, 3))
    before = mind.take(torch.arange(2))
    mind.update(torch.tensor([False, True]), torch.zeros(2), torch.ones(2, 3), Priors())
    for part in fields(Mind):
        assert torch.equal(getattr(mind, part.name)[0], getattr(before, part.name)[0])
        assert not torch.equal(getattr(mind, part.name)[1], getattr(before, part.name)[1])


def test_chances_are_calibrated_on_users_that_nothing_was_learnt_from(fitted: Study) -> None:
    log, response = fitted.heldout(), fitted.world.response
    features = torch.zeros(len(log), len(FEATURES))

    def live(moment: Moment) -> torch.Tensor:
        features[moment.rows] = moment.facing(log.item[moment.rows])
        return log.satisfaction[moment.rows]

    replay(log, fitted.persona, fitted.items, Priors(), live, mood=fitted.world.mood, most=1000)
    levels = response.answers(features).levels
    n = response.signals.n_levels
    logged = torch.bincount(log.level, minlength=n) / len(log)
    assert (levels.mean(0) - logged).abs().max() < 0.04
    told = -levels[torch.arange(len(log)), log.level].log().mean()
    assert told < -logged[log.level].log().mean() - 0.1  # it knows more than the averages
    chances, leaves = response.reactions(features, log.amount, log.seconds)
    assert abs(float(leaves.mean()) - float(log.last.float().mean())) < 0.05
    for place, name in enumerate(response.signals.reactions):
        assert abs(float(chances[:, place].mean() - log.reactions[:, place].mean())) < 0.03, name
    click = response.signals.reactions.index("click")
    assert area_under_curve(chances[:, click], log.reactions[:, click] > 0) > 0.8


def test_the_same_seed_fits_the_same_world(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agenticrs.agents.simulation.network._STEPS", 5)
    worlds = [study(dataset, seed).world for seed in (1, 1, 2)]
    weights = [world.response.first.layers[0] for world in worlds]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_later_halves_of_held_out_users_change_nothing_that_is_measured_on_them(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agenticrs.agents.simulation.network._STEPS", 5)
    before = study(dataset, 0)
    rows = dataset.interactions
    late = before.group[torch.from_numpy(rows.user).long()] == 2
    user = torch.from_numpy(rows.user).long()
    begin = torch.searchsorted(user, user)
    rank = torch.arange(len(user)) - begin
    late &= rank >= torch.bincount(user)[user] // 2
    spoilt = dict(rows.behaviours)
    spoilt["like"] = rows.behaviours["like"].copy()
    spoilt["like"][late.numpy()] = 1 - spoilt["like"][late.numpy()]
    after = study(replace(dataset, interactions=replace(rows, behaviours=spoilt)), 0)
    assert before.world.mood == after.world.mood
    assert torch.equal(before.items.quality, after.items.quality)
    for part in fields(Persona):
        assert torch.equal(getattr(before.persona, part.name), getattr(after.persona, part.name))
    assert torch.equal(
        before.world.response.second.layers[0], after.world.response.second.layers[0]
    )
    assert torch.equal(before.world.returning.weights, after.world.returning.weights)


def test_users_are_in_three_groups_of_the_shares_promised() -> None:
    share = torch.bincount(groups(20_000), minlength=3) / 20_000
    assert share.tolist() == pytest.approx([0.6, 0.2, 0.2], abs=0.02)


def test_the_chance_of_coming_back_is_recovered_from_visits(world: World) -> None:
    generator = torch.Generator().manual_seed(0)
    days, users = 40, 400
    mood = (torch.arange(users) % 2).float()  # the happy come back more
    came = torch.rand(users, days, generator=generator) < (0.1 + 0.4 * mood)[:, None]
    came[:, 0] = True
    user, day = came.nonzero(as_tuple=True)
    visits = EndedVisits(user, day, mood[user], torch.ones(len(user)))
    persona = Persona(**{part.name: torch.zeros(users) for part in fields(Persona)})
    returning = Returning.fit(visits, persona, days - 1)
    since = torch.tensor([3, 3])
    chance = returning.chance(since, torch.tensor([0.0, 1.0]), torch.zeros(2), torch.ones(2))
    assert chance.tolist() == pytest.approx([0.1, 0.5], abs=0.04)


def test_a_log_without_users_who_teach_makes_no_world(dataset: Dataset) -> None:
    rows = dataset.interactions
    nobody = rows.take(groups(dataset.n_users).numpy()[rows.user] != 0)
    with pytest.raises(DataError, match="no users to learn responses from"):
        study(replace(dataset, interactions=nobody), 0)


def test_what_a_log_cannot_tell_is_named(world: World) -> None:
    assert "leaving" not in world.assumed
    assert "how fast moods change" in world.assumed
