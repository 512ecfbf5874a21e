"""The lists that an agent in the middle of a composition is trained and measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from agenticrs.agents.trial import CandidateArrays
from agenticrs.evolution import blueprint, stages
from agenticrs.evolution.cycle import Cycle
from agenticrs.evolution.outer_reward.arena import Arena, Entry, Files, functional_files
from agenticrs.platform.database import session_scope
from agenticrs.registry import trials
from agenticrs.registry.graph import Graph
from agenticrs.registry.spec import AgentSpec, Role

WITHOUT_LISTS: tuple[Role, ...] = ("retrieval", "experimentation", "planning")
"""Roles that are handed no candidates."""

_TAKE_ALL: tuple[Role, ...] = ("fusion", "routing", "segmenting")
"""Roles that decide over the lists of single retrievers."""


@dataclass(frozen=True)
class Upstream:
    """Candidates for all held-out users: of each retriever alone, and what a fusion made of them.

    ``special`` names the retriever that serves users off the common path.
    """

    fused: CandidateArrays
    alone: Mapping[str, CandidateArrays] = field(default_factory=dict)
    special: str | None = None
    alternatives: tuple[str, ...] = ()
    """Retrievers whose lists are a segmenter's paths beside the common one."""

    def inputs(self, spec: AgentSpec) -> tuple[CandidateArrays, ...]:
        """What an agent gets: a fusion all lists, routers one for each segment, others the fused.

        The special list stands for all segments of a router but the last, those of the alternatives
        for a segmenter's.
        """
        if spec.role in WITHOUT_LISTS:
            return ()
        if spec.role == "fusion":
            return tuple(self.alone.values())
        if spec.role == "routing":
            special = self.alone.get(self.special or "", self.fused)
            return (*[special] * (len(spec.segments) - 1), self.fused)
        if spec.role == "segmenting":
            return (*(self.alone[name] for name in self.alternatives), self.fused)
        return (self.fused,)


def digest(inputs: Sequence[CandidateArrays]) -> str:
    """What an agent was given, in 64 characters; empty for nothing."""
    found = hashlib.sha256()
    for source in inputs:
        for part in (source.items, source.scores):
            found.update(f"{source.agent} {part.dtype} {part.shape}".encode())
            found.update(part.tobytes())
    return found.hexdigest() if len(inputs) else ""


def measure(
    cycle: Cycle,
    graph: Graph,
    retrievers: Mapping[str, int],
    files: Mapping[str, Files] | None = None,
    special: str | None = None,
) -> Upstream:
    """Run ``graph`` up to its fusion, and each of ``retrievers`` (agent -> version) alone.

    ``files`` are those of agents that have no version yet. Raises EvolutionError when one fails.
    """
    given = dict(files or {})
    fusion = next(n.id for n in graph.nodes if cycle.all_specs[n.agent].role == "fusion")
    entries = [Entry("upstream", graph, given, keep=(fusion,))]
    if retrievers:
        plain = blueprint.plain(cycle.all_specs, "fusion")
        together = blueprint.graph_of(
            blueprint.Blueprint(retrievers=tuple(retrievers), fusion=plain),
            cycle.all_specs,
            {**retrievers, plain: 1},
        )
        with_fusion = {**given, plain: functional_files(cycle, plain, {})}
        entries.append(Entry("lists", together, with_fusion, keep=tuple(sorted(retrievers))))
    found = Arena(cycle).measure_all(entries)
    alone = found["lists"].kept if retrievers else {}
    return Upstream(
        found["upstream"].kept[fusion], alone, special, _alternatives(cycle, tuple(retrievers))
    )


class AgentInputs:
    """Upstream candidates in shared memory, computed when an agent first needs them.

    A cycle has them once: ``cycle.once(AgentInputs)``.
    """

    def __init__(self, cycle: Cycle) -> None:
        self._cycle = cycle
        self._given: dict[tuple[Role, int], Any] = {}
        self._digests: dict[tuple[Role, int], str] = {}

    def of(self, spec: AgentSpec) -> Any:
        """A reference to what an agent of that role and with so many segments gets."""
        if spec.role in WITHOUT_LISTS:
            return ()
        key = (spec.role, len(spec.segments))
        if key not in self._given:
            self._given[key] = self._cycle.runner.share(self._inputs(spec))
        return self._given[key]

    def digest(self, spec: AgentSpec) -> str:
        """Its digest, by which trials on the same lists are known; empty for none."""
        if spec.role in WITHOUT_LISTS:
            return ""
        key = (spec.role, len(spec.segments))
        if key not in self._digests:
            self._digests[key] = digest(self._inputs(spec))
        return self._digests[key]

    def _inputs(self, spec: AgentSpec) -> tuple[CandidateArrays, ...]:
        return (self._alone if spec.role in _TAKE_ALL else self._fused).inputs(spec)

    @cached_property
    def _fused(self) -> Upstream:
        return measure(self._cycle, self._graph, {})

    @cached_property
    def _alone(self) -> Upstream:
        cycle, champions = self._cycle, stages.champion_versions(self._cycle)
        retrievers = {
            name: champions[name]
            for name in blueprint.of_role(cycle.all_specs, "retrieval")
            if name in champions
        }
        off_path = [n.agent for n in self._graph.nodes if n.when and n.agent in retrievers]
        special = next(iter(sorted(off_path, key=lambda name: name != "popularity")), "popularity")
        return measure(cycle, self._graph, retrievers, special=special)

    @cached_property
    def _graph(self) -> Graph:
        return Graph.model_validate(stages.champion(self._cycle).graph)


def _alternatives(cycle: Cycle, retrievers: tuple[str, ...]) -> tuple[str, ...]:
    """Which retrievers' lists a segmenter chooses among, by what they have earned on this data."""
    if not retrievers:
        return ()
    with session_scope(cycle.services.engine) as session:
        found = {
            name: trials.best_reward(session, name, cycle.fingerprint, cycle.request.split)
            for name in retrievers
        }
    earned = {name: reward for name, reward in found.items() if reward is not None}
    return blueprint.alternatives(retrievers, earned)
