"""The evolution cycle as a durable state machine.

sense -> plan -> propose -> evaluate -> select -> approve -> promote -> observe

Each step is a function from the cycle to a JSON-able result, kept in a row. A step that is done is
never run again; a step that was cut off is run again from its beginning and must find what it had
finished (trials have rows and files of their own, versions and promotions are idempotent). This
module knows the order and the bookkeeping, not what the steps do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from agenticrs.evolution.drift import Look
from agenticrs.evolution.outages import is_outage
from agenticrs.evolution.request import EvolveRequest
from agenticrs.evolution.services import Services
from agenticrs.platform.data.dataset import Dataset, Fold
from agenticrs.platform.data.splits import make_fold
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import EvolutionError, LeaseLost
from agenticrs.platform.jobs.job import JobRunner
from agenticrs.platform.jobs.watched import WatchedRunner
from agenticrs.registry import agents as agent_store
from agenticrs.registry import cycles, trials, versions
from agenticrs.registry.lease import Held
from agenticrs.registry.spec import AgentSpec
from agenticrs.registry.tables import TrialRow

StepName = Literal[
    "sense", "plan", "propose", "evaluate", "select", "approve", "promote", "observe"
]
ORDER: tuple[StepName, ...] = (
    "sense",
    "plan",
    "propose",
    "evaluate",
    "select",
    "approve",
    "promote",
    "observe",
)
Result = dict[str, Any]
Made = TypeVar("Made")


@dataclass(frozen=True)
class Waiting:
    """A step's answer when a person must act before the cycle goes on."""

    result: Result


@dataclass(frozen=True)
class Event:
    """Something a person who watches would like to read."""

    cycle: int
    step: StepName
    text: str
    fraction: float | None = None


Watcher = Callable[[Event], None]


@dataclass
class Cycle:
    """One cycle at work: its row, its request, the results of the steps so far.

    Use as a context manager: it closes the job runner when one was opened.
    """

    services: Services
    id: int
    surface: str
    dataset_name: str
    fingerprint: str
    request: EvolveRequest
    watch: Watcher
    look: Look | None = None
    """At the data, where somebody has had one before the cycle began."""
    held: Held | None = None
    """The lease that it works under; None where nobody else can be at the same cycle."""
    results: dict[str, Result] = field(default_factory=dict)
    """By step; a step may put here what it has found so far: that is kept when it fails."""
    step: StepName = "sense"
    _resources: ExitStack = field(default_factory=ExitStack)
    _made: dict[Any, Any] = field(default_factory=dict)

    def __enter__(self) -> Cycle:
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def once(self, make: Callable[[Cycle], Made]) -> Made:
        """What ``make`` gives for this cycle: made at first use, kept while the cycle is open."""
        if make not in self._made:
            self._made[make] = make(self)
        found: Made = self._made[make]
        return found

    @cached_property
    def dataset(self) -> Dataset:
        """The snapshot that the cycle began with."""
        return self.services.datasets.load(self.dataset_name, self.fingerprint)

    @cached_property
    def fold(self) -> Fold:
        """History and held-out validation rows; the test rows are in neither."""
        return make_fold(self.dataset, self.request.split, "valid")

    @cached_property
    def runner(self) -> JobRunner:
        """The job runner, started at first use; with the lease it stops to hand out outcomes."""
        opened = self._resources.enter_context(self.services.open_runner())
        return opened if self.held is None else WatchedRunner(opened, self.held.check)

    @cached_property
    def shared_fold(self) -> Any:
        """Reference to the fold in shared memory, put there once for every job."""
        return self.runner.share(self.fold)

    @cached_property
    def all_specs(self) -> dict[str, AgentSpec]:
        """Specs of all admitted agents by name."""
        with session_scope(self.services.engine) as session:
            return agent_store.admitted(session)

    @cached_property
    def specs(self) -> dict[str, AgentSpec]:
        """Specs of the admitted agents that this cycle may use: those asked for, or the usual."""
        admitted = self.all_specs
        if not self.request.agents:
            with session_scope(self.services.engine) as session:
                versioned = {row.agent for row in versions.of_agent(session, self.surface)}
            return {
                name: spec
                for name, spec in admitted.items()
                if name in versioned or not spec.on_request
            }
        unknown = sorted(set(self.request.agents) - set(admitted))
        if unknown:
            raise EvolutionError(
                f"not admitted: {', '.join(unknown)}", hint="see `agenticrs agents list`"
            )
        return {name: spec for name, spec in admitted.items() if name in self.request.agents}

    def trial_folder(self, row: TrialRow) -> Path:
        """Where the files of a finished trial lie."""
        home = self.services.settings.home
        return home / "cycles" / str(row.cycle_id) / row.agent / str(row.number)

    def checkpoint(self, row: TrialRow) -> Path:
        """Where an interrupted or paused training of a trial lies."""
        folder = self.trial_folder(row)
        return folder.with_name(f"{folder.name}.checkpoint")

    def forget_checkpoint(self, row: TrialRow) -> None:
        """Remove what a training left that has ended and is recorded."""
        self.checkpoint(row).unlink(missing_ok=True)

    def spent_seconds(self, agent: str | None = None) -> float:
        """Sum of the seconds of this cycle's trials (of one agent) so far."""
        with session_scope(self.services.engine) as session:
            return sum(row.seconds for row in trials.of_cycle(session, self.id, agent))

    def spent_gpu_seconds(self, agent: str | None = None) -> float:
        """The same for seconds times the share of a GPU."""
        with session_scope(self.services.engine) as session:
            return sum(row.gpu_seconds for row in trials.of_cycle(session, self.id, agent))

    def check_lease(self) -> None:
        """Raise LeaseLost when somebody else may be at the cycle by now."""
        if self.held is not None:
            self.held.check()

    def say(self, text: str, fraction: float | None = None) -> None:
        """Tell whoever watches. Raises LeaseLost."""
        self.check_lease()
        self.watch(Event(self.id, self.step, text, fraction))


StepFunction = Callable[[Cycle], Result | Waiting]


def run(
    cycle: Cycle,
    steps: Mapping[StepName, StepFunction],
    salvage: Callable[[Cycle], None] = lambda cycle: None,
) -> str:
    """Run the steps that are not done yet; return the cycle's state: done or waiting.

    An error marks the step and the cycle as failed and is raised again; ``salvage`` is called
    before that, so that a kill in it is made good by the next start. KeyboardInterrupt, a kill,
    a lost lease and a service that is away leave the cycle running: the next start goes on from the
    last row.
    """
    engine = cycle.services.engine
    with session_scope(engine) as session:
        rows = {row.name: (row.state, row.result) for row in cycles.steps(session, cycle.id)}
    for name in ORDER:
        state, result = rows.get(name, ("", {}))
        if state in ("done", "skipped"):
            cycle.results[name] = result
            continue
        cycle.step = name
        cycle.check_lease()
        with session_scope(engine) as session:
            cycles.begin_step(session, cycle.id, name)
        try:
            answer = steps[name](cycle)
            cycle.check_lease()
        except LeaseLost:
            raise
        except Exception as error:
            if is_outage(error):
                raise
            cycle.check_lease()  # what went wrong may be that somebody else is at the same rows
            salvage(cycle)
            with session_scope(engine) as session:
                text = f"{type(error).__name__}: {error}"
                found = cycle.results.get(name, {})
                cycles.finish_step(session, cycle.id, name, found, "failed", error=text)
                cycles.finish(session, cycle.id, "failed", error=f"{name}: {error}")
            raise
        waits = isinstance(answer, Waiting)
        cycle.results[name] = answer.result if isinstance(answer, Waiting) else answer
        with session_scope(engine) as session:
            cycles.finish_step(
                session, cycle.id, name, cycle.results[name], "waiting" if waits else "done"
            )
            if waits:
                cycles.finish(session, cycle.id, "waiting")
        if waits:
            return "waiting"
    with session_scope(engine) as session:
        cycles.finish(session, cycle.id, "done")
    return "done"
