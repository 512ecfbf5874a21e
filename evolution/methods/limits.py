"""Constraints on what is searched: whatever breaks one is no parent and never wins.

Samplers that know constraints learn to keep them from how far each is broken; for all others what
breaks one counts as failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from agenticrs.evolution.methods.method import Candidate, Method, Tried
from agenticrs.registry.spec import Limit


def broken(limits: Sequence[Limit], metrics: Mapping[str, float]) -> str:
    """The constraints that a measured candidate breaks, in words; empty when it keeps them all.

    One whose metric was not measured counts as broken: nobody knows that it is kept.
    """
    words = []
    for limit in limits:
        over = limit.violation(metrics)
        if over is None:
            words.append(f"{limit.metric} was not measured")
        elif over > 0:
            bound = f"> {limit.most:g}" if limit.most is not None else f"< {limit.least:g}"
            words.append(f"{limit.metric} {metrics[limit.metric]:.4g} {bound}")
    return ", ".join(words)


@dataclass(frozen=True)
class WithinLimits:
    """A method that knows nothing of constraints: what breaks one is told to it as failed."""

    method: Method
    limits: Sequence[Limit]

    def ask(self, tried: Sequence[Tried], n: int) -> list[Candidate]:
        """The method's own next candidates."""
        return self.method.ask(held(tried, self.limits), n)


def held(tried: Sequence[Tried], limits: Sequence[Limit]) -> list[Tried]:
    """Candidates with those that break a constraint as failed, and why."""
    return [
        replace(one, state="failed", reward=None, error=f"it breaks a limit: {why}")
        if one.state == "done" and (why := broken(limits, one.metrics))
        else one
        for one in tried
    ]
