"""The question as messages: our instructions first, then everything that is known, fenced.

Pure. Of what is bounded by a number, the newest or the best is shown; each text has a limit of its
own, so the whole has one too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agenticrs.evolution.methods.archive import Archive
from agenticrs.evolution.methods.method import Tried, Values
from agenticrs.evolution.proposer.briefing import LONGEST_NOTE, MOST_NOTES, Briefing, Lesson
from agenticrs.evolution.proposer.prompts import load
from agenticrs.evolution.proposer.task import Task
from agenticrs.platform.llm.fence import cleaned, fenced, one_line
from agenticrs.platform.llm.port import Message

CURRENT = "current"
_PARENTS = 3
_LESSONS, _FAILURES, _TRIED = 6, 6, 16
_SEGMENTS, _CURVES, _POINTS, _STATISTICS = 12, 4, 20, 30
_CANDIDATE, _TABLE, _TEXT, _LINE = 12_000, 6_000, 2_000, 300


@dataclass(frozen=True)
class Parent:
    """A candidate that a draft may derive from."""

    label: str
    values: Values
    reward: float | None
    note: Mapping[str, Any] = field(default_factory=dict)
    """What is noted of it: metrics by segment, loss by epoch."""
    trial: int | None = None


def parents(briefing: Briefing, tried: Sequence[Tried], task: Task) -> list[Parent]:
    """What the briefing goes on from, and the best that were tried.

    Those of this search are named as ``c3``, those of earlier cycles as ``m0``. The best of all
    comes first, then the best of other cells of the archive, so that they differ; then the rest.
    """
    found = [Parent(CURRENT, briefing.current, briefing.reward, trial=briefing.trial)]
    seen = {task.identity(briefing.current)}
    named = [(f"c{one.number}", one) for one in tried]
    named += [(f"m{place}", one) for place, one in enumerate(briefing.remembered)]
    for label, one in _spread([pair for pair in named if pair[1].reward is not None]):
        identity = task.identity(one.values)
        if len(found) <= _PARENTS and identity is not None and identity not in seen:
            seen.add(identity)
            found.append(Parent(label, one.values, one.reward, one.note, one.trial))
    return found


def _spread(done: Sequence[tuple[str, Tried]]) -> list[tuple[str, Tried]]:
    """The best of each cell, best first, then all others."""
    ranked = sorted(done, key=lambda pair: -(pair[1].reward or 0.0))
    elites = {id(one) for one in Archive.of([one for _, one in ranked]).spread()}
    return sorted(ranked, key=lambda pair: id(pair[1]) not in elites)


def question(
    briefing: Briefing, tried: Sequence[Tried], task: Task, known: Sequence[Parent]
) -> list[Message]:
    """What to do (a prompt file), and the situation."""
    sections = [
        _section("What it is about", "facts", _facts(briefing, task), _TABLE),
        _section("Statistics of the data", "statistics", _numbers(briefing.data), _TABLE),
        *_notes(briefing),
        *_lessons("What helped earlier", briefing.lessons, good=True),
        *_lessons("What did not help earlier", briefing.lessons, good=False),
        *_bottlenecks(briefing),
        *_candidates(known, task, briefing),
        *_history(tried, known, task, briefing),
        *_failures(tried, briefing),
    ]
    labels = ", ".join(parent.label for parent in known)
    sections.append(f"# Your answer\n\nOne JSON object that fits the schema. Parents: {labels}.")
    text = "\n\n".join(section for section in sections if section)
    return [Message("system", load(task.name).text), Message("user", text)]


def repair(asked: Sequence[Message], text: str, errors: Sequence[str]) -> list[Message]:
    """The question again, with the answer that was refused and the exact errors."""
    listed = "\n".join(f"- {one_line(error, _LINE)}" for error in errors)
    said = cleaned(text, _CANDIDATE) or "(nothing)"
    told = f"{load('repair').text}\n\n{fenced('errors', listed, limit=_TABLE)}"
    return [*asked[:2], Message("assistant", said), Message("user", told)]


def _section(title: str, kind: str, content: Any, limit: int) -> str:
    return f"# {title}\n\n{fenced(kind, content, limit=limit)}" if content else ""


def _facts(briefing: Briefing, task: Task) -> dict[str, Any]:
    return {
        "agent": one_line(briefing.name, _LINE),
        "role": one_line(briefing.role, _LINE),
        "summary": one_line(briefing.summary, _LINE),
        "metric to raise": one_line(briefing.metric, _LINE),
        **task.limits(),
    }


def _numbers(values: Mapping[str, float], most: int = _STATISTICS) -> dict[str, Any]:
    """Numbers by name; whatever is no number is left out."""
    return {
        one_line(name, 60): float(f"{float(value):.5g}")
        for name, value in list(values.items())[:most]
        if isinstance(value, int | float) and value - value == 0
    }


def _notes(briefing: Briefing) -> list[str]:
    return [
        _section("A note of the business", "note", f"{note.title}\n\n{note.text}", LONGEST_NOTE)
        for note in briefing.notes[:MOST_NOTES]
    ]


def _lessons(title: str, lessons: Sequence[Lesson], *, good: bool) -> list[str]:
    chosen = [lesson for lesson in lessons if lesson.good is good][:_LESSONS]
    rows = [
        {
            "proposal": one_line(lesson.proposal, _LINE),
            "reason": one_line(lesson.reason, _LINE),
            "expected": one_line(lesson.expected, _LINE),
            "verdict": one_line(lesson.verdict, 40),
            "lift": None if lesson.lift is None else round(lesson.lift, 4),
            "lesson": one_line(lesson.lesson, _LINE),
        }
        for lesson in chosen
    ]
    return [_section(title, "memory", _lines(rows), _TABLE + _TEXT)] if rows else []


def _bottlenecks(briefing: Briefing) -> list[str]:
    curves = {
        one_line(name, 60): _rounded(curve)
        for name, curve in list(briefing.curves.items())[:_CURVES]
    }
    served = _segments(briefing.segments)
    return [
        _section("Metrics of what serves, by segment of users", "segments", served, _TABLE),
        _section("Its learning curves", "curves", curves, _TABLE),
    ]


def _segments(segments: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    return {
        one_line(name, 60): _numbers(metrics, 8)
        for name, metrics in list(segments.items())[:_SEGMENTS]
    }


def _candidates(known: Sequence[Parent], task: Task, briefing: Briefing) -> list[str]:
    sections, told = [], one_line(briefing.current_is, _LINE)
    for parent in known:
        what = told if parent.label == CURRENT else "A candidate that was tried"
        body = {"reward": parent.reward, **(task.shown(parent.values) or {})}
        if segments := parent.note.get("segments"):
            body["by segment"] = _segments(segments)
        if curve := parent.note.get("curve"):
            body["mean loss by epoch"] = _rounded(curve)
        title = f"{what}: `{parent.label}`"
        sections.append(_section(title, f"candidate {parent.label}", body, _CANDIDATE))
    return sections


def _history(
    tried: Sequence[Tried], known: Sequence[Parent], task: Task, briefing: Briefing
) -> list[str]:
    """What this search has tried: the newest, what each changed, and what came of it."""
    current = known[0].values if known else briefing.current
    rows = []
    for one in tried[-_TRIED:]:
        row: dict[str, Any] = {
            "candidate": f"c{one.number}",
            "state": one.state,
            "reward": None if one.reward is None else round(one.reward, 5),
            "differs": one_line(task.difference(current, one.values), _LINE) if one.values else "",
        }
        if hypothesis := one.note.get("hypothesis"):
            row["hypothesis"] = one_line(str(hypothesis), _LINE)
        rows.append(row)
    return [_section("Tried in this search", "tried", _lines(rows), 2 * _TABLE)] if rows else []


def _failures(tried: Sequence[Tried], briefing: Briefing) -> list[str]:
    errors = [one.error for one in tried if one.state == "failed" and one.error]
    told = dict.fromkeys(one_line(error, _LINE) for error in (*errors[::-1], *briefing.failures))
    text = "\n".join(f"- {error}" for error in list(told)[:_FAILURES])
    return [_section("Errors of candidates that failed", "failures", text, _TABLE)]


def _lines(rows: Sequence[Mapping[str, Any]]) -> str:
    """One row a line, as JSON."""
    kept = ({key: value for key, value in row.items() if value not in ("", None)} for row in rows)
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in kept)


def _rounded(curve: Sequence[float]) -> list[float]:
    return [float(f"{value:.4g}") for value in _thinned(curve)]


def _thinned(curve: Sequence[float]) -> list[float]:
    """At most so many points, the last one among them."""
    step = -(-len(curve) // _POINTS) or 1
    return [value for value in list(curve)[::-1][::step][::-1] if value - value == 0]
