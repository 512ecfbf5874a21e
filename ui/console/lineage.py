"""Where the versions of an agent come from: a tree of parents and differences.

A candidate may name its parent, in the same search or an earlier one (a mutation, a draft, another
seed). One that does not was
compared with what stood there before: then the version before its cycle is called its predecessor,
which is less than a parent, and the page says which it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agenticrs.evolution.methods.points import flat
from agenticrs.registry.tables import TrialRow, VersionRow
from agenticrs.registry.trials import inputs_of


@dataclass(frozen=True)
class Descendant:
    """A version in the tree; ``inherits`` is False where the one above only came before it."""

    version: VersionRow
    trial: TrialRow | None
    inherits: bool
    difference: str
    gain: float | None
    """Of its own reward over that of the one above, on the same data; None elsewhere."""
    children: list[Descendant] = field(default_factory=list)


def lineage(versions: Sequence[VersionRow], trials: Mapping[int, TrialRow]) -> list[Descendant]:
    """The trees of an agent's versions, oldest first; ``trials`` by id, of all their searches."""
    ordered = sorted(versions, key=lambda version: version.number)
    by_place = {(trial.cycle_id, trial.number): trial for trial in trials.values()}
    by_trial = {v.trial_id: v for v in ordered if v.trial_id is not None}
    nodes: dict[int, Descendant] = {}
    roots = []
    for version in ordered:
        trial = trials.get(version.trial_id or 0)
        parent = _parent(trial, by_place, by_trial, trials) if trial else None
        above = parent or next((v for v in reversed(ordered) if v.number < version.number), None)
        node = Descendant(
            version,
            trial,
            parent is not None,
            _difference(above, version, trial),
            _gain(above, version, trials),
        )
        nodes[version.number] = node
        if above is None or above.number not in nodes:
            roots.append(node)
        else:
            nodes[above.number].children.append(node)
    return roots


def _parent(
    trial: TrialRow,
    by_place: Mapping[tuple[int, int], TrialRow],
    by_trial: Mapping[int, VersionRow],
    trials: Mapping[int, TrialRow],
) -> VersionRow | None:
    """The version that it comes from by way of other candidates, or None."""
    seen: set[int | None] = set()
    at: TrialRow | None = trial
    while at is not None and at.id not in seen:
        seen.add(at.id)
        named, number = at.note.get("parent_trials"), at.note.get("parent")
        if named:
            at = trials.get(named[0])
        else:
            at = by_place.get((at.cycle_id, number)) if isinstance(number, int) else None
        if at is not None and at.id is not None and at.id != trial.id and at.id in by_trial:
            return by_trial[at.id]
    return None


def _difference(above: VersionRow | None, version: VersionRow, trial: TrialRow | None) -> str:
    told = str(trial.note.get("difference") or "") if trial else ""
    if told or above is None:
        return told
    before, after = flat(above.config), flat(version.config)
    changed = [
        f"{name} {_text(before.get(name))} → {_text(after.get(name))}"
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]
    if not changed:
        return "trained anew on other data" if above.fingerprint != version.fingerprint else ""
    return ", ".join(changed)


def _gain(
    above: VersionRow | None, version: VersionRow, trials: Mapping[int, TrialRow]
) -> float | None:
    one = trials.get(above.trial_id or 0) if above else None
    other = trials.get(version.trial_id or 0)
    if one is None or other is None or one.reward is None or other.reward is None:
        return None
    return other.reward - one.reward if _ground(one) == _ground(other) else None


def _ground(trial: TrialRow) -> tuple[str, ...]:
    """What the rewards of two trials must have in common to compare."""
    return trial.fingerprint, trial.split, inputs_of(trial)


def _text(value: object) -> str:
    if value is None:
        return "unset"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
