"""Runs an agent on a tiny log, so that admission can see its promises kept.

Answers three questions for ``registry.admission``: what its default config is, another config of
its decision space, and what inner reward a config earns with everything else fixed.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from agenticrs.agents.agent import Agent, AgentConfig, Budget, OutcomeLearner
from agenticrs.agents.batch import Candidates
from agenticrs.agents.evaluation import evaluate
from agenticrs.agents.lesson import Lesson
from agenticrs.agents.retrieval.itemknn import ItemKNN, ItemKNNConfig
from agenticrs.agents.retrieval.popularity import Popularity, PopularityConfig
from agenticrs.agents.training_data import Heldout, TrainingData
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.data.generated import GeneratorConfig, generate
from agenticrs.platform.data.splits import make_fold
from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.errors import AgentError
from agenticrs.registry.spec import (
    Choice,
    ConcreteParameter,
    FloatRange,
    PerInput,
    Port,
    nested,
)

_EPOCHS = 3
"""A probe asks whether an agent works, not how good it gets."""
_DEPTH = 50


class AgentProbe:
    """An agent and a tiny log (a generated one, where no fold is given)."""

    def __init__(self, agent_type: type[Agent[Any]], fold: Fold | None = None) -> None:
        self._type = agent_type
        self._spec = agent_type.spec
        self._fold = fold

    def inner_reward(self, config: dict[str, Any], seed: int) -> float:
        """Mean inner reward of a freshly trained agent over all held-out users.

        Raises AgentError when the config is refused or the agent fails.
        """
        checked = self._checked(config)
        agent = self._type(checked, seed=seed)
        agent.input_names(self._input_names)
        torch.manual_seed(seed)
        epochs = getattr(checked, "epochs", _EPOCHS)
        agent.fit(self._data, Budget(effort=min(1.0, _EPOCHS / epochs)))
        if isinstance(agent, OutcomeLearner):
            agent.learn(Lesson.of(self._data, self._heldout, self._inputs))
        found = evaluate(agent, self._data, self._heldout, self._inputs)
        return found.totals[str(self._spec.inner_reward)]

    def default_config(self) -> dict[str, Any]:
        """The defaults; AgentError when they lie outside the agent's own decision space."""
        config: dict[str, Any] = self._type.config_type().model_dump(mode="json")
        for parameter in self._spec.space.parameters:
            if parameter.name not in config:
                raise AgentError(
                    f"{self._spec.name}: parameter {parameter.name!r} is no field of its config"
                )
            value = config[parameter.name]
            if not isinstance(parameter, PerInput) and not _contains(parameter, value):
                raise AgentError(
                    f"{self._spec.name}: the default {parameter.name} = {value!r} lies outside "
                    "its decision space",
                    hint="move the default, or widen the range",
                )
        return config

    def other_config(self) -> dict[str, Any]:
        """A config drawn from the decision space that differs from the default; always the same.

        Raises AgentError when nothing can vary, or the space allows what the config refuses.
        """
        default = self.default_config()
        rng = np.random.default_rng(1)
        drawn: dict[str, Any] = {}
        for parameter in self._spec.space.expand(self._input_names):
            for _ in range(20):
                drawn[parameter.name] = _draw(parameter, rng)
                if drawn[parameter.name] != default.get(parameter.name):
                    break
        config = _merged(default, nested(drawn))
        if config == default:
            raise AgentError(f"{self._spec.name}: its decision space allows no other config")
        self._checked(config)
        return config

    def _checked(self, config: Mapping[str, Any]) -> AgentConfig:
        try:
            return self._type.config_type.model_validate(dict(config))
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            raise AgentError(
                f"{self._spec.name}: config is refused at "
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            ) from error

    @cached_property
    def _data(self) -> TrainingData:
        return TrainingData.of((self._fold or tiny_fold()).dataset)

    @cached_property
    def _heldout(self) -> Heldout:
        return Heldout.of(self._fold or tiny_fold())

    @cached_property
    def _input_names(self) -> tuple[str, ...]:
        """Which lists the agent gets: as many as it takes, two where it takes any number."""
        loop = self._spec.loop
        wanted = sum(port is Port.CANDIDATES for port in loop.inputs)
        count = len(self._spec.segments) or (max(2, wanted) if loop.variadic else wanted)
        return tuple(("itemknn", "popularity")[place % 2] for place in range(count))

    @cached_property
    def _inputs(self) -> list[Candidates]:
        sources: dict[str, Agent[Any]] = {
            "itemknn": ItemKNN(ItemKNNConfig()),
            "popularity": Popularity(PopularityConfig()),
        }
        users = self._data.histories.take(self._heldout.users)
        found: dict[str, Candidates] = {}
        for name in set(self._input_names):
            sources[name].fit(self._data, Budget())
            answer = sources[name].act(users, (), _DEPTH)
            if isinstance(answer, Candidates):
                found[name] = answer
        return [found[name] for name in self._input_names]


@cache
def tiny_fold() -> Fold:
    """A generated log of 120 users and 80 items, last item held out; made once per process."""
    platform = generate(GeneratorConfig(n_users=120, n_items=80, seed=0))
    with tempfile.TemporaryDirectory() as folder:
        dataset = DatasetStore(Path(folder)).save("probe", platform.raw)
        return make_fold(dataset, "leave_one_out", "valid")


def _contains(parameter: ConcreteParameter, value: Any) -> bool:
    if isinstance(parameter, Choice):
        return value in parameter.values
    return isinstance(value, int | float) and parameter.low <= value <= parameter.high


def _draw(parameter: ConcreteParameter, rng: np.random.Generator) -> Any:
    if isinstance(parameter, Choice):
        return parameter.values[int(rng.integers(len(parameter.values)))]
    if parameter.log:
        value = math.exp(rng.uniform(math.log(parameter.low), math.log(parameter.high)))
    else:
        value = rng.uniform(parameter.low, parameter.high)
    if isinstance(parameter, FloatRange):
        return min(max(value, parameter.low), parameter.high)
    return min(max(round(value), parameter.low), parameter.high)


def _merged(default: Mapping[str, Any], drawn: Mapping[str, Any]) -> dict[str, Any]:
    config = dict(default)
    for name, value in drawn.items():
        known = config.get(name)
        config[name] = {**known, **value} if isinstance(known, dict) else value
    return config
