"""Search over a low-dimensional space: Optuna's samplers or CMA-ES, nothing kept between calls.

Each call builds a study in memory out of what was tried, here and in earlier cycles, and asks its
sampler, which is seeded by (seed, number of trials so far). So a cycle that was killed draws what
it would have drawn, and rows of trials stay the only record. The module is the only one that knows
Optuna, and knows nothing of agents or jobs.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from agenticrs.evolution.methods import cma
from agenticrs.evolution.methods.method import Candidate, Tried, Values
from agenticrs.evolution.methods.points import untried
from agenticrs.evolution.methods.transfer import Elsewhere, transferred
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry.spec import (
    Choice,
    ConcreteParameter,
    FloatRange,
    Limit,
    SearchMethod,
)

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial

_STARTUP = 4
"""Points drawn at random before a model of the rewards is trusted."""
_POPULATION = (4, 24)
"""Least and largest number of parents that NSGA-II crosses."""


@dataclass(frozen=True)
class Search:
    """One sampler over one space.

    ``given`` points are tried first (a default, what parts of the agent found; parameters outside
    the space are left out). ``remembered`` are done candidates of earlier cycles whose rewards are
    comparable, ``elsewhere`` those on other data, which are made so (``transfer``). ``beside``
    names further metrics to make small (NSGA-II searches the whole front, the other samplers look
    at the reward alone). ``limits`` are constraints. TPE models all parameters together where they
    are ``joint``, else each for itself, from ``startup`` candidates on.

    Raises EvolutionError for a space without parameters.
    """

    space: Sequence[ConcreteParameter]
    method: SearchMethod = "tpe"
    seed: int = 0
    given: Sequence[Values] = ()
    remembered: Sequence[Tried] = ()
    elsewhere: Elsewhere = ()
    beside: Sequence[str] = ()
    limits: Sequence[Limit] = ()
    joint: bool = True
    startup: int = _STARTUP

    def __post_init__(self) -> None:
        """Refuse an empty space."""
        if not self.space:
            raise EvolutionError("the decision space is empty")

    def ask(self, tried: Sequence[Tried], n: int) -> list[Candidate]:
        """The next ``n``: given points that were not tried yet, then points that are drawn."""
        wanted = [Candidate(p, "given") for p in untried(self.given, self.space, tried)]
        drawn = self._draw(tried, n - len(wanted)) if n > len(wanted) else []
        return [*wanted[:n], *drawn]

    def _draw(self, tried: Sequence[Tried], n: int) -> list[Candidate]:
        done = [t for t in self.remembered if t.state == "done"]
        done += transferred(self.elsewhere, self.space, tried)
        if self.method == "cmaes":
            points = cma.draw(self.space, done, tried, n, _seed(self, len(tried)))
            return [Candidate(point, self.method) for point in points]
        distributions = {p.name: _distribution(p) for p in self.space}
        known = [self._frozen(point, distributions) for point in (*done, *tried)]
        study = self._study(len(tried), [trial for trial in known if trial is not None])
        return [Candidate(dict(study.ask(distributions).params), self.method) for _ in range(n)]

    def _study(self, so_far: int, known: Sequence[FrozenTrial]) -> Study:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        several = 1 + len(self.beside) if self.method == "nsga2" else 1
        done = [trial for trial in known if trial.state.name == "COMPLETE"]
        sampler = _sampler(self, so_far, done)
        up, down = optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE
        study = optuna.create_study(sampler=sampler, directions=[up, *[down] * (several - 1)])
        study.add_trials(known)
        return study

    def _inside(self, values: Values) -> dict[str, Any]:
        return {p.name: values[p.name] for p in self.space if p.name in values}

    def _frozen(
        self, point: Tried, distributions: Mapping[str, BaseDistribution]
    ) -> FrozenTrial | None:
        """What Optuna may know of a candidate; None when it lies outside the space."""
        from optuna.trial import TrialState, create_trial

        params = self._inside(point.values)
        if len(params) < len(distributions):
            return None
        values: list[float] | None = None
        if point.state == "done" and point.reward is not None:
            beside = [point.metrics.get(name) for name in self.beside]
            several = self.method == "nsga2"
            values = [point.reward, *(b for b in beside if b is not None and several)]
            if several and len(values) <= len(beside):
                return None  # a front cannot place a point of which one objective is unknown
        states = {"open": TrialState.RUNNING, "pruned": TrialState.PRUNED}
        state = TrialState.COMPLETE if values else states.get(point.state, TrialState.FAIL)
        violations = {
            f"{limit.metric} {place}": limit.violation(point.metrics)
            for place, limit in enumerate(self.limits)
        }
        # One that was not measured stands at its bound: samplers want all of them of everybody.
        broken = {name: 0.0 if by is None else by for name, by in violations.items()}
        try:
            return create_trial(
                state=state,
                values=values,
                params=params,
                distributions=dict(distributions),
                intermediate_values=dict(enumerate(point.rungs)),
                system_attrs={"NSGAIISampler:generation": 0} if self.method == "nsga2" else {},
                constraints=broken if values and broken else None,
            )
        except ValueError:
            return None


def _distribution(parameter: ConcreteParameter) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.values)
    if isinstance(parameter, FloatRange):
        return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    return IntDistribution(parameter.low, parameter.high, log=parameter.log)


def _sampler(search: Search, so_far: int, done: Sequence[FrozenTrial]) -> BaseSampler:
    """A sampler for a study of so many trials, of which these are ``done``; it has their seed."""
    from optuna.exceptions import ExperimentalWarning
    from optuna.samplers import GPSampler, NSGAIISampler, RandomSampler, TPESampler

    method, seed = search.method, _seed(search, so_far)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if method == "tpe":
            return TPESampler(
                seed=seed,
                n_startup_trials=search.startup,
                multivariate=search.joint,
                constant_liar=True,  # candidates under way keep others from the same place
            )
        if method == "gp":
            return GPSampler(seed=seed, n_startup_trials=_STARTUP)
        if method == "nsga2" and len(done) >= _POPULATION[0]:
            # All that is done is one generation: its best fronts are crossed.
            return NSGAIISampler(seed=seed, population_size=min(_POPULATION[1], len(done)))
        return RandomSampler(seed=seed)


def _seed(search: Search, so_far: int) -> int:
    """What candidates are drawn by after so many."""
    return int(np.random.SeedSequence([search.seed, so_far]).generate_state(1)[0])
