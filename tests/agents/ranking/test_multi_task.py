"""Multi-task rankers: labels, calibration, and what the final order is made of."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from agenticrs.agents.agent import Budget
from agenticrs.agents.artifact import pack, unpack
from agenticrs.agents.batch import UserBatch
from agenticrs.agents.ranking import multi_task
from agenticrs.agents.ranking.calibrating import platt
from agenticrs.agents.ranking.multi_task import Mmoe, MultiTaskConfig, Ple, places, task_labels
from agenticrs.agents.training_data import Events, TrainingData
from agenticrs.platform.errors import AgentError


@pytest.fixture
def behaviours(two_tastes: TrainingData) -> TrainingData:
    """Users click what is of their taste, and like the second half of the items they click."""
    events = two_tastes.events
    like = events.label * ((events.item % 20) >= 10)
    seconds = events.label * (events.item % 20).to(torch.float32)
    columns = {"click": events.label, "like": like, "watch_time": seconds}
    none = {"follow": torch.zeros_like(like), "hate": 1 - events.label}
    return replace(two_tastes, events=replace(events, behaviours={**columns, **none}))


def test_the_tasks_are_the_behaviours_that_can_be_learnt(behaviours: TrainingData) -> None:
    labels = task_labels(behaviours)
    assert list(labels) == ["click", "like", "watch_time"]
    watched = behaviours.events.behaviours["watch_time"]
    long = labels["watch_time"] > 0
    assert float(watched[long].min()) > float(watched[(watched > 0) & ~long].max())


def test_a_log_of_positives_alone_is_refused(two_tastes: TrainingData) -> None:
    events = two_tastes.events
    only = replace(events, label=torch.ones_like(events.label))
    with pytest.raises(AgentError, match="takers and non-takers"):
        task_labels(replace(two_tastes, events=only))


def test_earlier_positives_are_counted_for_each_user(two_tastes: TrainingData) -> None:
    events = two_tastes.events
    wanted = [
        sum(int(events.label[j]) for j in range(i) if int(events.user[j]) == int(events.user[i]))
        for i in range(len(events.user))
    ]
    assert events.earlier_positives().tolist() == wanted


@pytest.mark.parametrize(("kind", "share"), [(Mmoe, 0.0), (Ple, 0.0), (Mmoe, 0.4)])
def test_each_task_is_learnt_and_the_files_say_which(
    behaviours: TrainingData, kind: type[Mmoe], share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multi_task, "_RARE", share)
    config = MultiTaskConfig(
        embedding_size=8, hidden=16, experts=2, epochs=40, batch_size=64, learning_rate=0.01
    )
    agent = kind(config, seed=1)
    agent.fit(behaviours, Budget())
    rows = torch.arange(len(behaviours.events.user))
    found = agent.event_logits(behaviours, rows)
    for place, (task, truth) in enumerate(task_labels(behaviours).items()):
        better, worse = found[truth > 0.5, place], found[truth < 0.5, place]
        auc = (better[:, None] > worse).float().mean()
        assert auc > 0.8, task
    again = unpack(pack(agent))
    assert isinstance(again, Mmoe)
    assert again.tasks == ("click", "like", "watch_time")
    assert again.rare == (() if share == 0.0 else ("like", "watch_time"))
    torch.testing.assert_close(again.event_logits(behaviours, rows), found)


def test_platt_finds_the_slope_and_offset_that_were_used() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(20_000, generator=generator)
    truth = torch.rand(20_000, generator=generator) < torch.sigmoid(0.5 * logits - 1.0)
    slope, offset = platt(logits, truth.float()).tolist()
    assert slope == pytest.approx(0.5, abs=0.03)
    assert offset == pytest.approx(-1.0, abs=0.05)
    assert platt(logits, torch.zeros(20_000)).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("scale", [0.01, 5.0, 40.0])
@pytest.mark.parametrize("slope", [0.02, 0.2])
def test_platt_never_makes_it_worse(scale: float, slope: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(500, generator=generator)
    truth = (torch.rand(500, generator=generator) < torch.sigmoid(slope * logits)).float()
    found, offset = platt(logits, truth).tolist()
    best = binary_cross_entropy_with_logits(found * logits + offset, truth)
    for other in ((1.0, 0.0), (slope, 0.0), (0.0, float(torch.logit(truth.mean())))):
        assert best <= binary_cross_entropy_with_logits(other[0] * logits + other[1], truth) + 1e-3


def test_what_is_said_of_later_events_is_how_often_it_comes_true(
    two_tastes: TrainingData,
) -> None:
    # Many passes over labels that are half luck: the network knows them by heart, and is too sure.
    generator = torch.Generator().manual_seed(0)
    user = torch.arange(60).repeat_interleave(60)
    item = torch.randint(40, (len(user),), generator=generator)
    when = torch.arange(60).repeat(60)
    chance = torch.where(item // 20 == user % 2, 0.7, 0.3)
    label = (torch.rand(len(user), generator=generator) < chance).float()

    def until(end: int) -> TrainingData:
        early, counts = when < end, torch.zeros(61, dtype=torch.int64)
        taken = early & (label > 0.5)
        counts[1:] = torch.bincount(user[taken], minlength=60).cumsum(0)
        events = Events(user[early], item[early], label[early], when[early])
        return replace(
            two_tastes,
            histories=UserBatch(torch.arange(60), counts, item[taken]),
            events=replace(events, behaviours={"click": events.label}),
        )

    agent = Mmoe(MultiTaskConfig(epochs=12, learning_rate=0.02, batch_size=128), seed=0)
    agent.fit(until(40), Budget())
    later = (when >= 40).nonzero()[:, 0]
    logits, truth = agent.event_logits(until(60), later), label[later]
    gaps = []
    for said in (logits.sigmoid()[:, 0], agent.probabilities(logits)[:, 0]):
        groups = said.argsort().tensor_split(5)
        gaps.append(max(float((said[g].mean() - truth[g].mean()).abs()) for g in groups))
    assert gaps[0] > 0.2, "there was something to mend"
    assert gaps[1] < 0.5 * gaps[0]


def test_a_place_is_the_share_that_lies_below_and_equals_share_it() -> None:
    seconds = torch.tensor([0.0, 0.0, 3.0, 9.0])
    assert places(torch.tensor([0.0, 3.0, 9.0, 5.0]), seconds).tolist() == [
        0.25,
        0.625,
        0.875,
        0.75,
    ]


def test_seconds_are_those_at_the_place_that_is_expected(behaviours: TrainingData) -> None:
    # How long somebody watches is luck around a mean that is four times as high for some items.
    events = behaviours.events
    generator = torch.Generator().manual_seed(0)
    mean = torch.where(events.item % 20 < 10, 40.0, 10.0) * events.label
    luck = 0.5 + torch.rand(len(mean), generator=generator)
    columns = {**events.behaviours, "watch_time": mean * luck}
    log = replace(behaviours, events=replace(events, behaviours=columns))
    config = MultiTaskConfig(watch="quantile", epochs=40, batch_size=64, learning_rate=0.01)
    agent = Mmoe(config, seed=1)
    agent.fit(log, Budget())
    logits = agent.event_logits(log, torch.arange(len(mean)))
    found = agent.watched(logits)
    for wanted in (40.0, 10.0):
        assert float(found[mean == wanted].median()) == pytest.approx(wanted, rel=0.3)
    assert float(found[mean == 0].median()) < 2.0
    again = unpack(pack(agent))
    assert isinstance(again, Mmoe)
    torch.testing.assert_close(again.watched(logits), found)
    with pytest.raises(AgentError, match="how long"):
        Mmoe(MultiTaskConfig()).watched(logits)


def test_the_order_adds_the_mean_log_odds_of_the_other_behaviours() -> None:
    agent = Mmoe(MultiTaskConfig(side_weight=0.5))
    agent.tasks = ("like", "click", "forward")
    agent.calibration = torch.tensor([[2.0, 1.0], [1.0, 0.0], [1.0, -1.0]])
    logits = {"like": torch.ones(1, 2), "click": torch.zeros(1, 2), "forward": torch.ones(1, 2)}
    torch.testing.assert_close(agent.combined(logits), torch.full((1, 2), 0.5 * (3.0 + 0.0) / 2))


def test_a_loss_that_counts_more_is_learnt_before_the_others(behaviours: TrainingData) -> None:
    rows = torch.arange(len(behaviours.events.user))
    truth = torch.stack(list(task_labels(behaviours).values()), 1)
    left = []
    for main_loss in (0.2, 8.0):
        agent = Mmoe(MultiTaskConfig(main_loss=main_loss, epochs=2, learning_rate=2e-3))
        agent.fit(behaviours, Budget())
        logits = agent.event_logits(behaviours, rows)
        loss = binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(0)
        left.append(loss / loss.sum())
    assert left[1][0] < left[0][0]
    assert left[1][1] > left[0][1]
