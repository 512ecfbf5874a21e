from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.evolution.methods.policy_world import SPACE, search, situation
from tests.evolution.methods.uniform import Uniform

from agenticrs.evolution.methods.method import Method, State
from agenticrs.evolution.methods.policy import UNIFORM_SHARE, Policy
from agenticrs.evolution.methods.policy_actions import Actions
from agenticrs.evolution.methods.policy_experience import LOG_DENSITY, experience
from agenticrs.evolution.methods.policy_learning import entropy_target, learn
from agenticrs.evolution.methods.policy_state import PolicyState
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry.spec import Choice
from agenticrs.rewards.significance import bootstrap_mean


def policy(
    stored: PolicyState | None = None, users: float = 10_000.0, cycle: str = "c", seed: int = 3
) -> Policy:
    return Policy(SPACE, situation(users), stored or PolicyState.cold(SPACE), cycle, seed)


def test_the_same_trials_give_the_same_candidates_and_the_same_next_version() -> None:
    _, tried = search(Uniform(SPACE), trials=8)
    stored = PolicyState.from_bytes(PolicyState.cold(SPACE).to_bytes(), SPACE)
    assert policy().ask(tried, 3) == policy(stored).ask(tried[::-1], 3)
    assert policy().ask(tried, 3) != policy().ask(tried[:-1], 3)
    assert np.array_equal(policy().learnt(tried).actor, policy(stored).learnt(tried).actor)


def test_candidates_say_who_drew_them_and_how_likely_they_were() -> None:
    _, tried = search(Uniform(SPACE), trials=8)
    tried[-1] = replace(tried[-1], state="open", reward=None)
    stored = replace(PolicyState.cold(SPACE), version=5)
    (candidate,) = policy(stored).ask(tried, 1)
    assert candidate.origin == "policy"
    assert candidate.note["policy_version"] == 5
    assert candidate.note["known"] == list(range(7))
    assert candidate.note[LOG_DENSITY] >= np.log(UNIFORM_SHARE)
    assert Actions(SPACE).row(candidate.values) is not None


def test_given_points_come_first_and_only_once() -> None:
    given = {"rate": 1e-2, "layers": 2, "loss": "bpr"}
    asking = replace(policy(), given=({**given, "unknown": 1},))
    first, second = asking.ask([], 2)
    assert (first.origin, first.values) == ("given", given)
    assert second.origin == "policy"
    _, tried = search(asking, trials=4)
    assert all(c.origin == "policy" for c in asking.ask(tried, 3))


def test_a_space_that_is_used_up_gives_nothing_more() -> None:
    space = (Choice(name="loss", values=("a", "b", "c")),)
    tuner = Policy(space, situation(), PolicyState.cold(space), "c")
    drawn = tuner.ask([], 9)
    assert sorted(str(c.values["loss"]) for c in drawn) == ["a", "b", "c"]


def test_a_state_of_another_space_is_refused() -> None:
    with pytest.raises(EvolutionError, match="was learnt in space"):
        Policy(SPACE[:2], situation(), PolicyState.cold(SPACE), "c")


def test_nothing_is_learnt_where_no_result_is_there() -> None:
    cold = PolicyState.cold(SPACE)
    _, tried = search(Uniform(SPACE), trials=4)
    waiting = [replace(t, state="open", reward=None) for t in tried]
    assert policy(cold).learnt(waiting) is cold


@pytest.mark.parametrize("state", ["done", "pruned", "failed"])
def test_it_goes_on_from_one_result_and_from_results_that_are_all_the_same(state: State) -> None:
    _, tried = search(Uniform(SPACE), trials=8)
    same = [replace(t, state=state, reward=0.5 if state == "done" else None) for t in tried]
    one = policy().learnt(same[:1])
    assert len(policy(one, cycle="next").ask(same, 4)) == 4


def test_versions_count_up_and_a_late_result_of_a_cycle_is_learnt_from_once() -> None:
    _, tried = search(Uniform(SPACE), trials=8)
    early = [*tried[:-1], replace(tried[-1], state="open", reward=None)]
    first = policy().learnt(early)
    second = policy(first).learnt(tried)
    assert (first.version, second.version) == (1, 2)
    assert (len(first.memory), len(second.memory)) == (7, 8)
    other = policy(second, cycle="another").learnt(tried)
    assert len(other.memory) == 16


def test_it_learns_from_the_trials_of_another_method_under_noise() -> None:
    _, tried = search(Uniform(SPACE), trials=40, noise=0.3)
    known = policy().learnt(tried)
    true, _ = search(policy(known, cycle="next"), trials=16, noise=0.3)
    assert np.mean(true) > np.mean(search(Uniform(SPACE, 5), trials=40)[0]) + 0.1


def test_the_entropy_aimed_at_falls_with_experience_and_stays_above_its_floor() -> None:
    targets = [entropy_target(Actions(SPACE), n) for n in (0, 40, 10_000)]
    assert targets[0] == 0
    assert targets[0] > targets[1] > targets[2] > -4


def test_entropy_is_near_its_target_where_there_is_something_to_learn_and_high_where_not() -> None:
    actions = Actions(SPACE)
    entropies = []
    for noise in (0.05, 50.0):
        _, tried = search(Uniform(SPACE), trials=40, noise=noise)
        found = experience(actions, situation(), tried, "c", PolicyState.cold(SPACE))
        known = learn(actions, PolicyState.cold(SPACE), found)
        entropies.append(float(known.draws(actions, found.states[-1]).entropy()[0]))
    target = entropy_target(actions, 40)
    assert entropies[0] == pytest.approx(target, abs=0.5)
    assert entropies[1] > 0.7 * target


def test_an_odd_reward_among_good_ones_does_not_turn_the_policy() -> None:
    _, tried = search(Uniform(SPACE), trials=40)
    diverged = [replace(t, reward=-1e9) if t.number % 10 == 3 else t for t in tried]
    true, _ = search(policy(policy().learnt(diverged), cycle="next"), trials=16)
    assert np.mean(true) > np.mean(search(Uniform(SPACE, 5), trials=40)[0]) + 0.1


@pytest.mark.slow
def test_a_policy_from_earlier_cycles_needs_fewer_trials_than_cold_and_uniform_under_noise() -> (
    None
):
    sizes = 10 ** np.random.default_rng(0).uniform(2.5, 5.5, size=24)
    state = PolicyState.cold(SPACE)
    for cycle, users in enumerate(sizes[:8]):
        before = policy(state, users, str(cycle), cycle)
        _, tried = search(before, users, seed=cycle)
        state = before.learnt(tried)
    fewer: dict[str, list[float]] = {"cold": [], "uniform": []}
    for place, users in enumerate(sizes[8:]):
        carried = needed(policy(state, users, "now", place), users, place)
        fewer["cold"].append(needed(policy(None, users, "now", place), users, place) - carried)
        fewer["uniform"].append(needed(Uniform(SPACE, place), users, place) - carried)
    for trials in fewer.values():
        assert bootstrap_mean(torch.tensor(trials), seed=0).low > 2


def needed(method: Method, users: float, seed: int) -> float:
    """Trials until a candidate is nine tenths of the way from a uniform one (0.2) to the best."""
    true, _ = search(method, users, seed=seed)
    hits = [number for number, quality in enumerate(true, 1) if quality >= 0.92]
    return float(hits[0] if hits else len(true) + 1)
