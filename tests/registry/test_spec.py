"""Specs: what contradicts itself is refused when it is made, and a stored spec is the same one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agenticrs.agents import catalogue
from agenticrs.registry.model_files import flat
from agenticrs.registry.spec import (
    KEY_ROLES,
    AgentSpec,
    Choice,
    DecisionSpace,
    FloatRange,
    InnerReward,
    IntRange,
    PerInput,
    nested,
)

GOOD: dict[str, Any] = {
    "name": "toy",
    "kind": "model",
    "role": "retrieval",
    "summary": "A toy.",
    "loop": {
        "inputs": ["users"],
        "output": "candidates",
        "executor": "the runtime",
        "feedback": "click",
    },
    "inner_reward": {"metric": "ndcg"},
    "space": {"parameters": [{"type": "int", "name": "size", "low": 1, "high": 9}]},
}
ROUTE = {**GOOD["loop"], "output": "route"}
names = st.text(alphabet="abcdefghij_", min_size=1, max_size=6)


def spec(**changed: Any) -> AgentSpec:
    return AgentSpec.model_validate({**GOOD, **changed})


def refused(saying: str, **changed: Any) -> None:
    with pytest.raises(ValidationError, match=saying):
        spec(**changed)


@pytest.mark.parametrize("role", sorted(KEY_ROLES - {"routing"}))
def test_who_decides_for_the_whole_system_is_judged_by_half_on_the_whole(role: str) -> None:
    refused("at least 0.5, got 0.49", role=role, outer_weight=0.49)
    refused("at least 0.5, got 0.1", role=role)
    assert spec(role=role, outer_weight=0.5).outer_weight == 0.5
    assert spec(role=role, outer_weight=0.2, outer_weight_reason="it is a tie-breaker")


def test_for_others_the_whole_may_count_for_little_or_nothing() -> None:
    assert spec(outer_weight=0.0).outer_weight == 0.0


@pytest.mark.parametrize("weight", [-0.01, 1.01, float("nan"), "half"])
def test_a_share_outside_of_zero_and_one_is_refused(weight: object) -> None:
    refused("outer_weight", outer_weight=weight)


def test_who_puts_out_a_route_names_its_segments_and_nobody_else_does() -> None:
    refused("segments must be named", role="routing", outer_weight=0.5, loop=ROUTE)
    refused("segments must be named", segments=["cold", "warm"])
    made = spec(role="routing", outer_weight=0.5, loop=ROUTE, segments=["cold", "warm"])
    assert made.segments == ("cold", "warm")


def test_an_agent_without_inputs_is_refused() -> None:
    refused("at least one input", loop={**GOOD["loop"], "inputs": []})


@pytest.mark.parametrize(
    "name", ["", "a", "Toy", "1toy", "_toy", "to-y", "to.y", "home/toy", "tö", "t" * 41, "toy\n"]
)
def test_a_name_that_could_not_be_a_node_or_a_model_is_refused(name: str) -> None:
    refused("name", name=name)


def test_the_shortest_and_the_longest_name_are_taken() -> None:
    assert spec(name="t2").name == "t2"
    assert spec(name="t" * 40).name == "t" * 40


@pytest.mark.parametrize(
    "changed",
    [
        {"colour": "red"},
        {"loop": {**GOOD["loop"], "colour": "red"}},
        {"loop": {**GOOD["loop"], "output": "items"}},
        {"kind": "tool"},
        {"role": "cooking"},
        {"inner_reward": {"metric": "ndcg", "k": 0}},
        {"space": {"parameters": [{"type": "colour", "name": "size"}]}},
        {"space": {"parameters": [{"name": "size", "low": 1, "high": 9}]}},
        {"space": {"parameters": [], "methods": ["guessing"]}},
    ],
)
def test_words_that_nobody_knows_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        spec(**changed)


def test_nobody_changes_a_spec_that_was_made() -> None:
    made = spec()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(made, "name", "other")  # noqa: B010 (a type checker refuses the plain form)


def test_an_inner_reward_is_written_as_metrics_are_named() -> None:
    assert str(InnerReward(metric="ndcg")) == "ndcg@10"
    assert str(InnerReward(metric="recall", k=50)) == "recall@50"


def test_a_weight_for_each_input_becomes_one_range_for_each_name() -> None:
    before, after = IntRange(name="k", low=1, high=60), Choice(name="mode", values=("a", "b"))
    space = DecisionSpace(parameters=(before, PerInput(name="weights", low=0, high=2), after))
    assert space.expand(["ease", "bpr"]) == (
        before,
        FloatRange(name="weights.ease", low=0, high=2),
        FloatRange(name="weights.bpr", low=0, high=2),
        after,
    )
    assert space.expand() == (before, after), "without inputs there is nothing to weigh"


def test_dotted_values_become_settings_inside_settings() -> None:
    values = {"k": 60, "weights.ease": 0.5, "mode": "a", "weights.bpr": 1.0}
    assert nested(values) == {"k": 60, "weights": {"ease": 0.5, "bpr": 1.0}, "mode": "a"}
    assert nested({}) == {}


@given(
    st.dictionaries(
        names, st.one_of(st.integers(), st.dictionaries(names, st.floats(0, 1), min_size=1))
    )
)
def test_settings_survive_being_flattened_and_nested_again(config: dict[str, Any]) -> None:
    assert nested(flat(config)) == config


@pytest.mark.parametrize("name", sorted(catalogue.load_agents()))
def test_what_the_registry_keeps_of_an_installed_agent_is_its_spec(name: str) -> None:
    known = catalogue.load_agents()[name].spec
    stored = json.loads(json.dumps(known.model_dump(mode="json")))
    assert AgentSpec.model_validate(stored) == known


def test_choices_keep_their_types_when_they_are_stored() -> None:
    choice = Choice(name="size", values=(True, 1, 1.0, "1", 0.5, False))
    made = spec(space=DecisionSpace(parameters=(choice,)))
    stored = json.loads(json.dumps(made.model_dump(mode="json")))
    (read,) = AgentSpec.model_validate(stored).space.parameters
    assert isinstance(read, Choice)
    assert [type(value) for value in read.values] == [bool, int, float, str, float, bool]
    assert read == choice
