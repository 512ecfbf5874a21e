"""What all rungs share: rows of candidates, what a trial may use, what is kept of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agenticrs.agents import catalogue
from agenticrs.agents.agent import Agent, AgentConfig, OutcomeLearner
from agenticrs.agents.trial import TrialResult
from agenticrs.evolution import segments
from agenticrs.evolution.candidates import trial_files
from agenticrs.evolution.candidates.code import is_foreign
from agenticrs.evolution.candidates.trial_files import TrialFiles
from agenticrs.evolution.cycle import Cycle
from agenticrs.evolution.methods.method import Method, Values
from agenticrs.evolution.methods.points import STRUCTURE, tried
from agenticrs.evolution.selection import mean_reward
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import AgenticRSError
from agenticrs.platform.jobs.job import Resources
from agenticrs.registry import trials
from agenticrs.registry.spec import AgentSpec, nested
from agenticrs.registry.tables import TrialRow

SEGMENTS, CURVE = "segments", "curve"
"""Where a trial's note keeps metrics by segment of the search users, and the loss by epoch."""
SEGMENTED = ("ndcg@10", "value@10")
"""Metrics that are told by segment, beside an agent's own."""
_ROOM = 1.3
"""Times the memory that was seen: candidates differ in size, and the library's own part grows."""


def next_number(cycle: Cycle, agent: str) -> int:
    """The next place in an agent's search. Methods may write rows too: drafts of no use."""
    with session_scope(cycle.services.engine) as session:
        rows = trials.of_cycle(session, cycle.id, agent)
    return 1 + max((row.number for row in rows), default=-1)


def brought(rows: Sequence[TrialRow]) -> int:
    """How many candidates there are among rows: drafts that came to nothing have no config."""
    return sum(bool(row.config) for row in rows)


def fail(
    cycle: Cycle, row: TrialRow, error: str, seconds: float = 0.0, gpu_seconds: float = 0.0
) -> None:
    """Close a candidate that cannot be trained; the error stays with it."""
    with session_scope(cycle.services.engine) as session:
        trials.record_failed(
            session, stored_id(row), error=error, seconds=seconds, gpu_seconds=gpu_seconds
        )


def draws_at_random(implementation: type[Agent[Any]]) -> bool:
    """Whether it is trained epoch by epoch: then effort and seed make a difference."""
    return "epochs" in implementation.config_type.model_fields


def seed_counts(implementation: type[Agent[Any]]) -> bool:
    """Whether another seed may give another result; of a plug-in nobody knows.

    Agents that learn from outcomes may begin at random, though they have no epochs.
    """
    known = not is_foreign(implementation) and not issubclass(implementation, OutcomeLearner)
    return draws_at_random(implementation) or not known


def propose(
    cycle: Cycle,
    *,
    agent: str,
    number: int,
    method: str,
    config: Mapping[str, Any],
    note: Mapping[str, Any] | None = None,
) -> TrialRow:
    """Write the row of a candidate that is about to be tried."""
    with session_scope(cycle.services.engine) as session:
        return trials.propose(
            session,
            cycle_id=cycle.id,
            agent=agent,
            number=number,
            method=method,
            config=dict(config),
            seed=cycle.request.seed + number,
            dataset=cycle.dataset_name,
            fingerprint=cycle.fingerprint,
            split=cycle.request.split,
            note=note,
        )


def draw(
    cycle: Cycle,
    agent: str,
    method: Method,
    wanted: int,
    config: Callable[[Values], Mapping[str, Any]] = dict,
) -> list[TrialRow]:
    """The rows of at most ``wanted`` candidates, as ``config`` makes them of what is drawn.

    They are asked for one by one: what was paid for a candidate is in its row before the next is
    drawn, whatever happens then.
    """
    drawn: list[TrialRow] = []
    while len(drawn) < wanted:
        with session_scope(cycle.services.engine) as session:
            known = [tried(row) for row in trials.of_cycle(session, cycle.id, agent)]
        found = method.ask(known, 1)
        if not found:
            break
        drawn += [
            propose(
                cycle,
                agent=agent,
                number=next_number(cycle, agent),
                method=candidate.origin,
                config=config(candidate.values),
                note=candidate.note,
            )
            for candidate in found
        ]
    return drawn


def keep(
    cycle: Cycle,
    spec: AgentSpec,
    row: TrialRow,
    result: TrialResult,
    seconds: float,
    gpu_seconds: float | None = None,
) -> float:
    """Keep a fully trained candidate, files first, then the row; return its inner reward.

    Its note gets the loss by epoch, and what segments of users got.
    Without ``gpu_seconds`` they are those of the share that a trial of the agent asks for now.
    """
    if result.artifacts is None:
        raise AgenticRSError(f"trial {row.id} of {row.agent} brought no weights")
    trial_files.write(
        cycle.trial_folder(row),
        TrialFiles(result.artifacts, result.users, result.per_user, result.predictions),
    )
    reward = mean_reward(result.per_user[str(spec.inner_reward)], result.users)
    if gpu_seconds is None:
        asked = resources(cycle, catalogue.load_agents()[spec.name])
        gpu_seconds = asked.gpus * seconds if result.device == "cuda" else 0.0
    with session_scope(cycle.services.engine) as session:
        trials.record_full(
            session,
            stored_id(row),
            metrics={**result.totals, "parameters": result.parameters},
            reward=reward,
            seconds=seconds,
            gpu_seconds=gpu_seconds,
            device=result.device,
            note=_bottlenecks(cycle, spec, result),
        )
    return reward


def _bottlenecks(cycle: Cycle, spec: AgentSpec, result: TrialResult) -> dict[str, Any]:
    metrics = (str(spec.inner_reward), *SEGMENTED)
    found = segments.steering(cycle.fold.dataset, result.users, result.per_user, metrics)
    curve = [float(f"{loss:.5g}") for loss in result.curve]
    return {name: told for name, told in ((SEGMENTS, found), (CURVE, curve)) if told}


def complete(implementation: type[Agent[Any]], values: Mapping[str, Any]) -> dict[str, Any]:
    """The whole config of a candidate: the defaults with the drawn values in place.

    Values out of the config's own bounds stay as they are: the static check refuses them.
    """
    config: dict[str, Any] = implementation.config_type().model_dump(mode="json")
    for name, value in nested(values).items():
        inner = isinstance(value, dict) and isinstance(config.get(name), dict)
        config[name] = {**config[name], **value} if inner and name != STRUCTURE else value
    return config


def resources(cycle: Cycle, implementation: type[Agent[AgentConfig]]) -> Resources:
    """What a trial of that agent asks of the cluster.

    On a GPU it asks for what earlier ones held of its memory, with room to spare; the first ones,
    whose need is not known, for ``gpus_per_trial``.
    """
    settings = cycle.services.settings
    gpus = 0.0
    if draws_at_random(implementation):
        with session_scope(cycle.services.engine) as session:
            held = trials.most_of_a_gpu(session, implementation.spec.name)
        gpus = settings.gpus_per_trial if held is None else packed(held)
    return Resources(
        cpus=settings.cpus_per_trial,
        gpus=gpus,
        time_limit=settings.trial_seconds,
    )


def packed(held: float) -> float:
    """The share of a GPU to ask for when trials held so much of its memory, in twentieths."""
    return min(1.0, math.ceil(20 * _ROOM * held) / 20)


def training_seconds(cycle: Cycle) -> float:
    """When a trial stops learning, so that it can still be measured before its time limit."""
    return 0.8 * cycle.services.settings.trial_seconds


def stored_id(row: TrialRow) -> int:
    """The row's key; raises AgenticRSError for a row that was never stored."""
    if row.id is None:
        raise AgenticRSError("a trial without an id was never stored")
    return row.id
