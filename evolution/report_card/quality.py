"""How good each node's own list is, and what working together costs: calls, time, candidates."""

from __future__ import annotations

from collections.abc import Mapping

from agenticrs.agents import lists
from agenticrs.agents.evaluation import measure
from agenticrs.evolution.report_card.card import Figure
from agenticrs.evolution.report_card.one_pass import Pass
from agenticrs.evolution.stages import INNER, OUTER
from agenticrs.registry.graph import SOURCE
from agenticrs.registry.tables import VersionRow


def quality(found: Pass, members: Mapping[str, VersionRow]) -> tuple[Figure, ...]:
    """Accuracy and outer reward of what is shown, and of what each node hands on."""
    shown = "of what users see, on the confirm users of the validation part; bootstrap over users"
    figures = [
        Figure.estimated(name, found.mean(found.result.per_user[name]), shown)
        for name in (OUTER, INNER)
    ]
    users = found.data.histories.take(found.heldout.users)
    for node in found.nodes:
        items = found.handed_on(node)
        allowed = lists.allowed(items, users, found.data.n_items)
        own = measure(items.masked_fill(~allowed, -1), found.data, found.heldout)
        has = (items >= 0).any(1).numpy()
        how = (
            "as if the list that it hands on were shown, over the "
            f"{int((has & found.rows).sum()):,} of them for whom there is one"
        )
        figures += [
            Figure.estimated(name, found.mean(own.per_user[name].numpy(), has), how, of=node.id)
            for name in (OUTER, INNER)
        ]
    for agent, version in sorted(members.items()):
        metric = str(found.cycle.all_specs[agent].inner_reward)
        value = version.metrics.get(metric)
        figures.append(
            Figure(
                of=agent,
                name=f"inner reward ({metric})",
                value=value if isinstance(value, int | float) else None,
                how=f"by its own trial when version {version.number} was made, all held-out users"
                if isinstance(value, int | float)
                else "not among the metrics of its version",
            )
        )
    return tuple(figures)


def cost(found: Pass) -> tuple[Figure, ...]:
    """Calls, milliseconds and candidates of each node, and of a request in all."""
    users = len(found.result.users)
    calls = {step.node: step.users / users for step in found.result.trace}
    figures = []
    handed = 0.0
    for step in found.result.trace:
        each = "share of users for whom it acted, one call for each; the others skip it"
        figures.append(Figure(of=step.node, name="calls", value=calls[step.node], how=each))
        spent = step.milliseconds / step.users if step.users else 0.0
        how = f"time of its calls for {step.users:,} users in chunks of 1,024, over their number"
        figures.append(Figure(of=step.node, name="milliseconds", value=spent, how=how))
        if step.node in found.result.kept:
            width = (found.handed_on(found.graph.node(step.node)) >= 0).sum(1).double()
            mean = float(width.mean())
            handed += mean
            how = "mean number of items in the list that it hands on"
            figures.append(Figure(of=step.node, name="candidates", value=mean, how=how))
    edges = sum(source != SOURCE for node in found.graph.nodes for source in node.inputs)
    routes = sum(node.when is not None for node in found.graph.nodes)
    return (
        Figure(name="calls of agents", value=sum(calls.values()), how="sum over the nodes below"),
        Figure(
            name="messages",
            value=float(edges + routes),
            how="edges of the graph that carry a list or a route, all of them in every request",
        ),
        Figure(name="candidates handed on", value=handed, how="sum over the nodes below"),
        Figure(
            name="latency p95 (ms)",
            value=found.result.totals["latency_ms"],
            how="95th percentile of 30 requests for one user each, where the report was made",
        ),
        *figures,
    )
