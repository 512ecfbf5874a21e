"""A candidate on a sample: how it is made, trained, given lists, and asked.

The same for every kind of agent. A training here is a few epochs by the candidate's own settings,
or many on one batch (``on_one_batch``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from agenticrs.agents.agent import Agent, AgentConfig, Budget, OutcomeLearner
from agenticrs.agents.batch import Candidates, Route, UserBatch
from agenticrs.agents.lesson import Lesson
from agenticrs.agents.training_data import Heldout, TrainingData
from agenticrs.platform.data.dataset import Fold
from agenticrs.registry.spec import Port

K = 10
N_INPUT = 12
_ONE_BATCH = 1_000_000
_MANY_EPOCHS = 40
_QUICK_RATE = 0.01
_FEW_NEGATIVES = 8
_NAMES = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")


@dataclass(frozen=True)
class Subject:
    """An agent type with a config, a seed, and the names of the agents that feed it."""

    agent_type: type[Agent[Any]]
    config: AgentConfig
    seed: int
    names: tuple[str, ...]

    @staticmethod
    def of(
        agent_type: type[Agent[Any]], config: AgentConfig, seed: int, names: Sequence[str] = ()
    ) -> Subject:
        """Without ``names`` it is fed by as many as its spec says, by two where any number does."""
        loop = agent_type.spec.loop
        wanted = sum(port is Port.CANDIDATES for port in loop.inputs)
        count = max(2, wanted) if loop.variadic else wanted
        return Subject(agent_type, config, seed, tuple(names) or _NAMES[:count])

    @property
    def takes_lists(self) -> bool:
        """Whether it decides over lists that others put out."""
        return Port.CANDIDATES in self.agent_type.spec.loop.inputs

    @property
    def learns_outcomes(self) -> bool:
        """Whether lists and outcomes teach it, rather than the log."""
        return issubclass(self.agent_type, OutcomeLearner)

    def on_one_batch(self) -> Subject:
        """The same structure, trained long and briskly on everything at once.

        Settings go by the names that all agents share (``epochs``, ``batch_size``, ...): a config
        that learns slowly on purpose is no fault of its structure.
        """
        default = type(self.config)()
        change: dict[str, Any] = {"epochs": _MANY_EPOCHS, "batch_size": _ONE_BATCH, "patience": 0}
        for name in ("l2", "weight_decay", "dropout"):
            change[name] = getattr(default, name, None)
        rates = [getattr(config, "learning_rate", 0.0) for config in (self.config, default)]
        change["learning_rate"] = max(*rates, _QUICK_RATE)
        change["negatives"] = min(_FEW_NEGATIVES, getattr(self.config, "negatives", _FEW_NEGATIVES))
        fields = type(self.config).model_fields
        config = self.config.model_copy(update={n: v for n, v in change.items() if n in fields})
        return replace(self, config=config)

    def fitted(
        self,
        fold: Fold,
        *,
        seed: int | None = None,
        data: TrainingData | None = None,
        budget: Budget | None = None,
    ) -> Agent[Any]:
        """A new agent that has learnt the fold's history, as a trial would let it learn.

        ``data`` is the fold's own when it is made already; without a ``budget`` one epoch is run.
        """
        agent = self.agent_type(self.config, seed=self.seed if seed is None else seed)
        agent.input_names(self.names)
        effort = 1.0 / max(1, getattr(self.config, "epochs", 1))
        agent.fit(data or TrainingData.of(fold.dataset), budget or Budget(effort))
        self._teach(agent, fold)
        return agent

    def act(self, agent: Agent[Any], users: UserBatch, k: int = K) -> Candidates | Route:
        """The agent's answer, over ``lists`` where it takes some."""
        # A copy: a candidate that writes into its arguments must not spoil the next question.
        users = UserBatch(users.users.clone(), users.offsets.clone(), users.items.clone())
        inputs = self.lists(users, agent.n_items)
        with torch.inference_mode():
            return agent.act(users, inputs, k)

    def lists(self, users: UserBatch, n_items: int) -> list[Candidates]:
        """A list for each name: 12 unseen items with falling scores; the last one has gaps.

        The same for the same user, history and size, whoever else is asked for.
        """
        if not self.takes_lists:
            return []
        return [
            some_list(users, n_items, place, place and place == len(self.names) - 1)
            for place in range(len(self.names))
        ]

    def _teach(self, agent: Agent[Any], fold: Fold) -> None:
        """Let who learns from outcomes learn that all took the best of the first list."""
        if not isinstance(agent, OutcomeLearner):
            return
        users = TrainingData.of(fold.dataset).histories
        count = len(agent.spec.segments) or len(self.names)
        given = [some_list(users, agent.n_items, place) for place in range(count)]
        taken = given[0].items[:, 0]
        able = (taken >= 0).nonzero()[:, 0]
        worth = torch.ones(len(able))
        truth = Heldout(users.users[able], torch.arange(len(able) + 1), taken[able], worth)
        lists = tuple(Candidates(part.items[able], part.scores[able]) for part in given)
        agent.learn(Lesson(users.take(able), lists, truth))


def some_list(users: UserBatch, n_items: int, place: int, gaps: object = False) -> Candidates:
    """Unseen items with falling scores, (B, 12 or fewer), -1 pads; another order a ``place``."""
    item = torch.arange(n_items, dtype=torch.float64)
    known = users.users.clamp(min=-1)[:, None]
    score = torch.sin(12.9898 * item + 78.233 * known + 37.719 * (place + 1)) * 43758.5453
    score = (score - score.floor()).to(torch.float32)
    inside = users.items < n_items
    score[users.rows[inside], users.items[inside]] = -torch.inf
    best = score.topk(min(N_INPUT, n_items), dim=1)
    items, scores = best.indices.masked_fill(best.values == -torch.inf, -1), best.values
    if gaps:
        items, scores = items.clone(), scores.clone()
        items[:, N_INPUT - 3 :], scores[:, N_INPUT - 3 :] = -1, -torch.inf
    return Candidates(items, scores)


def numbers(answer: Candidates | Route) -> Tensor:
    """An answer as numbers that can be compared; pads are far below everything."""
    if isinstance(answer, Route):
        return answer.segment.to(torch.float32)
    return answer.scores.to(torch.float32).nan_to_num(neginf=-1e9)


def same(a: Candidates | Route, b: Candidates | Route) -> bool:
    """Whether two answers are equal to the last bit."""
    if isinstance(a, Candidates) and isinstance(b, Candidates):
        return torch.equal(a.items, b.items) and torch.equal(a.scores, b.scores)
    return isinstance(a, Route) and isinstance(b, Route) and torch.equal(a.segment, b.segment)
