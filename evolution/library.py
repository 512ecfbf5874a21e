"""What greedy selection may choose among besides the present versions of agents.

Versions that have served here, and candidates that never became a version but stand for something
else: the library of models of Caruana et al. 2004 is all that was ever trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agenticrs.evolution import agent_methods, stages
from agenticrs.evolution.candidates.trial_files import SUMS
from agenticrs.evolution.cycle import Cycle
from agenticrs.evolution.methods.archive import Archive, Layout
from agenticrs.evolution.methods.greedy import TRIAL
from agenticrs.evolution.outer_reward.arena import Files
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry import intentions, trials, versions

_EARLIER, _ARCHIVED = 3, 2
"""How many earlier versions of an agent there are to choose among, and how many candidates."""


def earlier(
    cycle: Cycle, agents: Sequence[str], present: Mapping[str, int]
) -> dict[str, list[int]]:
    """The newest other versions of each agent that have served here."""
    with session_scope(cycle.services.engine) as session:
        served = intentions.served_versions(session, cycle.surface)
    others = {n: [v for v in served.get(n, ()) if v != present[n]] for n in agents}
    return {name: numbers[:_EARLIER] for name, numbers in others.items() if numbers}


def archived(
    cycle: Cycle, agents: Sequence[str], present: Mapping[str, int]
) -> dict[str, list[int]]:
    """Keys of the best trials of each agent on this data that became no version.

    Each is the elite of another cell of the archive, and none of the present version's own: who is
    as large and shows as much of the catalogue says the same again. Their files are in place.
    """
    found = {name: _elites(cycle, name, present[name]) for name in agents}
    return {name: keys[:_ARCHIVED] for name, keys in found.items() if keys}


def trials_of(point: Mapping[str, Any]) -> dict[str, int]:
    """Agent -> key of the trial that stands for it at a point."""
    return {n.removeprefix(TRIAL): int(key) for n, key in point.items() if n.startswith(TRIAL)}


def files_of(cycle: Cycle, agent: str, key: int) -> Files:
    """The files of an agent's trial; raises EvolutionError when they are gone."""
    with session_scope(cycle.services.engine) as session:
        row = trials.get(session, key)
    try:
        return stages.files_of_trial(cycle, row)
    except OSError as error:
        raise EvolutionError(f"the files of trial {key} of {agent} are gone") from error


def _elites(cycle: Cycle, agent: str, present: int) -> list[int]:
    layout, past = Layout(islands=1), agent_methods.remembered(cycle, agent)
    found = []
    with session_scope(cycle.services.engine) as session:
        standing = versions.find(session, cycle.surface, agent, present)
        trial = None if standing is None else standing.trial_id
        here = [layout.cell(one) for one in past if one.trial == trial]
        for one in Archive.of(past[::-1], layout).elites(0):
            if one.trial is None or layout.cell(one) in here:
                continue
            files = cycle.trial_folder(trials.get(session, one.trial)) / SUMS
            if versions.of_trial(session, one.trial) is None and files.exists():
                found.append(one.trial)
    return found
