"""Who wins: paired comparisons on users that the search never saw, and guardrails. Pure functions.

The *search* users (``splits.search_users``) steer the search; the others, the *confirm* users,
decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from agenticrs.evolution.evidence import Comparison, Estimate, Guardrail, Members
from agenticrs.platform.data.splits import search_users
from agenticrs.registry.graph import Graph
from agenticrs.rewards.blend import blended_difference, joined_lift, relative_lift
from agenticrs.rewards.significance import bootstrap_mean, holm, paired_bootstrap

PerUser = npt.NDArray[np.floating[Any]]
BoolArray = npt.NDArray[np.bool_]


def mean_reward(values: PerUser, users: npt.NDArray[Any]) -> float:
    """Mean over the search users; over all users when none of them is a search user."""
    mask = search_users(users)
    return float(np.mean(values[mask] if mask.any() else values))


def compare(metric: str, before: PerUser, after: PerUser, *, seed: int) -> Comparison:
    """Means with bootstrap intervals and the paired difference, on the same users, shape (n,)."""
    # Copies: what a job brought back lies in shared memory that may not be written to.
    a, b = (torch.from_numpy(np.array(one, dtype=np.float64)) for one in (after, before))
    return Comparison(
        metric=metric,
        before=Estimate.of(bootstrap_mean(b, seed=seed)),
        after=Estimate.of(bootstrap_mean(a, seed=seed)),
        difference=Estimate.of(paired_bootstrap(a, b, seed=seed), test=True),
    )


@dataclass(frozen=True)
class Heard:
    """Outer rewards of simulated users, (n,) before and after, and what they count.

    ``rows`` are their places among the users that a comparison is about; ``share`` is theirs of the
    outer part, 0 where they are not trusted.
    """

    rows: npt.NDArray[np.int64]
    before: PerUser
    after: PerUser
    share: float


def blended(
    before: tuple[PerUser, PerUser],
    after: tuple[PerUser, PerUser],
    weight: float,
    *,
    seed: int,
    level: float = 0.95,
    heard: Heard | None = None,
) -> Estimate:
    """The blended lift over what was, with its paired test and its interval at that level.

    ``before`` and ``after`` are (inner, outer) rewards of the same users; ``weight`` is the outer
    reward's share. Of that, simulated users who are ``heard`` have a share of their own. Those
    whose share is 0 change nothing at all.
    """
    inner_before, outer_before = (torch.as_tensor(v, dtype=torch.float64) for v in before)
    inner_after, outer_after = (torch.as_tensor(v, dtype=torch.float64) for v in after)
    lift = blended_difference(inner_after, inner_before, outer_after, outer_before, weight)
    if heard is not None and heard.share > 0:
        inside = relative_lift(inner_after, inner_before)
        simulated = relative_lift(torch.as_tensor(heard.after), torch.as_tensor(heard.before))
        outside = joined_lift(
            relative_lift(outer_after, outer_before),
            simulated,
            torch.as_tensor(heard.rows),
            heard.share,
        )
        lift = (1 - weight) * inside + weight * outside
    nothing = torch.zeros_like(lift)
    return Estimate.of(paired_bootstrap(lift, nothing, level=level, seed=seed), test=True)


def convincing(
    scores: Sequence[Estimate | None], alpha: float, minimum_effect: float
) -> list[bool]:
    """Which gains are significant, and lie above the minimum effect with their whole interval.

    Significant at family-wise level ``alpha`` (Holm 1979); the intervals are those of ``blended``,
    at level 1 - ``alpha``. None stands for a gain that may not win: it loosens nothing for others.
    """
    adjusted = holm([1.0 if s is None or s.p_value is None else s.p_value for s in scores])
    return [
        score is not None and score.mean > 0 and p <= alpha and score.low > minimum_effect
        for score, p in zip(scores, adjusted, strict=True)
    ]


def guardrails(
    before: Mapping[str, float],
    after: Mapping[str, float],
    *,
    latency_limit_ms: float,
    coverage_floor: float,
) -> tuple[Guardrail, ...]:
    """Latency (p95 of a request, ms) under its limit, coverage not below a share of the present.

    Both mappings carry ``latency_ms`` and ``coverage@10``.
    """
    least = coverage_floor * before["coverage@10"]
    return (
        Guardrail(
            name="latency p95 (ms)",
            before=before["latency_ms"],
            after=after["latency_ms"],
            limit=latency_limit_ms,
            passed=after["latency_ms"] <= latency_limit_ms,
        ),
        Guardrail(
            name="catalogue coverage@10",
            before=before["coverage@10"],
            after=after["coverage@10"],
            limit=least,
            passed=after["coverage@10"] >= least,
        ),
    )


def membership(before: Graph, after: Graph) -> Members:
    """Agents that join, leave, or change: another version, other users, more or fewer handed on."""
    old, new = _places(before), _places(after)
    return Members(
        added=tuple(sorted(set(new) - set(old))),
        removed=tuple(sorted(set(old) - set(new))),
        changed=tuple(sorted(name for name in new if name in old and old[name] != new[name])),
    )


def _places(graph: Graph) -> dict[str, frozenset[object]]:
    """Agent -> where it stands: in which version, for whom, and how many candidates it keeps."""
    places: dict[str, set[object]] = {}
    for node in graph.nodes:
        places.setdefault(node.agent, set()).add((node.version, node.when, node.keep))
    return {agent: frozenset(found) for agent, found in places.items()}
