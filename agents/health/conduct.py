"""Checks of how a candidate acts: what it puts out, for whom, and what it does to others."""

from __future__ import annotations

from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from agenticrs.agents import lists
from agenticrs.agents.agent import Agent
from agenticrs.agents.batch import Candidates, Route, UserBatch
from agenticrs.agents.health.patient import Patient, copied
from agenticrs.agents.health.report import Check
from agenticrs.agents.health.subject import K, numbers, same
from agenticrs.agents.health.watch import random_state
from agenticrs.registry.spec import Port

_SAME_ITEMS = 0.9
_SPARE_WEIGHTS = 256
"""Weights that an estimate may forget, whatever its size."""


def checks(patient: Patient) -> list[Check]:
    """All checks of acting."""
    return [
        Check(
            "answers are sound",
            lambda: sound(patient),
            "`act` puts out what the spec declares: see `Candidates`, and the contract of agents",
        ),
        Check(
            "everybody gets an answer",
            lambda: everybody(patient),
            "unknown users, empty histories and newer items are served like others",
        ),
        Check(
            "answers repeat",
            lambda: answers_repeat(patient),
            "dropout stays on, or `act` draws random numbers or keeps something between calls",
        ),
        Check(
            "users of a batch are independent",
            lambda: independent(patient),
            "statistics over the batch belong into training, and are frozen afterwards",
        ),
        Check(
            "arguments are left alone",
            lambda: arguments_untouched(patient),
            "copy before writing: histories and lists are shared with other agents",
        ),
        Check(
            "acting changes no weight",
            lambda: weights_stand_still(patient),
            "running statistics and caches must be off once training is over",
        ),
        Check(
            "agents are independent",
            lambda: agents_independent(patient),
            "keep what was learnt in the instance, not in the class or the module",
        ),
        Check(
            "files act the same",
            lambda: files_act_the_same(patient),
            "`state` must hold everything that `act` reads, and `load` must take all of it",
        ),
        Check(
            "weights are as estimated",
            lambda: estimate_holds(patient),
            "`static_check` must count every weight that `state` holds",
        ),
    ]


def sound(patient: Patient) -> str:
    """Whether an answer is what the spec declares."""
    answer, users = patient.answer, patient.users
    spec, n_items = patient.subject.agent_type.spec, patient.data.n_items
    if spec.loop.output is Port.ROUTE:
        return _fault_of_route(answer, users, len(spec.segments))
    found = lists.check(answer, len(users), n_items)
    items, scores = found.items, found.scores
    if items.dtype != torch.int64 or not scores.dtype.is_floating_point:
        return f"items are {items.dtype} and scores {scores.dtype}"
    shown = items >= 0
    inputs = patient.subject.lists(users, n_items)
    offered = torch.cat([source.items for source in inputs], 1) if inputs else items
    foreign = (items[:, :, None] != offered[:, None, :]).all(2)
    faults = {
        f"{items.shape[1]} items where {K} were asked for": torch.tensor(items.shape[1] > K),
        "pads stand before items": shown[:, 1:] & ~shown[:, :-1],
        "the score of a pad is not -inf": scores[~shown] != -torch.inf,
        "items are not in descending order of score": scores[:, 1:] > scores[:, :-1],
        "an item stands twice in a list": lists.repeated(items) & shown,
        "an item of the user's history is put out": ~lists.allowed(items, users, n_items) & shown,
        "an item is put out that no list offered": foreign & shown,
    }
    return next((fault for fault, where in faults.items() if bool(where.any())), "")


def everybody(patient: Patient) -> str:
    """Whether unusual users get finite answers."""
    agent, n_users, n_items = patient.first.agent, patient.data.n_users, patient.data.n_items
    few = torch.tensor([1, 2]) % n_items
    newer = torch.tensor([n_items + 5, 0, 2**40])
    cases = {
        "an unknown user": (-1, few),
        "an unknown user without a history": (-1, few[:0]),
        "a user without a history": (0, few[:0]),
        "a user newer than the training": (n_users + 9, few),
        "a user with an index far above all others": (2**40, few),
        "a user with items newer than the training": (0, newer),
        "a user with a long history": (0, few.repeat(150)),
    }
    for who, (index, history) in cases.items():
        user = UserBatch(torch.tensor([index]), torch.tensor([0, len(history)]), history)
        try:
            answer = patient.subject.act(agent, user)
        except Exception as error:  # whatever it raises, this user would get nothing
            return f"{who}: {type(error).__name__}: {error}"
        if isinstance(answer, Candidates):
            shown = answer.items >= 0
            if not bool(shown.any()):
                return f"{who} gets nothing"
            if not bool(torch.isfinite(answer.scores[shown]).all()):
                return f"{who} gets scores that are NaN or infinite"
    nobody = patient.users.take(torch.zeros(0, dtype=torch.int64))
    empty = patient.subject.act(agent, nobody)
    if len(numbers(empty)) != 0:
        return f"an empty batch gets {len(numbers(empty))} answers"
    patient.subject.act(agent, patient.users.take(torch.arange(1)), k=10 * n_items)
    return ""


def answers_repeat(patient: Patient) -> str:
    """Whether the same question has the same answer, whatever was asked in between."""
    agent, users = patient.first.agent, patient.users
    with random_state(5):
        before = patient.subject.act(agent, users)
    with random_state(6):
        patient.subject.act(agent, users.take(torch.arange(min(3, len(users)))), k=3)
        after = patient.subject.act(agent, users)
    return "" if same(before, after) else "the same question was answered in two ways"


def independent(patient: Patient) -> str:
    """Whether a user alone, or in another order, gets the scores that the user gets among all."""
    agent, users = patient.first.agent, patient.users
    together = numbers(patient.subject.act(agent, users))
    backwards = torch.arange(len(users) - 1, -1, -1)
    for rows in (torch.tensor([0]), torch.tensor([len(users) - 1]), backwards):
        alone = numbers(patient.subject.act(agent, users.take(rows)))
        if not _close(alone, together[rows]):
            who = "a user alone" if len(rows) == 1 else "a batch in another order"
            return f"{who} gets other scores"
    return ""


def arguments_untouched(patient: Patient) -> str:
    """Whether acting wrote into histories or lists."""
    users = patient.users
    own = UserBatch(users.users.clone(), users.offsets.clone(), users.items.clone())
    inputs = patient.subject.lists(own, patient.data.n_items)
    given = [own.users, own.offsets, own.items]
    given += [tensor for source in inputs for tensor in (source.items, source.scores)]
    before = [tensor.clone() for tensor in given]
    with torch.inference_mode():
        patient.first.agent.act(own, inputs, K)
    changed = not all(torch.equal(a, b) for a, b in zip(before, given, strict=True))
    return "acting changed histories or lists that it was handed" if changed else ""


def weights_stand_still(patient: Patient) -> str:
    """Whether weights are after acting what they were after training."""
    agent, trained = patient.first.agent, patient.first.state
    patient.subject.act(agent, patient.users)
    now = agent.state()
    if now.keys() != trained.keys():
        return "acting changed which weights there are"
    other = [name for name, weights in trained.items() if not _equal(weights, now[name])]
    return f"acting changed weights {other[0]!r}" if other else ""


def agents_independent(patient: Patient) -> str:
    """Whether an agent answers as before when another one was trained on other data."""
    before, _ = patient.answer, patient.elsewhere
    after = patient.subject.act(patient.first.agent, patient.users)
    return "" if same(before, after) else "another training changed the answers of this one"


def files_act_the_same(patient: Patient) -> str:
    """Whether a new instance with the saved weights answers as the trained one does."""
    subject, agent = patient.subject, patient.first.agent
    expected, _ = patient.answer, patient.elsewhere
    config = type(subject.config).model_validate(subject.config.model_dump(mode="json"))
    if config != subject.config:
        return "the config is another one after it was written down"
    state = agent.state()
    wrong = [
        name for name, value in state.items() if type(value) not in (Tensor, torch.nn.Parameter)
    ]
    if wrong:
        return f"{wrong[0]!r} among the weights is no tensor"
    saved = load(save({name: tensor.contiguous() for name, tensor in copied(state).items()}))
    loaded: Agent[Any] = subject.agent_type(config, seed=subject.seed + 99)
    loaded.load(saved, n_users=agent.n_users, n_items=agent.n_items)
    loaded.input_names(subject.names)
    answer = subject.act(loaded, patient.users)
    ours, theirs = numbers(expected), numbers(answer)
    if not _close(ours, theirs):
        return "out of its files it gives other scores"
    if isinstance(answer, Candidates) and isinstance(expected, Candidates):
        shared = float((answer.items == expected.items).to(torch.float32).mean())
        if shared < _SAME_ITEMS:
            return f"out of its files it gives other items ({shared:.0%} are the same)"
    return ""


def estimate_holds(patient: Patient) -> str:
    """Whether the estimate before training is at least half of what is held."""
    subject, data = patient.subject, patient.data
    estimate = subject.agent_type.static_check(subject.config, data.n_users, data.n_items)
    held = sum(tensor.numel() for tensor in patient.first.state.values())
    if held > 2 * estimate + _SPARE_WEIGHTS:
        return f"it holds {held:,} weights, {estimate:,} were estimated"
    return ""


def _fault_of_route(answer: object, users: UserBatch, segments: int) -> str:
    if not isinstance(answer, Route):
        return f"put out {type(answer).__name__} where a route was expected"
    segment = answer.segment
    if segment.shape != (len(users),) or segment.dtype != torch.int64:
        return f"segments {tuple(segment.shape)} of {segment.dtype} for {len(users)} users"
    if bool(((segment < 0) | (segment >= segments)).any()):
        return "a segment that was not declared"
    return ""


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a, b)


def _close(a: Tensor, b: Tensor) -> bool:
    """Equal but for the last bits of a sum."""
    return a.shape == b.shape and torch.allclose(a, b, atol=1e-4, rtol=1e-3)
