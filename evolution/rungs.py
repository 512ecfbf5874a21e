"""The cascade for one agent: static check, health checks, short training, full training.

Asks the agent's method for candidates in waves as large as the runner is parallel, stops what
cannot win at each rung, and leaves every finished trial as a row with files. The rows are all that
the method is told. Run again after a kill, it first finishes the trials that were open, with the
same seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from agenticrs.agents.agent import Agent, AgentConfig
from agenticrs.agents.health.check import check
from agenticrs.agents.health.report import HealthReport
from agenticrs.agents.trial import CandidateArrays, TrialRequest, TrialResult, run_trial
from agenticrs.evolution import trial_files
from agenticrs.evolution.cycle import Cycle
from agenticrs.evolution.halving import goes_on
from agenticrs.evolution.methods.method import Method
from agenticrs.evolution.methods.points import STRUCTURE, tried
from agenticrs.evolution.methods.saturation import saturated
from agenticrs.evolution.selection import mean_reward
from agenticrs.evolution.trial_files import TrialFiles
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import AgentError, AgenticRSError
from agenticrs.platform.jobs.job import Job, Outcome, Resources, Succeeded
from agenticrs.registry import trials
from agenticrs.registry.spec import AgentSpec, nested
from agenticrs.registry.tables import TrialRow

OPEN = ("proposed", "short")
_ROOM = 1.3
"""Times the memory that was seen: candidates differ in size, and the library's own part grows."""


@dataclass(frozen=True)
class Rungs:
    """The cascade of one agent in one cycle."""

    cycle: Cycle
    spec: AgentSpec
    implementation: type[Agent[Any]]
    method: Method
    trials: int
    """Most candidates that it may try."""
    seconds: float = math.inf
    """Trial seconds after which it draws no more; the cycle's own budget holds besides."""
    inputs: Any = ()
    """Reference to the upstream candidates of all held-out users (shared), or ()."""
    stops_early: bool = False
    """End when the search has nothing more to give; not for methods that then turn to another."""

    def run(self) -> None:
        """Try candidates until the budget of this agent is used up, or the method has no more."""
        while True:
            rows = self._rows()
            wave = [row for row in rows if row.state in OPEN]
            if not wave and self._may_go_on(rows):
                wave = self._draw(rows)
            if not wave:
                return
            self._evaluate(wave)

    def _may_go_on(self, rows: Sequence[TrialRow]) -> bool:
        left, cycle = self.trials - len(rows), self.cycle
        if left <= 0 or cycle.spent_seconds() >= cycle.request.seconds:
            return False
        if cycle.spent_seconds(self.spec.name) >= self.seconds:
            return False
        ended = saturated([tried(row) for row in rows], left=left) if self.stops_early else None
        if ended is not None:
            self.cycle.say(f"{self.spec.name} is saturated: {ended.reason}")
        return ended is None

    def _draw(self, rows: Sequence[TrialRow]) -> list[TrialRow]:
        """The next wave, one by one: what was paid for a candidate is in its row at once."""
        wanted = min(self.trials - len(rows), self.cycle.runner.parallel)
        drawn: list[TrialRow] = []
        while len(drawn) < wanted:
            found = self.method.ask([tried(row) for row in self._rows()], 1)
            if not found:
                break
            drawn += [
                propose(
                    self.cycle,
                    agent=self.spec.name,
                    number=next_number(self.cycle, self.spec.name),
                    method=candidate.origin,
                    config=complete(self.implementation, candidate.values),
                    note=candidate.note,
                )
                for candidate in found
            ]
        return drawn

    def _evaluate(self, wave: Sequence[TrialRow]) -> None:
        wave = self._healthy([row for row in wave if self._passes_static_check(row)])
        short = [row for row in wave if row.state == "proposed" and self._deserves_short(row)]
        survivors = {row.id for row in wave} - {row.id for row in short}
        for row, outcome in sorted(self._outcomes(short, "short"), key=lambda pair: pair[0].number):
            if self._finish_short(row, outcome):
                survivors.add(row.id)
            self.cycle.forget_checkpoints(row)
        for row, outcome in self._outcomes([r for r in wave if r.id in survivors], "full"):
            self._finish_full(row, outcome)
            self.cycle.forget_checkpoints(row)

    def _passes_static_check(self, row: TrialRow) -> bool:
        dataset = self.cycle.dataset
        try:
            config = self.implementation.config_type.model_validate(row.config)
            self.implementation.static_check(config, dataset.n_users, dataset.n_items)
        except (ValidationError, AgentError) as error:
            self._fail(row, f"static check: {error}")
            return False
        return True

    def _healthy(self, wave: Sequence[TrialRow]) -> list[TrialRow]:
        """Those that pass the health checks; only a new structure can be ill, so others pass."""
        drawn = {
            f"cycle-{row.cycle_id}/{row.agent}/{row.number}/health": row
            for row in wave
            if row.state == "proposed" and row.config.get(STRUCTURE)
        }
        ill = set()
        for outcome in self.cycle.runner.run([self._examination(k, r) for k, r in drawn.items()]):
            row = drawn[outcome.key]
            if not isinstance(outcome, Succeeded):
                self._fail(row, f"health, {outcome.cause}: {outcome.message}", outcome.seconds)
                ill.add(row.id)
            elif not outcome.value.passed:
                self._fail(row, f"health: {outcome.value.summary()}", outcome.seconds)
                ill.add(row.id)
        return [row for row in wave if row.id not in ill]

    def _examination(self, key: str, row: TrialRow) -> Job:
        settings = self.cycle.services.settings
        return Job(
            key,
            examine,
            (self.cycle.shared_fold, TrialRequest(row.agent, row.config, row.seed), self.inputs),
            Resources(cpus=settings.cpus_per_trial, gpus=0.0, time_limit=settings.trial_seconds),
        )

    def _deserves_short(self, row: TrialRow) -> bool:
        # A closed-form agent costs the same at every effort: a short rung would only add to it.
        return row.method != "given" and draws_at_random(self.implementation)

    def _outcomes(self, rows: Sequence[TrialRow], rung: str) -> list[tuple[TrialRow, Outcome]]:
        by_key = {f"cycle-{row.cycle_id}/{row.agent}/{row.number}/{rung}": row for row in rows}
        jobs = [self._job(key, row, rung) for key, row in by_key.items()]
        answers = []
        for outcome in self.cycle.runner.run(jobs):
            row = by_key[outcome.key]
            self.cycle.say(
                f"{row.agent} #{row.number} {rung} "
                + (f"{outcome.seconds:.1f} s" if isinstance(outcome, Succeeded) else outcome.cause)
            )
            answers.append((row, outcome))
        return answers

    def _job(self, key: str, row: TrialRow, rung: str) -> Job:
        short, request = rung == "short", self.cycle.request
        return Job(
            key,
            run_trial,
            (
                self.cycle.shared_fold,
                TrialRequest(
                    agent=row.agent,
                    config=row.config,
                    seed=row.seed,
                    effort=request.short_effort if short else 1.0,
                    user_fraction=request.short_users if short else 1.0,
                    seconds=training_seconds(self.cycle) * (request.short_effort if short else 1.0),
                    checkpoint=str(self.cycle.checkpoint(row, rung)),
                ),
                self.inputs,
            ),
            resources(self.cycle, self.implementation),
        )

    def _finish_short(self, row: TrialRow, outcome: Outcome) -> bool:
        if not isinstance(outcome, Succeeded):
            self._fail(row, f"short rung, {outcome.cause}: {outcome.message}", outcome.seconds)
            return False
        result: TrialResult = outcome.value
        reward = mean_reward(result.per_user[str(self.spec.inner_reward)], result.users)
        others = [
            other.note["short_reward"]
            for other in self._rows()
            if "short_reward" in other.note and other.id != row.id
        ]
        stop = not goes_on(reward, others)
        with session_scope(self.cycle.services.engine) as session:
            record = trials.record_pruned if stop else trials.record_short
            record(
                session,
                stored_id(row),
                metrics=result.totals,
                reward=reward,
                seconds=outcome.seconds,
                device=result.device,
            )
        return not stop

    def _finish_full(self, row: TrialRow, outcome: Outcome) -> None:
        if not isinstance(outcome, Succeeded):
            self._fail(row, f"full rung, {outcome.cause}: {outcome.message}", outcome.seconds)
            return
        keep(self.cycle, self.spec, row, outcome.value, outcome.seconds)

    def _fail(self, row: TrialRow, error: str, seconds: float = 0.0) -> None:
        fail(self.cycle, row, error, seconds)

    def _rows(self) -> list[TrialRow]:
        with session_scope(self.cycle.services.engine) as session:
            return list(trials.of_cycle(session, self.cycle.id, self.spec.name))


def next_number(cycle: Cycle, agent: str) -> int:
    """The next place in an agent's search. Methods may write rows too: drafts of no use."""
    with session_scope(cycle.services.engine) as session:
        rows = trials.of_cycle(session, cycle.id, agent)
    return 1 + max((row.number for row in rows), default=-1)


def fail(cycle: Cycle, row: TrialRow, error: str, seconds: float = 0.0) -> None:
    """Close a candidate that cannot be trained; the error stays with it."""
    with session_scope(cycle.services.engine) as session:
        trials.record_failed(session, stored_id(row), error=error, seconds=seconds)


def draws_at_random(implementation: type[Agent[Any]]) -> bool:
    """Whether it is trained epoch by epoch: then effort and seed make a difference."""
    return "epochs" in implementation.config_type.model_fields


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


def keep(
    cycle: Cycle, spec: AgentSpec, row: TrialRow, result: TrialResult, seconds: float
) -> float:
    """Keep a fully trained candidate, files first, then the row; return its inner reward."""
    if result.artifacts is None:
        raise AgenticRSError(f"trial {row.id} of {row.agent} brought no weights")
    trial_files.write(
        cycle.trial_folder(row),
        TrialFiles(result.artifacts, result.users, result.per_user),
    )
    reward = mean_reward(result.per_user[str(spec.inner_reward)], result.users)
    with session_scope(cycle.services.engine) as session:
        trials.record_full(
            session,
            stored_id(row),
            metrics={**result.totals, "parameters": result.parameters},
            reward=reward,
            seconds=seconds,
            device=result.device,
        )
    return reward


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


def examine(
    fold: Fold, request: TrialRequest, inputs: Sequence[CandidateArrays] = ()
) -> HealthReport:
    """The health checks of a candidate, as a job: it may crash, and ends alone."""
    return check(fold, request, [source.agent for source in inputs])


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
