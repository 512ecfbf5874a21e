"""The language models' part in a cycle: what they are told, what they may spend, what is booked.

What a model is told are specs, metrics, notes that people wrote for it, and the memory of
evolution; never rows of the log. Drafts that come to nothing are kept as failed trials, with their
cost.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from agenticrs.agents import catalogue
from agenticrs.agents.grammar.tables import Sizes
from agenticrs.agents.grammar.variation import Limits as StructureLimits
from agenticrs.evolution import remembering, stages
from agenticrs.evolution.candidates.rungs import CURVE, SEGMENTS, fail, next_number, propose
from agenticrs.evolution.cycle import Cycle
from agenticrs.evolution.methods.method import Tried, Values
from agenticrs.evolution.methods.points import flat, tried
from agenticrs.evolution.methods.structures import OWN, structure_key
from agenticrs.evolution.proposer.briefing import Briefing, Lesson, Note, read_notes
from agenticrs.evolution.proposer.composition_task import CompositionTask
from agenticrs.evolution.proposer.model_choice import Outcome, outcomes
from agenticrs.evolution.proposer.proposer import Proposer, Useless
from agenticrs.evolution.proposer.structure_task import StructureTask
from agenticrs.evolution.segments import Segments
from agenticrs.platform.database import session_scope
from agenticrs.platform.llm.port import LanguageModel
from agenticrs.platform.llm.spending import Caps, Purse, Spent, Tariff
from agenticrs.registry import trials, versions
from agenticrs.registry.memory import GOOD
from agenticrs.registry.spec import ConcreteParameter, Limit
from agenticrs.registry.tables import MemoryRow, TrialRow

_FAILURES = 6
_SERVES = "What serves now"


def language_models(cycle: Cycle) -> Sequence[LanguageModel]:
    """The models that are configured; none: mutation and crossover draw structures."""
    return cycle.services.language_models


def drafts(
    cycle: Cycle, agent: str, sizes: Sizes, past: Sequence[Tried], limits: Sequence[Limit] = ()
) -> Proposer:
    """A proposer of structures for one agent, which must keep the limits by their estimates."""
    own = (
        Limit(metric="latency_ms", most=cycle.services.settings.latency_limit_ms),
        Limit(metric="parameters", most=StructureLimits.parameters),
    )
    return Proposer(
        StructureTask(catalogue.load_agents()[agent], sizes, held_to=(*own, *limits)),
        _briefing(cycle, agent, past),
        language_models(cycle),
        purse(cycle),
        seed=cycle.request.seed,
        useless=lambda what: _book(cycle, agent, what),
        drafted=_drafted(cycle, agent, lambda row: (row.fingerprint, trials.inputs_of(row))),
    )


def composition_drafts(
    cycle: Cycle,
    space: Sequence[ConcreteParameter],
    check: Callable[[Values], object],
    serves: Values | None,
    other: Values,
    segments: Segments,
) -> Proposer:
    """A proposer of compositions, which go on from the point of what ``serves``.

    Where that lies at none, they go on from the ``other`` one. ``segments`` is what segments of
    users get from what serves.
    """
    told = {
        name: {"role": spec.role, "summary": spec.summary}
        for name, spec in sorted(cycle.all_specs.items())
    }
    briefing = Briefing(
        name=cycle.surface,
        summary="A composition: who takes part, how lists are fused, who is routed where.",
        role="composition",
        metric="blended lift over what serves",
        current=other if serves is None else serves,
        current_is=_SERVES if serves is not None else "A point to go on from; another one serves",
        segments=segments,
        data=remembering.statistics(cycle.dataset),
        notes=_notes(cycle),
        lessons=[_lesson(r) for r in remembering.recall(cycle, cycle.surface, "composition")],
        failures=_errors(cycle, cycle.surface),
    )
    return Proposer(
        CompositionTask(space, check, told=told),
        briefing,
        language_models(cycle),
        purse(cycle),
        seed=cycle.request.seed,
        useless=lambda what: _book(cycle, cycle.surface, what),
        # A lift is one over what served then.
        drafted=_drafted(cycle, cycle.surface, lambda row: row.cycle_id),
    )


def purse(cycle: Cycle) -> Purse:
    """What the cycle may still spend on language models, given what its rows say it has spent."""
    settings = cycle.services.settings
    with session_scope(cycle.services.engine) as session:
        notes = [row.note for row in trials.of_cycle(session, cycle.id)]
    spent = sum((Spent.of_note(note.get("cost", {})) for note in notes), Spent())
    asked = cycle.request.llm_money
    money = settings.llm_money if asked is None else min(asked, settings.llm_money)
    caps = Caps(settings.llm_tokens, money, settings.llm_seconds)
    return Purse(caps, Tariff(settings.prices), spent)


def unpriced(cycle: Cycle) -> list[str]:
    """The models that the cap on money says nothing about, which whoever watches is told once."""
    mine = purse(cycle)
    names = list(mine.tariff.unpriced(model.name for model in language_models(cycle)))
    if names:
        cycle.say(mine.tariff.warning(names))
    return names


def _briefing(cycle: Cycle, agent: str, past: Sequence[Tried]) -> Briefing:
    spec = cycle.specs[agent]
    config = catalogue.load_agents()[agent].config_type().model_dump(mode="json")
    title, reward, learnt = "The agent as it is by default", None, dict[str, Any]()
    number = stages.champion_versions(cycle).get(agent)
    with session_scope(cycle.services.engine) as session:
        version = versions.find(session, cycle.surface, agent, number or 0)
        if version is not None:
            config, title = version.config, _SERVES
        trial = version.trial_id if version is not None else None
        if trial is not None:
            row = trials.get(session, trial)
            learnt = row.note
            # On other rows of a log, or for other users, it would not compare with candidates.
            if (row.fingerprint, row.split) == (cycle.fingerprint, cycle.request.split):
                reward = row.reward
    words = f"{agent} {spec.summary}"
    remembered = remembering.recall(cycle, agent, words)
    return Briefing(
        name=agent,
        summary=spec.summary,
        role=spec.role,
        metric=str(spec.inner_reward),
        current=flat(config),
        current_is=title,
        reward=reward,
        trial=trial,
        segments=learnt.get(SEGMENTS, {}),
        curves={"mean loss by epoch": learnt[CURVE]} if CURVE in learnt else {},
        data=remembering.statistics(cycle.dataset),
        notes=_notes(cycle),
        lessons=[_lesson(row) for row in remembered],
        failures=_errors(cycle, agent),
        remembered=past,
        known=frozenset(structure_key(one.values) for one in past) - {OWN},
    )


def _errors(cycle: Cycle, agent: str) -> list[str]:
    """Why the newest candidates of earlier cycles could not be trained."""
    with session_scope(cycle.services.engine) as session:
        failed = trials.failed(session, agent, _FAILURES)
    return [row.error for row in failed if row.cycle_id != cycle.id]


def _drafted(cycle: Cycle, agent: str, comparable: Callable[[TrialRow], Hashable]) -> list[Outcome]:
    """What came of models' drafts in earlier cycles, those that failed too.

    Rewards compare among rows for which ``comparable`` is the same.
    """
    with session_scope(cycle.services.engine) as session:
        rows = trials.earlier(session, agent, before_cycle=cycle.id)
    groups: dict[Hashable, list[Tried]] = {}
    for row in rows:
        groups.setdefault(comparable(row), []).append(tried(row))
    return [outcome for group in groups.values() for outcome in outcomes(group)]


def _notes(cycle: Cycle) -> tuple[Note, ...]:
    folder = cycle.services.settings.notes
    return read_notes(folder) if folder is not None else ()


def _lesson(row: MemoryRow) -> Lesson:
    lift: Any = row.outcome.get("lift")
    verdict = row.verdict if row.verdict in GOOD else "worse"
    return Lesson(row.proposal, verdict, row.lesson, row.reason, row.expected, lift)


def _book(cycle: Cycle, agent: str, what: Useless) -> None:
    """Keep a draft that came to nothing as a failed trial, where it has cost something."""
    cycle.say(f"{agent}: {what.origin}: {what.error}")
    if not what.note.get("cost", {}).get("calls"):
        return
    row = propose(
        cycle,
        agent=agent,
        number=next_number(cycle, agent),
        method=what.origin,
        config={},
        note=what.note,
    )
    fail(cycle, row, f"draft: {what.error}")
