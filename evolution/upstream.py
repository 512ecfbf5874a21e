"""The lists that an agent in the middle of a composition is trained and measured on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agenticrs.agents.trial import CandidateArrays
from agenticrs.evolution import blueprint
from agenticrs.evolution.arena import Arena, Entry, Files, functional_files
from agenticrs.evolution.cycle import Cycle
from agenticrs.registry.graph import Graph
from agenticrs.registry.spec import AgentSpec


@dataclass(frozen=True)
class Upstream:
    """Candidates for all held-out users: of each retriever alone, and what a fusion made of them.

    ``special`` names the retriever that serves users off the common path.
    """

    fused: CandidateArrays
    alone: Mapping[str, CandidateArrays] = field(default_factory=dict)
    special: str | None = None

    def inputs(self, spec: AgentSpec) -> tuple[CandidateArrays, ...]:
        """What an agent gets: a fusion all lists, a router one for each segment, others the fused.

        The special list stands for all segments of a router but the last.
        """
        if spec.role == "retrieval":
            return ()
        if spec.role == "fusion":
            return tuple(self.alone.values())
        if spec.role == "routing":
            special = self.alone.get(self.special or "", self.fused)
            return (*[special] * (len(spec.segments) - 1), self.fused)
        return (self.fused,)


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
    return Upstream(found["upstream"].kept[fusion], alone, special)
