"""Multi-task rankers: one network for all behaviours of a log, with calibrated outputs.

MMoE blends shared experts by a gate for each task (Ma et al. 2018); PLE gives each task experts of
its own beside them (Tang et al. 2020). Beyond the papers, rare tasks have vectors of users and
items of their own: in the shared ones what is frequent drowns them. Probabilities are calibrated on
events that came after those that were learnt from (Platt 1999).

Seconds watched are learnt as their place among those of all events, in (0, 1), by the same loss:
few videos are watched for very long, and in seconds these few would be all that is learnt (Zhan et
al. 2022, Deconfounding duration bias in watch-time prediction, without its groups by duration).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from agenticrs.agents.agent import AgentConfig, Budget
from agenticrs.agents.early_stopping import EarlyStopping
from agenticrs.agents.grammar import documents
from agenticrs.agents.grammar.document import Architecture
from agenticrs.agents.grammar.network import Batch, Network, count_weights
from agenticrs.agents.grammar.ranker import RANKING_LOOP, CandidateConfig, CandidateRanker
from agenticrs.agents.ranking.calibrating import logistic, platt
from agenticrs.agents.retrieval.common import RETRIEVAL_REWARD, within_limit
from agenticrs.agents.training_data import TrainingData
from agenticrs.agents.training_loop import Trained, TrainingLoop
from agenticrs.platform.errors import AgentError
from agenticrs.registry.spec import AgentSpec, Choice, DecisionSpace, FloatRange, IntRange

_NOT_WANTED = ("hate", "duration", "rating")
"""Behaviours that say nothing about liking, or the opposite, or are the label itself."""
_WATCHED = "watch_time"
_CALIBRATION_SHARE = 0.1
_CHUNK = 8192
_FEW = 20
"""A behaviour with fewer positives is left out: nothing could be learnt of it."""
_RARE = 0.05
"""A task with fewer positives among the events than this share has vectors of its own."""
_MOST_TASKS = 8
"""Behaviours that an estimate of the weights allows for, before the log is seen."""


class MultiTaskConfig(CandidateConfig):
    """Size of the network, and what the tasks count in the final order."""

    embedding_size: int = Field(default=16, ge=1)
    """Length of user and item vectors."""
    hidden: int = Field(default=64, ge=2)
    """Width of the experts."""
    experts: int = Field(default=4, ge=1, le=32)
    """Experts that all tasks share."""
    own_width: int = Field(default=16, ge=0)
    """Length of the user and item vectors that each rare task has alone. 0: none."""
    side_weight: float = Field(default=0.5, ge=0)
    """Weight of the mean log-odds of all other behaviours beside that of the main one."""
    watch: Literal["longer", "quantile"] = "longer"
    """Watch time as a yes or no, or as its place among all, which says seconds (``watched``)."""
    main_loss: float = Field(default=1.0, gt=0)
    """Weight of the main task's loss beside that of each other task."""
    batch_size: int = Field(default=1024, ge=1)


class Mmoe(CandidateRanker[MultiTaskConfig]):
    """Learns every behaviour of the events that users were shown, and orders by their log-odds.

    Watch time is learnt as "watched longer than half of those who watched at all", or as a place
    among the seconds of all events. The main task is ``click``, or the first behaviour that there
    is.
    """

    own = 0
    """Experts of each task alone."""
    config_type = MultiTaskConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="mmoe",
        kind="model",
        role="ranking",
        summary="Ranks by all behaviours at once, learnt by experts that the tasks share.",
        paper="Ma et al. 2018, Modeling task relationships in multi-task learning",
        loop=RANKING_LOOP,
        inner_reward=RETRIEVAL_REWARD,
        on_request=True,
        space=DecisionSpace(
            parameters=(
                FloatRange(name="upstream_weight", low=0.0, high=10.0),
                FloatRange(name="side_weight", low=0.0, high=2.0),
                FloatRange(name="main_loss", low=0.2, high=8.0, log=True),
                Choice(name="watch", values=("longer", "quantile")),
                IntRange(name="embedding_size", low=8, high=64, log=True),
                IntRange(name="own_width", low=0, high=32),
                IntRange(name="experts", low=1, high=8),
                IntRange(name="hidden", low=16, high=256, log=True),
                FloatRange(name="learning_rate", low=2e-4, high=2e-2, log=True),
                IntRange(name="epochs", low=1, high=10, log=True),
            )
        ),
    )
    tasks: tuple[str, ...] = ()
    rare: tuple[str, ...] = ()
    """Those of the tasks that have vectors of their own."""
    calibration: Tensor
    """Slope and offset of each task's logit, (tasks, 2)."""
    seconds: Tensor | None = None
    """Percentiles of the seconds watched, (101,), where watch time is learnt as a place."""

    def structure(self) -> Architecture:
        """Experts over user, item, history and context, and a tower for each task."""
        config = self.config
        return documents.multi_task(
            self.tasks,
            width=config.embedding_size,
            hidden=config.hidden,
            shared=config.experts,
            own=self.own,
            rare=self.rare if config.own_width else (),
            own_width=config.own_width,
        )

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Train on the earlier events; calibrate, and be patient, on the last tenth."""
        super().fit(data, budget)
        labels = self.labels(data)
        self.tasks = tuple(labels)
        self.rare = tuple(task for task, truth in labels.items() if float(truth.mean()) < _RARE)
        truth = torch.stack(list(labels.values()), 1)
        counts = torch.ones(len(self.tasks), device=self.device)
        counts[self.tasks.index(self.main)] = self.config.main_loss
        counts = counts / counts.mean()
        if self.config.watch == "quantile" and _WATCHED in self.tasks:
            watched = data.events.behaviours[_WATCHED]
            in_order = watched.sort().values
            hundredths = torch.linspace(0, len(in_order) - 1, 101, device=self.device)
            self.seconds = in_order[hundredths.round().to(torch.int64)]
            truth[:, self.tasks.index(_WATCHED)] = places(watched, in_order)
        by_time = torch.argsort(data.events.timestamp, stable=True)
        cut = round(len(by_time) * (1 - _CALIBRATION_SHARE))
        early, late = by_time[:cut], by_time[cut:]
        generator = torch.Generator(self.device).manual_seed(self.seed)
        network = self._begin(data, generator)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=self.config.learning_rate, weight_decay=self.config.l2
        )
        before = data.events.earlier_positives()
        trained = Trained(dict(network.named_parameters()), optimizer, generator)
        stopping = None
        if self.config.patience:
            score = partial(self._later_score, network, data, late, truth[late], counts)
            stopping = EarlyStopping(trained.weights, score, self.config.patience)
        loop = TrainingLoop(budget, self.config.epochs, trained, stopping)
        for _ in loop:
            for chosen in loop.batches(len(early), self.config.batch_size, generator):
                rows = early[chosen]
                batch = self._shown(data, rows, before[rows])
                logits, _ = self.values_to_learn(network, batch, generator)
                found = torch.stack([logits[task][:, 0] for task in self.tasks], 1)
                loss = functional.binary_cross_entropy_with_logits(found, truth[rows], counts)
                loop.step(loss, optimizer)
        self.network, self.tables = network, network.freeze()
        self.calibration = torch.stack(
            [
                self._calibrated(task, logit, came)
                for task, logit, came in zip(
                    self.tasks, self.event_logits(data, late).T, truth[late].T, strict=True
                )
            ]
        )

    def _later_score(
        self, network: Network, data: TrainingData, rows: Tensor, truth: Tensor, counts: Tensor
    ) -> float:
        """Minus the mean loss of events by their ``rows`` (n,); ``truth`` is (n, tasks)."""
        self.network, self.tables = network, network.serving_tables()
        with torch.no_grad():
            found = self.event_logits(data, rows)
        return -float(functional.binary_cross_entropy_with_logits(found, truth, counts))

    def _calibrated(self, task: str, logits: Tensor, came: Tensor) -> Tensor:
        """Slope and offset of a task's logits (n,) by what came (n,)."""
        is_place = task == _WATCHED and self.seconds is not None
        return logistic(logits, came) if is_place else platt(logits, came)

    @property
    def main(self) -> str:
        """The main task: ``click``, or the first that there is."""
        return "click" if "click" in self.tasks else self.tasks[0]

    def labels(self, data: TrainingData) -> dict[str, Tensor]:
        """What is learnt: 0/1 labels (n,) of the events by task."""
        return task_labels(data)

    def _shown(self, data: TrainingData, rows: Tensor, before: Tensor) -> Batch:
        """One candidate for each event: what was shown, to whom, after which positives."""
        user, item = data.events.user[rows], data.events.item[rows]
        histories = data.histories
        lengths = before.clamp(max=self.config.history)
        begin = histories.offsets[:-1][user] + before - lengths
        width = max(1, int(lengths.max()))
        place = torch.arange(width, device=user.device)
        entry = (begin[:, None] + place).clamp(max=max(0, len(histories.items) - 1))
        past = torch.where(place < lengths[:, None], histories.items[entry], -1)
        return self._batch(user, past, lengths, before, item[:, None])

    def event_logits(self, data: TrainingData, rows: Tensor) -> Tensor:
        """Raw logits of events by their ``rows`` (n,), (n, tasks)."""
        before = data.events.earlier_positives()
        parts = [torch.zeros(0, len(self.tasks), device=self.device)]
        for start in range(0, len(rows), _CHUNK):
            some = rows[start : start + _CHUNK]
            logits = self.network.logits(self.tables, self._shown(data, some, before[some]))
            parts.append(torch.stack([logits[task][:, 0] for task in self.tasks], 1))
        return torch.cat(parts)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Calibrated probabilities (n, tasks) of raw logits (n, tasks).

        Of watch time that is learnt as a place it is the expected place.
        """
        return torch.sigmoid(logits * self.calibration[:, 0] + self.calibration[:, 1])

    def watched(self, logits: Tensor) -> Tensor:
        """Seconds (n,) at the expected place of raw logits (n, tasks).

        Raises AgentError where that was not learnt.
        """
        if self.seconds is None:
            raise AgentError(
                "this ranker has not learnt how long something is watched",
                hint="set `watch` to quantile, on a log with watch times",
            )
        place = 100 * self.probabilities(logits)[:, self.tasks.index(_WATCHED)]
        below = place.floor().clamp(max=99).to(torch.int64)
        return torch.lerp(self.seconds[below], self.seconds[below + 1], place - below)

    def combined(self, logits: Mapping[str, Tensor]) -> Tensor:
        """Calibrated log-odds of the main task, and the mean of the others' by their weight."""
        odds = {
            task: logits[task] * slope + offset
            for task, (slope, offset) in zip(self.tasks, self.calibration, strict=True)
        }
        main: Tensor = odds.pop(self.main)
        if odds:
            main = main + self.config.side_weight * torch.stack(list(odds.values())).mean(0)
        return main

    def state(self) -> dict[str, Tensor]:
        """Tables, weights, counts, who is rare, and each task's calibration under its name."""
        named = zip(self.tasks, self.calibration.cpu(), strict=True)
        return {
            **super().state(),
            **({} if self.seconds is None else {"seconds": self.seconds.cpu()}),
            "rare": torch.tensor([float(task in self.rare) for task in self.tasks]),
            **{f"calibration.{number}.{task}": both for number, (task, both) in enumerate(named)},
        }

    def load(self, state: Mapping[str, Tensor], *, n_users: int, n_items: int) -> None:
        """Take over the weights; the tasks are those that have a calibration."""
        found = sorted(name for name in state if name.startswith("calibration."))
        found.sort(key=lambda name: int(name.split(".")[1]))
        self.tasks = tuple(name.split(".", 2)[2] for name in found)
        flags = zip(self.tasks, state["rare"].tolist(), strict=True)
        self.rare = tuple(task for task, rare in flags if rare)
        self.calibration = torch.stack([state[name] for name in found]).to(self.device)
        self.seconds = state["seconds"].to(self.device) if "seconds" in state else None
        super().load(state, n_users=n_users, n_items=n_items)

    @classmethod
    def static_check(cls, config: AgentConfig, n_users: int, n_items: int) -> int:
        """The document's weights for as many behaviours as a log may have, and the counts."""
        config = cast(MultiTaskConfig, config)
        tasks = tuple(f"task_{place}" for place in range(_MOST_TASKS))
        document = documents.multi_task(
            tasks,
            width=config.embedding_size,
            hidden=config.hidden,
            shared=config.experts,
            own=cls.own,
            rare=tasks if config.own_width else (),
            own_width=config.own_width,
        )
        return within_limit(cls.spec.name, count_weights(document, n_users, n_items) + n_items)


class Ple(Mmoe):
    """MMoE with one more expert for each task that no other task sees."""

    own = 1
    spec: ClassVar[AgentSpec] = Mmoe.spec.model_copy(
        update={
            "name": "ple",
            "summary": "Ranks by all behaviours at once, learnt by shared experts and own ones.",
            "paper": "Tang et al. 2020, Progressive layered extraction",
        }
    )


def task_labels(data: TrainingData) -> dict[str, Tensor]:
    """0/1 labels (n,) of every behaviour of the events that can be learnt, the main one first.

    Raises AgentError when there is none: a log of positives alone tells nothing apart.
    """
    events = data.events
    labels: dict[str, Tensor] = {}
    for name, column in events.behaviours.items():
        positive = column > 0
        if name == _WATCHED and bool(positive.any()):
            positive = column > column[positive].median()
        if name not in _NOT_WANTED and _FEW <= int(positive.sum()) <= len(column) - _FEW:
            labels[name] = positive.to(torch.float32)
    if "click" not in labels and _FEW <= int(events.label.sum()) <= len(events.label) - _FEW:
        labels = {"click": events.label, **labels}
    if not labels:
        raise AgentError(
            "no behaviour of this log has both takers and non-takers",
            hint="multi-task ranking needs what was shown and not taken as well",
        )
    return labels


def places(values: Tensor, in_order: Tensor) -> Tensor:
    """Where values (n,) stand among others, (n,) in [0, 1]: equal ones share their middle."""
    before = torch.searchsorted(in_order, values)
    upto = torch.searchsorted(in_order, values, right=True)
    return (before + upto) / (2.0 * len(in_order))
