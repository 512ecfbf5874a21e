"""What greedy selection may choose among besides the present versions of agents.

Versions that have served here, and candidates that never became a version but stand for something
else: the library of models of Caruana et al. 2004 is all that was ever trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agenticrs.evolution import agent_methods
from agenticrs.evolution.candidates.trial_files import SUMS
from agenticrs.evolution.cycle import Cycle
from agenticrs.evolution.methods.archive import Archive, Layout
from agenticrs.evolution.methods.method import Tried
from agenticrs.platform.database import session_scope
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


def _elites(cycle: Cycle, agent: str, present: int) -> list[int]:
    layout, past = Layout(islands=1), agent_methods.remembered(cycle, agent)
    with session_scope(cycle.services.engine) as session:
        made = {one.trial: versions.of_trial(session, one.trial) for one in past if one.trial}
        rows = {key: trials.get(session, key) for key in made}
    here = [
        layout.cell(one)
        for one in past
        if one.trial is not None
        and (version := made[one.trial]) is not None
        and version.number == present
    ]

    def is_open(one: Tried) -> bool:
        if one.trial is None or made[one.trial] is not None or layout.cell(one) in here:
            return False
        return (cycle.trial_folder(rows[one.trial]) / SUMS).exists()

    elites = Archive.of(past[::-1], layout).elites(0)
    return [one.trial for one in elites if one.trial is not None and is_open(one)]
