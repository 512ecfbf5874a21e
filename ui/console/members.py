"""The members of a composition with what is known of each: reward, time, credit, where it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from agenticrs.evolution.report_card import shelf
from agenticrs.evolution.report_card.card import Figure, ReportCard
from agenticrs.registry import agents, versions
from agenticrs.registry.graph import Graph, Node
from agenticrs.registry.tables import AgentRow, CompositionRow
from agenticrs.ui.api.dependencies import AppDependencies


@dataclass(frozen=True)
class Member:
    """A node, its agent, and what was measured of it; None where it was not.

    ``reward`` is the version's own inner reward; ``milliseconds`` (for each user) and ``credit``
    are those of the composition's report card.
    """

    node: Node
    role: str
    metric: str
    reward: float | None
    config: Mapping[str, Any]
    milliseconds: Figure | None
    credit: Figure | None
    link: str | None
    run: str | None

    @property
    def whom(self) -> str:
        """The users it acts for, in words."""
        when = self.node.when
        return "everybody" if when is None else f"{' or '.join(when.segments)} of {when.node}"


def members_of(session: Session, deps: AppDependencies, row: CompositionRow) -> list[Member]:
    """The members in the order in which they act."""
    known = {agent.name: agent for agent in agents.list_all(session)}
    card = shelf.load(deps.settings.home, row.surface, row.number)
    return [
        _member(session, deps, row.surface, node, known.get(node.agent), card)
        for node in Graph.model_validate(row.graph).order()
    ]


def _member(
    session: Session,
    deps: AppDependencies,
    surface: str,
    node: Node,
    agent: AgentRow | None,
    card: ReportCard | None,
) -> Member:
    version = versions.find(session, surface, node.agent, node.version)
    metric = _metric(agent)
    found = version.metrics.get(metric) if version else None
    return Member(
        node=node,
        role=agent.role.replace("_", " ") if agent else "",
        metric=metric,
        reward=found if isinstance(found, int | float) else None,
        config=version.config if version else {},
        milliseconds=_figure(card, "milliseconds", node.id),
        credit=_figure(card, "credit", node.agent),
        link=deps.tracking.version_url(version.model, version.number) if version else None,
        run=deps.tracking.run_url(version.run_id) if version and version.run_id else None,
    )


def _metric(agent: AgentRow | None) -> str:
    """Name of the agent's inner reward among the metrics of its versions."""
    inner = agent.spec.get("inner_reward") if agent else None
    return f"{inner['metric']}@{inner['k']}" if inner else ""


def _figure(card: ReportCard | None, name: str, of: str) -> Figure | None:
    if card is None:
        return None
    figures = (f for dimension in card.dimensions for f in dimension.figures)
    return next((f for f in figures if f.name == name and f.of == of and f.value is not None), None)
