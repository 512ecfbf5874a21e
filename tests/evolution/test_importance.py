"""What matters is found, what does not is no more than chance, and few trials say nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenticrs.evolution.importance import LEAST, Importance, explained, grouped, importances
from agenticrs.registry.tables import TrialRow


def trial(config: dict[str, object], reward: float, **told: str) -> TrialRow:
    return TrialRow(
        cycle_id=1,
        agent="a",
        number=0,
        method="tpe",
        state=told.get("state", "done"),
        config=config,
        seed=0,
        dataset="d",
        fingerprint=told.get("fingerprint", "f"),
        code_version="c",
        split="s",
        reward=reward,
    )


def by_name(trials: list[TrialRow], *names: str) -> dict[str, Importance]:
    return {one.name: one for one in importances(trials, names)}


def drawn(n: int, seed: int = 0) -> list[TrialRow]:
    """The reward follows ``size`` and ``kind`` (less), and not ``idle``."""
    rng = np.random.default_rng(seed)
    return [
        trial(
            {"size": size, "kind": kind, "nested": {"idle": float(rng.normal())}},
            float(size / 100 + (kind == "b") / 3 + rng.normal(0, 0.05)),
        )
        for size, kind in zip(rng.integers(1, 100, n), rng.choice(["a", "b"], n), strict=True)
    ]


def test_what_matters_explains_more_than_chance_and_what_does_not_does_not() -> None:
    trials = [
        t.model_copy(update={"config": t.config | {"size": int(t.config["size"])}})
        for t in drawn(80)
    ]
    found = by_name(trials, "size", "kind", "nested.idle")
    assert list(found) == ["size", "kind", "nested.idle"]
    assert found["size"].share > 0.5
    assert found["size"].told_apart
    assert found["kind"].told_apart
    assert not found["nested.idle"].told_apart
    assert found["kind"].best.startswith("b")


def test_too_few_trials_and_parameters_that_never_changed_say_nothing() -> None:
    assert importances(drawn(LEAST - 1), ["kind"]) == []
    same = [trial({"x": 1.0}, float(n)) for n in range(20)]
    assert importances(same, ["x", "unknown"]) == []


def test_only_finished_trials_count() -> None:
    trials = [t.model_copy(update={"state": "pruned"}) for t in drawn(40)]
    assert importances(trials, ["kind"]) == []


def test_rewards_on_other_data_are_ranked_apart() -> None:
    low = [trial({"x": "a" if n % 2 else "b"}, n % 2 + n / 99) for n in range(20)]
    high = [
        trial({"x": "c" if n % 2 else "d"}, 50 + n % 2 + n / 99, fingerprint="g") for n in range(20)
    ]
    found = by_name([*low, *high], "x")["x"]
    assert sorted(found.best.split(", ")) == ["a", "c"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=30),
    st.lists(st.one_of(st.integers(-3, 3), st.text(max_size=2)), min_size=2, max_size=30),
)
def test_a_share_lies_between_nothing_and_all(ranks: list[float], values: list[object]) -> None:
    n = min(len(ranks), len(values))
    groups = grouped(values[:n])
    assert set(groups.tolist()) == set(range(groups.max() + 1)), "no group is empty"
    share = explained(np.array([ranks[:n]]), groups)
    assert 0 <= share[0] <= 1


@pytest.mark.parametrize("values", [[1, 2, 3], [True, False, True], ["x", "y", "x"]])
def test_few_values_are_a_group_each(values: list[object]) -> None:
    assert grouped(values).max() + 1 == len(set(values))


def test_the_same_trials_say_the_same_twice() -> None:
    assert importances(drawn(30), ["kind"]) == importances(drawn(30), ["kind"])
