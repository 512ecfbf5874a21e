"""Jobs for several trials at once: side by side where that is possible and wins, else in turn.

A request that comes to nothing is an answer of its own; the others go on. What each of them finds
is what ``run_trial`` finds for it alone, but for the rounding of floats.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast

from pydantic import ValidationError

from agenticrs.agents import catalogue
from agenticrs.agents.agent import Agent, Budget
from agenticrs.agents.side_by_side import (
    Course,
    SideBySide,
    alike,
    pays,
    train_alone,
    train_together,
)
from agenticrs.agents.trial import (
    CandidateArrays,
    Ground,
    Report,
    TrialRequest,
    TrialResult,
    checkpoint_of,
    device_of,
    run_trial,
)
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.errors import AgentError
from agenticrs.platform.jobs.call import describe

Way = Literal["auto", "together", "in turn"]
"""auto: together if a few steps at the start say that it is faster on this device."""
_OWN = ("seed", "config", "checkpoint")
"""What requests of one group may differ in; of the config only what the agent says."""
_MOST_WEIGHTS = 100_000_000
"""Weights of all models together up to which they are stacked: four times 400 MB with AdamW."""


@dataclass(frozen=True)
class FailedTrial:
    """A request that came to nothing, and why; ``seconds`` is its share of the time."""

    message: str
    seconds: float
    traceback: str = ""


def groups(requests: Sequence[TrialRequest], most: int = 8) -> list[list[int]]:
    """Which requests can be trained side by side: places in ``requests``, each in one group.

    Together are requests of one agent whose class is ``SideBySide``, that ask for the same effort,
    device and seconds, and whose configs differ in the class's ``free_settings`` alone:
    seeds of one config above all. No group is larger than ``most``; whoever can join none is alone.
    """
    found: dict[str, list[list[int]]] = {}
    for place, request in enumerate(requests):
        of_its_kind = found.setdefault(_kind(request) or f"alone {place}", [[]])
        if len(of_its_kind[-1]) >= most:
            of_its_kind.append([])
        of_its_kind[-1].append(place)
    return [group for same in found.values() for group in same]


def run_trials(
    fold: Fold,
    requests: Sequence[TrialRequest],
    inputs: Sequence[CandidateArrays] = (),
    report: Report | None = None,
    way: Way = "auto",
) -> list[TrialResult | FailedTrial]:
    """Train and measure all requests; results in their order.

    Requests that ``groups`` does not put into one group are run in turn by ``run_trial``, and so
    are those of agents that cannot be stacked. A group shares its data and set-up in any case.
    Each request's ``seconds`` stay its own: side by side, training ends with the epoch in which
    the sum of all is used up. A killed job that trains side by side goes on from the first
    request's checkpoint. Raises AgentError when ``together`` is asked for and not possible.
    """
    tell = report or (lambda fraction, text: None)
    one_group = len(groups(requests, len(requests) or 1)) == 1
    if way == "together" and not (one_group and _kind(requests[0])):
        raise AgentError("these requests cannot be trained side by side", hint="see groups()")
    if one_group and len(requests) > 1:
        return _run_group(fold, requests, inputs, tell, way)
    answers: list[TrialResult | FailedTrial] = []
    for place, request in enumerate(requests):
        begin = time.perf_counter()
        try:
            own = _part_of(tell, place, len(requests))
            answers.append(run_trial(fold, request, inputs, own))
        except Exception as error:  # a trial's failure is its result
            answers.append(_failed(error, time.perf_counter() - begin))
    return answers


def _run_group(
    fold: Fold,
    requests: Sequence[TrialRequest],
    inputs: Sequence[CandidateArrays],
    tell: Report,
    way: Way,
) -> list[TrialResult | FailedTrial]:
    begin = time.perf_counter()
    device = device_of(requests[0].device)
    ground = Ground.of(fold, inputs, device)
    agents = [catalogue.build(r.agent, r.config, seed=r.seed, device=device) for r in requests]
    for agent in agents:
        agent.input_names(ground.names)
    kind = cast(type[SideBySide], type(agents[0]))
    courses = kind.courses(agents, ground.data)
    checkpoint = checkpoint_of(requests, fold, device) if requests[0].checkpoint else None
    going_on = checkpoint is not None and checkpoint.load() is not None
    if way == "auto":
        fits = _weights(courses) <= _MOST_WEIGHTS
        way = "together" if fits and (going_on or pays(courses)) else "in turn"
    setting_up = (time.perf_counter() - begin) / len(requests)
    tell(0.0, f"{len(requests)} models, {way}")
    if way == "in turn":
        found = _in_turn(fold, requests, courses, tell, device)
    else:
        shares = [0.0]

        def learning(fraction: float, text: str) -> None:
            shares[0] = fraction
            tell(0.9 * fraction, text)

        since = time.perf_counter()
        budget = Budget(requests[0].effort, sum(r.seconds for r in requests), learning, checkpoint)
        errors = train_together(courses, budget)
        each = (time.perf_counter() - since) / len(requests)
        found = [(error, shares[0], each) for error in errors]
    tell(0.9, "trained, measuring")
    answers: list[TrialResult | FailedTrial] = []
    for request, agent, course, (error, share, spent) in zip(
        requests, agents, courses, found, strict=True
    ):
        since = time.perf_counter()
        try:
            if error is not None:
                raise error
            cast(SideBySide, agent).finish(course)
            result = ground.examine(agent, request)
            seconds = setting_up + spent + result.seconds
            totals = {**result.totals, "trained_share": share}
            answers.append(replace(result, totals=totals, seconds=seconds))
        except Exception as fault:  # a trial's failure is its result
            seconds = setting_up + spent + time.perf_counter() - since
            answers.append(_failed(fault, seconds))
    tell(1.0, "measured")
    return answers


def _in_turn(
    fold: Fold,
    requests: Sequence[TrialRequest],
    courses: Sequence[Course],
    tell: Report,
    device: str,
) -> list[tuple[Exception | None, float, float]]:
    """Train one course after the other: its error, the share that was trained, its seconds."""
    found: list[tuple[Exception | None, float, float]] = []
    for place, (request, course) in enumerate(zip(requests, courses, strict=True)):
        begin, shares = time.perf_counter(), [0.0]
        own = _part_of(tell, place, len(requests))

        def learning(
            fraction: float, text: str, shares: list[float] = shares, own: Report = own
        ) -> None:
            shares[0] = fraction
            own(0.9 * fraction, text)

        checkpoint = checkpoint_of([request], fold, device) if request.checkpoint else None
        error: Exception | None = None
        try:
            train_alone(course, Budget(request.effort, request.seconds, learning, checkpoint))
        except Exception as fault:  # a trial's failure is its result
            error = fault
        found.append((error, shares[0], time.perf_counter() - begin))
    return found


def _kind(request: TrialRequest) -> str | None:
    """Equal for requests that can be trained side by side; None for one that never can."""
    try:
        implementation: type[Agent[Any]] = catalogue.agent_type(request.agent)
        config = implementation.config_type.model_validate(request.config)
        common = alike(implementation, config)
    except (AgentError, ValidationError):
        return None  # its own trial will say what is wrong
    if common is None:
        return None
    rest = {name: value for name, value in asdict(request).items() if name not in _OWN}
    return json.dumps([rest, common], sort_keys=True)


def _weights(courses: Sequence[Course]) -> int:
    return sum(w.numel() for course in courses for w in course.network.parameters())


def _part_of(tell: Report, place: int, count: int) -> Report:
    return lambda fraction, text: tell((place + fraction) / count, f"{place + 1}: {text}")


def _failed(error: Exception, seconds: float) -> FailedTrial:
    described = describe(error)
    return FailedTrial(described.message, seconds, described.traceback)
