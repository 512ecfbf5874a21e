"""Whether agents have as much to say as they contribute: credit beside influence.

Influence is an agent's share of what is shown, and its weight where a fusion has weights by agent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from agenticrs.agents import catalogue
from agenticrs.agents.simulation.ordering import kendall
from agenticrs.evolution.evidence import Estimate
from agenticrs.evolution.report_card.card import Figure
from agenticrs.evolution.report_card.faults import Survival
from agenticrs.evolution.report_card.one_pass import Pass
from agenticrs.evolution.stages import OUTER
from agenticrs.registry.graph import SOURCE, Node
from agenticrs.registry.tables import VersionRow
from agenticrs.rewards.sources import source_shares

_FEWEST = 2
_ALONE = f"leave-one-out: {OUTER} that is lost when it is dead"


def alignment(
    found: Pass,
    members: Mapping[str, VersionRow],
    survived: Mapping[str, Survival],
    shapley: Mapping[str, Any] | None = None,
) -> tuple[Figure, ...]:
    """Credit, share and weight of each agent that has them, and whether they agree in rank.

    ``shapley`` is what ``credit_of`` found; without it, credit is leave-one-out.
    """
    credit = _credit(found, survived, shapley)
    shares = _shares(found)
    weights = {
        node: _weights(found, node, members[node.agent].config)
        for node in found.nodes
        if found.cycle.all_specs[node.agent].role == "fusion"
    }
    figures = [credit[name] for name in sorted(credit)]
    figures += [
        Figure(
            of=name,
            name="share of what is shown",
            value=share,
            how="of the first ten places, items that its list held; split among all that held it",
        )
        for name, share in shares.items()
    ]
    figures.append(_agreement("credit and share", credit, shares, "share of what is shown"))
    for node, known in weights.items():
        if not known:
            how = f"not measured: {node.agent} has no weights by agent"
            figures.append(Figure(name=f"credit and weights in {node.id}", value=None, how=how))
            continue
        figures += [
            Figure(of=name, name=f"weight in {node.id}", value=weight, how="its configuration")
            for name, weight in known.items()
        ]
        what = f"credit and weights in {node.id}"
        figures.append(_agreement(what, credit, known, f"weight in {node.id}"))
    return tuple(figures)


def _credit(
    found: Pass, survived: Mapping[str, Survival], shapley: Mapping[str, Any] | None
) -> dict[str, Figure]:
    if shapley is not None:
        how = f"Shapley value of {OUTER} on the {shapley['users']:,} search users, " + (
            "exact" if shapley["exact"] else f"from {shapley['orders']} orders"
        )
        return {
            name: Figure.estimated("credit", Estimate.model_validate(one["shapley"]), how, of=name)
            for name, one in shapley["agents"].items()
        }
    whole = found.result.per_user[OUTER]
    return {
        name: Figure.estimated("credit", found.mean(whole - survived[name].reward), _ALONE, of=name)
        for name in found.graph.agents()
    }


def _shares(found: Pass) -> dict[str, float]:
    """Agent -> share; an agent that stands at several nodes has all their lists."""
    rows = torch.from_numpy(found.rows)
    held = source_shares(found.shown, [found.handed_on(node)[rows] for node in found.sources])
    shares: dict[str, float] = {}
    for node, share in zip(found.sources, held.tolist(), strict=True):
        shares[node.agent] = shares.get(node.agent, 0.0) + share
    return shares


def _weights(found: Pass, fusion: Node, config: Mapping[str, Any]) -> dict[str, float]:
    """Agent -> weight of its list; empty where the fusion has none by agent."""
    if "weights" not in catalogue.load_agents()[fusion.agent].config_type.model_fields:
        return {}
    given: Any = config.get("weights", {})
    names = [found.graph.node(source).agent for source in fusion.inputs if source != SOURCE]
    return {name: float(given.get(name, 1.0)) for name in names}


def _agreement(
    name: str, credit: Mapping[str, Figure], influence: Mapping[str, float], what: str
) -> Figure:
    """Kendall's tau of both orders; not of fewer than two agents, nor where all have the same."""
    agents = [agent for agent in influence if agent in credit]
    owed = [credit[agent].value or 0.0 for agent in agents]
    held = [influence[agent] for agent in agents]
    refused = _refusal(owed, held, what)
    if refused:
        return Figure(name=f"{name} agree", value=None, how=f"not measured: {refused}")
    return Figure(
        name=f"{name} agree",
        value=kendall(torch.tensor(owed), torch.tensor(held)),
        how=f"Kendall's tau of credit and {what} over {len(agents)} agents: 1 the same order, "
        "-1 the reverse; of so few, chance alone gives much",
    )


def _refusal(owed: Sequence[float], held: Sequence[float], what: str) -> str:
    if len(owed) < _FEWEST:
        return "one agent has no order" if owed else "no agent has both"
    if len(set(held)) == 1:
        return f"every agent has the same {what}"
    return "every agent has the same credit" if len(set(owed)) == 1 else ""
