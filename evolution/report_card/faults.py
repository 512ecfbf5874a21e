"""What is left of a composition when its agents are dead, one at a time and all of them.

A dead agent fails at every request, so the runtime's stand-ins act (``agents/runtime.py``): what is
measured is what users would get.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from agenticrs.agents import artifact, lists
from agenticrs.agents.agent import Agent, AgentConfig
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.evaluation import SLATE, measure
from agenticrs.agents.runtime import Runtime
from agenticrs.agents.training_data import Heldout, TrainingData
from agenticrs.evolution.cycle import Cycle
from agenticrs.evolution.outer_reward.arena import Arena, Files
from agenticrs.evolution.report_card.card import Figure
from agenticrs.evolution.report_card.one_pass import Pass
from agenticrs.evolution.selection import BoolArray, PerUser
from agenticrs.evolution.stages import OUTER
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.errors import AgentError, EvolutionError
from agenticrs.platform.jobs.job import Failed, Job, Resources
from agenticrs.registry.graph import Graph
from agenticrs.registry.spec import AgentSpec
from agenticrs.rewards.credit import Coalition

EVERYBODY = "all agents"
_CHUNK = 1024


@dataclass(frozen=True)
class Survival:
    """With some agents dead: the outer reward of each held-out user, and whose slate was whole."""

    reward: PerUser
    full: BoolArray
    """(U,) bool: ten different items of the catalogue, none of them in the user's history."""


def survivals(cycle: Cycle, graph: Graph) -> dict[str, Survival]:
    """Every held-out user served with each agent dead in turn, and with all of them dead.

    Raises EvolutionError when that cannot be measured.
    """
    members = graph.agents()
    dead = {name: frozenset({name}) for name in sorted(members)}
    dead[EVERYBODY] = frozenset(members)
    arena, share = Arena(cycle), cycle.runner.share
    files = {name: share(dict(arena.files(name, number))) for name, number in members.items()}
    settings = cycle.services.settings
    jobs = [
        Job(
            f"report/dead/{name}",
            serve_without,
            (
                cycle.shared_fold,
                graph,
                cycle.all_specs,
                cycle.request.depth,
                gone,
                *(files[node.agent] for node in graph.nodes),
            ),
            Resources(cpus=settings.cpus_per_trial, time_limit=settings.trial_seconds),
        )
        for name, gone in dead.items()
    ]
    found: dict[str, Survival] = {}
    for outcome in cycle.runner.run(jobs):
        name = outcome.key.rsplit("/", 1)[1]
        if isinstance(outcome, Failed):
            raise EvolutionError(f"with {name} dead: {outcome.cause}: {outcome.message}")
        found[name] = outcome.value
        cycle.say(f"served with {name} dead", len(found) / len(jobs))
    return {name: found[name] for name in dead}


def serve_without(
    fold: Fold,
    graph: Graph,
    specs: Mapping[str, AgentSpec],
    depth: int,
    dead: Coalition,
    *files: Files,
) -> Survival:
    """The job: what held-out users are shown when these agents fail at every request.

    ``files`` are those of the nodes in order.
    """
    data, heldout = TrainingData.of(fold.dataset), Heldout.of(fold)
    agents: dict[str, Agent[Any]] = {
        node.id: _Dead(AgentConfig()) if node.agent in dead else artifact.unpack(of_node)
        for node, of_node in zip(graph.nodes, files, strict=True)
    }
    popularity = torch.bincount(data.histories.items, minlength=data.n_items)
    runtime = Runtime(
        graph, agents, specs, data.histories, popularity, agent_timeout=None, depth=depth
    )
    shown, full = [], []
    for start in range(0, len(heldout.users), _CHUNK):
        users = runtime.users_at(heldout.users[start : start + _CHUNK])
        items = runtime.recommend(users, max(depth, 50)).candidates.items
        shown.append(items)
        full.append(lists.allowed(items[:, :SLATE], users, data.n_items).all(1))
    reward = measure(torch.cat(shown), data, heldout).per_user[OUTER]
    return Survival(reward.numpy(), torch.cat(full).numpy())


def faults(found: Pass, survived: Mapping[str, Survival]) -> tuple[Figure, ...]:
    """Reward lost and slates kept, over the users of ``found.rows``."""
    whole, figures = found.result.per_user[OUTER], list[Figure]()
    for name, left in survived.items():
        gone = "every agent fails" if name == EVERYBODY else f"{name} fails"
        how = f"when {gone} at every request, and the runtime's stand-ins act"
        figures += [
            Figure.estimated(
                "reward lost",
                found.mean(whole - left.reward),
                f"{OUTER} with everybody alive less {OUTER} {how}; paired, bootstrap over users",
                of=name,
            ),
            Figure(
                of=name,
                name="full slates",
                value=float(left.full[found.rows].mean()),
                how=f"share of users who get {SLATE} different items that are new to them {how}",
            ),
        ]
    return tuple(figures)


class _Dead(Agent[AgentConfig]):
    """Stands where an agent has died."""

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        """Raises AgentError."""
        raise AgentError("is dead")
