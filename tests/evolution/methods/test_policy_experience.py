from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.evolution.methods.policy_world import SPACE, search, situation
from tests.evolution.methods.uniform import Uniform

from agenticrs.evolution.methods.method import State, Tried
from agenticrs.evolution.methods.policy import Policy
from agenticrs.evolution.methods.policy_actions import Actions
from agenticrs.evolution.methods.policy_experience import KNOWN, LOG_DENSITY, experience, normalised
from agenticrs.evolution.methods.policy_situation import SITUATION_WIDTH, Situation
from agenticrs.evolution.methods.policy_state import Experience, PolicyState
from agenticrs.rewards.objectives import OBJECTIVES, Objective

ACTIONS = Actions(SPACE)


def trials() -> list[Tried]:
    return search(Uniform(SPACE), trials=12)[1]


def lived(tried: list[Tried]) -> Experience:
    return experience(ACTIONS, situation(), tried, "c", PolicyState.cold(SPACE))


def rewarded(*rewards: float, state: State = "done") -> list[Tried]:
    return [Tried(n, {}, state, reward) for n, reward in enumerate(rewards)]


def test_what_is_open_is_learnt_from_later_in_the_state_in_which_it_was_drawn() -> None:
    tried = trials()
    late = [replace(t, note={KNOWN: [0, 1]}) if t.number == 5 else t for t in tried]
    waiting = [replace(t, state="open", reward=None) if t.number == 5 else t for t in late]
    before = lived(waiting)
    after = lived(late)
    assert len(before) == 11
    assert len(after) == 12
    same = lived([*late[:2], *waiting[2:5], late[5]])
    assert np.array_equal(after.states[5], same.states[-1])


def test_what_lies_outside_the_space_is_left_out() -> None:
    tried = trials()
    tried[3] = replace(tried[3], values={**tried[3].values, "layers": 99})
    assert len(lived(tried)) == 11
    assert len(lived([])) == 0


def test_the_probability_of_a_draw_is_the_noted_one_or_a_guess_for_other_methods() -> None:
    tried = trials()
    assert (lived(tried).log_behaviour == 0).all()
    noted = [replace(t, note={LOG_DENSITY: 0.7}) for t in tried]
    found = lived(noted).log_behaviour
    assert found.tolist() == pytest.approx([0.7] * 12)
    near = {"rate": 1e-2, "layers": 2, "loss": "bpr"}
    crowd = [replace(t, origin="tpe", values=near if t.number else t.values) for t in tried]
    guessed = lived(crowd).log_behaviour
    assert guessed[1:].min() > 1.0  # drawn again and again
    assert guessed[0] < 0.5


def test_normalised_rewards_do_not_know_the_unit() -> None:
    rewards = np.random.default_rng(0).normal(size=20)
    nothing = np.zeros(20)
    found = normalised(rewarded(*rewards), nothing, 1.0)
    other = normalised(rewarded(*(0.003 * rewards + 40)), nothing, 1.0)
    assert found == pytest.approx(other, abs=1e-6)
    assert (found.argsort() == rewards.argsort()).all()
    wild = normalised(rewarded(*rewards[:-1], 1e6), nothing, 1.0)
    assert np.abs(wild[:-1]).max() < 3


def test_rewards_are_as_far_apart_as_the_critic_says_that_such_candidates_are() -> None:
    alike = rewarded(0.91, 0.92, 0.93, 0.94, 0.95)
    unknown = normalised(alike, np.zeros(5), 1.0)
    known_to_be_alike = normalised(alike, np.zeros(5), 0.2)
    known_to_differ = normalised(alike, np.array([-2.0, -1.0, 0.0, 1.0, 2.0]), 0.2)
    assert np.ptp(known_to_be_alike) < 0.5 * np.ptp(unknown)
    assert np.ptp(known_to_differ) > np.ptp(unknown)


def test_rewards_that_are_all_the_same_are_no_better_and_no_worse() -> None:
    assert normalised(rewarded(0.3, 0.3, 0.3), np.zeros(3), 1.0).tolist() == [0, 0, 0]


def test_what_failed_counts_less_than_what_stopped_early() -> None:
    tried = [*rewarded(0.1, 0.2, 0.3), Tried(3, {}, "pruned"), Tried(4, {}, "failed")]
    found = normalised(tried, np.zeros(5), 1.0)
    assert found[4] < found[3] < found[1]


def test_a_situation_is_refused_when_its_numbers_make_no_sense() -> None:
    with pytest.raises(ValueError, match="users must be a finite number"):
        replace(situation(), users=float("inf"))
    with pytest.raises(ValueError, match="risk must be a finite number"):
        replace(situation(), objectives={"risk": float("nan")})
    assert all(abs(number) < 4 for number in Situation.vector(situation()))


def test_a_situation_tells_what_the_business_wants() -> None:
    alike = situation().vector()
    assert np.allclose(alike[-len(OBJECTIVES) :], 0.0)
    wanted = replace(situation(), objectives={"retention": 0.75, "risk": 0.25}).vector()
    assert wanted[: -len(OBJECTIVES)] == alike[: -len(OBJECTIVES)]
    assert np.allclose(wanted[-len(OBJECTIVES) :], [-0.4, 1.1, -0.4, -0.4, 0.1])
    assert len(wanted) == SITUATION_WIDTH


def test_a_policy_may_learn_that_other_objectives_want_other_points() -> None:
    """Of equal situations but for the objectives: retention wants few layers, risk many."""
    both: tuple[Objective, Objective] = ("retention", "risk")
    state = PolicyState.cold(SPACE)
    for n in range(6):
        which = both[n % 2]
        rng = np.random.default_rng(n)
        layers = [int(x) for x in rng.integers(1, 7, size=24)]
        tried = [
            Tried(
                place,
                {"rate": 1e-3, "layers": one, "loss": "bpr"},
                "done",
                -float(one if which == "retention" else 7 - one),
                origin="random",
            )
            for place, one in enumerate(layers)
        ]
        state = Policy(SPACE, asks_for(which), state, cycle=f"c{n}").learnt(tried)
    drawn = {
        which: [
            float(c.values["layers"])
            for c in Policy(SPACE, asks_for(which), state, cycle="new").ask([], 40)
        ]
        for which in both
    }
    assert np.mean(drawn["retention"]) + 1 < np.mean(drawn["risk"])


def asks_for(objective: Objective) -> Situation:
    """The situation of a business that wants one thing alone."""
    return replace(situation(), objectives={objective: 1.0})
