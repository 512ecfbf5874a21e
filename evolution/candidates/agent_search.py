"""One agent's search: static check, health checks, then training from rung to rung.

Asks the agent's method for candidates in waves as large as the runner is parallel, stops what
cannot win at each rung, and leaves every finished trial as a row with files. The rows are all that
the method is told. Run again after a kill, it first finishes the trials that were open, with the
same seeds. What was paid for before, here or in another cycle, is taken instead of training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from pydantic import ValidationError

from agenticrs.agents.agent import Agent
from agenticrs.agents.trial import TrialRequest, TrialResult, run_trial
from agenticrs.evolution.candidates.caps import Cap, caps, price, usual_price
from agenticrs.evolution.candidates.evaluation_cache import Evaluations
from agenticrs.evolution.candidates.examination import healthy
from agenticrs.evolution.candidates.halving import goes_on
from agenticrs.evolution.candidates.rungs import (
    brought,
    complete,
    draw,
    draws_at_random,
    fail,
    keep,
    resources,
    stored_id,
    training_seconds,
)
from agenticrs.evolution.cycle import Cycle
from agenticrs.evolution.methods.method import Ends, Method
from agenticrs.evolution.methods.points import tried
from agenticrs.evolution.methods.saturation import saturated
from agenticrs.evolution.selection import mean_reward
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import AgentError
from agenticrs.platform.jobs.job import Failed, Job, Outcome, Succeeded
from agenticrs.registry import trials
from agenticrs.registry.spec import AgentSpec
from agenticrs.registry.tables import TrialRow
from agenticrs.registry.trials import Cost

OPEN = ("proposed", "short")


@dataclass(frozen=True)
class _Answer:
    """How a job of a candidate ended, and what of a GPU it took."""

    row: TrialRow
    outcome: Outcome
    gpu_seconds: float


@dataclass(frozen=True)
class AgentSearch:
    """The search of one agent in one cycle."""

    cycle: Cycle
    spec: AgentSpec
    implementation: type[Agent[Any]]
    method: Method
    trials: int
    """Most candidates that it may try; drafts that came to nothing are none."""
    seconds: float | None = None
    """Trial seconds after which it draws no more; the cycle's own budget holds besides."""
    gpu_seconds: float | None = None
    """The same for seconds times the share of a GPU."""
    repeats: int = 0
    """Trainings with other seeds that its winner will need: they are paid out of the same caps."""
    inputs: Any = ()
    """Reference to the upstream candidates of all held-out users (shared), or ()."""
    latency: bool = False
    """Whether trials say what one request takes."""
    stops_early: bool = False
    """End when the search has nothing more to give; not for methods that then turn to another."""

    def run(self) -> str:
        """Try candidates until the budget is used up or nothing more is worth trying; say which.

        A wave that has begun goes through all its rungs: what was paid for is kept.
        """
        while True:
            rows = self._rows()
            wave = [row for row in rows if row.state in OPEN]
            if not wave:
                if ended := self._ended(rows):
                    self.cycle.say(f"{self.spec.name}: {ended}")
                    return ended
                wave = self._draw(rows)
            if not wave:
                return self._nothing_more(rows)
            self._evaluate(wave)

    def _ended(self, rows: Sequence[TrialRow]) -> str:
        """Why no more candidates may be drawn; empty: they may."""
        left = self.trials - brought(rows)
        if left <= 0:
            return f"all {self.trials} trials of its turn are used up"
        for cap in self._caps():
            if cap.left <= 0:
                return f"{cap.says} are used up"
            if rows and cap.pays_for(self._price(rows)) < 1 + self.repeats and self.repeats:
                return f"the rest of {cap.says} is kept for {self.repeats} more seeds of a winner"
        ended = saturated([tried(row) for row in rows], left=left) if self.stops_early else None
        return f"saturated: {ended.reason}" if ended else ""

    def _nothing_more(self, rows: Sequence[TrialRow]) -> str:
        """Why its method draws nothing."""
        method = self.method
        why = method.ended([tried(row) for row in rows]) if isinstance(method, Ends) else ""
        ended = f"saturated: {why}" if why else "its method has nothing more to try"
        self.cycle.say(f"{self.spec.name}: {ended}")
        return ended

    def _draw(self, rows: Sequence[TrialRow]) -> list[TrialRow]:
        """The next wave."""
        wanted = min(self.trials - brought(rows), self.cycle.runner.parallel, self._room(rows))
        whole = partial(complete, self.implementation)
        return draw(self.cycle, self.spec.name, self.method, wanted, whole)

    def _room(self, rows: Sequence[TrialRow]) -> int:
        """How many candidates the caps pay for beside the repeats of a winner; at least one."""
        if not self.repeats:
            return self.trials
        one = self._price(rows)
        pays = min(cap.pays_for(one) for cap in self._caps())
        return max(1, int(min(pays, self.trials + self.repeats)) - self.repeats)

    def _price(self, rows: Sequence[TrialRow]) -> Cost:
        """What a candidate is likely to take: the dearest so far; at first what is usual."""
        done = [price(self.cycle, row) for row in rows if row.state == "done"]
        dearest = max(done, key=lambda one: one.seconds or 0.0, default=None)
        return dearest or usual_price(self.cycle, self.spec.name)

    def _caps(self) -> list[Cap]:
        return caps(
            self.cycle,
            self.spec.name,
            seconds=self.seconds,
            gpu_seconds=self.gpu_seconds,
            on_gpu=draws_at_random(self.implementation),  # the others never ask for a GPU
        )

    def _evaluate(self, wave: Sequence[TrialRow]) -> None:
        wave = [row for row in wave if self._passes_static_check(row)]
        wave = healthy(self.cycle, self.spec, self.implementation, wave, self.inputs)
        wave = [self._evaluations.named(row) for row in wave]
        for place in range(len(self.cycle.request.rungs)):
            wave = self._at_rung(wave, place)
        full = [row for row in wave if not self._evaluations.take_full(row)]
        for answer in self._answers(full, None):
            self._finish_full(answer)
        for row in wave:
            self.cycle.forget_checkpoint(row)

    def _at_rung(self, wave: Sequence[TrialRow], place: int) -> list[TrialRow]:
        """Those that go on from a rung: trained up to it and not behind, there before, or exempt.

        The training of one that goes on is only paused: its checkpoint stays.
        """
        due = [row for row in wave if self._deserves(row) and len(_rungs(row)) == place]
        if not due:
            return list(wave)
        known = {row.id: found for row in due if (found := self._evaluations.at_rung(row, place))}
        answers = self._answers([row for row in due if row.id not in known], place)
        paid = {answer.row.id: answer for answer in answers}
        stopped = set()
        for row in sorted(due, key=lambda row: row.number):
            if row.id in known:
                on = self._take(row, place, known[row.id])
            else:
                on = self._finish(place, paid[row.id])
            if not on:
                stopped.add(row.id)
                self.cycle.forget_checkpoint(row)
        with session_scope(self.cycle.services.engine) as session:
            return [trials.get(session, row.id or 0) for row in wave if row.id not in stopped]

    def _passes_static_check(self, row: TrialRow) -> bool:
        dataset = self.cycle.dataset
        try:
            config = self.implementation.config_type.model_validate(row.config)
            self.implementation.static_check(config, dataset.n_users, dataset.n_items)
        except (ValidationError, AgentError) as error:
            fail(self.cycle, row, f"static check: {error}")
            return False
        return True

    def _deserves(self, row: TrialRow) -> bool:
        # A closed-form agent costs the same at every effort: a rung would only add to it.
        return row.method != "given" and draws_at_random(self.implementation)

    def _answers(self, rows: Sequence[TrialRow], place: int | None) -> list[_Answer]:
        """What came of trainings up to a rung; None: up to the end."""
        rung = _name(place)
        by_key = {f"cycle-{row.cycle_id}/{row.agent}/{row.number}/{rung}": row for row in rows}
        jobs = {key: self._job(key, row, place) for key, row in by_key.items()}
        answers = []
        for outcome in self.cycle.runner.run(list(jobs.values())):
            row = by_key[outcome.key]
            if isinstance(outcome, Succeeded):
                told, on_gpu = f"{outcome.seconds:.1f} s", outcome.device == "cuda"
            else:  # does not say where it ran
                told, on_gpu = outcome.cause, self._evaluations.on_gpu
            self.cycle.say(f"{row.agent} #{row.number} {rung} {told}")
            share = jobs[outcome.key].resources.gpus if on_gpu else 0.0
            answers.append(_Answer(row, outcome, share * outcome.seconds))
        return answers

    def _job(self, key: str, row: TrialRow, place: int | None) -> Job:
        effort = 1.0 if place is None else self.cycle.request.rungs[place]
        return Job(
            key,
            run_trial,
            (
                self.cycle.shared_fold,
                TrialRequest(
                    agent=row.agent,
                    config=row.config,
                    seed=row.seed,
                    effort=effort,
                    seconds=training_seconds(self.cycle) * effort,
                    checkpoint=str(self.cycle.checkpoint(row)),
                    latency=self.latency,
                ),
                self.inputs,
            ),
            resources(self.cycle, self.implementation),
        )

    def _finish(self, place: int, answer: _Answer) -> bool:
        """Record what a rung found; whether the candidate goes on."""
        outcome = answer.outcome
        if not isinstance(outcome, Succeeded):
            self._fail(answer, _name(place))
            return False
        result: TrialResult = outcome.value
        return self._judge(
            answer.row,
            place,
            metrics=result.totals,
            reward=mean_reward(result.per_user[str(self.spec.inner_reward)], result.users),
            seconds=outcome.seconds,
            gpu_seconds=answer.gpu_seconds,
            device=result.device,
        )

    def _take(self, row: TrialRow, place: int, known: TrialRow) -> bool:
        """The same for what an earlier trial found there."""
        found = _rungs(known)[place]
        return self._judge(row, place, **found, seconds=0.0, device=known.device, known=known.id)

    def _judge(
        self, row: TrialRow, place: int, *, reward: float, known: int | None = None, **found: Any
    ) -> bool:
        others = [
            rungs[place]["reward"]
            for other in self._rows()
            if len(rungs := _rungs(other)) > place and other.id != row.id
        ]
        on = goes_on(reward, others)
        note = {}
        if known is not None:
            note = {"rung_cached_from": known} if on else {"cached_from": known}
        with session_scope(self.cycle.services.engine) as session:
            record = trials.record_short if on else trials.record_pruned
            record(session, stored_id(row), reward=reward, note=note, **found)
        return on

    def _finish_full(self, answer: _Answer) -> None:
        outcome = answer.outcome
        if not isinstance(outcome, Succeeded):
            self._fail(answer, _name(None))
            return
        keep(
            self.cycle,
            self.spec,
            answer.row,
            outcome.value,
            outcome.seconds,
            gpu_seconds=answer.gpu_seconds,
        )

    def _fail(self, answer: _Answer, rung: str) -> None:
        failed = answer.outcome
        assert isinstance(failed, Failed)  # noqa: S101  who asks has looked
        error = f"{rung} rung, {failed.cause}: {failed.message}"
        fail(self.cycle, answer.row, error, failed.seconds, answer.gpu_seconds)

    @cached_property
    def _evaluations(self) -> Evaluations:
        asked = resources(self.cycle, self.implementation)
        found = Evaluations.of(self.cycle, self.spec, self.implementation, self.inputs, asked)
        return replace(found, latency=self.latency)

    def _rows(self) -> list[TrialRow]:
        with session_scope(self.cycle.services.engine) as session:
            return list(trials.of_cycle(session, self.cycle.id, self.spec.name))


def _rungs(row: TrialRow) -> Sequence[Mapping[str, Any]]:
    """What was found at the rungs that a trial has reached."""
    found: Sequence[Mapping[str, Any]] = row.note.get(trials.RUNGS, ())
    return found


def _name(place: int | None) -> str:
    """Of a rung, as jobs and errors call it."""
    return "full" if place is None else f"rung-{1 + place}"
