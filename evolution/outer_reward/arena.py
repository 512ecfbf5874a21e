"""Whole compositions measured on the held-out users of a cycle, as jobs on the runner.

Weights come out of MLflow once and go into shared memory once; a candidate that has no version
yet brings its files along.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from agenticrs.agents import artifact, catalogue
from agenticrs.agents.simulation.jobs import Measured, live_with
from agenticrs.agents.trial import CompositionResult, run_composition
from agenticrs.evolution.cycle import Cycle
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.errors import EvolutionError
from agenticrs.platform.jobs.job import Failed, Job, Resources, Succeeded
from agenticrs.registry import versions
from agenticrs.registry.graph import Graph
from agenticrs.registry.spec import AgentSpec

Files = Mapping[str, bytes]
_LARGE = 100_000
"""Bytes from which what a candidate brings along is shared between its jobs."""


@dataclass(frozen=True)
class Entry:
    """A graph to measure; ``files`` are those of members that are not (yet) versions."""

    key: str
    graph: Graph
    files: Mapping[str, Files] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
    """Nodes whose candidates are wanted back."""


class Arena:
    """Measures compositions for one cycle."""

    def __init__(self, cycle: Cycle) -> None:
        self._cycle = cycle
        self._shared: dict[Hashable, Any] = {}
        self._files: dict[tuple[str, int], Files] = {}
        self.seconds: dict[str, float] = {}
        """What each entry took, by key."""

    def files(self, agent: str, version: int) -> Files:
        """The files of a version, out of MLflow (cached)."""
        key = (agent, version)
        if key not in self._files:
            folder = self._cycle.services.tracking.download(
                versions.model_name(self._cycle.surface, agent), version
            )
            self._files[key] = {
                path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()
            }
        return self._files[key]

    def measure(self, entries: Sequence[Entry]) -> dict[str, CompositionResult | Failed]:
        """Run every entry over all held-out users; failures are answers, by key."""
        cycle = self._cycle
        answers: dict[str, CompositionResult | Failed] = {}
        for outcome in cycle.runner.run([self._job(entry) for entry in entries]):
            key = outcome.key.rsplit("/", 1)[1]
            self.seconds[key] = outcome.seconds
            answers[key] = outcome.value if isinstance(outcome, Succeeded) else outcome
        return answers

    def live(
        self,
        entries: Sequence[Entry],
        world: Any,
        users: npt.NDArray[np.int64],
        days: int,
    ) -> dict[str, Measured | Failed]:
        """Let simulated ``users`` of a ``world`` (a reference to its file) meet every entry.

        All meet the same luck. Failures are answers, by key.
        """
        cycle, answers = self._cycle, dict[str, Measured | Failed]()
        jobs = [
            Job(
                f"cycle-{cycle.id}/simulated/{entry.key}",
                live_with,
                (
                    cycle.shared_fold,
                    world,
                    entry.graph,
                    cycle.all_specs,
                    cycle.request.depth,
                    users,
                    days,
                    cycle.request.seed,
                    *self._references(entry),
                ),
                self._resources(),
            )
            for entry in entries
        ]
        for outcome in cycle.runner.run(jobs):
            key = outcome.key.rsplit("/", 1)[1]
            answers[key] = outcome.value if isinstance(outcome, Succeeded) else outcome
        return answers

    def measure_all(self, entries: Sequence[Entry]) -> dict[str, CompositionResult]:
        """Every entry by key; raises EvolutionError when one fails."""
        found = {}
        for key, answer in self.measure(entries).items():
            if isinstance(answer, Failed):
                raise EvolutionError(f"composition {key!r}: {answer.cause}: {answer.message}")
            found[key] = answer
        return found

    def measure_one(self, entry: Entry) -> CompositionResult:
        """One entry; raises EvolutionError when it fails."""
        return self.measure_all([entry])[entry.key]

    def _job(self, entry: Entry) -> Job:
        cycle = self._cycle
        return Job(
            f"cycle-{cycle.id}/composition/{entry.key}",
            _run,
            (
                cycle.shared_fold,
                entry.graph,
                cycle.all_specs,
                cycle.request.depth,
                entry.keep,
                *self._references(entry),
            ),
            self._resources(),
        )

    def _resources(self) -> Resources:
        settings = self._cycle.services.settings
        return Resources(cpus=settings.cpus_per_trial, time_limit=settings.trial_seconds)

    def _references(self, entry: Entry) -> list[Any]:
        """Files of the entry's nodes in order; flat arguments alone are fetched for a job."""
        return [self._reference(n.agent, n.version, entry.files) for n in entry.graph.nodes]

    def _reference(self, agent: str, version: int, given: Mapping[str, Files]) -> Any:
        """Into shared memory once; small files that an entry brings go along with each job."""
        if agent not in given:
            return self._once((agent, version), lambda: self.files(agent, version))
        files = given[agent]
        if sum(map(len, files.values())) < _LARGE:
            return files
        digests = sorted((name, hashlib.sha256(part).digest()) for name, part in files.items())
        return self._once(tuple(digests), lambda: files)

    def _once(self, key: Hashable, files: Callable[[], Files]) -> Any:
        if key not in self._shared:
            self._shared[key] = self._cycle.runner.share(dict(files()))
        return self._shared[key]


def functional_files(cycle: Cycle, agent: str, settings: Mapping[str, Any]) -> Files:
    """The files of an agent that learns nothing, at its defaults with ``settings`` in place."""
    implementation = catalogue.load_agents()[agent]
    config = {**implementation.config_type().model_dump(mode="json"), **settings}
    made = catalogue.build(agent, config, seed=cycle.request.seed)
    made.load({}, n_users=cycle.dataset.n_users, n_items=cycle.dataset.n_items)
    return artifact.pack(made, [])


def _run(
    fold: Fold,
    graph: Graph,
    specs: Mapping[str, AgentSpec],
    depth: int,
    keep: tuple[str, ...],
    *files: Files,
) -> CompositionResult:
    artifacts = {
        (node.agent, node.version): dict(of_node)
        for node, of_node in zip(graph.nodes, files, strict=True)
    }
    return run_composition(fold, graph, specs, artifacts, depth, keep)
