"""The evidence of a proposal as its page shows it; whatever is missing is left out.

Proposals of older releases, and of other programs, carry other evidence: nothing here may fail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from agenticrs.ui.console import interval_svg

_ESTIMATE = ("mean", "low", "high", "p_value")
_GUARDRAIL = ("name", "before", "after", "limit", "passed")
_COST = ("trials", "seconds")
_TRUST = ("score", "threshold", "users")
_KINDS = {"reward": "Outer reward", "inner": "Inner reward"}


@dataclass(frozen=True)
class ComparisonView:
    """One metric: its name, the picture, and the figures of the table."""

    title: str
    metric: str
    picture: Markup
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    difference: Mapping[str, Any]


@dataclass(frozen=True)
class SimulationView:
    """What simulated users say, and how far they can be trusted."""

    says: str
    decides: bool
    reward: ComparisonView | None
    objectives: Sequence[Mapping[str, Any]]
    """Name, weight, means before and after, and the difference with its interval."""
    trust: Mapping[str, Any]
    parts: Mapping[str, Any]
    order: Sequence[Any]
    """Kendall's tau of known recommenders with its interval; empty where it was not measured."""
    assumed: Sequence[str]
    users: Any
    days: Any


@dataclass(frozen=True)
class EvidenceView:
    """Everything that the page shows of the evidence."""

    reason: str
    score: Mapping[str, Any]
    comparisons: Sequence[ComparisonView]
    guardrails: Sequence[Mapping[str, Any]]
    cost: Mapping[str, Any]
    members: Mapping[str, Sequence[str]]
    users: Any
    segments: Mapping[str, Any]
    trust: Any
    """How far a simulation that took part may be trusted, 0 to 1; None where none did."""
    simulation: SimulationView | None
    unsimulated: str


def evidence_view(evidence: Mapping[str, Any]) -> EvidenceView:
    """Sort the evidence into what the page shows."""
    members = mapping(evidence.get("members"))
    simulation = _simulation(mapping(evidence.get("simulation")))
    return EvidenceView(
        reason=str(evidence.get("reason") or ""),
        score=_complete(evidence.get("score"), _ESTIMATE),
        comparisons=[
            comparison_view(name, title, mapping(evidence[name]))
            for name, title in _KINDS.items()
            if mapping(evidence.get(name))
        ],
        guardrails=[_complete(rail, _GUARDRAIL) for rail in _list(evidence.get("guardrails"))],
        cost=_complete(evidence.get("cost"), _COST),
        members={
            change: [str(name) for name in members[change]]
            for change in ("added", "removed", "changed")
            if isinstance(members.get(change), list) and members[change]
        },
        users=evidence.get("users"),
        segments=mapping(evidence.get("segments")),
        trust=evidence.get("trust", simulation.trust["score"] if simulation else None),
        simulation=simulation,
        unsimulated=str(evidence.get("unsimulated") or ""),
    )


def comparison_view(name: str, title: str, found: Mapping[str, Any]) -> ComparisonView:
    """One comparison (``evolution.evidence.Comparison`` as a dict); ``name`` names the picture."""
    return ComparisonView(
        title=title,
        metric=str(found.get("metric", "")),
        picture=interval_svg.draw(found, name=f"interval-{name}"),
        before=_complete(found.get("before"), _ESTIMATE) or dict.fromkeys(_ESTIMATE),
        after=_complete(found.get("after"), _ESTIMATE) or dict.fromkeys(_ESTIMATE),
        difference=_complete(found.get("difference"), _ESTIMATE) or dict.fromkeys(_ESTIMATE),
    )


def _simulation(found: Mapping[str, Any]) -> SimulationView | None:
    if not found:
        return None
    trust, reward = mapping(found.get("trust")), mapping(found.get("reward"))
    told, weights = _list(found.get("objectives")), mapping(found.get("weights"))
    share = found.get("share")
    title = "Outer reward of simulated users"
    return SimulationView(
        says=str(found.get("says") or ""),
        decides=isinstance(share, int | float) and share > 0,
        reward=comparison_view("simulated", title, reward) if reward else None,
        objectives=[_objective(mapping(one), weights) for one in told],
        trust=_complete(trust, _TRUST) or dict.fromkeys(_TRUST),
        parts=mapping(trust.get("parts")),
        order=order if len(order := _list(trust.get("ordering"))) == 3 else (),
        assumed=[str(what) for what in _list(trust.get("assumed"))],
        users=found.get("users"),
        days=found.get("days"),
    )


def _objective(one: Mapping[str, Any], weights: Mapping[str, Any]) -> dict[str, Any]:
    name = str(one.get("metric", ""))
    return {
        "name": name.replace("_", " "),
        "weight": weights.get(name, 0.0),
        "before": mapping(one.get("before")).get("mean"),
        "after": mapping(one.get("after")).get("mean"),
        "difference": _complete(one.get("difference"), _ESTIMATE) or dict.fromkeys(_ESTIMATE),
    }


def _complete(found: Any, names: Sequence[str]) -> dict[str, Any]:
    """The mapping with None for what is missing; empty when there is none at all."""
    return dict.fromkeys(names) | dict(found) if isinstance(found, Mapping) else {}


def _list(found: Any) -> Sequence[Any]:
    return found if isinstance(found, list) else ()


def mapping(found: Any) -> Mapping[str, Any]:
    """What is told of something, or nothing where the evidence holds no such thing."""
    return found if isinstance(found, Mapping) else {}
