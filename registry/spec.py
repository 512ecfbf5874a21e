"""What an agent declares about itself: role, closed loop, inner reward, decision space.

A spec is data. It is checked when it is made (``InvalidSpec`` by pydantic's ValidationError for a
contradiction inside it) and once more by admission, which runs the agent (``admission.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Kind = Literal["model", "functional"]
Role = Literal[
    "retrieval",
    "coarse_ranking",
    "ranking",
    "reranking",
    "fusion",
    "routing",
    "perception",
    "profile",
    "memory",
    "planning",
    "simulation",
    "segmenting",
    "experimentation",
    "feed_control",
]
KEY_ROLES: frozenset[Role] = frozenset({"fusion", "reranking", "routing", "segmenting"})
"""Roles that decide for the whole system: outer reward weighs at least one half."""


class Port(StrEnum):
    """What travels along an edge of a composition."""

    USERS = "users"
    CANDIDATES = "candidates"
    ROUTE = "route"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FloatRange(_Frozen):
    """A real parameter in [low, high], searched on a log scale when ``log``."""

    type: Literal["float"] = "float"
    name: str
    low: float
    high: float
    log: bool = False


class IntRange(_Frozen):
    """An integer parameter in [low, high], both ends included."""

    type: Literal["int"] = "int"
    name: str
    low: int
    high: int
    log: bool = False


class Choice(_Frozen):
    """One of a few values."""

    type: Literal["choice"] = "choice"
    name: str
    values: tuple[str | int | float | bool, ...]


class PerInput(_Frozen):
    """One real parameter in [low, high] for each agent that feeds this one (fusion weights).

    It becomes ``name.<agent>`` for every input in a concrete graph (``DecisionSpace.expand``).
    """

    type: Literal["per_input"] = "per_input"
    name: str
    low: float
    high: float


Parameter = Annotated[FloatRange | IntRange | Choice | PerInput, Field(discriminator="type")]
ConcreteParameter = FloatRange | IntRange | Choice
SearchMethod = Literal["tpe", "random", "gp", "cmaes", "nsga2"]
Method = Literal["tpe", "random", "gp", "cmaes", "nsga2", "policy"]
Grammar = Literal["retrieval", "ranking"]
"""Documents that score the whole catalogue, or the candidates that are handed over."""


class Limit(_Frozen):
    """A constraint: a metric of a trial that must not exceed ``most`` or fall below ``least``."""

    metric: str
    most: float | None = None
    least: float | None = None

    def violation(self, metrics: Mapping[str, float]) -> float | None:
        """By how much it is broken, negative when it is kept; None when the metric is unknown."""
        value = metrics.get(self.metric)
        if value is None:
            return None
        over = float("-inf") if self.most is None else value - self.most
        under = float("-inf") if self.least is None else self.least - value
        return max(over, under)


class DecisionSpace(_Frozen):
    """The low-dimensional space that a search method may move in, and whether structures may."""

    parameters: tuple[Parameter, ...] = ()
    methods: tuple[Method, ...] = ("tpe", "policy")
    beside: tuple[str, ...] = ()
    """Further metrics to make small, for ``nsga2``: parameters, latency_ms."""
    limits: tuple[Limit, ...] = ()
    """Constraints that the samplers learn to keep: latency_ms, parameters, coverage@10."""
    grammar: Grammar | None = None
    """The structure may be drawn anew, as a document of this kind; None: it is fixed."""

    def expand(self, inputs: Sequence[str] = ()) -> tuple[ConcreteParameter, ...]:
        """The parameters with every ``PerInput`` replaced by one range for each input's name."""
        concrete: list[ConcreteParameter] = []
        for parameter in self.parameters:
            if isinstance(parameter, PerInput):
                concrete += [
                    FloatRange(
                        name=f"{parameter.name}.{source}", low=parameter.low, high=parameter.high
                    )
                    for source in inputs
                ]
            else:
                concrete.append(parameter)
        return tuple(concrete)


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """``{"weights.bpr": 1}`` -> ``{"weights": {"bpr": 1}}``: a candidate's values as a config."""
    config: dict[str, Any] = {}
    for name, value in flat.items():
        head, _, tail = name.partition(".")
        if tail:
            config.setdefault(head, {})[tail] = value
        else:
            config[head] = value
    return config


class ClosedLoop(_Frozen):
    """Typed inputs and outputs, who executes the output, and which logged signal comes back."""

    inputs: tuple[Port, ...]
    """Types of the inputs in order. The last one repeats when ``variadic``."""
    variadic: bool = False
    output: Port
    executor: str
    """Who acts on the output ("the runtime passes the candidates on", "the surface shows them")."""
    feedback: str
    """The logged behaviour that tells how the output did (a column of the interaction log)."""


class InnerReward(_Frozen):
    """The agent's own metric: a name known to ``rewards`` and a cut-off. Larger is better."""

    metric: str
    k: int = Field(default=10, ge=1)
    also: tuple[str, ...] = ()
    """Metrics that are told as well and decide nothing unless people ask for it: ``auc@100``."""

    def __str__(self) -> str:
        return f"{self.metric}@{self.k}"


class AgentSpec(_Frozen):
    """The declaration of one agent; what the registry records and the console shows."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{1,39}$")
    kind: Kind
    role: Role
    summary: str
    paper: str = ""
    loop: ClosedLoop
    inner_reward: InnerReward
    space: DecisionSpace
    outer_weight: float = Field(default=0.1, ge=0.0, le=1.0)
    """w in score = (1 - w) lift(inner) + w lift(outer)."""
    outer_weight_reason: str = ""
    on_request: bool = False
    """Takes part in cycles only when it is asked for by name, or has a version already."""
    part_of: str = ""
    """The agent that this one is a part of (a tower, a router of experts). A part never stands in a
    composition; the settings that it finds are offered to the whole, whose space holds them too."""
    segments: tuple[str, ...] = ()
    """Names of the segments that a routing agent tells apart, in the order of its output codes. The
    last one is the common path, which everybody takes when the router fails."""

    @model_validator(mode="after")
    def _check(self) -> AgentSpec:
        if self.role in KEY_ROLES and self.outer_weight < 0.5 and not self.outer_weight_reason:
            raise ValueError(
                f"outer_weight of a {self.role} agent must be at least 0.5, got "
                f"{self.outer_weight}: raise it or say why in outer_weight_reason"
            )
        if (self.loop.output is Port.ROUTE) != bool(self.segments):
            raise ValueError(
                "segments must be named by agents that put out a route, and only by them"
            )
        if not self.loop.inputs:
            raise ValueError("loop.inputs must name at least one input")
        return self
