"""From a cycle's candidates to what a policy learns from: state, action, reward, who drew it.

Candidates of any origin count. One that a policy drew says in its note how likely it was and which
results were known then; for others both are estimated. Open ones are left out until their result
is there: a late reward is learnt from late, in the state in which its candidate was drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from agenticrs.evolution.methods.method import Tried
from agenticrs.evolution.methods.policy_actions import Actions, Row
from agenticrs.evolution.methods.policy_situation import Situation, history
from agenticrs.evolution.methods.policy_state import Experience, cycle_key

LOG_DENSITY, KNOWN = "log_density", "known"
"""Keys of a note: log density of the draw relative to uniform; numbers of the results known."""
_PRUNED, _FAILED = -1.0, -2.0
"""Normalised rewards of what stopped at the short rung, and of what could not be trained."""
_RAREST = 0.1
"""Least density that counts when the middle of a space is estimated: one odd draw is not all."""
_NEAR = 0.2
"""Width of the neighbourhood, in lengths of a range, for guessing how another method drew."""
_SAME = 0.8
"""The same for choices: share of draws near a point that agree with it."""

FloatArray = npt.NDArray[np.float64]


def experience(
    actions: Actions, situation: Situation, tried: Sequence[Tried], cycle: str
) -> Experience:
    """What can be learnt from the candidates of one cycle, known by the name ``cycle``."""
    by_number = sorted(tried, key=lambda t: t.number)
    rows = {t.number: row for t in by_number if (row := actions.row(t.values)) is not None}
    learnt = [t for t in by_number if t.number in rows and _ended(t)]
    if not learnt:
        return Experience.none(len(state(actions, situation, (), 0)), actions.width)
    guessed = _guessed_log_densities(actions, [t for t in by_number if t.number in rows], rows)
    log_behaviour = [float(t.note.get(LOG_DENSITY, guessed[t.number])) for t in learnt]
    states = []
    for t in learnt:
        numbers = set(t.note.get(KNOWN, range(t.number)))
        before = sum(other.number < t.number for other in by_number)
        known = [other for other in by_number if other.number in numbers]
        states.append(state(actions, situation, known, before))
    return Experience(
        states=torch.tensor(states, dtype=torch.float32),
        rows=torch.tensor([rows[t.number] for t in learnt], dtype=torch.float32),
        rewards=torch.from_numpy(normalised(learnt, np.exp(log_behaviour))).to(torch.float32),
        log_behaviour=torch.tensor(log_behaviour, dtype=torch.float32),
        cycles=torch.full((len(learnt),), cycle_key(cycle), dtype=torch.int64),
    )


def state(
    actions: Actions, situation: Situation, known: Sequence[Tried], tried: int
) -> tuple[float, ...]:
    """The state (S,) in which a candidate is drawn: situation, history, best row so far.

    ``known`` are candidates whose results are there; ``tried`` counts those drawn before.
    """
    done = [t for t in known if t.state == "done" and t.reward is not None]
    spent = sum(t.metrics.get("seconds", 0.0) for t in known) / max(situation.seconds, 1e-9)
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


def normalised(learnt: Sequence[Tried], density: FloatArray) -> FloatArray:
    """Rewards (T,) on a scale that is the same in every space.

    asinh of the distance from the middle in spreads (of the quartiles): far values count, but do
    not rule. Middle and spread are those of uniform draws, estimated by weighing each candidate by
    one over the ``density`` (T,) of its draw: a policy that draws only good candidates does not
    make them look ordinary.
    """
    rewards = np.array([np.nan if t.reward is None else t.reward for t in learnt], np.float64)
    done = np.array([t.state == "done" for t in learnt]) & np.isfinite(rewards)
    pruned = np.array([t.state == "pruned" for t in learnt])
    found = np.where(pruned, _PRUNED, _FAILED)
    if done.any():
        weights = 1 / np.maximum(density[done], _RAREST)
        low, middle, high = _quantiles(rewards[done], weights, (0.25, 0.5, 0.75))
        spread = max(high - low, 1e-3 * abs(middle), 1e-12)
        found[done] = np.arcsinh((rewards[done] - middle) / spread)
    return found


def _ended(t: Tried) -> bool:
    return t.state in ("pruned", "failed") or (t.state == "done" and t.reward is not None)


def _quantiles(
    values: FloatArray, weights: FloatArray, levels: Sequence[float]
) -> tuple[float, ...]:
    """Quantiles of weighted values, between which lines are drawn."""
    order = values.argsort()
    mass = weights[order].cumsum() - 0.5 * weights[order]
    return tuple(float(np.interp(level, mass / weights.sum(), values[order])) for level in levels)


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
