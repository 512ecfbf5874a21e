"""A candidate with everything that was trained of it on a sample, each thing when first asked for.

Trainings are what checks cost, so they share them: two with the candidate's own settings and seed,
one on other data, one with another seed, and a long one on one batch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor, nn

from agenticrs.agents.agent import Agent, Budget
from agenticrs.agents.batch import Candidates, Route, UserBatch
from agenticrs.agents.grammar.network import Network
from agenticrs.agents.health.subject import Subject
from agenticrs.agents.health.watch import Watched, drawn, random_state, watching
from agenticrs.agents.training_data import TrainingData
from agenticrs.platform.data.dataset import Fold

_USERS_OF_A_BATCH = 20
_LOSS = re.compile(r"loss ([-+]?[\d.]+(?:e[-+]?\d+)?|nan|-?inf)")


@dataclass(frozen=True)
class Fitted:
    """A trained agent, the global random numbers that came next, and what it told."""

    agent: Agent[Any]
    drawn: Mapping[str, float]
    state: Mapping[str, Tensor]
    """Its weights at the end of training, copied."""
    touched: tuple[str, ...] = ()
    """Tensors of the training data that it changed."""


@dataclass(frozen=True)
class Overfitted:
    """An agent after long training on one batch."""

    agent: Agent[Any]
    data: TrainingData
    watched: Watched
    losses: tuple[float, ...]
    """Mean loss of each epoch, as far as the agent tells any."""


class Patient:
    """One candidate and its sample."""

    def __init__(self, subject: Subject, fold: Fold) -> None:
        self.subject = subject
        self.fold = fold
        self.data = TrainingData.of(fold.dataset)

    @property
    def users(self) -> UserBatch:
        """All users of the sample."""
        return self.data.histories

    @property
    def role(self) -> str:
        """The role that the spec declares."""
        return self.subject.agent_type.spec.role

    @property
    def has_epochs(self) -> bool:
        """Whether the config says how long to train."""
        return "epochs" in type(self.subject.config).model_fields

    @cached_property
    def first(self) -> Fitted:
        """Trained by its own settings."""
        return self._fitted(self.fold, 1)

    @cached_property
    def again(self) -> Fitted:
        """Trained the same once more, beside other global random numbers."""
        return self._fitted(self.fold, 2)

    @cached_property
    def elsewhere(self) -> Fitted:
        """Trained the same on other data: users have the next user's history, of the next items."""
        rows = self.fold.dataset.interactions
        user = (rows.user.astype(np.int64) - 1) % self.fold.dataset.n_users
        order = np.argsort(user, kind="stable")
        item = (rows.item + 1) % self.fold.dataset.n_items
        moved = replace(rows, user=user.astype(np.int32), item=item).take(order)
        dataset = replace(self.fold.dataset, interactions=moved)
        return self._fitted(replace(self.fold, dataset=dataset), 1)

    @cached_property
    def reseeded(self) -> Fitted:
        """Trained with another seed."""
        return self._fitted(self.fold, 1, seed=self.subject.seed + 1)

    @cached_property
    def answer(self) -> Candidates | Route:
        """What the first one answered to all users before anything else was trained."""
        return self.subject.act(self.first.agent, self.users)

    @cached_property
    def overfitted(self) -> Overfitted:
        """Trained long on a single batch: the rows of 20 users."""
        rows = self.fold.dataset.interactions
        few = rows.take(rows.user < _USERS_OF_A_BATCH)
        fold = replace(self.fold, dataset=replace(self.fold.dataset, interactions=few))
        data, losses = TrainingData.of(fold.dataset), list[float]()

        def told(fraction: float, text: str) -> None:
            losses.extend(float(number) for number in _LOSS.findall(text))

        subject = self.subject.on_one_batch()
        with watching() as watched, random_state(1):
            agent = subject.fitted(fold, data=data, budget=Budget(report=told))
        return Overfitted(agent, data, watched, tuple(losses))

    def _fitted(self, fold: Fold, draws: int, seed: int | None = None) -> Fitted:
        data = TrainingData.of(fold.dataset)
        before = {name: tensor.clone() for name, tensor in tensors_of(data).items()}
        with random_state(draws):
            agent = self.subject.fitted(fold, seed=seed, data=data)
            follow = drawn()
        touched = [n for n, tensor in tensors_of(data).items() if not tensor.equal(before[n])]
        return Fitted(agent, follow, copied(agent.state()), tuple(touched))


def copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights elsewhere in memory."""
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def modules_of(agent: Agent[Any]) -> dict[str, nn.Module]:
    """The torch modules that an agent holds, by attribute."""
    return {name: value for name, value in vars(agent).items() if isinstance(value, nn.Module)}


def network_of(agent: Agent[Any]) -> Network | None:
    """The document network that an agent holds, if any."""
    return next((m for m in modules_of(agent).values() if isinstance(m, Network)), None)


def tensors_of(data: TrainingData) -> dict[str, Tensor]:
    """Every tensor of the data, by name."""
    histories, events = data.histories, data.events
    found = {
        "histories.users": histories.users,
        "histories.offsets": histories.offsets,
        "histories.items": histories.items,
        "events.user": events.user,
        "events.item": events.item,
        "events.label": events.label,
        "events.timestamp": events.timestamp,
        **{f"events.{name}": column for name, column in events.behaviours.items()},
    }
    for whose, features in (("user", data.user_features), ("item", data.item_features)):
        found[f"{whose}.codes"] = features.codes
        found[f"{whose}.tags"] = features.tags
        found[f"{whose}.numeric"] = features.numeric
    return found
