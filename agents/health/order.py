"""Checks of order: is one batch learnt, is the order the right way up, are users told apart?

They ask about what the candidate was trained on: whether it recalls an item from the history before
it. So they hold on any data; how well it does on new data is not asked here.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from agenticrs.agents.agent import Agent
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.health.patient import Patient
from agenticrs.agents.health.report import Check
from agenticrs.agents.health.subject import some_list

ENOUGH_USERS = 10
"""With fewer users in the sample, nothing is said about order."""
_TARGETS = 4
"""Newest items of each user that are asked for, each from the history before it."""
_FALL = 0.97
"""Share of the first loss to which one batch's loss must fall at the very least."""
_RECALL = 0.7
"""Recall of a retriever trained long on one batch; sound ones reach 0.95, chance is 0.5."""
_ALIKE = 0.999
"""Mean absolute rank correlation between users from which their orders are the same."""
_NUMBERS_EACH = 4.0
"""Weights (not zero) for each user and item up to which a list for everybody is by design."""
_ORDER_KEPT = -0.3


def checks(patient: Patient) -> list[Check]:
    """All checks of order."""
    return [
        Check(
            "one batch is learnt",
            lambda: overfits(patient),
            "what cannot learn one batch by heart cannot learn a log: look at the loss, the "
            "labels, what is detached, and whether inputs hold the answer",
        ),
        Check(
            "order is the right way up",
            lambda: right_way_up(patient),
            "scores must be larger for better items, and lists best first",
        ),
        Check(
            "users are told apart",
            lambda: told_apart(patient),
            "training collapsed, or neither user nor history reaches the scores",
        ),
    ]


def overfits(patient: Patient) -> str:
    """Whether the loss of one batch falls, and a retriever knows the batch by heart."""
    if not patient.has_epochs or patient.role not in ("retrieval", "ranking"):
        return ""
    losses = patient.overfitted.losses
    told = bool(losses) and losses[0] > 0
    if told and min(losses) > _FALL * losses[0]:
        return f"the loss of one batch fell from {losses[0]:.4f} to {min(losses):.4f} only"
    share = _recall(patient, among_learnt=True)
    if len(share) < ENOUGH_USERS or (patient.role == "ranking" and told):
        return ""
    mean = float(share.mean())
    if mean < _RECALL:
        return f"what was learnt by heart outranks {mean:.0%} of other items (chance is 50 %)"
    return ""


def right_way_up(patient: Patient) -> str:
    """Whether learnt items outrank others, and agreed lists keep their order."""
    if patient.role in ("retrieval", "ranking"):
        share = _recall(patient)
        if len(share) < ENOUGH_USERS:
            return ""
        mean, error = float(share.mean()), float(share.std()) / len(share) ** 0.5
        if mean < 0.5 - 2 * error:
            return f"learnt items outrank only {mean:.0%} of others: the order is reversed"
        return ""
    if patient.role in ("fusion", "reranking"):
        kept = _order_kept(patient)
        if kept < _ORDER_KEPT:
            return f"the order of agreeing lists is reversed (rank correlation {kept:.2f})"
    return ""


def told_apart(patient: Patient) -> str:
    """Whether users with different histories get different orders of the same items."""
    agent, data = patient.overfitted.agent, patient.overfitted.data
    weights = sum(
        int(tensor.count_nonzero())
        for tensor in agent.state().values()
        if tensor.dtype.is_floating_point
    )
    if weights <= _NUMBERS_EACH * (data.n_users + data.n_items):
        return ""
    if patient.role not in ("retrieval", "ranking"):
        return ""
    users = data.histories.take((data.histories.lengths > 1).nonzero()[:, 0])
    if len(users) < ENOUGH_USERS:
        return ""
    alike = _likeness(_orders(patient, agent, users))
    if alike > _ALIKE:
        return f"all users get the same order (rank correlation {alike:.3f})"
    return ""


def _recall(patient: Patient, *, among_learnt: bool = False) -> Tensor:
    """For each learnt item: the share of other items that it outranks given what came before.

    ``among_learnt`` leaves out items that nobody of the batch has: to know what is in the batch is
    not to know whose it is.
    """
    learnt = torch.bincount(
        patient.overfitted.data.histories.items, minlength=patient.data.n_items
    ) > (0 if among_learnt else -1)
    agent, histories = patient.overfitted.agent, patient.overfitted.data.histories
    found = []
    for _ in range(_TARGETS):
        rows = (histories.lengths >= 2).nonzero()[:, 0]
        if not len(rows):
            break
        target = histories.items[histories.offsets[1:][rows] - 1]
        whole, histories = patient.overfitted.data.histories, histories.without_newest()
        before = histories.take(rows)
        if patient.subject.takes_lists:
            found.append(_recall_among_few(patient, agent, before, whole.take(rows), target))
        else:
            found.append(_recall_of_all(agent, before, whole.take(rows), target, learnt))
    return torch.cat(found) if found else torch.zeros(0)


def _recall_of_all(
    agent: Agent[Any], before: UserBatch, whole: UserBatch, target: Tensor, among: Tensor
) -> Tensor:
    with torch.inference_mode():
        answer = agent.act(before, (), agent.n_items)
    if not isinstance(answer, Candidates):
        return torch.zeros(0)
    scores = _by_item(answer, agent.n_items)
    own = scores.gather(1, target[:, None])
    others = among.expand_as(scores).clone()
    others[whole.rows, whole.items] = False
    return _outranked(own, scores, others)


def _recall_among_few(
    patient: Patient, agent: Agent[Any], before: UserBatch, whole: UserBatch, target: Tensor
) -> Tensor:
    offered = some_list(whole, agent.n_items, 0).items.clone()
    offered[:, 0] = target
    scores = _free_of_place(patient, agent, before, offered)
    return _outranked(scores[:, :1], scores[:, 1:], offered[:, 1:] >= 0)


def _outranked(own: Tensor, scores: Tensor, others: Tensor) -> Tensor:
    """Share of the others below; a tie counts half. Rows without others are left out."""
    below = (scores < own).to(torch.float32) + 0.5 * (scores == own)
    count = others.sum(1)
    return ((below * others).sum(1) / count.clamp(min=1))[count > 0]


def _free_of_place(
    patient: Patient, agent: Agent[Any], users: UserBatch, offered: Tensor
) -> Tensor:
    """Scores of ``offered`` (B, N), each the mean over all places that it can be offered at."""
    width = offered.shape[1]
    falling = torch.linspace(1.0, 0.1, width).expand(offered.shape)
    total = torch.zeros(offered.shape)
    for turn in range(width):
        turned = Candidates(offered.roll(turn, 1), falling)
        with torch.inference_mode():
            answer = agent.act(users, [turned] * len(patient.subject.names), width)
        if isinstance(answer, Candidates):
            total += _by_item(answer, agent.n_items).gather(1, offered.clamp(min=0)) / width
    return total


def _by_item(answer: Candidates, n_items: int) -> Tensor:
    """Scores by item, (B, n_items); below all others where an item is not in the list."""
    scores = torch.full((len(answer.items), n_items + 1), -1e9)
    at = torch.where(answer.items >= 0, answer.items, n_items)
    scores.scatter_(1, at, answer.scores.to(torch.float32).nan_to_num(neginf=-1e9))
    return scores[:, :n_items]


def _order_kept(patient: Patient) -> float:
    """Mean rank correlation between the order that goes in and the one that comes out."""
    agent, users = patient.first.agent, patient.users
    offered = some_list(users, agent.n_items, 0)
    with torch.inference_mode():
        answer = agent.act(users, [offered] * len(patient.subject.names), offered.items.shape[1])
    if not isinstance(answer, Candidates):
        return 0.0
    place = (offered.items[:, :, None] == answer.items[:, None, :]) & (offered.items >= 0)[
        ..., None
    ]
    both = place.any(2)
    came = torch.arange(offered.items.shape[1], dtype=torch.float32).expand(both.shape)
    went = place.to(torch.float32).argmax(2).to(torch.float32)
    found = [
        _correlation(came[row][both[row]], went[row][both[row]])
        for row in range(len(both))
        if int(both[row].sum()) > 3
    ]
    return sum(found) / len(found) if found else 0.0


def _orders(patient: Patient, agent: Agent[Any], users: UserBatch) -> Tensor:
    """Scores of the same items for all users, (B, N); NaN where an item cannot be scored."""
    if not patient.subject.takes_lists:
        with torch.inference_mode():
            answer = agent.act(users, (), agent.n_items)
        if not isinstance(answer, Candidates):
            return torch.zeros(len(users), 0)
        scores = _by_item(answer, agent.n_items)
        return scores.masked_fill(scores <= -1e8, torch.nan)
    counts = torch.bincount(users.items, minlength=agent.n_items)
    offered = counts.argsort(stable=True)[:12].expand(len(users), -1)
    scores = _free_of_place(patient, agent, users, offered)
    return scores.masked_fill(scores <= -1e7, torch.nan)


def _likeness(scores: Tensor) -> float:
    """Mean absolute rank correlation between neighbouring rows, over what both have."""
    found = []
    for one, two in pairwise(scores):
        both = ~(one.isnan() | two.isnan())
        if int(both.sum()) > 3:
            found.append(abs(_correlation(_ranks(one[both]), _ranks(two[both]))))
    return sum(found) / len(found) if found else 0.0


def _ranks(values: Tensor) -> Tensor:
    return values.argsort(stable=True).argsort(stable=True).to(torch.float32)


def _correlation(a: Tensor, b: Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (a.norm() * b.norm()).clamp(min=1e-9))
