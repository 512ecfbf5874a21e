"""Admission: the three constraints on an agent, as checks that are executed.

1. closed loop: typed inputs and outputs, an executor, and a logged signal that comes back;
2. independent evaluability: comparable, repeatable rewards for two candidates, all else fixed;
3. evolvable decision space: something to vary, and a method that can search it.

What fails is recorded as a tool. Further checks only advise on granularity.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from agenticrs.platform.data.dataset import BEHAVIOURS
from agenticrs.registry.spec import AgentSpec, Choice, PerInput

SEED = 0


class Probe(Protocol):
    """Runs the agent for its admission, on small data with everything else fixed."""

    def inner_reward(self, config: dict[str, Any], seed: int) -> float:
        """Train with the config and seed, and return the inner reward."""

    def default_config(self) -> dict[str, Any]:
        """The agent's default config."""

    def other_config(self) -> dict[str, Any]:
        """Another config out of the decision space."""


class Check(BaseModel):
    """One row of an admission report."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    passed: bool
    detail: str
    advisory: bool = False


class AdmissionReport(BaseModel):
    """All checks; ``admitted`` when every one that is not advisory has passed."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    checks: list[Check]
    admitted: bool


def admit(spec: AgentSpec, probe: Probe) -> AdmissionReport:
    """Run every check. An agent that raises fails the check with the error's text."""
    checks = [
        _run("closed loop", lambda: _closed_loop(spec)),
        _run("independent evaluability", lambda: _evaluable(probe)),
        _run("evolvable decision space", lambda: _evolvable(spec, probe)),
        _run("own version", lambda: _deployable(spec), advisory=True),
    ]
    return AdmissionReport(
        checks=checks, admitted=all(check.passed for check in checks if not check.advisory)
    )


class _Refused(Exception):
    """A verdict, with its reason."""


def _run(name: str, check: Callable[[], str], *, advisory: bool = False) -> Check:
    try:
        detail, passed = check(), True
    except _Refused as verdict:
        detail, passed = str(verdict), False
    except Exception as error:
        detail, passed = f"{type(error).__name__}: {error}", False
    return Check(name=name, passed=passed, detail=detail[:1000], advisory=advisory)


def _closed_loop(spec: AgentSpec) -> str:
    loop = spec.loop
    if not loop.executor.strip():
        raise _Refused("loop.executor is empty: name who acts on the output")
    if loop.feedback not in BEHAVIOURS:
        raise _Refused(
            f"loop.feedback {loop.feedback!r} is no logged behaviour: {', '.join(BEHAVIOURS)}"
        )
    inputs = ", ".join(loop.inputs)
    return f"{inputs} -> {loop.output}; {loop.executor}; answered by {loop.feedback}"


def _evaluable(probe: Probe) -> str:
    default, other = probe.default_config(), probe.other_config()
    if default == other:
        raise _Refused("the decision space offers no second candidate to compare with")
    first, second = probe.inner_reward(default, SEED), probe.inner_reward(other, SEED)
    again = probe.inner_reward(default, SEED)
    if not all(math.isfinite(value) for value in (first, second)):
        raise _Refused(f"inner rewards are not finite: {first}, {second}")
    if first != again:
        raise _Refused(f"the same candidate and seed gave {first} and then {again}")
    return f"two candidates: {first:.4f} and {second:.4f}; repeated: {again:.4f}"


def _evolvable(spec: AgentSpec, probe: Probe) -> str:
    space = spec.space
    if not space.methods:
        raise _Refused("no method is named that could search the space")
    names = [parameter.name for parameter in space.parameters]
    if len(set(names)) != len(names):
        raise _Refused(f"a parameter is declared twice: {', '.join(names)}")
    default = probe.default_config()
    varying = 0
    for parameter in space.parameters:
        if parameter.name not in default:
            raise _Refused(f"parameter {parameter.name!r} is no field of the config")
        value = default[parameter.name]
        if isinstance(parameter, Choice):
            inside = value in parameter.values
            varying += len(set(parameter.values)) > 1
        else:
            if parameter.low >= parameter.high:
                raise _Refused(
                    f"{parameter.name}: low {parameter.low} must be below high {parameter.high}"
                )
            values = list(value.values()) if isinstance(parameter, PerInput) else [value]
            inside = all(parameter.low <= one <= parameter.high for one in values)
            log = not isinstance(parameter, PerInput) and parameter.log
            if log and parameter.low <= 0:
                raise _Refused(f"{parameter.name}: a log scale needs low > 0, not {parameter.low}")
            varying += 1
        if not inside:
            raise _Refused(f"{parameter.name}: the default {value!r} lies outside the space")
    if not varying:
        raise _Refused("no parameter has two values: nothing can evolve")
    return f"{varying} parameters vary; methods: {', '.join(space.methods)}"


def _deployable(spec: AgentSpec) -> str:
    if spec.kind == "model" and not spec.space.parameters:
        raise _Refused("nothing of its own to deploy or roll back: it may be too fine")
    return "has versions of its own that can be deployed and rolled back"
