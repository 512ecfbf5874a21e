"""What a policy learns from cycle to cycle: taken out of the registry, and put back as a version.

A policy learns from the trials of whichever method, so it is ready when the search that an agent
declares first has nothing more to give. An agent's whole space has one, which learns from what was
drawn in the agent's own structure; each space of recipes has one, for all structures that leave it
open.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agenticrs.agents import catalogue
from agenticrs.agents.grammar.document import Architecture
from agenticrs.agents.grammar.structured import left_open, recipe
from agenticrs.evolution.cycle import Cycle
from agenticrs.evolution.methods.greedy import of_present_versions
from agenticrs.evolution.methods.method import Tried, Values
from agenticrs.evolution.methods.points import STRUCTURE, tried
from agenticrs.evolution.methods.policy import Policy
from agenticrs.evolution.methods.policy_situation import Situation
from agenticrs.evolution.methods.policy_state import PolicyState, space_fingerprint
from agenticrs.evolution.methods.structures import NO_DOCUMENT, OWN, grouped, structure_key
from agenticrs.platform.database import session_scope
from agenticrs.registry import method_states, trials
from agenticrs.registry.spec import ConcreteParameter
from agenticrs.rewards.objectives import Objective, parse

METHOD = "policy"


@dataclass(frozen=True)
class Learning:
    """The policy of one agent, or of the surface's compositions, in one space, in one cycle."""

    cycle: Cycle
    agent: str
    space: Sequence[ConcreteParameter]
    structures: Collection[str] = (OWN,)
    """Keys of the structures whose candidates are points of the space (``structure_key``)."""

    @property
    def key(self) -> str:
        """What the state of the space is stored under."""
        return space_fingerprint(self.space)

    def policy(self, given: Sequence[Values] = ()) -> Policy:
        """The policy as it was when the cycle began."""
        cycle = self.cycle
        return Policy(
            self.space,
            Situation.of(cycle.dataset, objectives=self._objectives(), **self._turn()),
            self._stored(),
            cycle=f"{cycle.surface}/{cycle.id}",
            seed=cycle.request.seed,
            given=given,
        )

    def keep(self) -> int:
        """Learn from all trials of the cycle and store the result; its version."""
        cycle, policy = self.cycle, self.policy()
        learnt = policy.learnt(self.results())
        if learnt is policy.stored:
            return learnt.version
        with session_scope(cycle.services.engine) as session:
            return method_states.store(
                session,
                surface=cycle.surface,
                agent=self.agent,
                method=METHOD,
                space=self.key,
                cycle_id=cycle.id,
                content=learnt.to_bytes(),
            ).version

    def results(self) -> list[Tried]:
        """The cycle's trials of the structures, with the blended reward of what was judged by now.

        Compositions of other versions than the present ones are no points of the space.
        """
        cycle = self.cycle
        found = [
            one for one in _tried(cycle, self.agent) if structure_key(one.values) in self.structures
        ]
        verdicts = cycle.results.get("select", {}).get("verdicts", ())
        late = {v["trial"]: v["steering"] for v in verdicts if v.get("steering") is not None}
        return [
            replace(one, reward=late.get(one.trial, one.reward))
            for one in of_present_versions(found)
        ]

    def _turn(self) -> dict[str, Any]:
        """What may be spent, and what counts: the agent's turn, or all of it for compositions."""
        plan, request = self.cycle.results["plan"], self.cycle.request
        if self.agent == self.cycle.surface:
            found = {"trials": plan["compositions"], "seconds": request.seconds}
            return {**found, "outer_weight": plan["outer_weight"]}
        turn = plan["turns"][self.agent]
        return {
            "trials": turn["trials"],
            "seconds": turn["seconds"],
            "outer_weight": self.cycle.specs[self.agent].outer_weight,
        }

    def _objectives(self) -> Mapping[Objective, float]:
        """What the outer reward was of when the cycle was planned."""
        settings = self.cycle.services.settings
        planned = self.cycle.results["plan"].get("objectives", settings.objective_weights)
        return parse(planned).shares

    def _stored(self) -> PolicyState:
        with session_scope(self.cycle.services.engine) as session:
            row = method_states.latest(
                session,
                surface=self.cycle.surface,
                agent=self.agent,
                method=METHOD,
                space=self.key,
                before_cycle=self.cycle.id,
            )
            content = None if row is None else row.content
        if content is None:
            return PolicyState.cold(self.space)
        return PolicyState.from_bytes(content, self.space)


def learnings(cycle: Cycle, agent: str) -> list[Learning]:
    """What policies learn of an agent in a cycle: in its whole space, then in spaces of recipes.

    Recipes count of structures that had more than one candidate, by whichever method: one alone
    says nothing of what its recipe is worth.
    """
    searched = {
        name: Architecture.model_validate(rows[0].values[STRUCTURE])
        for name, rows in grouped(_tried(cycle, agent)).items()
        if name not in (OWN, NO_DOCUMENT) and len(rows) > 1
    }
    spaces = {OWN: cycle.specs[agent].space.expand()}
    if searched:
        own: Any = catalogue.load_agents()[agent]
        whole = recipe(own, own.config_type, own.spec.space)
        spaces |= {name: left_open(whole, structure) for name, structure in searched.items()}
    alike: dict[str, list[str]] = {}
    for name, space in spaces.items():
        if space:
            alike.setdefault(space_fingerprint(space), []).append(name)
    return [Learning(cycle, agent, spaces[names[0]], names) for names in alike.values()]


def _tried(cycle: Cycle, agent: str) -> list[Tried]:
    with session_scope(cycle.services.engine) as session:
        return [tried(row) for row in trials.of_cycle(session, cycle.id, agent)]
