"""The evidence behind a change, as people and policies read it. Pure data."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from agenticrs.rewards.significance import Interval

LEAST_TAU = 0.6
"""Of five known recommenders, eight of the ten pairs in order: one random order in eight has it."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Estimate(_Frozen):
    """A mean over users with its bootstrap interval; ``p_value`` only for differences."""

    mean: float
    low: float
    high: float
    p_value: float | None = None

    @staticmethod
    def of(interval: Interval, *, test: bool = False) -> Estimate:
        """From ``rewards``; ``test`` keeps the p-value."""
        return Estimate(
            mean=interval.mean,
            low=interval.low,
            high=interval.high,
            p_value=interval.p_value if test else None,
        )


class Comparison(_Frozen):
    """One metric before and after a change, on the same users."""

    metric: str
    before: Estimate
    after: Estimate
    difference: Estimate


class Guardrail(_Frozen):
    """A limit that a change must keep, whatever it gains."""

    name: str
    before: float
    after: float
    limit: float
    passed: bool


class Members(_Frozen):
    """What a change does to the membership of the composition."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


class Trust(_Frozen):
    """How far a simulated world can be trusted (``agents/simulation/trust.py``)."""

    score: float
    threshold: float
    """From this score on, simulated users may decide; below it they inform."""
    parts: dict[str, float | None]
    """None for a part that was not measured."""
    ordering: tuple[float, float, float] | None
    """Kendall's tau of known recommenders, outer reward beside held-out accuracy; its interval."""
    users: int
    """Users whom the fidelity was measured on."""
    assumed: tuple[str, ...] = ()
    """What the log cannot tell: priors."""

    @property
    def doubt(self) -> str:
        """Why simulated users may decide nothing; empty where they may."""
        score = f"trust {self.score:.2f}"
        if self.score < self.threshold:
            return f"{score} is below {self.threshold:.2f}"
        reached = f"{score} reaches {self.threshold:.2f}, but"
        if self.ordering is None:
            return f"{reached} no ordering of known recommenders could be measured"
        tau, low, high = self.ordering
        if tau < LEAST_TAU or low <= 0:
            order = f"tau {tau:.2f}, {low:.2f} to {high:.2f}"
            return f"{reached} known recommenders are not in their order for certain ({order})"
        return ""


class Simulation(_Frozen):
    """What simulated users say about a change: both compositions met the same ones."""

    reward: Comparison
    """Outer reward out of the objectives; 1 is the mean of what serves."""
    objectives: tuple[Comparison, ...]
    """Each in its own unit."""
    weights: dict[str, float]
    """How much each objective counts in the reward; they sum to 1."""
    trust: Trust
    share: float
    """Share of the score's outer part that they have; 0: they inform only."""
    says: str
    """The same in a sentence."""
    users: int
    days: int


class Cost(_Frozen):
    """What finding the change has cost."""

    trials: int
    seconds: float


class Evidence(_Frozen):
    """Everything that a decision about a change may rest on."""

    reason: str
    score: Estimate
    """Blended lift, relative to what serves: what the decision is based on."""
    weight: float
    """Share of the outer reward in the score."""
    reward: Comparison
    """Outer reward: the whole composition."""
    inner: Comparison
    guardrails: tuple[Guardrail, ...]
    cost: Cost
    members: Members = Members()
    users: int
    """Confirmation users: none of them was used to find the change."""
    segments: dict[str, float] = {}
    """Mean difference of the outer reward by segment."""
    simulation: Simulation | None = None
    unsimulated: str = ""
    """Why no simulated users were asked."""
