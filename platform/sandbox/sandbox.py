"""The sandbox: a source text, tensors and JSON go in; tensors and JSON come out, or a typed error.

The module knows nothing of models. See ``inside/`` for what keeps the program in.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from agenticrs.platform.sandbox import answer, child, installation, session
from agenticrs.platform.sandbox.answer import Arrays
from agenticrs.platform.sandbox.child import Listening
from agenticrs.platform.sandbox.confinement import Confinement, detect
from agenticrs.platform.sandbox.errors import RefusedSource
from agenticrs.platform.sandbox.inside.program import MAIN
from agenticrs.platform.sandbox.limits import Limits
from agenticrs.platform.sandbox.policy import Policy
from agenticrs.platform.sandbox.session import Call, Session, encoded

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,40}")


@dataclass(frozen=True)
class SandboxResult:
    """What the program answered (claims, read with care), and what was measured from outside."""

    tensors: dict[str, NDArray[Any]]
    values: Any
    """JSON: objects, lists, texts, finite numbers, booleans, null."""
    seconds: float
    peak_memory: int
    """Bytes, libraries included."""
    printed: str
    """The end of what it printed."""


class Sandbox:
    """Runs programs, each in a confined child of its own; nothing stays from one to the next.

    ``policy=None`` reads nothing beforehand and allows every import: for tests of the other layers.
    ``project`` names folders of this project that a child can read: those that a host needs.
    Raises SandboxUnavailable at once where the machine cannot confine a program.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        policy: Policy | None = Policy(),  # noqa: B008 (frozen)
        confinement: Confinement | None = None,
        project: Sequence[str] = (),
    ) -> None:
        self._limits = limits or Limits()
        self._policy = policy
        self._installation = installation.find(project)
        self._layers = (confinement or self.detect()).layers()

    @staticmethod
    def detect() -> Confinement:
        """What this machine can do; never raises."""
        return detect(installation.find())

    def run(
        self,
        source: str,
        function: str,
        tensors: Arrays | None = None,
        arguments: Any = None,
        *,
        beside: Mapping[str, str] | None = None,
    ) -> SandboxResult:
        """Call ``function(tensors, arguments)`` of the module ``source`` and wait for its answer.

        It gets torch tensors by name and a JSON value, and returns a pair of the same kind.
        ``beside`` holds other modules by name, which ``source`` may import; none of them is trusted
        more than another. Raises each of the errors in ``errors``.
        """
        modules = {**(beside or {}), MAIN: source}
        self._check(modules)
        call = Call(function, tensors or {}, arguments)
        message = encoded(call, modules=modules, imports=self._imports)
        ended = child.run(message, self._layers, self._limits, self._installation)
        returned, values = answer.read(ended.answer)
        return SandboxResult(returned, values, ended.seconds, ended.peak_memory, ended.printed)

    def open(self, host: str, beside: Mapping[str, str], first: Call) -> Session:
        """A child that stays, for a program of ours: the module ``host``, which it imports.

        ``beside`` is what is confined with it, by name. ``first`` is the first call of the child,
        and of every other one that has to take its place. Raises RefusedSource.
        """
        self._check(beside)
        opening = encoded(first, host=host, modules=beside, imports=self._imports)
        parts = self._layers, self._limits, self._installation, session.size_of
        return Session(lambda: Listening(*parts), host, opening)

    @property
    def _imports(self) -> tuple[str, ...] | None:
        return None if self._policy is None else self._policy.modules

    def _check(self, modules: Mapping[str, str]) -> None:
        for name in modules:
            if not _IDENTIFIER.fullmatch(name) or name in (*sys.stdlib_module_names, "torch"):
                raise RefusedSource(f"a module cannot be named {name!r}")
        if self._policy is not None:
            for source in modules.values():
                self._policy.check(source, frozenset(modules))
