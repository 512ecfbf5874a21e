"""Rewards as pictures: a cycle's trials, an agent's history, what serves over time, feedback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from markupsafe import Markup

from agenticrs.registry.tables import FeedbackRow, TrialRow, VersionRow
from agenticrs.ui.console import lines_svg
from agenticrs.ui.console.lines_svg import Line, Mark, Tick

_DAY = 86400.0
_BUCKETS = 40
"""Most points of a picture of feedback."""
_CANDIDATES = 40
"""Newest candidates whose training is drawn."""


@dataclass(frozen=True)
class Measured:
    """The reward of what served, measured at ``at`` with its interval, and what that was."""

    at: datetime
    mean: float
    low: float
    high: float
    text: str
    href: str
    promoted: bool


def of_cycle(trials: Sequence[TrialRow]) -> dict[str, Markup]:
    """A picture for each agent that has more than one candidate: rewards, and the best so far."""
    found: dict[str, Markup] = {}
    by_agent: dict[str, list[TrialRow]] = {}
    for trial in trials:
        by_agent.setdefault(trial.agent, []).append(trial)
    groups = {agent: own for agent, own in by_agent.items() if len(own) > 1}
    for agent, own in groups.items():
        places = range(1, len(own) + 1)
        marks = [_mark(t, place, f"#trial-{t.id}") for t, place in zip(own, places, strict=True)]
        picture = lines_svg.draw(
            name=f"curve-{len(found)}",
            title=f"Reward of {agent} over {len(own)} trials: {_states(own)}",
            lines=[_best(own, marks)],
            marks=[mark for mark in marks if mark is not None],
            ticks=[Tick(place, f"{place}") for place in _whole(places)],
            height=170,
            width=lines_svg.WIDE if len(groups) == 1 else lines_svg.WIDTH,
        )
        if picture:
            found[agent] = picture
    return found


def of_training(trials: Sequence[TrialRow]) -> dict[str, Markup]:
    """A picture for each agent that is trained by epochs: the loss of its newest candidates.

    What is above twice the largest loss of a first epoch is drawn there.
    """
    found: dict[str, Markup] = {}
    by_agent: dict[str, list[TrialRow]] = {}
    for trial in trials:
        if len(_losses(trial)) > 1:
            by_agent.setdefault(trial.agent, []).append(trial)
    for agent, own in by_agent.items():
        best = max((t for t in own if t.state == "done"), key=_reward, default=None)
        # The best one last, so that it lies above the others.
        shown = sorted(own[-_CANDIDATES:], key=lambda trial: trial is best)
        longest = max(len(_losses(trial)) for trial in shown)
        # One that runs away would leave the others no room.
        most = 2 * max(abs(_losses(trial)[0]) for trial in shown)
        picture = lines_svg.draw(
            name=f"training-{len(found)}",
            title=f"Mean loss of each epoch of {len(shown)} candidates of {agent}",
            lines=[
                Line(
                    [(epoch, min(loss, most)) for epoch, loss in enumerate(_losses(t), 1)],
                    "best" if t is best else "epochs",
                )
                for t in shown
            ],
            marks=[_learnt(trial, most) for trial in shown],
            ticks=[Tick(place, f"epoch {place}") for place in (1, longest)],
            height=170,
            width=lines_svg.WIDE if len(by_agent) == 1 else lines_svg.WIDTH,
        )
        if picture:
            found[agent] = picture
    return found


def of_agent(trials: Sequence[TrialRow], versions: Sequence[VersionRow]) -> Markup:
    """All candidates of an agent, oldest first; those that became versions are named.

    Where the data change a line divides the picture: rewards on both sides do not compare.
    """
    named = {version.trial_id: version.number for version in versions}
    marks, ticks, lines, place = [], [Tick(1, "1")], [], 0
    for (dataset, fingerprint), group in groupby(trials, lambda t: (t.dataset, t.fingerprint)):
        own = list(group)
        if place:
            ticks.append(Tick(place + 0.5, f"{dataset} {fingerprint[:6]}", divides=True))
        drawn = []
        for trial in own:
            place += 1
            number = named.get(trial.id)
            drawn.append(_mark(trial, place, f"/cycles/{trial.cycle_id}#trial-{trial.id}", number))
        lines.append(_best(own, drawn))
        marks += drawn
    return lines_svg.draw(
        name="history",
        title=f"Inner reward over {len(trials)} trials: {_states(trials)}",
        lines=lines,
        marks=[mark for mark in marks if mark is not None],
        ticks=[*ticks, *([Tick(place, f"trial {place}")] if place > 1 else ())],
        width=lines_svg.WIDE,
    )


def of_serving(measured: Sequence[Measured]) -> Markup:
    """What served, oldest first, each time that it was measured beside a candidate."""
    if len(measured) < 2:
        return Markup("")
    xs = [one.at.timestamp() for one in measured]
    return lines_svg.draw(
        name="serving-reward",
        title="Outer reward of what serves, with 95 % intervals: "
        + ", ".join(f"{one.mean:.4f}" for one in measured),
        lines=[
            Line(
                [(x, one.mean) for x, one in zip(xs, measured, strict=True)],
                band=[(one.low, one.high) for one in measured],
            )
        ],
        marks=[
            Mark(x, one.mean, "promoted" if one.promoted else "done", one.text, one.href)
            for x, one in zip(xs, measured, strict=True)
        ],
        ticks=_days(xs[0], xs[-1]),
    )


def of_experiment(steps: Sequence[Mapping[str, Any]]) -> Markup:
    """Gain of the treatment in percent after each step that has an interval."""
    known = [
        (place, 100 * step["gain"], 100 * step["low"], 100 * step["high"])
        for place, step in enumerate(steps, start=1)
        if step["low"] is not None
    ]
    if not known:
        return Markup("")
    first, last = known[0][0], known[-1][0]
    return lines_svg.draw(
        name="course",
        title="Gain of the reward in percent: "
        + ", ".join(f"step {place} {gain:+.1f}" for place, gain, _, _ in known),
        lines=[
            Line([(first, 0.0), (last, 0.0)], kind="nothing"),
            Line(
                [(place, gain) for place, gain, _, _ in known],
                band=[(low, high) for _, _, low, high in known],
            ),
        ],
        marks=[
            Mark(p, gain, "small", f"step {p}: {gain:+.1f} % ({low:+.1f} to {high:+.1f})")
            for p, gain, low, high in known
        ],
        ticks=[Tick(place, f"step {place}") for place in dict.fromkeys((first, last))],
        width=lines_svg.WIDE,
    )


def of_feedback(rows: Sequence[FeedbackRow], behaviour: str) -> Markup:
    """Mean of a behaviour of the events over time, oldest first."""
    if len(rows) < 2:
        return Markup("")
    times = [row.received_at.timestamp() for row in rows]
    first, last = times[0], times[-1]
    width = max(_length(last - first), 60.0)
    values: dict[int, list[float]] = {}
    for at, row in zip(times, rows, strict=True):
        values.setdefault(int((at - first) / width), []).append(_number(row, behaviour))
    if len(values) < 2:
        return Markup("")
    points = [(first + (n + 0.5) * width, sum(v) / len(v)) for n, v in sorted(values.items())]
    counts = [len(v) for _, v in sorted(values.items())]
    return lines_svg.draw(
        name="feedback",
        title=f"Mean {behaviour} of {len(rows):,} events of feedback: "
        f"first {points[0][1]:.3f}, last {points[-1][1]:.3f}",
        lines=[Line(points)],
        marks=[
            Mark(x, y, "small", f"{y:.3f} over {count:,} events")
            for (x, y), count in zip(points, counts, strict=True)
        ],
        ticks=_days(first, last),
    )


def _length(seconds: float) -> float:
    """Length of a bucket: hours, days or what gives few enough of them."""
    for length in (300.0, 3600.0, 6 * 3600.0, _DAY, 7 * _DAY):
        if seconds / length <= _BUCKETS:
            return length
    return seconds / _BUCKETS


def _number(row: FeedbackRow, behaviour: str) -> float:
    value: Any = row.behaviours.get(behaviour, 0.0)
    return float(value) if isinstance(value, int | float) else 0.0


def _mark(trial: TrialRow, place: int, href: str, version: int | None = None) -> Mark | None:
    said = f"{trial.agent} trial {trial.number}, {trial.method}: "
    if trial.state == "failed":
        return Mark(place, None, "failed", f"{said}failed, {trial.error[:120]}", href)
    if trial.reward is None:
        return None
    state = f"version {version}" if version else trial.state
    kind = "promoted" if version else trial.state
    return Mark(place, trial.reward, kind, f"{said}{trial.reward:.4f}, {state}", href)


def _losses(trial: TrialRow) -> list[float]:
    """Mean loss of each epoch; nothing where none was noted."""
    noted = trial.note.get("curve")
    told = noted if isinstance(noted, list) else []
    return [float(loss) for loss in told if isinstance(loss, int | float)]


def _learnt(trial: TrialRow, most: float) -> Mark:
    losses = _losses(trial)
    text = f"{trial.agent} trial {trial.number}: loss {losses[-1]:.4f} after {len(losses)} epochs"
    return Mark(len(losses), min(losses[-1], most), "small", text, f"#trial-{trial.id}")


def _reward(trial: TrialRow) -> float:
    return trial.reward if trial.reward is not None else float("-inf")


def _best(trials: Sequence[TrialRow], marks: Sequence[Mark | None]) -> Line:
    """The best finished reward so far."""
    points: list[tuple[float, float]] = []
    for trial, mark in zip(trials, marks, strict=True):
        if trial.state == "done" and mark is not None and mark.y is not None:
            points.append((mark.x, max(mark.y, points[-1][1]) if points else mark.y))
    if points and marks:
        last = next((m.x for m in reversed(marks) if m is not None), points[-1][0])
        points.append((max(last, points[-1][0]), points[-1][1]))
    return Line(points, "best", steps=True)


def _states(trials: Sequence[TrialRow]) -> str:
    states: Mapping[str, int] = {
        state: sum(t.state == state for t in trials) for state in {t.state for t in trials}
    }
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items()))


def _whole(places: range) -> list[int]:
    ticks = {int(value) for value in lines_svg.spread([places[0], places[-1]], 5)}
    return sorted({places[0], *ticks})


def _days(first: float, last: float) -> list[Tick]:
    """Some moments between two: in UTC, until a script has shown them in the reader's zone."""
    days = last - first > 2 * _DAY
    ends = dict.fromkeys(first + share * (last - first) for share in (0.0, 1 / 3, 2 / 3, 1.0))
    moments = {end: datetime.fromtimestamp(end, UTC) for end in ends}
    return [
        Tick(
            end,
            at.strftime("%d %b" if days else "%H:%M UTC"),
            at=at,
            form="day" if days else "time",
        )
        for end, at in moments.items()
    ]
