from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agenticrs.platform.errors import DataError, SettingsError
from agenticrs.rewards.blend import blended_difference, lift
from agenticrs.rewards.objectives import (
    OBJECTIVES,
    Objective,
    Weights,
    outer_reward,
    parse,
    references,
)


def users(seed: int, n: int = 50) -> dict[Objective, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: scale * torch.rand(n, generator=generator)
        for name, scale in zip(OBJECTIVES, (40.0, 1.0, 5.0, 300.0, 0.01), strict=True)
    }


def test_weights_are_read_as_a_person_wrote_them() -> None:
    weights = parse({"watch_time": 3, "risk": "1"})
    assert weights.shares == {"watch_time": 0.75, "risk": 0.25}
    assert Weights.model_validate_json(weights.model_dump_json()) == weights
    with pytest.raises(ValidationError):
        setattr(weights, "risk", 2.0)  # noqa: B010 (mypy knows that it is frozen)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"watchtime": 1}, "did you mean watch_time"),
        ({"clicks": 1}, "objectives: watch_time, retention"),
        ({"risk": -1}, "risk: .* greater than or equal to 0"),
        ({"risk": "much"}, "risk: .*number"),
        ({"risk": float("nan")}, "risk: .*finite"),
        ({"risk": 0}, "at least one objective"),
        ({}, "at least one objective"),
    ],
)
def test_what_is_no_weight_is_refused(setting: dict[str, object], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        parse(setting)


@given(st.lists(st.floats(0, 10), min_size=5, max_size=5).filter(lambda w: sum(w) > 1e-3))
def test_what_serves_is_worth_one_and_others_one_and_their_lifts(drawn: list[float]) -> None:
    weights = Weights(**dict(zip(OBJECTIVES, drawn, strict=True)))
    serves, other = users(0), users(1)
    usual = references(serves)
    assert float(outer_reward(serves, weights, usual).mean()) == pytest.approx(1.0)
    lifts = {name: lift(float(other[name].mean()), usual[name]) for name in OBJECTIVES}
    lifts["risk"] = -lifts["risk"]
    expected = 1 + sum(share * lifts[name] for name, share in weights.shares.items())
    assert float(outer_reward(other, weights, usual).mean()) == pytest.approx(expected, rel=1e-5)


def test_rewards_go_into_the_blended_score_as_they_are() -> None:
    weights, serves, other = Weights(watch_time=1, risk=2), users(0), users(1)
    usual = references(serves)
    before, after = (outer_reward(one, weights, usual) for one in (serves, other))
    score = blended_difference(before, before, after, before, 1.0)
    assert float(score.mean()) == pytest.approx(float((after - before).mean()))


def test_more_risk_is_worse_and_none_before_is_told_in_events() -> None:
    weights = Weights(risk=1)
    none, one = torch.zeros(4), torch.tensor([0.0, 0, 0, 1])
    found = outer_reward({"risk": one}, weights, references({"risk": none}))
    assert found.tolist() == [1.0, 1.0, 1.0, 0.0]


def test_an_objective_that_counts_must_have_been_measured() -> None:
    weights = Weights(watch_time=1, retention=1)
    only = users(0)
    del only["retention"]
    with pytest.raises(DataError, match="retention counts, but was not measured"):
        outer_reward(only, weights, references(only))
    assert outer_reward(only, Weights(watch_time=1), references(only)).shape == (50,)
    broken, short = users(0), users(0)
    broken["retention"], short["retention"] = torch.full((50,), float("nan")), torch.ones(49)
    with pytest.raises(DataError, match="retention must be one finite"):
        outer_reward(broken, weights, references(users(0)))
    with pytest.raises(DataError, match="same users"):
        outer_reward(short, weights, references(short))
