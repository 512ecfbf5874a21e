"""Every agent gets the method that its situation calls for, and the plan says why."""

from __future__ import annotations

from agenticrs.evolution.methods.choice import choose
from agenticrs.evolution.methods.saturation import Saturation
from agenticrs.registry.spec import DecisionSpace, FloatRange

PARAMETERS = (FloatRange(name="x", low=0.0, high=1.0),)
FIXED = DecisionSpace(parameters=PARAMETERS, methods=("tpe", "gp"))
OPEN = DecisionSpace(parameters=PARAMETERS, methods=("tpe",), grammar="retrieval")
FLAT = Saturation("no gain in the last 8 candidates")


def test_an_agent_with_a_fixed_structure_is_searched_by_what_it_declares() -> None:
    found = choose(FIXED, trials=20)
    assert (found.way, found.search, found.proposer) == ("search", "tpe", None)
    assert "its structure is fixed" in found.reason
    assert found.named() == "tpe"


def test_a_saturated_search_gives_way_to_the_next_declared_method() -> None:
    found = choose(FIXED, trials=20, saturation=FLAT)
    assert found.search == "gp"
    assert "tpe is saturated (no gain in the last 8 candidates)" in found.reason


def test_a_saturated_agent_with_a_grammar_gets_structures_each_searched() -> None:
    found = choose(OPEN, trials=20, remembered=30, saturation=FLAT)
    assert (found.way, found.proposer, found.structures) == ("propose_then_search", "variation", 7)
    assert "no language model is configured, mutation and crossover draw" in found.reason
    assert found.named() == "propose_then_search(variation, tpe)"


def test_with_a_language_model_it_drafts_the_structures() -> None:
    found = choose(OPEN, trials=20, saturation=FLAT, language_model=True)
    assert found.proposer == "llm"
    assert "a language model drafts structures" in found.reason


def test_an_agent_that_is_not_saturated_is_searched_until_it_is() -> None:
    new, known = choose(OPEN, trials=12), choose(OPEN, trials=12, remembered=9)
    assert new.way == known.way == "alternate"
    assert new.window == 4
    assert "nothing is known yet" in new.reason
    assert "9 earlier candidates are known" in known.reason


def test_a_budget_too_small_to_compare_structures_goes_into_the_settings() -> None:
    assert choose(OPEN, trials=3, saturation=FLAT).way == "search"
    by_time = choose(OPEN, trials=50, seconds=60.0, trial_seconds=30.0, saturation=FLAT)
    assert by_time.way == "search"
    assert "pays for 2 candidates" in by_time.reason
    assert choose(OPEN, trials=50, seconds=1e9, trial_seconds=1e-3).way == "alternate"


def test_without_settings_only_structures_are_drawn() -> None:
    found = choose(DecisionSpace(grammar="ranking"), trials=5)
    assert (found.way, found.search, found.named()) == ("structures", None, "variation")
