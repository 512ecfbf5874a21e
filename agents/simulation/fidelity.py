"""How like real users simulated ones are, on users that nothing was learnt from.

======== ===================================================================================
part     what is compared, real with simulated
======== ===================================================================================
response the measure (watch ratio, rating), each user's mean, the number of each reaction a
         user: the held-out users meet the very items of their later halves, in order
sequence levels of two events in a row, over all pairs
items    popularity and genres of what is taken, and how unlike a user's items are
visits   events a visit, visits a user, in a free run (only where the log has times)
choice   whether a user takes this item and not that one (``choice``)
======== ===================================================================================

Beside each distance stand two others: that of one half of the real users to the other (``noise``:
nothing can be expected to be nearer), and that of users without any character, who do what some
other user did with some other item (``naive``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from agenticrs.agents.simulation.choice import Choice, choices
from agenticrs.agents.simulation.distances import (
    jensen_shannon,
    kullback_leibler,
    shares,
    wasserstein,
)
from agenticrs.agents.simulation.free_run import free_run
from agenticrs.agents.simulation.logbook import Logbook
from agenticrs.agents.simulation.luck import keys
from agenticrs.agents.simulation.page import act
from agenticrs.agents.simulation.replay import Moment, replay
from agenticrs.agents.simulation.world import Study
from agenticrs.platform.errors import DataError

_BINS = 20
_MOST_TIMES = 5
_LEAST_EVENTS = 5
_DECILES = 10


@dataclass(frozen=True)
class Figure:
    """One signal. ``real`` and ``simulated`` are means.

    ``distance``, ``noise`` and ``naive`` are Jensen-Shannon distances in [0, 1], ``divergence`` is
    KL(real || simulated) in bits, ``moved`` the Wasserstein distance in standard deviations of the
    real values (0 for what has no order).
    """

    part: str
    signal: str
    real: float
    simulated: float
    distance: float
    divergence: float
    moved: float
    noise: float
    naive: float


@dataclass(frozen=True)
class Fidelity:
    """All figures, the choices, and on how many held-out users and events they are."""

    figures: tuple[Figure, ...]
    choices: tuple[Choice, ...]
    users: int
    events: int

    def part(self, name: str) -> tuple[Figure, ...]:
        """The figures of a part; none where it could not be measured."""
        return tuple(figure for figure in self.figures if figure.part == name)


@dataclass(frozen=True)
class _Sample:
    """A value and a code (out of ``n``) for each observation, and its user."""

    user: Tensor
    value: Tensor
    code: Tensor
    n: int


def fidelity(study: Study, seed: int, *, days: int = 5) -> Fidelity:
    """Measure the study's world; ``days`` is the length of the free run.

    Raises DataError when no user was held out.
    """
    real = study.heldout()
    if not len(real):
        raise DataError("nobody was held out", hint="a study needs a log of some hundred users")
    simulated = replayed(study, real, seed)
    naive = _shuffled(study, real, seed)
    chosen = choices(study, seed)
    if study.world.signals.shown:
        taken = [log.take(log.positive) for log in (real, simulated, naive)]
    else:  # the log holds only what was taken: what is taken of what is offered
        taken = [_with_items(real, *pair) for pair in chosen[0].taken]
    figures = [
        *_response(study, real, simulated, naive),
        *_sequence(study, real, simulated, naive),
        *_items(study, *taken),
    ]
    if study.world.signals.timed:
        figures += _visits(study, real, seed, days)
    return Fidelity(tuple(figures), chosen, users=len(torch.unique(real.user)), events=len(real))


def of_offers(
    study: Study, real: Logbook, simulated: Logbook, choice: Choice, seed: int
) -> Fidelity:
    """Fidelity of users who were only offered items: response, items and the choice.

    ``real`` and ``simulated`` are the same events of held-out users, as they were and as simulated.
    """
    figures: list[Figure] = []
    if len(real):
        figures += _response(study, real, simulated, _shuffled(study, real, seed))
    if all(len(items) for _, items in choice.taken):
        log = study.heldout()
        figures += _items(study, *(_with_items(log, *pair) for pair in choice.taken))
    return Fidelity(tuple(figures), (choice,), users=choice.users, events=len(real))


def replayed(study: Study, log: Logbook, seed: int) -> Logbook:
    """The log with what its users would have done by the model, with the same items in order."""
    signals, world = study.world.signals, replace(study.world, items=study.items)
    level, amount = log.level.clone(), log.amount.clone()
    reactions, seconds = log.reactions.clone(), log.seconds.clone()
    satisfaction = log.satisfaction.clone()

    def live(moment: Moment) -> Tensor:
        at = moment.rows
        item = log.item[at]
        luck = keys(seed, log.user[at], item, at)
        done = act(world, moment.facing(item), study.items.seconds[item], luck)
        level[at], amount[at], reactions[at] = done.level, done.amount, done.reactions
        seconds[at], satisfaction[at] = done.seconds, done.satisfaction
        return done.satisfaction

    with torch.inference_mode():
        replay(log, study.persona, study.items, world.priors, live, mood=world.mood, most=len(log))
    return replace(
        log,
        level=level,
        amount=amount,
        reactions=reactions,
        seconds=seconds,
        satisfaction=satisfaction,
        positive=signals.is_positive(amount, reactions, seconds),
    )


def _shuffled(study: Study, log: Logbook, seed: int) -> Logbook:
    """The log with what users who taught did, each time one of them with one of their items."""
    taught = study.later.take(study.group[study.later.user] == 0)
    generator = torch.Generator().manual_seed(seed)
    other = taught.take(torch.randint(len(taught), (len(log),), generator=generator))
    return replace(other, user=log.user, item=log.item, day=log.day, place=log.place, last=log.last)


def _with_items(log: Logbook, user: Tensor, item: Tensor) -> Logbook:
    """A log of these pairs, of which only users and items mean anything."""
    rows = log.take(torch.zeros(len(user), dtype=torch.int64))
    return replace(rows, user=user, item=item)


def _response(study: Study, *logs: Logbook) -> list[Figure]:
    signals = study.world.signals
    known = logs[0].level >= 0
    figures = [
        _figure(
            "response",
            signals.measure,
            *(
                _Sample(
                    log.user[known],
                    log.amount[known].nan_to_num(0.0),
                    log.level[known],
                    signals.n_levels,
                )
                for log in logs
            ),
        ),
        _figure("response", "a user's mean satisfaction", *(_means(log) for log in logs)),
    ]
    for place, name in enumerate(signals.reactions):
        counted = (_times(log, log.reactions[:, place]) for log in logs)
        figures.append(_figure("response", f"{name}, times a user", *counted))
    return figures


def _sequence(study: Study, *logs: Logbook) -> list[Figure]:
    """Pairs of levels; the means are the correlation of the satisfaction before and after."""
    n = study.world.signals.n_levels
    first, second = _pairs(logs[0])
    known = (logs[0].level[first] >= 0) & (logs[0].level[second] >= 0)
    first, second = first[known], second[known]
    samples = [
        _Sample(
            log.user[first],
            log.level[first].to(torch.float32),
            log.level[first] * n + log.level[second],
            n * n,
        )
        for log in logs
    ]
    bonds = [_correlation(log.satisfaction[first], log.satisfaction[second]) for log in logs]
    figure = _figure("sequence", "level before and after", *samples)
    return [replace(figure, real=bonds[0], simulated=bonds[1], moved=0.0)]


def _items(study: Study, *logs: Logbook) -> list[Figure]:
    tags = study.items.tags
    order = study.items.popularity.argsort().argsort()
    decile = order * _DECILES // len(order)
    figures = [
        _figure(
            "items",
            "decile of popularity of what is taken",
            *(_Sample(log.user, decile[log.item], decile[log.item], _DECILES) for log in logs),
        )
    ]
    if bool((tags > 0).any()):
        figures.append(
            _figure("items", "genres of what is taken", *(_genres(log, tags) for log in logs))
        )
        figures.append(
            _figure(
                "items", "variety of a user's items", *(_variety(log, tags, study) for log in logs)
            )
        )
    return figures


def _visits(study: Study, real: Logbook, seed: int, days: int) -> list[Figure]:
    run = free_run(study, real, seed, days)
    return [
        _figure("visits", "events a visit", *(_Sample(*_sized(x), 12) for x in run.lengths)),
        _figure(
            "visits",
            f"visits in {days} days",
            *(_Sample(user, count, count.to(torch.int64), days + 1) for user, count in run.visits),
        ),
    ]


def _sized(lengths: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """User, length and its octave in half steps."""
    user, length = lengths
    return user, length, (2 * length.clamp(min=1).log2()).floor().to(torch.int64).clamp(max=11)


def _figure(part: str, signal: str, real: _Sample, simulated: _Sample, naive: _Sample) -> Figure:
    truth = shares(real.code, real.n)
    half = real.user % 2 == 0
    spread = float(real.value.to(torch.float64).std()) if len(real.value) > 1 else 0.0
    moved = wasserstein(real.value, simulated.value) / spread if spread > 0 else 0.0
    found = shares(simulated.code, real.n)
    return Figure(
        part=part,
        signal=signal,
        real=_mean(real.value),
        simulated=_mean(simulated.value),
        distance=jensen_shannon(truth, found),
        divergence=kullback_leibler(truth, found),
        moved=moved,
        noise=jensen_shannon(shares(real.code[half], real.n), shares(real.code[~half], real.n)),
        naive=jensen_shannon(truth, shares(naive.code, real.n)),
    )


def _means(log: Logbook) -> _Sample:
    """Mean satisfaction of each user with some events."""
    counts = torch.bincount(log.user).to(torch.float32)
    total = torch.zeros_like(counts).index_add_(0, log.user, log.satisfaction)
    user = (counts >= _LEAST_EVENTS).nonzero()[:, 0]
    mean = (total / counts.clamp(min=1))[user]
    return _Sample(user, mean, (mean * _BINS).to(torch.int64).clamp(max=_BINS - 1), _BINS)


def _times(log: Logbook, happened: Tensor) -> _Sample:
    user = torch.unique(log.user)
    times = torch.zeros(int(user.max()) + 1).index_add_(0, log.user, happened)[user]
    return _Sample(user, times, times.to(torch.int64).clamp(max=_MOST_TIMES), _MOST_TIMES + 1)


def _genres(log: Logbook, tags: Tensor) -> _Sample:
    row, tag = (tags[log.item] > 0).nonzero(as_tuple=True)
    return _Sample(log.user[row], tag, tag, tags.shape[1])


def _variety(log: Logbook, tags: Tensor, study: Study) -> _Sample:
    """How unlike each user's items are in genres: mean cosine distance of all pairs."""
    unit = functional.normalize(tags, dim=1)[log.item]
    known = unit.abs().sum(1) > 0
    total = torch.zeros(len(study.persona), tags.shape[1])
    total.index_add_(0, log.user[known], unit[known])
    n = torch.bincount(log.user[known], minlength=len(study.persona)).to(torch.float32)
    user = (n >= 2).nonzero()[:, 0]
    alike = (total.square().sum(1) - n) / (n * (n - 1)).clamp(min=1)
    variety = (1 - alike[user]).clamp(0.0, 1.0)
    return _Sample(user, variety, (variety * _BINS).to(torch.int64).clamp(max=_BINS - 1), _BINS)


def _pairs(log: Logbook) -> tuple[Tensor, Tensor]:
    """Rows of two events in a row of one user."""
    first = (log.user[1:] == log.user[:-1]).nonzero()[:, 0]
    return first, first + 1


def _correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1]) if len(a) > 1 else 0.0


def _mean(values: Tensor) -> float:
    return float(values.to(torch.float64).mean()) if len(values) else 0.0
