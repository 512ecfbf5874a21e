"""The simulated world of a cycle: fitted once for a snapshot and split, then kept as a file.

``<home>/simulation/<digest>.safetensors`` is named by all that the world depends on, so that every
later comparison and cycle on the same data, also after a kill, reads what the first one fitted. A
file appears whole or not at all; one that is damaged is fitted anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

from agenticrs.agents.simulation.jobs import fit_world_of
from agenticrs.agents.simulation.judged import JudgedWorld
from agenticrs.agents.simulation.priors import Priors
from agenticrs.agents.simulation.world_files import FORMAT, unpack
from agenticrs.evolution.cycle import Cycle
from agenticrs.platform.errors import DataError, EvolutionError
from agenticrs.platform.jobs.job import Failed, Job, Resources
from agenticrs.registry import provenance


def world_of(cycle: Cycle) -> tuple[bytes, JudgedWorld]:
    """The file of the cycle's world, and what is in it; fitted as a job where there is none.

    Raises EvolutionError when no world can be fitted to this log.
    """
    path = world_path(cycle)
    if path.exists():
        content = path.read_bytes()
        try:
            return content, unpack(content)
        except DataError as error:
            cycle.say(f"{path.name} is fitted anew: {error}")
    cycle.say("fitting simulated users to the log")
    settings = cycle.services.settings
    job = Job(
        f"cycle-{cycle.id}/simulated/world",
        fit_world_of,
        (cycle.shared_fold, cycle.request.seed),
        Resources(cpus=settings.cpus_per_trial, time_limit=settings.trial_seconds),
    )
    (outcome,) = cycle.runner.run([job])
    if isinstance(outcome, Failed):
        raise EvolutionError(f"no simulated users: {outcome.cause}: {outcome.message}")
    _write(path, outcome.value)
    judged = unpack(outcome.value)
    cycle.say(
        f"simulated users fitted in {outcome.seconds:.1f} s, trust {judged.trust.score:.2f} on "
        f"{judged.users:,} held-out users"
        + (f", tau {judged.ordering.tau:.2f}" if judged.ordering else "")
    )
    return outcome.value, judged


def world_path(cycle: Cycle) -> Path:
    """Where the world of the cycle's data, split and seed lies."""
    decides = {
        "format": FORMAT,
        "data": [cycle.fingerprint, cycle.request.split],
        "seed": cycle.request.seed,
        "priors": repr(Priors()),
        "code": provenance.environment()["agenticrs"],
        "torch": provenance.environment()["torch"],
    }
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
    return cycle.services.settings.home / "simulation" / f"{digest[:32]}.safetensors"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    number, aside = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    with os.fdopen(number, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(aside).replace(path)
