"""What each method of evolution adds, at an equal budget of training seconds.

    OMP_NUM_THREADS=1 python benchmarks/evolution.py --data ml-100k,kuairand,ml-1m --seeds 0,1,2,3,4

One agent (SASRec, with the upper ends of its costly settings lowered) on the newest interactions of
some users of each dataset, leave-one-out, validation part. The reward is NDCG@10 of the search
users, as in a cycle; *confirm* is that of the other users, who steer nothing.

*tpe* is Optuna as a user would run it alone: its default TPE, every candidate trained in full. What
``TRIALS`` of those take is the budget of all ways. *ours* is what the platform does: trainings
pause at rungs, and end there when they are behind; the cycle knows the earlier cycles: it begins
with their best settings, and believes their other trials as far as it goes for these. Those cycles
ran on earlier states of the same log, without each user's newest items, the first of them from the
agent's defaults; their seconds are written down and not counted, as they were paid when nobody
asked for this cycle. *longer* is ours with earlier cycles of as many candidates as TPE has now.
*cold* is ours without a past, not even the defaults, which bootstrap trains first
(``evolution_cold.py`` asks what those are worth). *policy* has the policy in the place of TPE, with
what it learnt in the earlier cycles. *proposer* takes turns between our search and structures by
mutation and crossover, in the earlier cycles as in this one, which begins with the structures that
they ended with; *llm* is *proposer* with language models in the place of chance: it is run where
the environment names an endpoint (``evolution_drafts.py``).

Seconds are those of the processor, of whole trials: preparing, training, and measuring. Every step
of every seed goes to ``results/evolution.json``, where seeds and ways that are not asked for stay;
``evolution_report.py`` makes table and picture. *tpe* is always run: its seconds are the budget.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import islice, takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from evolution_drafts import Drafts
from published import RESULTS, machine
from published_tasks import TASKS

from agenticrs.agents.catalogue import load_agents
from agenticrs.agents.grammar.structured import architecture, recipe
from agenticrs.agents.grammar.tables import Sizes
from agenticrs.agents.grammar.variation import Limits
from agenticrs.agents.training_data import TrainingData
from agenticrs.agents.trial import TrialRequest, run_trial
from agenticrs.evolution.candidates.halving import goes_on
from agenticrs.evolution.candidates.rungs import complete
from agenticrs.evolution.methods.combination import (
    AlternateOnSaturation,
    BeginWith,
    SearchBest,
)
from agenticrs.evolution.methods.method import Candidate, Method, State, Tried, Values
from agenticrs.evolution.methods.points import STRUCTURE
from agenticrs.evolution.methods.policy import Policy
from agenticrs.evolution.methods.policy_situation import Situation
from agenticrs.evolution.methods.policy_state import PolicyState
from agenticrs.evolution.methods.search import Search
from agenticrs.evolution.methods.structures import OWN, of_structure, paying, structure_key
from agenticrs.evolution.methods.transfer import Elsewhere
from agenticrs.evolution.methods.variation import StructuralVariation
from agenticrs.evolution.request import EvolveRequest
from agenticrs.evolution.selection import mean_reward
from agenticrs.platform.data.dataset import Dataset, Fold
from agenticrs.platform.data.splits import make_fold, search_users
from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.errors import AgentError
from agenticrs.platform.settings import load_settings
from agenticrs.registry.spec import Choice, ConcreteParameter, FloatRange

AGENT, METRIC = "sasrec", "ndcg@10"
DATA = ("ml-100k", "kuairand", "ml-1m")
USERS = {"ml-100k": 500, "kuairand": 1500, "ml-1m": 500}
"""How many users of a dataset are drawn; KuaiRand's have few interactions and are hard to tell."""
NEWEST = 12
"""Interactions of each user: with all of them the comparison would take days."""
NARROWED: Mapping[str, Mapping[str, Any]] = {
    "embedding_size": {"values": (16, 32, 64)},
    "layers": {"high": 2},
    "max_length": {"low": 5, "high": NEWEST},
    "epochs": {"low": 3, "high": 10},
}
"""What differs from the agent's own space, for the same reason."""
LEFT_OUT = ("negatives", "norm")
"""Settings that came to the agent's space when most ways had been run; they stay as they are."""
TRIALS = 50
"""Candidates of TPE alone, and of each cycle before *longer*."""
EARLIER = (4, 2)
"""How many of each user's newest interactions the logs of the earlier cycles lack."""
EARLIER_TRIALS = 15
"""Candidates of each earlier cycle of the other ways."""
RUNGS = EvolveRequest.model_fields["rungs"].default
"""Shares of the epochs after which a training pauses, as a cycle has them."""
LONGEST = 30.0
"""Seconds after which a training ends with what it has learnt."""
WAYS = ("random", "tpe", "cold", "ours", "longer", "policy", "proposer", "llm")
RESULT = RESULTS / "evolution.json"


@dataclass(frozen=True)
class Step:
    """One training, or a candidate of a search, whose seconds are all up to its end.

    No rewards where it was not finished. ``confirm`` is the reward of the other users.
    """

    seconds: float
    reward: float | None = None
    confirm: float | None = None
    origin: str = ""


Measure = Callable[[Values, int, float, float], Step]
"""Values, seed, share of the epochs to train up to, share from which it goes on -> what came of it
and what the part between the two took."""


class Trials:
    """Trains candidates of one fold; the same point is trained once and costs everybody alike."""

    def __init__(self, fold: Fold) -> None:
        self.fold, self._agent = fold, load_agents()[AGENT]
        self._known: dict[str, Step] = {}
        self._checkpoints = TemporaryDirectory()

    def __call__(self, values: Values, seed: int, effort: float = 1.0, after: float = 0.0) -> Step:
        """Train and measure, or remember. What goes on was trained up to ``after`` before."""
        config = complete(self._agent, values)
        training = json.dumps([config, seed], sort_keys=True)
        key = f"{training} {after} {effort}"
        if key not in self._known:
            paused = hashlib.sha256(training.encode()).hexdigest()
            request = TrialRequest(
                AGENT,
                config,
                seed,
                effort,
                seconds=LONGEST,
                device="cpu",
                checkpoint=f"{self._checkpoints.name}/{paused}" if after or effort < 1 else "",
            )
            self._known[key] = self._train(request)
        return self._known[key]

    def _train(self, request: TrialRequest) -> Step:
        begin = time.process_time()
        try:
            found = run_trial(self.fold, request)
        except AgentError:  # it diverged: that is a result, and was paid for
            return Step(time.process_time() - begin)
        seconds = time.process_time() - begin
        values = found.per_user[METRIC]
        confirm = float(np.mean(values[~search_users(found.users)]))
        return Step(seconds, mean_reward(values, found.users), confirm)


@dataclass(frozen=True)
class Past:
    """What earlier cycles left behind, the newest first: best settings, trials, and a policy."""

    given: Sequence[Values]
    elsewhere: Elsewhere
    policy: PolicyState
    seconds: float


def part(dataset: Dataset, *, users: int, without: int = 0) -> Dataset:
    """Some users, and of each the ``NEWEST`` interactions but for the last ``without``.

    Rows are in the order of user and time. The same users are drawn every time.
    """
    rows = dataset.interactions
    drawn = np.zeros(dataset.n_users, dtype=bool)
    drawn[np.random.default_rng(0).permutation(dataset.n_users)[:users]] = True
    counts = np.bincount(rows.user, minlength=dataset.n_users)
    after = np.cumsum(counts)[rows.user] - np.arange(len(rows))
    kept = drawn[rows.user] & (after > without) & (after <= without + NEWEST)
    return replace(dataset, interactions=rows.take(kept))


def folds(data: str, without: Sequence[int] = (0,)) -> list[Fold]:
    """A dataset's part as trials see it, for each number of newest interactions that it lacks."""
    with TemporaryDirectory() as folder:
        whole = DatasetStore(Path(folder)).save("data", TASKS[data].read(), keep_good=True)
        parts = [part(whole, users=USERS[data], without=n) for n in without]
        return [make_fold(one, "leave_one_out", "valid") for one in parts]


def alone(space: Sequence[ConcreteParameter], seed: int, measure: Measure) -> Iterator[Step]:
    """Optuna's TPE with its default settings, as its own documentation has it."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    spent = 0.0
    while True:
        trial = study.ask()
        found = measure(
            {p.name: _suggested(trial, p) for p in space}, seed + trial.number, 1.0, 0.0
        )
        spent += found.seconds
        if found.reward is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, found.reward)
        yield replace(found, seconds=spent, origin="tpe")


def _suggested(trial: Any, parameter: ConcreteParameter) -> Any:
    if isinstance(parameter, Choice):
        return trial.suggest_categorical(parameter.name, parameter.values)
    suggest = trial.suggest_float if isinstance(parameter, FloatRange) else trial.suggest_int
    return suggest(parameter.name, parameter.low, parameter.high, log=parameter.log)


def search(
    method: Method,
    measure: Measure,
    seed: int,
    tried: list[Tried] | None = None,
    *,
    rungs: Sequence[float] = RUNGS,
) -> Iterator[Step]:
    """Candidates one after the other, as in a cycle. Each is trained with a seed of its own.

    What is known of each is put into ``tried``. Given points skip the rungs, as in a cycle.
    """
    known: list[Tried] = [] if tried is None else tried
    reached: dict[float, list[float]] = {effort: [] for effort in rungs}
    spent = 0.0
    while drawn := method.ask(known, 1):
        number, candidate, begun = len(known), drawn[0], spent
        on, found, after, rewards = True, Step(0.0), 0.0, list[float]()
        for effort in (*(() if candidate.origin == "given" else rungs), 1.0):
            found = measure(candidate.values, seed + number, effort, after)
            spent, after = spent + found.seconds, effort
            if found.reward is None:
                break
            if effort < 1:
                rewards.append(found.reward)
                on = goes_on(found.reward, reached[effort])
                reached[effort].append(found.reward)
                if not on:
                    found = Step(0.0)
                    break
        state: State = "done" if found.reward is not None else "failed" if on else "pruned"
        known.append(
            Tried(
                number,
                dict(candidate.values),
                state,
                found.reward,
                rewards,
                candidate.origin,
                note=candidate.note,
                seconds=spent - begun,
            )
        )
        yield replace(found, seconds=spent, origin=candidate.origin)


def past(
    space: Sequence[ConcreteParameter],
    seed: int,
    earlier: Sequence[Trials],
    method: Callable[[Fold, int, Past], Method],
    trials: int = EARLIER_TRIALS,
) -> Past:
    """Run the earlier cycles one after the other, each with what the ones before it left."""
    known = Past([defaults(space)], (), PolicyState.cold(space), 0.0)
    for place, measure in enumerate(earlier):
        begin, tried = seed + 500 * (1 + place), list[Tried]()
        drawn = search(method(measure.fold, begin, known), measure, begin, tried)
        steps = list(islice(drawn, trials))
        done = [one for one in tried if one.reward is not None]
        elsewhere = [done, *known.elsewhere]
        policy = _policy(space, measure.fold, known.policy, f"earlier {place}")
        known = Past(
            [max(paying(group), key=lambda t: t.reward or 0.0).values for group in elsewhere],
            elsewhere,
            policy.learnt(of_structure(tried, OWN)),
            known.seconds + steps[-1].seconds,
        )
    return known


def defaults(space: Sequence[ConcreteParameter]) -> Values:
    """The agent's own settings, as near to them as the space has some."""
    own = complete(load_agents()[AGENT], {})
    return {
        p.name: own[p.name] if isinstance(p, Choice) else min(max(own[p.name], p.low), p.high)
        for p in space
    }


def _policy(
    space: Sequence[ConcreteParameter],
    fold: Fold,
    stored: PolicyState,
    cycle: str,
    seed: int = 0,
    given: Sequence[Values] = (),
) -> Policy:
    situation = Situation.of(fold.dataset, outer_weight=0.1, trials=TRIALS, seconds=100.0)
    return Policy(space, situation, stored, cycle, seed, given)


def _ours(space: Sequence[ConcreteParameter], seed: int, known: Past) -> Search:
    own = [point for point in known.given if STRUCTURE not in point]
    elsewhere = [of_structure(group, OWN) for group in known.elsewhere]
    return Search(space, "tpe", seed, given=own, elsewhere=elsewhere)


def _by_chance(space: Sequence[ConcreteParameter], fold: Fold, seed: int) -> Method:
    """Structures by mutation and crossover."""
    agents = load_agents()
    own: Any = agents[AGENT]
    alike = [n for n, a in sorted(agents.items()) if a.spec.space.grammar == own.spec.space.grammar]
    others: dict[str, Any] = {AGENT: agents[AGENT], **{name: agents[name] for name in alike}}
    return StructuralVariation(
        document=lambda values: architecture(own, own.config_type(**complete(own, values))),
        known={name: architecture(a, a.config_type()) for name, a in others.items()},
        recipe=[*(p.name for p in _recipe()), "max_length"],
        limits=Limits(Sizes.of(TrainingData.of(fold.dataset))),
        seed=seed,
    )


def _recipe() -> list[ConcreteParameter]:
    own: Any = load_agents()[AGENT]
    return narrowed(recipe(own, own.config_type, own.spec.space))


def _taking_turns(
    space: Sequence[ConcreteParameter], structures: Method, name: str, seed: int, known: Past
) -> Method:
    """Our search and structures by ``name``, in turn, as a cycle combines them."""

    def search_for(values: Values) -> Method:
        key = structure_key(values)
        if key == OWN:
            return _ours(space, seed, known)
        elsewhere = [of_structure(group, key) for group in known.elsewhere]
        return Search(_recipe(), "tpe", seed + int(key[:8], 16), elsewhere=elsewhere)

    turns = AlternateOnSaturation(SearchBest(search_for), structures, ("tpe", name))
    return BeginWith([Candidate(point, "given") for point in known.given], turns)


def narrowed(space: Iterable[ConcreteParameter]) -> list[ConcreteParameter]:
    """The parameters with the bounds of ``NARROWED``, without those that are ``LEFT_OUT``."""
    kept = (p for p in space if p.name not in LEFT_OUT)
    return [p.model_copy(update=dict(NARROWED.get(p.name, {}))) for p in kept]


def compare(
    seed: int,
    measure: Trials,
    earlier: Sequence[Trials],
    ways: Sequence[str] = WAYS,
    trials: int = TRIALS,
    drafts: Drafts | None = None,
) -> tuple[dict[str, list[Step]], dict[str, float]]:
    """The ways with one seed, up to the seconds that TPE alone takes; seconds of earlier cycles.

    The way *llm* wants ``drafts``.
    """
    space = narrowed(load_agents()[AGENT].spec.space.expand())
    begin, fold = 1000 * seed, measure.fold

    def ours(fold: Fold, seed: int, known: Past) -> Method:
        return _ours(space, seed, known)

    def structures(fold: Fold, seed: int, known: Past) -> Method:
        chance = _by_chance(space, fold, seed)
        return _taking_turns(space, chance, "variation", seed, known)

    def llm(fold: Fold, seed: int, known: Past) -> Method:
        assert drafts is not None, "who asks for the way hands them over"
        return _taking_turns(space, drafts.proposer(AGENT, fold, seed), "llm", seed, known)

    def policy(fold: Fold, seed: int, known: Past) -> Method:
        return _policy(space, fold, known.policy, "now", seed, known.given)

    pasts: dict[str, tuple[Any, Any, int]] = {
        "ours": (ours, ours, EARLIER_TRIALS),
        "longer": (ours, ours, trials),
        "policy": (ours, policy, EARLIER_TRIALS),
        "proposer": (structures, structures, EARLIER_TRIALS),
        "llm": (llm, llm, EARLIER_TRIALS),
    }

    @cache
    def known_after(before: Callable[[Fold, int, Past], Method], length: int) -> Past:
        return past(space, begin, earlier, before, length)

    found = {"tpe": list(islice(alone(space, begin, measure), trials))}
    budget, spent = found["tpe"][-1].seconds, dict[str, float]()
    for way in ways:
        if way == "tpe":
            continue
        if way in pasts:
            before, now, length = pasts[way]
            known = known_after(before, length)
            spent[way] = known.seconds
            steps = search(now(fold, begin, known), measure, begin)
        else:
            blind = Search(space, "random" if way == "random" else "tpe", begin)
            steps = search(blind, measure, begin, rungs=RUNGS if way == "cold" else ())
        found[way] = list(takewhile(lambda step: step.seconds <= budget, steps))
        print(f"  seed {seed}, {way}: {len(found[way])} candidates", flush=True)
    return found, spent


def one_seed(data: str, seed: int, ways: Sequence[str] = WAYS) -> dict[str, Any]:
    """The comparison on a dataset with one seed, as it is written down."""
    torch.set_num_threads(1)
    now, *before = (Trials(fold) for fold in folds(data, (0, *EARLIER)))
    now({}, seed)  # what happens once in a process is no candidate's cost
    drafts = Drafts() if "llm" in ways else None
    found, earlier = compare(seed, now, before, ways, drafts=drafts)
    told = {way: [asdict(step) for step in steps] for way, steps in found.items()}
    models = {"llm": drafts.spent.as_note()} if drafts else {}
    return {"earlier_seconds": earlier, "language_models": models, "ways": told}


def main() -> None:
    """Run the seeds of each dataset and write each down when it is done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=",".join(DATA))
    parser.add_argument("--seeds", default="0,1,2,3,4")
    usual = WAYS if load_settings().language_models else WAYS[:-1]
    parser.add_argument("--ways", default=",".join(usual))
    parser.add_argument("--jobs", type=int, default=1, help="seeds at the same time")
    asked = parser.parse_args()
    with ProcessPoolExecutor(asked.jobs) as pool:
        for data in asked.data.split(","):
            ways, seeds = asked.ways.split(","), asked.seeds.split(",")
            futures = {pool.submit(one_seed, data, int(s), ways): s for s in seeds}
            for future in as_completed(futures):
                write(data, futures[future], future.result())
                print(f"{data}: seed {futures[future]} is done", flush=True)


def write(data: str, seed: str, found: Mapping[str, Any]) -> None:
    """Put a seed's ways into the file of results, each in the place of an older one."""
    written = json.loads(RESULT.read_text())["data"] if RESULT.exists() else {}
    row = written.get(data, {}).get(seed, {})
    merged = {part: {**row.get(part, {}), **found[part]} for part in found}
    merged["ways"] = {way: merged["ways"][way] for way in WAYS if way in merged["ways"]}
    written[data] = dict(sorted({**written.get(data, {}), seed: merged}.items()))
    told = {"machine": machine(), "trials": TRIALS, "data": written}
    RESULT.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
