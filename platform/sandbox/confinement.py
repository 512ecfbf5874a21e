"""Which layers of confinement this machine offers, found out by putting them on in a child.

seccomp, limits, lost rights and an empty environment belong to all of them. To keep a program from
the files it takes a root of its own (namespaces), or Landlock; both where both are there.
"""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass

from agenticrs.platform.sandbox import child
from agenticrs.platform.sandbox.child import Layers
from agenticrs.platform.sandbox.errors import SandboxError, SandboxUnavailable
from agenticrs.platform.sandbox.installation import Installation
from agenticrs.platform.sandbox.limits import Limits

_HINT = (
    "it takes Linux 5.13 or newer on x86-64 with user namespaces or Landlock, "
    "see docs/sandbox.md; nothing runs unconfined"
)


@dataclass(frozen=True)
class Confinement:
    """Layers that work here, and why stronger ones do not."""

    namespaces: bool = False
    landlock: bool = False
    reasons: tuple[str, ...] = ()

    @property
    def sufficient(self) -> bool:
        """Whether something keeps the program from the file system."""
        return self.namespaces or self.landlock

    def layers(self) -> Layers:
        """What a child has to put on; SandboxUnavailable when that is too little."""
        if not self.sufficient:
            reasons = "; ".join(self.reasons) or "no layer is switched on"
            raise SandboxUnavailable(
                f"generated code cannot be confined on this machine: {reasons}", hint=_HINT
            )
        return Layers(self.namespaces, self.landlock)


def detect(installation: Installation, limits: Limits | None = None) -> Confinement:
    """The strongest layers that can be put on: at best one child, a fifth of a second."""
    machine = f"{sys.platform} on {platform.machine()}"
    if machine != "linux on x86_64":
        return Confinement(reasons=(f"no list of system calls for {machine}",))
    reasons: list[str] = []
    for layers in (Layers(True, True), Layers(True, False), Layers(False, True)):
        try:
            child.run(b"", layers, limits or Limits(), installation, probe=True)
        except SandboxError as error:
            reasons.append(f"{layers}: {error.message}")
        else:
            return Confinement(layers.namespaces, layers.landlock, tuple(reasons))
    return Confinement(reasons=tuple(reasons))
