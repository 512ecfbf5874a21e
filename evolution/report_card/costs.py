"""What a composition has cost until now: its members' trainings and searches, tokens and money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlmodel import Session

from agenticrs.evolution.report_card.card import Figure
from agenticrs.registry import proposals, trials
from agenticrs.registry.tables import TrialRow, VersionRow

_SEARCH = "sum over the candidates of the cycle that found it, the losers too"
_DRAFTS = "booked by the language models' drafts in the cycle that found it, by what they answered"


def costs(
    session: Session, members: Mapping[str, VersionRow], surface: str, composition: int
) -> tuple[Figure, ...]:
    """Figures by member, their totals, and what finding the graph itself has cost.

    Members whose trial is not known have cost what nobody knows: they are left out of the totals.
    """
    found: list[Figure] = []
    totals: dict[str, float] = {}
    for name, version in sorted(members.items()):
        for figure in _of_member(session, name, version):
            found.append(figure)
            totals[figure.name] = totals.get(figure.name, 0.0) + (figure.value or 0.0)
    found += [
        Figure(name=f"{name}, all members", value=total, how="sum over the members above")
        for name, total in totals.items()
    ]
    return (*found, *_of_graph(session, surface, composition))


def _of_member(session: Session, name: str, version: VersionRow) -> list[Figure]:
    if version.trial_id is None:
        how = "not known: the version comes from no trial"
        return [Figure(of=name, name="training seconds", value=None, how=how)]
    trial = trials.get(session, version.trial_id)
    source = trial.note.get("cached_from")
    paid = trials.get(session, source) if isinstance(source, int) else trial
    tried = trials.of_cycle(session, trial.cycle_id, name)
    own = f"trial {paid.id}, all its rungs" + ("" if paid is trial else ", paid for earlier")
    spent = [
        ("training seconds", paid.seconds, own),
        ("GPU-seconds", sum(row.gpu_seconds for row in tried), f"{_SEARCH}; times GPU's share"),
        ("search seconds", sum(row.seconds for row in tried), f"{_SEARCH} ({len(tried)})"),
        ("tokens", _booked(tried, "tokens_in") + _booked(tried, "tokens_out"), _DRAFTS),
        ("money", _booked(tried, "money"), f"{_DRAFTS}, at the prices in the settings"),
    ]
    return [Figure(of=name, name=what, value=value, how=how) for what, value, how in spent]


def _of_graph(session: Session, surface: str, composition: int) -> list[Figure]:
    """What the cycles took that proposed this composition."""
    found = []
    for row in reversed(proposals.list_all(session, surface)):
        cost: Any = row.evidence.get("cost")
        if row.after != composition or not isinstance(cost, Mapping) or "seconds" not in cost:
            continue
        how = f"proposal {row.id}: all {cost.get('trials', '?')} trials of its cycle"
        found.append(Figure(name="seconds of the proposal", value=float(cost["seconds"]), how=how))
    return found


def _booked(rows: Sequence[TrialRow], what: str) -> float:
    costs = [row.note.get("cost") for row in rows]
    return sum(float(cost.get(what, 0.0)) for cost in costs if isinstance(cost, Mapping))
