"""Search over a low-dimensional decision space: Optuna's ask-and-tell, made resumable.

Candidates are drawn in waves. The sampler of a wave is seeded by (seed, number of trials so far),
so that a cycle that was killed and started again draws what it would have drawn. The study lives
in the registry's database. The module knows nothing of agents, trials' results or jobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from agenticrs.platform.errors import EvolutionError
from agenticrs.registry.spec import Choice, ConcreteParameter, FloatRange, Method

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage

Value = str | int | float | bool


@dataclass(frozen=True)
class Candidate:
    """A point of a decision space: its number in the study and a value for each parameter."""

    number: int
    values: Mapping[str, Value]
    enqueued: bool
    """True when it was given (a default, the champion), not drawn."""


def open_storage(url: str) -> BaseStorage:
    """Optuna's tables in the database at ``url`` (made when missing)."""
    import optuna
    from sqlalchemy import event

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    connect_args = {"timeout": 30} if url.startswith("sqlite") else {}
    storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": connect_args})
    if url.startswith("sqlite"):
        # As it comes, SQLite syncs the disk at each write: 240 ms a trial instead of 17 ms.
        def tune(connection: Any, _record: Any) -> None:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

        event.listen(storage.engine, "connect", tune)
        storage.engine.dispose()
    return storage


class Search:
    """One study over one space.

    Raises EvolutionError for a space without parameters or an unknown method.
    """

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        space: Sequence[ConcreteParameter],
        *,
        method: Method = "tpe",
        seed: int = 0,
    ) -> None:
        import optuna

        if not space:
            raise EvolutionError(f"study {name!r}: the decision space is empty")
        self._space = {parameter.name: _distribution(parameter) for parameter in space}
        self._method: Method = method
        self._seed = seed
        self._study = optuna.create_study(
            storage=storage,
            study_name=name,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.PercentilePruner(50.0, n_startup_trials=2),
        )

    def enqueue(self, points: Sequence[Mapping[str, Value]]) -> None:
        """Give points to be tried first (parameters outside the space are left out).

        Safe to repeat: a point that is there is not added again.
        """
        for point in points:
            known = {name: value for name, value in point.items() if name in self._space}
            self._study.enqueue_trial(known, skip_if_exists=True)

    def remember(self, points: Sequence[tuple[Mapping[str, Any], float]]) -> int:
        """Start from rewards that are known already (nested configs); return how many fit.

        Only a study without trials takes them, so that a restart does not take them twice. Points
        that lie outside the space are left out.
        """
        from optuna.trial import create_trial

        if self._study.get_trials(deepcopy=False):
            return 0
        added = 0
        for config, reward in points:
            flat = _flat(config)
            if not set(self._space) <= set(flat):
                continue
            params = {name: flat[name] for name in self._space}
            try:
                known = create_trial(params=params, distributions=self._space, value=reward)
            except ValueError:
                continue
            known.user_attrs["remembered"] = True
            self._study.add_trial(known)
            added += 1
        return added

    def ask(self, n: int) -> list[Candidate]:
        """Draw the next ``n`` candidates."""
        from optuna.trial import TrialState

        told = len(self._study.get_trials(deepcopy=False))
        waiting = len(self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))
        self._study.sampler = _sampler(self._method, [self._seed, told])
        drawn = [self._study.ask(self._space) for _ in range(n)]
        return [
            Candidate(trial.number, dict(trial.params), enqueued=place < waiting)
            for place, trial in enumerate(drawn)
        ]

    def open_numbers(self) -> list[int]:
        """Numbers that were asked and not yet told."""
        from optuna.trial import TrialState

        return [
            trial.number
            for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        ]

    def report_short(self, number: int, reward: float) -> bool:
        """Note the reward of the short rung; True when the candidate should stop there."""
        trial = self._trial(number)
        trial.report(reward, step=0)
        return bool(trial.should_prune())

    def tell(self, number: int, reward: float | None, *, pruned: bool = False) -> None:
        """Close a candidate: with its reward, as pruned, or (None) as failed. Safe to repeat."""
        from optuna.trial import TrialState

        if number not in self.open_numbers():
            return
        if pruned:
            self._study.tell(number, state=TrialState.PRUNED)
        elif reward is None:
            self._study.tell(number, state=TrialState.FAIL)
        else:
            self._study.tell(number, reward)

    def _trial(self, number: int) -> Any:
        import optuna

        frozen = self._study.get_trials(deepcopy=False)[number]
        return optuna.trial.Trial(self._study, frozen._trial_id)


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": deep for inner, deep in value.items()}
        else:
            flat[name] = value
    return flat


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


def _sampler(method: Method, entropy: Sequence[int]) -> BaseSampler:
    from optuna.samplers import CmaEsSampler, GPSampler, RandomSampler, TPESampler

    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    if method == "tpe":
        return TPESampler(seed=seed, n_startup_trials=4, multivariate=True)
    if method == "gp":
        return GPSampler(seed=seed)
    if method == "cmaes":
        return CmaEsSampler(seed=seed)
    return RandomSampler(seed=seed)
