"""What a cycle leaves in the empirical memory: each candidate, and each decision of a person.

An entry says what was proposed and why, what came of it and at what cost, and a lesson in a
sentence. Entries have keys, so a cycle that goes on after a kill remembers nothing twice, and
remembers what was tried before it waits for a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlmodel import Session

from agenticrs.evolution.candidates.rungs import SEGMENTS
from agenticrs.evolution.cycle import Cycle
from agenticrs.evolution.methods.points import STRUCTURE, flat
from agenticrs.platform.data.dataset import Dataset
from agenticrs.platform.database import session_scope
from agenticrs.registry import memory, proposals, trials
from agenticrs.registry.tables import DecisionRow, MemoryRow, ProposalRow, TrialRow

LEAST = 0.005
"""Relative gains below this are called no difference."""
_REMEMBERED = {
    "approve": "approved",
    "reject": "rejected",
    "request changes": "changes requested",
}
"""Verdicts of people -> what the memory calls them; comments are not remembered."""
_SAID = {
    "approved": "approved it",
    "rejected": "rejected it",
    "changes requested": "asked for changes of it",
}
_SPENT = ("tokens_in", "tokens_out", "money")


def remember(cycle: Cycle, *, undecided: bool = False) -> int:
    """Write down the cycle's candidates and decision; return how many entries are new.

    With ``undecided`` winners are left out: what becomes of them is not known yet.
    """
    won = _won(cycle)
    with session_scope(cycle.services.engine) as session:
        rows = [
            row
            for row in trials.of_cycle(session, cycle.id)
            if row.state not in ("proposed", "short") and not (undecided and row.id in won)
        ]
        lifts = _lifts(session, cycle, rows)
        entries = [_candidate(cycle, row, lifts.get(row.id), won.get(row.id)) for row in rows]
        proposal = proposals.of_cycle(session, cycle.id)
        if proposal is not None:
            decided = proposals.decisions(session, proposal.id or 0)
            about = _about(cycle, proposal)
            entries += [
                _decision(cycle, proposal, decision, agent)
                for decision in decided
                if decision.verdict in _REMEMBERED
                for agent in about
            ]
        return sum(memory.remember(session, entry) for entry in entries)


def lesson_of(row: TrialRow, lift: float | None, than: str = "the best before") -> str:
    """What a trial teaches, in a sentence; ``than`` what its lift is over."""
    if row.state == "failed":
        return f"it failed: {row.error}"
    if row.state == "pruned":
        return "it was behind the better half after a short training"
    if lift is None:
        return "the first of its kind on this data"
    if abs(lift) < LEAST:
        return "it made no difference"
    return f"it was {abs(lift):.1%} {'better' if lift > 0 else 'worse'} than {than}"


def _won(cycle: Cycle) -> dict[int | None, str]:
    """Verdicts of the trials that were chosen: promoted where that has been done, else better."""
    select, promote = cycle.results.get("select", {}), cycle.results.get("promote", {})
    served = promote.get("composition") is not None
    outside = cycle.results.get("approve", {}).get("outside", {}) if promote else {}
    won: dict[int | None, str] = {
        one["trial"]: "promoted" if served or one["agent"] in outside else "better"
        for one in select.get("verdicts", ())
        if one["accepted"]
    }
    if select.get("trial") is not None:
        won[select["trial"]] = "promoted" if served else "better"
    return won


def _lifts(
    session: Session, cycle: Cycle, rows: Sequence[TrialRow]
) -> dict[int | None, float | None]:
    """By how much each finished trial exceeded what there was; None: nothing was.

    The reward of a composition is its lift over what serves. That of an agent is a metric, which
    is compared with the best of earlier cycles on the same data and the same lists from above.
    """
    done = {row.id: row for row in rows if row.state == "done" and row.reward is not None}
    if cycle.request.kind == "compositional":
        return {key: row.reward for key, row in done.items()}
    known = {
        (agent, inputs): trials.best_reward(
            session,
            agent,
            cycle.fingerprint,
            cycle.request.split,
            inputs=inputs,
            before_cycle=cycle.id,
        )
        for agent, inputs in {(row.agent, trials.inputs_of(row)) for row in done.values()}
    }
    lifts = dict[int | None, float | None]()
    for key, row in done.items():
        before = known[row.agent, trials.inputs_of(row)]
        lifts[key] = ((row.reward or 0.0) - before) / abs(before) if before else None
    return lifts


def _candidate(cycle: Cycle, row: TrialRow, lift: float | None, won: str | None) -> MemoryRow:
    than = "what serves" if cycle.request.kind == "compositional" else "the best before"
    measured = {n: v for n, v in row.metrics.items() if isinstance(v, int | float)}
    outcome = {**measured, "reward": row.reward, "lift": lift}
    return MemoryRow(
        surface=cycle.surface,
        agent=row.agent,
        cycle_id=cycle.id,
        key=f"trial:{row.id}",
        origin=row.method,
        proposal=str(row.note.get("difference") or _in_words(flat(row.config))),
        reason=str(row.note.get("hypothesis", "")),
        expected=str(row.note.get("expected", "")),
        outcome={name: value for name, value in outcome.items() if value is not None},
        segments=dict(row.note.get(SEGMENTS, {})),
        cost={
            "seconds": round(row.seconds, 3),
            "gpu_seconds": round(row.gpu_seconds, 3),
            **_spent(row.note),
        },
        verdict=won if won and row.state == "done" else _verdict(row, lift),
        lesson=lesson_of(row, lift, than),
        dataset=row.dataset,
        fingerprint=row.fingerprint,
        data=statistics(cycle.dataset),
        structure=str(row.note.get("fingerprint", "")),
    )


def _about(cycle: Cycle, proposal: ProposalRow) -> list[str]:
    """Whose memory a decision goes into: the surface's, and that of agents that it judges."""
    members = proposal.evidence.get("members", {})
    if cycle.request.kind != "individual":
        return [cycle.surface]
    return [cycle.surface, *(str(name) for name in members.get("changed", ()))]


def _decision(cycle: Cycle, proposal: ProposalRow, decision: DecisionRow, agent: str) -> MemoryRow:
    said = _REMEMBERED[decision.verdict]
    evidence = proposal.evidence
    lift = evidence.get("score", {}).get("mean")
    return MemoryRow(
        surface=cycle.surface,
        agent=agent,
        cycle_id=cycle.id,
        key=f"decision:{decision.id}" + ("" if agent == cycle.surface else f":{agent}"),
        origin="person",
        proposal=proposal.title,
        reason=str(evidence.get("reason", "")),
        outcome={} if lift is None else {"lift": lift},
        segments=dict(evidence.get("segments", {})),
        cost=dict(evidence.get("cost", {})),
        verdict=said,
        lesson=f"a person {_SAID[said]}: {decision.reason}",
        dataset=cycle.dataset_name,
        fingerprint=cycle.fingerprint,
        data=statistics(cycle.dataset),
    )


def _verdict(row: TrialRow, lift: float | None) -> str:
    if row.state != "done":
        return row.state
    return "better" if lift is not None and lift >= LEAST else "worse"


def _in_words(values: Mapping[str, Any]) -> str:
    shown = {n: v for n, v in values.items() if n != STRUCTURE}
    return ", ".join(
        f"{n} {v:.4g}" if isinstance(v, float) else f"{n} {v}" for n, v in shown.items()
    )


def _spent(note: Mapping[str, Any]) -> dict[str, float]:
    cost = note.get("cost", {})
    return {name: cost[name] for name in _SPENT if name in cost}


def statistics(dataset: Dataset) -> dict[str, float]:
    """Numbers by which similar datasets are found."""
    return {
        "users": dataset.n_users,
        "items": dataset.n_items,
        "interactions": len(dataset.interactions),
    }


def recall(
    cycle: Cycle, agent: str, words: str, good: int = 4, bad: int = 4
) -> Sequence[MemoryRow]:
    """The entries that fit best: what worked for an agent on data like this, and what did not."""
    data = statistics(cycle.dataset)
    with session_scope(cycle.services.engine) as session:
        found = [
            *memory.search(
                session,
                cycle.surface,
                words,
                agent=agent,
                verdicts=memory.GOOD,
                data=data,
                limit=good,
            ),
            *memory.search(
                session,
                cycle.surface,
                words,
                agent=agent,
                verdicts=("worse", "pruned", "failed", "rejected", "changes requested"),
                data=data,
                limit=bad,
            ),
        ]
    return [entry.row for entry in found]
