"""The pages that every page leads to, in the order and the groups of the menu."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agenticrs.registry.roles import Role


@dataclass(frozen=True)
class Entry:
    """A link of the menu; ``icon`` names a symbol of ``templates/icons.html``.

    ``also`` are other paths whose pages belong to it.
    """

    path: str
    name: str
    icon: str
    also: Sequence[str] = ()
    role: Role = "viewer"
    """Who sees it in the menu."""

    def leads_to(self, path: str) -> bool:
        """Whether the page at ``path`` is this entry's, or below it."""
        return any(
            path == own or (own != "/" and path.startswith(f"{own}/"))
            for own in (self.path, *self.also)
        )


@dataclass(frozen=True)
class Group:
    """Entries under one heading; the first group has none."""

    name: str
    entries: Sequence[Entry]


MENU = (
    Group("", (Entry("/", "Overview", "overview"), Entry("/proposals", "Proposals", "proposals"))),
    Group(
        "Evolution",
        (
            Entry("/cycles", "Cycles", "cycles"),
            Entry("/schedules", "Schedules", "schedules"),
            Entry("/agents", "Agents", "agents"),
            Entry("/compositions", "Compositions", "compositions"),
            Entry("/objectives", "Objectives", "objectives"),
            Entry("/memory", "Memory", "memory"),
        ),
    ),
    Group(
        "Evidence",
        (
            Entry("/experiments", "Experiments", "experiments"),
            Entry("/canary", "Canaries", "canaries", also=("/canaries",)),
            Entry("/reports", "Reports", "reports"),
        ),
    ),
    Group(
        "Administration",
        (
            Entry("/policies", "Policies", "policies"),
            Entry("/people", "People and tokens", "people", role="admin"),
            Entry("/divergence", "MLflow and registry", "divergence"),
            Entry("/audit", "Audit", "audit"),
        ),
    ),
)
