"""From a cycle's candidates to what a policy learns from: state, action, reward, who drew it.

Candidates of any origin count. One that a policy drew says in its note how likely it was and which
results were known then; for others both are estimated. Open ones are left out until their result
is there: a late reward is learnt from late, in the state in which its candidate was drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from agenticrs.evolution.methods.method import Tried
from agenticrs.evolution.methods.policy_actions import Actions, Row
from agenticrs.evolution.methods.policy_draws import FloatArray
from agenticrs.evolution.methods.policy_situation import Situation, history
from agenticrs.evolution.methods.policy_state import Experience, PolicyState, cycle_key

LOG_DENSITY, KNOWN = "log_density", "known"
"""Keys of a note: log density of the draw relative to uniform; numbers of the results known."""
_PRUNED, _FAILED = -1.0, -2.0
"""Normalised rewards of what stopped at the short rung, and of what could not be trained."""
_FARTHEST = 3.0
"""Normalised rewards lie at most so far from the middle: one that diverged counts, and no more."""
_NEAR = 0.2
"""Width of the neighbourhood, in lengths of a range, for guessing how another method drew."""
_SAME = 0.8
"""The same for choices: share of draws near a point that agree with it."""


def experience(
    actions: Actions,
    situation: Situation,
    tried: Sequence[Tried],
    cycle: str,
    stored: PolicyState,
) -> Experience:
    """What can be learnt from the candidates of one search, known by the name ``cycle``.

    ``stored`` is what was known before it: it says how far apart rewards should be.
    """
    by_number = sorted(tried, key=lambda t: t.number)
    rows = {t.number: row for t in by_number if (row := actions.row(t.values)) is not None}
    learnt = [t for t in by_number if t.number in rows and _ended(t)]
    if not learnt:
        return Experience.none(stored.memory.states.shape[1], actions.width)
    guessed = _guessed_log_densities(actions, [t for t in by_number if t.number in rows], rows)
    log_behaviour = [float(t.note.get(LOG_DENSITY, guessed[t.number])) for t in learnt]
    states = []
    for t in learnt:
        numbers = set(t.note.get(KNOWN, range(t.number)))
        before = sum(other.number < t.number for other in by_number)
        known = [other for other in by_number if other.number in numbers]
        states.append(state(actions, situation, known, before))
    drawn = np.array([rows[t.number] for t in learnt])
    expected = stored.worth(actions, np.array(states), drawn)
    return Experience(
        states=np.array(states),
        rows=drawn,
        rewards=normalised(learnt, expected, stored.unexplained),
        log_behaviour=np.array(log_behaviour),
        cycles=np.full(len(learnt), cycle_key(cycle)),
    )


def state(
    actions: Actions, situation: Situation, known: Sequence[Tried], tried: int
) -> tuple[float, ...]:
    """The state (S,) in which a candidate is drawn: situation, history, best row so far.

    ``known`` are candidates whose results are there; ``tried`` counts those drawn before.
    """
    done = [t for t in known if t.state == "done" and t.reward is not None]
    spent = sum(t.seconds for t in known) / max(situation.seconds, 1e-9)
    rewards = [float(t.reward or 0.0) for t in done]
    best: tuple[float, ...] = (0.0,) * actions.width
    placed = [
        (reward, row)
        for t, reward in zip(done, rewards, strict=True)
        if (row := actions.row(t.values)) is not None
    ]
    if placed:
        best = max(placed, key=lambda pair: pair[0])[1]
    return (
        *situation.vector(),
        *history(rewards, tried, situation.trials, spent),
        *best,
    )


def normalised(learnt: Sequence[Tried], expected: FloatArray, unexplained: float) -> FloatArray:
    """Rewards (T,) on a scale that is the same in every cycle.

    asinh of the distance from the middle in units, cut off: far values count, but do not rule. The
    unit is such that rewards are spread as the ``expected`` ones (T,) and what those leave
    ``unexplained`` (above 0) would be: a policy that draws only good candidates does not blow up
    the differences that are left between them.
    """
    rewards = np.array([np.nan if t.reward is None else t.reward for t in learnt], np.float64)
    done = np.array([t.state == "done" for t in learnt]) & np.isfinite(rewards)
    pruned = np.array([t.state == "pruned" for t in learnt])
    found = np.where(pruned, _PRUNED, _FAILED)
    if done.any():
        # Quartiles of a few lie closer together than those of many.
        apart = spread(rewards[done]) * (1 + 2 / done.sum())
        unit = apart / math.hypot(spread(expected[done]), unexplained)
        middle = float(np.median(rewards[done]))
        smallest = max(1e-9 * abs(middle), 1e-12)
        away = np.arcsinh((rewards[done] - middle) / max(unit, smallest))
        found[done] = np.clip(away, -_FARTHEST, _FARTHEST)
    return found


def spread(values: FloatArray) -> float:
    """Distance between the quartiles."""
    low, high = np.quantile(values, (0.25, 0.75))
    return float(high - low)


def _ended(t: Tried) -> bool:
    return t.state in ("pruned", "failed") or (t.state == "done" and t.reward is not None)


def _guessed_log_densities(
    actions: Actions, tried: Sequence[Tried], rows: dict[int, Row]
) -> dict[int, float]:
    """How likely other methods were to draw what they drew, from where else they drew.

    A kernel estimate over the candidates of the same origin, with one uniform candidate added.
    """
    guessed = {}
    for t in tried:
        alike = [rows[o.number] for o in tried if o.origin == t.origin]
        if t.origin == "random" or LOG_DENSITY in t.note:
            guessed[t.number] = 0.0
            continue
        near = sum(math.exp(_log_kernel(actions, rows[t.number], other)) for other in alike)
        guessed[t.number] = math.log((1 + near) / (1 + len(alike)))
    return guessed


def _log_kernel(actions: Actions, row: Row, centre: Row) -> float:
    """Log density at ``row`` of drawing near ``centre``, relative to uniform."""
    ranges = len(actions.ranges)
    total = 0.0
    for place, middle in zip(row[:ranges], centre[:ranges], strict=True):
        z, up, down = ((end - middle) / (_NEAR * math.sqrt(2)) for end in (place, 1.0, 0.0))
        inside = 0.5 * (math.erf(up) - math.erf(down))
        total -= z * z + math.log(_NEAR * math.sqrt(2 * math.pi) * inside)
    start = ranges
    for options in actions.options:
        agrees = row[start : start + options] == centre[start : start + options]
        rest = (1 - _SAME) / max(options - 1, 1)
        total += math.log(options * (_SAME if agrees else rest)) if options > 1 else 0.0
        start += options
    return total
