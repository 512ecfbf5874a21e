"""Corrections for who drew a trial, beside figures that are worked out here.

One choice of two options in one state, so that a critic is two numbers: by how much the first
option is better than the middle (the second one is as much worse), and a level.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from agenticrs.evolution.methods import policy_learning
from agenticrs.evolution.methods.policy_actions import Actions
from agenticrs.evolution.methods.policy_draws import Features, FloatArray
from agenticrs.evolution.methods.policy_learning import Learnt, learn
from agenticrs.evolution.methods.policy_state import Experience, PolicyState
from agenticrs.registry.spec import Choice

SPACE = (Choice(name="loss", values=("a", "b")),)
ACTIONS = Actions(SPACE)
NOW = np.zeros(Features(ACTIONS).state_width)
SIDES = np.array([1.0, -1.0, 1.0, -1.0])
"""1 where the first option was drawn, -1 where the second one was."""
REWARDS = np.array([0.2, -1.0, 2.5, 1.5])
BEHAVIOUR = np.array([1.0, 0.2, 2.0, 8.0])
"""Density of each draw, relative to drawing uniformly, as the cold policy does."""
WEIGHTS = np.array([1.0, 2.0, 0.5, 0.25])
"""One over each of them, within a quarter and two."""
TRACES = (1.0, 1.0, 0.5, 0.125)
"""One over each of them, at most one."""
NOISE = 0.3


def learnt(monkeypatch: pytest.MonkeyPatch, rounds: int) -> Learnt:
    """What a cold policy learns from the four trials in so many turns of critic and actor."""
    monkeypatch.setattr(policy_learning, "_ROUNDS", rounds)
    monkeypatch.setattr(policy_learning, "_NOISES", (NOISE,))
    lived = Experience(
        states=np.tile(NOW, (4, 1)),
        rows=np.stack([SIDES > 0, SIDES < 0], axis=1).astype(float),
        rewards=REWARDS,
        log_behaviour=np.log(BEHAVIOUR),
        cycles=np.ones(4, np.int64),
    )
    return learn(ACTIONS, PolicyState.cold(SPACE), lived)


def fitted(returns: FloatArray, weights: FloatArray) -> tuple[float, float]:
    """Weighted ridge: variance .2 for how much better, half of it of all cycles, and 4 a level."""
    precision = weights / NOISE
    both = precision @ SIDES
    left = [[precision.sum() + 1 / 0.2, both], [both, precision.sum() + 1 / 4]]
    better, level = np.linalg.solve(left, [precision * SIDES @ returns, precision @ returns])
    return float(better), float(level)


def shared(found: Learnt) -> list[float]:
    """By how much each option is better than the middle in all cycles."""
    return list(found.state.critic[0])


def test_a_trial_weighs_by_how_much_more_often_the_policy_would_draw_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    better, _ = fitted(REWARDS, WEIGHTS)
    assert shared(learnt(monkeypatch, 1)) == pytest.approx([better / 2, -better / 2])
    unweighted, _ = fitted(REWARDS, np.ones(4))
    assert abs(better - unweighted) > 0.1, "the correction can be seen"


def test_what_comes_after_counts_as_far_as_the_policy_would_have_gone_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = learnt(monkeypatch, 1)
    better, level = fitted(REWARDS, WEIGHTS)

    def returns(traces: tuple[float, ...]) -> FloatArray:
        """From the last trial back. A uniform policy may expect the level itself."""
        targets = [REWARDS[3]]
        for place in (2, 1, 0):
            expected = better * SIDES[place + 1] + level
            ahead = level + traces[place + 1] * (targets[0] - expected)
            targets.insert(0, REWARDS[place] + 0.2 * ahead)
        return np.array(targets)

    (first_share, second_share) = np.exp(first.draws(ACTIONS, NOW).options[0][0])
    shares = np.where(SIDES > 0, first_share, second_share)
    weights = np.clip(2 * shares / BEHAVIOUR, 0.25, 2.0)
    again, _ = fitted(returns(TRACES), weights)
    assert shared(learnt(monkeypatch, 2)) == pytest.approx([again / 2, -again / 2])
    for wrong in ((0.0,) * 4, (1.0,) * 4, (1.0, 5.0, 0.5, 0.125)):
        otherwise, _ = fitted(returns(wrong), weights)
        assert abs(again - otherwise) > 0.003, "the correction can be seen"


def test_returns_end_with_their_cycle() -> None:
    found = policy_learning._returns(
        rewards=np.array([1.0, 2.0, 5.0]),
        known=np.array([0.5, 1.0, 4.0]),
        value=np.array([0.2, 0.6, 3.0]),
        trace=np.array([1.0, 0.5, 1.0]),
        goes_on=np.array([True, False, False]),
    )
    # The second is the last of its cycle; the first: 1 + .2 (.6 + .5 (2 - 1)).
    assert found == pytest.approx([1.22, 2.0, 5.0])


def test_searches_side_by_side_are_learnt_from_at_once_as_one_after_the_other() -> None:
    def lived(cycle: int) -> Experience:
        rows = np.array([[1.0, 0.0], [0.0, 1.0]])
        rewards = np.array([0.5, -0.5]) * cycle
        return Experience(np.tile(NOW, (2, 1)), rows, rewards, np.zeros(2), np.full(2, cycle))

    cold = PolicyState.cold(SPACE)
    both = learn(ACTIONS, cold, lived(1), Experience.none(len(NOW), 2), lived(2)).state
    assert both.version == 1
    assert both.memory.cycles.tolist() == [1, 1, 2, 2]
    later = learn(ACTIONS, learn(ACTIONS, cold, lived(1)).state, lived(2)).state
    assert later.version == 2
    assert both.critic == pytest.approx(later.critic, rel=0.1)
    assert math.isfinite(both.unexplained)
