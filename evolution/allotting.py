"""How a cycle's trials and seconds are given to its agents, and who comes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agenticrs.evolution import agent_methods, stages, turns
from agenticrs.evolution.cycle import Cycle, Result
from agenticrs.evolution.outer_reward.credit import credit_of, shapley_means
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry import cycles, trials
from agenticrs.registry.graph import Graph

Turns = dict[str, dict[str, Any]]
"""Agent -> trials, seconds, and the reason, in the order in which they are searched."""


def allot(cycle: Cycle, agents: Sequence[str]) -> tuple[Turns, Result]:
    """Give each agent its part of the request, by ``AGENTICRS_TURNS``; and the measured credit.

    By credit: the Shapley value of the outer reward times the expected gain of a candidate per
    second. It is measured only when some agent has a history that says what to expect; until then
    all get the same. So they do where it cannot be measured, with the reason in each turn. Parts of
    an agent come before their whole, which then tries what they found.
    """
    if cycle.services.settings.turns == "rotation":
        with session_scope(cycle.services.engine) as session:
            before = cycles.count(session, cycle.surface) - 1
        found, credit = turns.rotation(agents, before), Result()
    else:
        found, credit = _by_credit(cycle, agents)
    found = sorted(found, key=lambda turn: not cycle.specs[turn.agent].part_of)
    return {turn.agent: _part(cycle, turn, len(agents)) for turn in found}, credit


def _by_credit(cycle: Cycle, agents: Sequence[str]) -> tuple[list[turns.Turn], Result]:
    with session_scope(cycle.services.engine) as session:
        seconds = {name: trials.mean_seconds(session, name) for name in agents}
    standings = [
        turns.standing(
            name, agent_methods.remembered(cycle, name)[::-1], credit=None, seconds=seconds[name]
        )
        for name in agents
    ]
    credit: Result = {}
    if not all(one.new for one in standings):
        cycle.say("measuring what each agent adds to what serves")
        graph = Graph.model_validate(stages.champion(cycle).graph)
        try:
            credit = credit_of(cycle, graph)
        except EvolutionError as error:  # credit shortens a search; a cycle does without
            why = f"credit could not be measured: {error.message}"
            cycle.say(f"even turns: {why}")
            return turns.even(agents, why), {}
        owed = shapley_means(credit)
        standings = [
            replace(one, credit=owed.get(cycle.specs[one.agent].part_of or one.agent))
            for one in standings
        ]
    return turns.order(standings), credit


def _part(cycle: Cycle, turn: turns.Turn, count: int) -> dict[str, Any]:
    request = cycle.request
    return {
        "trials": max(1, round(request.trials * turn.share * count)),
        "seconds": request.seconds * turn.share,
        "reason": turn.reason,
    }
