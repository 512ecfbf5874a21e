"""Which agents are installed: entry points in group ``agenticrs.agents``.

A plug-in that cannot be imported, or contradicts itself, is reported and left out; the others
work. Two plug-ins that claim one name are refused, because either answer would be a guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import ValidationError

from agenticrs.agents.agent import Agent
from agenticrs.platform.errors import AgentError
from agenticrs.registry.spec import AgentSpec

GROUP = "agenticrs.agents"


@dataclass(frozen=True)
class BrokenPlugin:
    """An entry point that gives no agent, and why."""

    name: str
    source: str
    error: str


@dataclass(frozen=True)
class Catalogue:
    """The installed agents by name, where each comes from, and what could not be loaded."""

    agents: Mapping[str, type[Agent[Any]]]
    sources: Mapping[str, str]
    broken: tuple[BrokenPlugin, ...] = ()


def discover(found: Iterable[EntryPoint] | None = None) -> Catalogue:
    """Load every entry point of the group (or the given ones).

    Raises AgentError when two different plug-ins have the same name.
    """
    agents: dict[str, type[Agent[Any]]] = {}
    sources: dict[str, str] = {}
    broken: list[BrokenPlugin] = []
    for point in sorted(entry_points(group=GROUP) if found is None else found):
        if sources.get(point.name, point.value) != point.value:
            raise AgentError(
                f"two plug-ins are called {point.name!r}: {sources[point.name]} and {point.value}",
                hint="uninstall one, or rename its entry point and its spec",
            )
        sources[point.name] = point.value
        try:
            agents[point.name] = _checked(point.name, point.load())
        except Exception as error:  # foreign code: whatever it raises is the report
            text = f"{type(error).__name__}: {error}"
            broken.append(BrokenPlugin(point.name, point.value, text))
    return Catalogue(agents, sources, tuple(broken))


@cache
def installed() -> Catalogue:
    """The catalogue of this process, loaded once."""
    return discover()


def load_agents() -> dict[str, type[Agent[Any]]]:
    """The installed agents by name; ``installed().broken`` says which ones are missing."""
    return dict(installed().agents)


def agent_type(name: str) -> type[Agent[Any]]:
    """The agent of that name; AgentError says what there is instead, or why it is broken."""
    catalogue = installed()
    if name in catalogue.agents:
        return catalogue.agents[name]
    for plugin in catalogue.broken:
        if plugin.name == name:
            raise AgentError(
                f"agent {name!r} cannot be loaded from {plugin.source}: {plugin.error}",
                hint="repair or reinstall the package that provides it",
            )
    raise AgentError(
        f"no agent is called {name!r}", hint="installed: " + ", ".join(sorted(catalogue.agents))
    )


def build(
    name: str, config: Mapping[str, Any], *, seed: int = 0, device: str = "cpu"
) -> Agent[Any]:
    """An agent that is not fitted yet; AgentError when the config is not one of its own."""
    implementation = agent_type(name)
    try:
        checked = implementation.config_type.model_validate(dict(config))
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'config'}: {fault['msg']}"
            for fault in error.errors(include_url=False)
        )
        raise AgentError(f"config of agent {name!r} is refused: {faults}") from error
    return implementation(checked, seed=seed, device=device)


def _checked(name: str, loaded: object) -> type[Agent[Any]]:
    if not (isinstance(loaded, type) and issubclass(loaded, Agent)):
        raise TypeError(f"{loaded!r} is no subclass of Agent")
    spec = getattr(loaded, "spec", None)
    if not isinstance(spec, AgentSpec) or getattr(loaded, "config_type", None) is None:
        raise TypeError("the class has no spec or no config_type")
    if spec.name != name:
        raise TypeError(f"the entry point is called {name!r}, the spec {spec.name!r}")
    return loaded
