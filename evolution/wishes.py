"""What people ask of searches beside what agents declare: constraints, objectives, methods.

Agents declare a decision space; ``AGENTICRS_LIMITS``, ``AGENTICRS_BESIDE`` and
``AGENTICRS_METHODS`` add to it.
"""

from __future__ import annotations

from agenticrs.platform.settings import Settings
from agenticrs.registry.spec import DecisionSpace, Limit

LATENCY = "latency_ms"
"""A metric of single agents that is only measured where somebody asks for it."""
COMPOSITION = "composition"
"""The name under which people ask for something about compositions."""


def wished(settings: Settings, agent: str, space: DecisionSpace) -> DecisionSpace:
    """The agent's space with the constraints, objectives and the method that people ask for."""
    limits = [
        Limit.model_validate({"metric": metric, side: bound})
        for of, metric, side, bound in settings.search_limits
        if of in ("all", agent)
    ]
    asked = method_for(settings, agent)
    rest = tuple(method for method in space.methods if method != asked)
    return space.model_copy(
        update={
            "limits": (*space.limits, *limits),
            "beside": space.beside or settings.objectives_beside,
            "methods": space.methods if asked is None else (asked, *rest),
        }
    )


def of_compositions(settings: Settings) -> DecisionSpace:
    """What people ask of the search for compositions; by name only, not among ``all``."""
    limits = [
        Limit.model_validate({"metric": metric, side: bound})
        for of, metric, side, bound in settings.search_limits
        if of == COMPOSITION
    ]
    asked = settings.search_methods.get(COMPOSITION, "tpe")
    return DecisionSpace.model_validate(
        {"methods": (asked,), "limits": limits, "beside": (LATENCY,)}
    )


def method_for(settings: Settings, agent: str) -> str | None:
    """The method of search that people ask for; None: the agent's own list decides."""
    asked = settings.search_methods
    return asked.get(agent, asked.get("all"))


def measures_latency(space: DecisionSpace, method: str | None) -> bool:
    """Whether a trial has to say how long one request takes."""
    beside = space.beside if method == "nsga2" else ()
    return LATENCY in (*beside, *(limit.metric for limit in space.limits))
