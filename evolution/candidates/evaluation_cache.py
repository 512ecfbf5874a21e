"""Evaluations that were paid for before: a trial with the same content is not trained again.

Content is all that a trial's result depends on: the agent and its config, the seed where anything
is drawn, data and split, what agents above it put out, where trainings pause, the code,
the packages and the machine. The code counts by its text: a commit says nothing of what was changed
since, or of a plug-in's code. What a time limit cut short, and what failed, is never taken.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agenticrs.agents.agent import Agent
from agenticrs.agents.precision import has_bfloat16
from agenticrs.agents.trial import CandidateArrays, device_of
from agenticrs.evolution.candidates import trial_files
from agenticrs.evolution.candidates.code import code_of
from agenticrs.evolution.candidates.rungs import CURVE, SEGMENTS, seed_counts
from agenticrs.evolution.candidates.upstream import digest
from agenticrs.evolution.cycle import Cycle
from agenticrs.platform.database import session_scope
from agenticrs.platform.jobs.job import Job, Resources, Succeeded
from agenticrs.registry import provenance, trials
from agenticrs.registry.spec import AgentSpec
from agenticrs.registry.tables import TrialRow


@dataclass(frozen=True)
class Place:
    """Where trials of an agent run, as one of them would find it, and what they are given."""

    device: str
    hardware: str
    """Name of the GPU; of a CPU whether it trains in bfloat16."""
    torch: str
    threads: int
    inputs: str
    """Digest of the candidates that agents above put out; empty when there are none."""


def place_of(inputs: Sequence[CandidateArrays] = ()) -> Place:
    """What a worker finds, as a job: only there the device and the shared inputs are known."""
    import torch

    device = device_of("auto")
    low = "bfloat16" if has_bfloat16(torch.device("cpu")) else "float32"
    hardware = torch.cuda.get_device_name() if device == "cuda" else low
    found = digest(inputs)
    return Place(device, hardware, torch.__version__, torch.get_num_threads(), found)


@dataclass(frozen=True)
class Evaluations:
    """Trials of one agent in one cycle, and where to look for those that were paid for before.

    ``place`` is None when it could not be found out: then every trial is trained.
    """

    cycle: Cycle
    spec: AgentSpec
    implementation: type[Agent[Any]]
    place: Place | None
    latency: bool = False
    """Whether trials say what one request takes."""

    @classmethod
    def of(
        cls,
        cycle: Cycle,
        spec: AgentSpec,
        implementation: type[Agent[Any]],
        inputs: Any,
        resources: Resources,
    ) -> Evaluations:
        """Look, with the resources of a trial, what a trial with these inputs would find."""
        job = Job(f"cycle-{cycle.id}/{spec.name}/place", place_of, (inputs,), resources)
        (outcome,) = cycle.runner.run([job])
        found = outcome.value if isinstance(outcome, Succeeded) else None
        return cls(cycle, spec, implementation, found)

    @property
    def on_gpu(self) -> bool:
        """Whether trials get the share of a GPU that they ask for."""
        return self.place is not None and self.place.device == "cuda"

    def named(self, row: TrialRow) -> TrialRow:
        """The row, whose config is known to be valid, with its content noted."""
        content = self._content(row)
        if row.state != "proposed" and row.content != content:
            content = ""  # its first rung ran elsewhere, or with other code: it is neither
        inputs = "" if self.place is None else self.place.inputs
        with session_scope(self.cycle.services.engine) as session:
            trials.set_content(session, row.id or 0, content, inputs)
            return trials.get(session, row.id or 0)

    def at_rung(self, row: TrialRow, place: int) -> TrialRow | None:
        """A trial that has reached this rung with the same content; its note says what it found."""
        for known in self._known(row):
            rungs = known.note.get(trials.RUNGS, ())
            if len(rungs) > place and _whole(rungs[place]["metrics"]):
                return known
        return None

    def take_full(self, row: TrialRow) -> bool:
        """Whether an earlier trial's full training, with its files, could be taken for this."""
        for known in self._known(row):
            if known.state != "done" or not _whole(known.metrics):
                continue
            told = f"{row.agent} #{row.number}"
            try:
                trial_files.take_over(self.cycle.trial_folder(known), self.cycle.trial_folder(row))
            except (OSError, ValueError) as error:
                self.cycle.say(f"{told} is trained, trial {known.id} cannot be taken: {error}")
                continue
            with session_scope(self.cycle.services.engine) as session:
                trials.record_full(
                    session,
                    row.id or 0,
                    metrics=known.metrics,
                    reward=known.reward or 0.0,
                    seconds=0.0,
                    device=known.device,
                    note={
                        "cached_from": known.id,
                        **{n: known.note[n] for n in (SEGMENTS, CURVE) if n in known.note},
                    },
                )
            self.cycle.say(f"{told} full as in trial {known.id}: not trained again")
            return True
        return False

    def _known(self, row: TrialRow) -> list[TrialRow]:
        if self.place is None:
            return []
        with session_scope(self.cycle.services.engine) as session:
            found = trials.same_content(session, row.content)
        return [t for t in found if t.id != row.id and t.device == self.place.device]

    def _content(self, row: TrialRow) -> str:
        code = code_of(self.implementation)
        if self.place is None or code is None:
            return ""
        request = self.cycle.request
        config = self.implementation.config_type.model_validate(row.config)
        content = {
            "agent": row.agent,
            "config": config.model_dump(mode="json"),
            "seed": row.seed if seed_counts(self.implementation) else None,
            "data": [row.fingerprint, row.split],
            "rungs": request.rungs,
            "reward": str(self.spec.inner_reward),
            "place": asdict(self.place),
            "code": code,
            "packages": provenance.environment(),
            **({"latency": True} if self.latency else {}),
        }
        text = json.dumps(content, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def _whole(totals: Mapping[str, Any]) -> bool:
    """Whether training came to its planned end: no time limit cut it short."""
    return bool(totals.get("trained_share", 0.0) >= 1.0)
