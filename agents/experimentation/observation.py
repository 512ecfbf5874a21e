"""What one step of an experiment has shown, and how steps are gathered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from agenticrs.platform.errors import AgentError
from agenticrs.rewards.experiments.guardrails import Guardrail
from agenticrs.rewards.experiments.sequential import Gathered, Sample


class Observation(BaseModel):
    """Two arms in one step. Users count in the step in which their rewards came due."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    treatment: dict[str, Sample]
    """By metric: the reward and every guardrail."""
    control: dict[str, Sample]
    exposed: tuple[int, int]
    """How many users were new to each arm in this step, to check their shares."""


def gather(
    seen: Mapping[str, Gathered], observed: Observation, metrics: Sequence[Guardrail]
) -> dict[str, Gathered]:
    """With this step added. Raises AgentError when a metric was not observed in both arms."""
    found: dict[str, Gathered] = {}
    for name in (one.metric for one in metrics):
        if name not in observed.treatment or name not in observed.control:
            raise AgentError(
                f"{name} was not observed in both arms",
                hint="log it, or take it off the guardrails before the experiment begins",
            )
        arms = observed.treatment[name], observed.control[name]
        found[name] = seen.get(name, Gathered()).seen(*arms)
    return found
