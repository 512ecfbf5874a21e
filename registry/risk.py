"""How much a change may harm: a level, and the reasons for it. Computed from what it touches.

Nothing here is learnt or guessed: each reason is a fact about the two graphs, the new versions or
the evidence, and the level is that of the gravest one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict
from sqlmodel import Session

from agenticrs.registry import agents, compositions, versions
from agenticrs.registry.graph import Graph, Node

Level = Literal["low", "medium", "high"]
LEVELS: tuple[Level, ...] = get_args(Level)
Change = Literal["first", "versions", "composition"]
"""first: nothing serves; versions: the same graph at other versions; composition: the rest."""
LARGE_EFFECT = 0.5
"""A blended lift above this is as often a mistake in the data as a success."""


class Reason(BaseModel):
    """A fact that makes a change risky, and how much."""

    model_config = ConfigDict(frozen=True)
    level: Level
    text: str


class Risk(BaseModel):
    """What a change is, how much it may harm, and why."""

    model_config = ConfigDict(frozen=True)
    change: Change
    level: Level
    reasons: tuple[Reason, ...]
    effect: float | None = None
    """The blended lift that the evidence tells, as a share of what serves."""


def of_change(
    session: Session, surface: str, before: int | None, after: int, evidence: Mapping[str, Any]
) -> Risk:
    """The risk of letting composition ``after`` serve in the place of ``before``."""
    found = compositions.find(session, surface, before) if before is not None else None
    old = Graph.model_validate(found.graph) if found else None
    new = Graph.model_validate(compositions.get(session, surface, after).graph)
    pinned = old.agents() if old else {}
    fresh = {name: n for name, n in new.agents().items() if pinned.get(name) != n}
    return assess(
        old,
        new,
        evidence,
        roles={row.name: row.role for row in agents.list_all(session)},
        generated=[
            name
            for name, number in fresh.items()
            if (row := versions.find(session, surface, name, number)) and _has_code(row.config)
        ],
    )


def assess(
    before: Graph | None,
    after: Graph,
    evidence: Mapping[str, Any],
    *,
    roles: Mapping[str, str],
    generated: Collection[str] = (),
) -> Risk:
    """The same from its parts: ``roles`` by agent, ``generated``: agents with new written code."""
    change = _kind(before, after)
    reasons = [
        Reason(level="high", text=f"{name} brings generated code that nobody has read")
        for name in sorted(generated)
    ]
    if before is None:
        reasons.append(Reason(level="low", text="nothing serves yet, so nothing can get worse"))
    else:
        reasons += _of_graphs(before, after, roles) + _of_evidence(evidence)
    return Risk(
        change=change,
        level=max((reason.level for reason in reasons), key=LEVELS.index, default="low"),
        reasons=tuple(sorted(reasons, key=lambda r: -LEVELS.index(r.level))),
        effect=_number(_mapping(evidence.get("score")).get("mean")),
    )


def _kind(before: Graph | None, after: Graph) -> Change:
    if before is None:
        return "first"
    same = before.output == after.output and _shape(before) == _shape(after)
    return "versions" if same else "composition"


def _shape(graph: Graph) -> dict[str, Any]:
    return {node.id: node.model_dump(exclude={"version"}) for node in graph.nodes}


def _of_graphs(before: Graph, after: Graph, roles: Mapping[str, str]) -> list[Reason]:
    found = []
    was, now = ({node.id: node for node in graph.nodes} for graph in (before, after))
    for text, one, other in (("joins", now, was), ("leaves", was, now)):
        names = sorted({one[i].agent for i in one.keys() - other.keys()})
        found += [Reason(level="medium", text=f"{name} {text}") for name in names]
    if before.output != after.output:
        found.append(Reason(level="medium", text="another node decides what users see"))
    both = sorted(was.keys() & now.keys())
    for i in both:
        if was[i].when != now[i].when:
            text = f"{i} acts for {_whom(now[i])} instead of {_whom(was[i])}"
            found.append(Reason(level="medium", text=text))
    rewired = [i for i in both if (was[i].inputs, was[i].keep) != (now[i].inputs, now[i].keep)]
    if rewired:
        found.append(Reason(level="medium", text=f"{', '.join(rewired)} read or keep other lists"))
    newer = [i for i in both if was[i].version != now[i].version]
    for role in ("routing", "fusion"):
        deciding = ", ".join(i for i in newer if roles.get(now[i].agent) == role)
        if deciding:
            text = f"new version of the {role}, which decides for everybody: {deciding}"
            found.append(Reason(level="medium", text=text))
    only = ", ".join(i for i in newer if roles.get(now[i].agent) not in ("routing", "fusion"))
    if only:
        found.append(Reason(level="low", text=f"other weights or settings of {only}"))
    return found


def _of_evidence(evidence: Mapping[str, Any]) -> list[Reason]:
    found = []
    rails = evidence.get("guardrails")
    if not isinstance(rails, Sequence) or isinstance(rails, str) or not rails:
        found.append(Reason(level="high", text="no guardrail was measured"))
    else:
        broken = [str(rail.get("name")) for rail in map(_mapping, rails) if not rail.get("passed")]
        if broken:
            found.append(Reason(level="high", text=f"broken guardrails: {', '.join(broken)}"))
    worse = sorted(
        name
        for name, value in _mapping(evidence.get("segments")).items()
        if (_number(value) or 0.0) < 0
    )
    if worse:
        text = f"some users get less: {', '.join(worse)}"
        found.append(Reason(level="medium", text=text))
    low = _number(_mapping(_mapping(evidence.get("reward")).get("difference")).get("low"))
    if low is not None and low < 0:
        found.append(Reason(level="medium", text="the outer reward may also be lower than it was"))
    effect = _number(_mapping(evidence.get("score")).get("mean"))
    if effect is None:
        found.append(Reason(level="medium", text="no effect was measured"))
    elif effect > LARGE_EFFECT:
        text = f"a lift of {effect:.0%} is large enough to be a mistake in the data"
        found.append(Reason(level="medium", text=text))
    return found


def _whom(node: Node) -> str:
    return f"{' or '.join(node.when.segments)} of {node.when.node}" if node.when else "everybody"


def _has_code(config: Mapping[str, Any]) -> bool:
    """Whether a config holds a block that a language model wrote (``agents/grammar``)."""
    return '"block": "generated"' in json.dumps(config, default=str)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
