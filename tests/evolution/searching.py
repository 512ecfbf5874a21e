"""One agent's search in an open cycle: points as they are told, on a watched runner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agenticrs.agents import catalogue
from agenticrs.evolution.candidates.agent_search import AgentSearch
from agenticrs.evolution.cycle import Cycle
from agenticrs.evolution.methods.method import Candidate, Tried, Values
from agenticrs.platform.database import session_scope
from agenticrs.platform.jobs.inline import InlineRunner
from agenticrs.platform.jobs.job import Failed, Job, Outcome, Succeeded
from agenticrs.registry import agents, trials
from agenticrs.registry.admission import AdmissionReport
from agenticrs.registry.tables import TrialRow

from .conftest import World


@dataclass(frozen=True)
class Told:
    """Draws these points, one after the other."""

    points: Sequence[Values]
    origin: str = "tpe"

    def ask(self, tried: Sequence[Tried], n: int) -> list[Candidate]:
        return [Candidate(p, self.origin) for p in self.points[len(tried) : len(tried) + n]]


class Watched(InlineRunner):
    """Notes which jobs ran; gives a GPU to those that ask, and says how long they took.

    Jobs whose keys end with ``loses`` lose their worker. ``wide`` is how many are said to run at a
    time.
    """

    def __init__(
        self,
        ran: list[str],
        *,
        gpu: bool = False,
        seconds: float | None = None,
        loses: str = "nothing",
        wide: int = 1,
    ) -> None:
        super().__init__()
        self.ran, self.gpu, self.seconds, self.loses, self.wide = ran, gpu, seconds, loses, wide

    @property
    def parallel(self) -> int:
        return self.wide

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        gpus = {job.key: job.resources.gpus for job in jobs}
        for outcome in super().run(jobs):
            self.ran.append(outcome.key)
            seconds = outcome.seconds if self.seconds is None else self.seconds
            if outcome.key.endswith(self.loses):
                yield Failed(outcome.key, "timeout", "killed after its time limit", seconds=seconds)
            elif isinstance(outcome, Succeeded):
                device = "cuda" if self.gpu and gpus[outcome.key] else outcome.device
                yield replace(outcome, seconds=seconds, device=device)
            else:
                yield replace(outcome, seconds=seconds)


def watched(world: World, ran: list[str], **how: Any) -> World:
    """The world on such a runner."""
    return World(replace(world.services, open_runner=lambda: Watched(ran, **how)))


def admit(world: World, *names: str) -> None:
    """Admit further agents, unseen."""
    installed = catalogue.installed()
    with session_scope(world.services.engine) as session:
        for name in names:
            report = AdmissionReport(checks=[], admitted=True)
            agents.record(session, installed.agents[name].spec, report, installed.sources[name])


def search(
    cycle: Cycle, agent: str, points: Sequence[Values], origin: str = "tpe", **budget: Any
) -> list[TrialRow]:
    """Try the points; the agent's rows."""
    AgentSearch(
        cycle,
        cycle.all_specs[agent],
        catalogue.load_agents()[agent],
        Told(points, origin),
        trials=len(points),
        **budget,
    ).run()
    with session_scope(cycle.services.engine) as session:
        return list(trials.of_cycle(session, cycle.id, agent))
