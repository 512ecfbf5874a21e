"""A composition without some of its agents: what it is worth, over the real runtime.

The graph stays as it is. An agent that takes no part fails at every request, so that the runtime's
own stand-ins act (``agents/runtime.py``): what is measured is what users would get. A retriever's
list is empty, a ranker or re-ranker hands on what came in, a fusion the first list that has
anything, a router sends everybody down the common path; where nobody is left, popular items show.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from agenticrs.agents import artifact
from agenticrs.agents.agent import Agent, AgentConfig
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.evaluation import measure
from agenticrs.agents.runtime import NodeTrace, Runtime
from agenticrs.agents.training_data import Heldout, TrainingData
from agenticrs.evolution.cycle import Cycle
from agenticrs.evolution.outer_reward.arena import Arena, Files
from agenticrs.evolution.selection import PerUser
from agenticrs.evolution.stages import OUTER
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.errors import AgentError, EvolutionError
from agenticrs.platform.jobs.job import Failed, Job, Resources
from agenticrs.registry.graph import SOURCE, Graph, Node
from agenticrs.registry.spec import AgentSpec, Port
from agenticrs.rewards.credit import Coalition

_CHUNK = 1024


@dataclass(frozen=True)
class Measured:
    """The outer reward of coalitions, (U,) each, rows as ``users``, and what finding it took."""

    users: npt.NDArray[np.int64]
    rewards: Mapping[Coalition, PerUser]
    jobs: int
    seconds: float


def at_work(graph: Graph, present: Coalition, specs: Mapping[str, AgentSpec]) -> Coalition:
    """Those of the agents ``present`` who can make a difference when the others are missing.

    Who gets only lists that are empty cannot, nor an agent on a path that nobody takes, nor a
    router of such paths. Coalitions with the same agents at work are worth the same.
    """
    working: set[str] = set()
    filled: set[str] = set()
    for node in graph.order():
        if specs[node.agent].loop.output is Port.ROUTE:
            continue
        acts = node.agent in present and _reached(node, graph, present, specs)
        sources = set(node.inputs) - {SOURCE}
        # Whoever reads candidates hands them through where it does not act itself.
        if not (sources & filled if sources else acts):
            continue
        filled.add(node.id)
        if acts:
            working.add(node.agent)
            if node.when is not None:
                working |= {graph.node(node.when.node).agent} & present
    return frozenset(working)


def measure_coalitions(cycle: Cycle, graph: Graph, coalitions: Collection[Coalition]) -> Measured:
    """The outer reward of every held-out user under each coalition of agents.

    Those that are worth the same are measured once, as jobs in waves. Raises EvolutionError when
    one cannot be measured.
    """
    members = frozenset(graph.agents())
    working = {one: at_work(graph, one, cycle.all_specs) for one in coalitions}
    distinct = sorted(set(working.values()), key=lambda one: (len(one), sorted(one)))
    arena, share = Arena(cycle), cycle.runner.share
    files = {name: share(dict(arena.files(name, n))) for name, n in graph.agents().items()}
    jobs = [
        Job(
            f"cycle-{cycle.id}/coalition/{place}",
            run_without,
            (
                cycle.shared_fold,
                graph,
                cycle.all_specs,
                cycle.request.depth,
                members - present,
                *(files[node.agent] for node in graph.nodes),
            ),
            Resources(
                cpus=cycle.services.settings.cpus_per_trial,
                time_limit=cycle.services.settings.trial_seconds,
            ),
        )
        for place, present in enumerate(distinct)
    ]
    users, seconds = np.array([], dtype=np.int64), 0.0
    found: dict[Coalition, PerUser] = {}
    wave = 2 * cycle.runner.parallel
    for start in range(0, len(jobs), wave):
        for outcome in cycle.runner.run(jobs[start : start + wave]):
            present = distinct[int(outcome.key.rsplit("/", 1)[1])]
            if isinstance(outcome, Failed):
                names = ", ".join(sorted(present)) or "nobody"
                raise EvolutionError(
                    f"the composition with {names} alone: {outcome.cause}: {outcome.message}"
                )
            users, found[present] = outcome.value
            seconds += outcome.seconds
        cycle.say(f"{len(found)} of {len(jobs)} coalitions measured")
    return Measured(users, {one: found[working[one]] for one in coalitions}, len(jobs), seconds)


def run_without(
    fold: Fold,
    graph: Graph,
    specs: Mapping[str, AgentSpec],
    depth: int,
    absent: Coalition,
    *files: Files,
) -> tuple[npt.NDArray[np.int64], PerUser]:
    """The held-out users (U,), and the outer reward of each when ``absent`` take no part.

    ``files`` are those of the nodes in order. With nobody absent it is what ``run_composition``
    finds, and a node that fails raises AgentError; otherwise its stand-in acts too, as it would in
    serving.
    """
    data, heldout = TrainingData.of(fold.dataset), Heldout.of(fold)
    agents: dict[str, Agent[Any]] = {}
    for node, of_node in zip(graph.nodes, files, strict=True):
        gone = node.agent in absent
        agents[node.id] = _Absent(AgentConfig()) if gone else artifact.unpack(of_node)
    popularity = torch.bincount(data.histories.items, minlength=data.n_items)
    runtime = Runtime(
        graph, agents, specs, data.histories, popularity, agent_timeout=None, depth=depth
    )
    shown = []
    for start in range(0, len(heldout.users), _CHUNK):
        users = runtime.users_at(heldout.users[start : start + _CHUNK])
        slate = runtime.recommend(users, max(depth, 50))
        if not absent:
            _refuse_failures(slate.trace)
        shown.append(slate.candidates.items)
    if not shown:
        raise AgentError("there are no held-out users to measure on")
    reward = measure(torch.cat(shown), data, heldout).per_user[OUTER]
    return heldout.users.numpy(), reward.numpy()


class _Absent(Agent[AgentConfig]):
    """Stands where an agent takes no part: it fails, so that the runtime's stand-in acts."""

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        """Raises AgentError."""
        raise AgentError("takes no part")


def _reached(node: Node, graph: Graph, present: Coalition, specs: Mapping[str, AgentSpec]) -> bool:
    """Whether any user may come to the node; without its router all take the common path."""
    if node.when is None:
        return True
    router = graph.node(node.when.node).agent
    return router in present or specs[router].segments[-1] in node.when.segments


def _refuse_failures(trace: Sequence[NodeTrace]) -> None:
    for node in trace:
        if node.status == "failed":
            raise AgentError(f"node {node.node!r}: {node.error}")
