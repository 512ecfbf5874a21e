"""One pass of a composition over the held-out users: what most figures of its report rest on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from agenticrs.agents.evaluation import SLATE
from agenticrs.agents.training_data import Heldout, TrainingData
from agenticrs.agents.trial import CompositionResult
from agenticrs.evolution.cycle import Cycle
from agenticrs.evolution.evidence import Estimate
from agenticrs.evolution.outer_reward.arena import Arena, Entry
from agenticrs.evolution.selection import BoolArray, PerUser
from agenticrs.platform.data.splits import search_users
from agenticrs.registry.graph import Graph, Node
from agenticrs.registry.spec import Port
from agenticrs.rewards.significance import bootstrap_mean


@dataclass(frozen=True)
class Pass:
    """What a graph shows all held-out users of a cycle's fold.

    ``rows`` (U,) marks those over whom means are taken: the confirm users, whose rows neither
    steered a search nor taught an agent, or all where there are none.
    """

    cycle: Cycle
    graph: Graph
    result: CompositionResult
    rows: BoolArray

    @staticmethod
    def of(cycle: Cycle, graph: Graph, *, lists: bool = False) -> Pass:
        """Run it, with the ``lists`` of every node. Raises EvolutionError when a node fails."""
        keep = tuple(n.id for n in graph.order() if puts_out_lists(cycle, n)) if lists else ()
        result = Arena(cycle).measure_one(Entry("report", graph, keep=keep))
        confirm = ~search_users(result.users)
        return Pass(cycle, graph, result, confirm if confirm.any() else ~confirm)

    @cached_property
    def data(self) -> TrainingData:
        """The history of the fold."""
        return TrainingData.of(self.cycle.fold.dataset)

    @cached_property
    def heldout(self) -> Heldout:
        """What is held out, rows as ``result.users``."""
        return Heldout.of(self.cycle.fold)

    @cached_property
    def shown(self) -> Tensor:
        """What the users of ``rows`` see, (n, SLATE) int64, -1 pads."""
        return torch.from_numpy(self.result.ranked[self.rows, :SLATE]).to(torch.int64)

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes whose lists were kept, in the order of the graph."""
        return tuple(node for node in self.graph.order() if node.id in self.result.kept)

    @cached_property
    def sources(self) -> tuple[Node, ...]:
        """Those that read no candidates: every item comes from one of them, or fills a gap."""
        specs = self.cycle.all_specs
        return tuple(
            node for node in self.nodes if Port.CANDIDATES not in specs[node.agent].loop.inputs
        )

    def handed_on(self, node: Node) -> Tensor:
        """A node's candidates for all held-out users, (U, K) int64, -1 pads."""
        return torch.from_numpy(self.result.kept[node.id].items).to(torch.int64)

    def mean(self, values: PerUser, among: BoolArray | None = None) -> Estimate | None:
        """Mean of (U,) values over the users of ``rows`` (``among`` these, (U,)), with interval.

        None where there are none of them.
        """
        mask = self.rows if among is None else self.rows & among
        if not mask.any():
            return None
        chosen = torch.from_numpy(values[mask])
        return Estimate.of(bootstrap_mean(chosen, seed=self.cycle.request.seed))


def puts_out_lists(cycle: Cycle, node: Node) -> bool:
    """Whether a node hands on candidates; a router does not."""
    return cycle.all_specs[node.agent].loop.output is Port.CANDIDATES
