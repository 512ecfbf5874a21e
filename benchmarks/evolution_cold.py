"""Which search a first cycle should have, on models of the rewards of ``evolution.py``.

    OMP_NUM_THREADS=1 python benchmarks/evolution_cold.py --points
    OMP_NUM_THREADS=1 python benchmarks/evolution_cold.py

Variants of the search without a past differ less than seeds do, and a seed of one takes a minute of
training: five cannot tell them apart, and hundreds cannot be paid. So they run on Gaussian
processes, one set a dataset, of what was trained already. ``--points`` draws the candidates of
*random* and *tpe* in ``results/evolution.json`` again (both follow from their seeds and from the
rewards written there), trains ``SHORT_ONES`` of them at the short rung as well, and the agent's
defaults, and writes all to ``results/evolution-points.json``. The other call simulates
``VARIANTS``: a training gives the modelled reward with the noise that is left, and takes the
modelled seconds.

What is compared is the *modelled* reward on the confirm users of the best so far, without noise, at
shares of the seconds that Optuna's TPE takes for its ``TRIALS`` candidates with the same seed. It
goes to ``results/evolution-cold.json``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

import evolution
import numpy as np
import torch
from evolution import Measure, Step, Trials
from evolution_report import GOAL, GRID, incumbents
from numpy.typing import NDArray
from published import RESULTS

from agenticrs.agents.catalogue import load_agents
from agenticrs.evolution.methods.method import Values
from agenticrs.evolution.methods.search import Search
from agenticrs.registry.spec import Choice, ConcreteParameter

POINTS, RESULT = RESULTS / "evolution-points.json", RESULTS / "evolution-cold.json"
SHORT_ONES = 160
"""Candidates of a dataset that are trained at the short rung as well."""
RUNG = 0.25
"""Share of the epochs of a short training. The points that are kept were trained when rungs were
trainings of their own, of half of the users: who goes on pays for the whole one besides."""
DEFAULTS = 3
"""Trainings of the defaults, with a seed each: they stand beside what was drawn."""
LEARNT = 300
"""Points that a process's widths are chosen on, the time of which grows with their cube."""
FOUND = ("seconds", "reward", "confirm", "short_seconds", "short")
"""What is kept of a point beside its values."""
FloatArray = NDArray[np.float64]
Row = dict[str, Any]


def collect(data: str, space: Sequence[ConcreteParameter]) -> list[Row]:
    """What was trained of a dataset, drawn again, and the short trainings beside."""
    rows: list[Row] = []
    for seed, row in json.loads(evolution.RESULT.read_text())["data"][data].items():
        begin, ways = 1000 * int(seed), row["ways"]
        blind = Search(space, "random", begin)
        rows += drawn_again(ways["tpe"], lambda measure: evolution.alone(space, begin, measure))  # noqa: B023
        rows += drawn_again(
            ways["random"],
            lambda measure: evolution.search(blind, measure, begin, rungs=()),  # noqa: B023
        )
    (fold,) = evolution.folds(data)
    trials = Trials(fold)
    trials({}, 0)  # what happens once in a process is no candidate's cost
    own = evolution.defaults(space)
    drawn = np.random.default_rng(0).permutation(len(rows))[:SHORT_ONES]
    begun: list[Row] = [{"values": own, "seed": 9000 + n} for n in range(DEFAULTS)]
    for one in begun:
        found = trials(own, one["seed"])
        one |= {"seconds": found.seconds, "reward": found.reward, "confirm": found.confirm}
    rows = [*begun, *rows]
    for one in [*begun, *(rows[DEFAULTS + place] for place in drawn)]:
        low = trials(one["values"], one["seed"], RUNG)
        one |= {"short": low.reward, "short_seconds": low.seconds}
    return rows


def drawn_again(steps: Sequence[Mapping[str, Any]], search: Any) -> list[Row]:
    """The candidates of a search whose rewards and seconds are known, with their values."""
    rows: list[Row] = []
    ends = [0.0, *(step["seconds"] for step in steps)]

    def measure(values: Values, seed: int, effort: float, after: float) -> Step:
        step, place = steps[len(rows)], len(rows)
        told = {"seconds": ends[place + 1] - ends[place], "reward": step["reward"]}
        rows.append({"values": dict(values), "seed": seed, "confirm": step["confirm"], **told})
        return Step(told["seconds"], step["reward"], step["confirm"])

    for _ in islice(search(measure), len(steps)):
        pass
    return rows


class Process:
    """A Gaussian process with a width for each column; widths and noise fit the points best."""

    def __init__(self, points: FloatArray, values: FloatArray, steps: int = 80) -> None:
        self.mean, self.spread = float(values.mean()), float(values.std()) or 1.0
        x = torch.from_numpy(points)
        y = torch.from_numpy((values - self.mean) / self.spread)
        logs = torch.zeros(x.shape[1] + 2, dtype=torch.float64)
        logs[-1] = -1.0
        logs.requires_grad_()
        chosen = torch.from_numpy(np.random.default_rng(0).permutation(len(x))[:LEARNT])
        optimiser = torch.optim.Adam([logs], lr=0.1)
        for _ in range(steps):
            optimiser.zero_grad()
            factor = torch.linalg.cholesky(_covariance(x[chosen], logs))
            half = torch.linalg.solve_triangular(factor, y[chosen, None], upper=False)
            prior = 0.02 * (logs[:-2] ** 2).sum()  # no column is endlessly wide or narrow
            loss = 0.5 * (half**2).sum() + factor.diagonal().log().sum() + prior
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        with torch.no_grad():
            self._widths = logs[:-2].exp().numpy()
            self._scale = float(logs[-2].exp())
            self.noise = float(logs[-1].exp().sqrt()) * self.spread
            self._points = points / self._widths
            self._weights = torch.linalg.solve(_covariance(x, logs), y).numpy()

    def __call__(self, point: FloatArray) -> float:
        """The mean at a point."""
        apart = np.sqrt(3 * ((self._points - point / self._widths) ** 2).sum(1) + 1e-12)
        near = self._scale * (1 + apart) * np.exp(-apart)
        return self.mean + self.spread * float(near @ self._weights)


def _covariance(x: torch.Tensor, logs: torch.Tensor) -> torch.Tensor:
    scaled = x / logs[:-2].exp()
    apart = (3 * ((scaled[:, None] - scaled[None]) ** 2).sum(-1) + 1e-12).sqrt()
    near = logs[-2].exp() * (1 + apart) * (-apart).exp()
    return near + (logs[-1].exp() + 1e-6) * torch.eye(len(x), dtype=x.dtype)


class Model:
    """Takes the place of trainings: roots of rewards and logarithms of seconds are modelled."""

    def __init__(self, space: Sequence[ConcreteParameter], rows: Sequence[Row]) -> None:
        self._space = space
        short = [row for row in rows if "short" in row]
        self._reward, self._confirm = (self._of(rows, n, np.sqrt) for n in ("reward", "confirm"))
        self._seconds = self._of(rows, "seconds", np.log)
        self._short, self._short_seconds = (
            self._of(short, "short", np.sqrt),
            self._of(short, "short_seconds", np.log),
        )
        self.told = {
            name: round(float(np.corrcoef(left, right)[0, 1]), 3)
            for name, left, right in (
                ("reward, confirm", _column(rows, "reward"), _column(rows, "confirm")),
                ("short, reward", _column(short, "short"), _column(short, "reward")),
                ("short, confirm", _column(short, "short"), _column(short, "confirm")),
            )
        }

    def __call__(self, values: Values, seed: int, effort: float, after: float) -> Step:
        """The step that a training would have been; the same one for the same arguments."""
        point, short = self._point(values), effort < 1
        drawn = np.random.default_rng([seed, short]).standard_normal()
        model = self._short if short else self._reward
        reward = max(0.0, model(point) + model.noise * drawn) ** 2
        seconds = float(np.exp((self._short_seconds if short else self._seconds)(point)))
        return Step(seconds, reward, max(0.0, self._confirm(point)) ** 2)

    def _of(self, rows: Sequence[Row], name: str, scaled: Any) -> Process:
        points = np.stack([self._point(row["values"]) for row in rows])
        return Process(points, scaled(_column(rows, name)))

    def _point(self, values: Values) -> FloatArray:
        found: list[float] = []
        for p in self._space:
            if isinstance(p, Choice):
                found += [float(values[p.name] == one) for one in p.values]
            else:
                scaled = np.log if p.log else float
                low, high = scaled(p.low), scaled(p.high)
                found.append(float((scaled(values[p.name]) - low) / (high - low)))
        return np.array(found)


def _column(rows: Sequence[Row], name: str) -> FloatArray:
    return np.array([row[name] for row in rows], dtype=np.float64)


@dataclass(frozen=True)
class Variant:
    """A search without a past."""

    joint: bool
    startup: int
    rung: bool
    defaults: bool

    @property
    def name(self) -> str:
        """What a table calls it."""
        parts = ["joint" if self.joint else "each", str(self.startup)]
        return " ".join([*parts, *["rung"] * self.rung, *["defaults"] * self.defaults])

    def steps(
        self, space: Sequence[ConcreteParameter], seed: int, measure: Measure
    ) -> Iterator[Step]:
        """Its candidates, one after the other."""
        given = [evolution.defaults(space)] if self.defaults else []
        method = Search(space, "tpe", seed, given=given, joint=self.joint, startup=self.startup)
        return evolution.search(method, measure, seed, rungs=(RUNG,) if self.rung else ())


VARIANTS = (
    Variant(joint=True, startup=4, rung=True, defaults=False),
    Variant(joint=True, startup=4, rung=True, defaults=True),
    Variant(joint=False, startup=4, rung=True, defaults=True),
    Variant(joint=False, startup=4, rung=False, defaults=True),
    Variant(joint=False, startup=10, rung=True, defaults=True),
    Variant(joint=False, startup=10, rung=False, defaults=True),
)
"""The search as it was measured first, and what it could be."""


def simulate(model: Model, space: Sequence[ConcreteParameter], seed: int) -> dict[str, list[float]]:
    """Curve of the best so far on the confirm users, of each variant and of TPE alone."""
    begin = 1000 * seed
    alone = list(islice(evolution.alone(space, begin, model), evolution.TRIALS))
    budget = alone[-1].seconds
    found = {"tpe": alone}
    for one in VARIANTS:
        steps = one.steps(space, begin, model)
        found[one.name] = list(takewhile(lambda step: step.seconds <= budget, steps))
    return {
        name: [
            round(float(v), 5)
            for v in incumbents([asdict(step) for step in steps], GRID * budget, "confirm")
        ]
        for name, steps in found.items()
    }


def table(told: Mapping[str, Any]) -> str:
    """As Markdown: each variant at a third of the seconds, at all, and over the whole curve.

    The whole curve is told as a share of TPE's, and how often it is above TPE's.
    """
    heads = ["variant"]
    heads += [f"{data}: {what}" for data in told for what in ("a third", "all", "curve", "better")]
    lines = ["| " + " | ".join([*heads, "mean curve"]) + " |", "| --- " * (len(heads) + 1) + "|"]
    third = int(np.searchsorted(GRID, GOAL))
    for name in next(iter(told.values()))["curves"]:
        cells, shares = [name], []
        for found in told.values():
            own, tpe = (np.array(found["curves"][way]) for way in (name, "tpe"))
            shares.append(own.mean() / tpe.mean())
            better = float((own.mean(1) > tpe.mean(1)).mean())
            ends = [f"{own[:, place].mean():.4f}" for place in (third, -1)]
            cells += [*ends, f"{shares[-1]:.2f}", f"{better:.2f}"]
        lines.append("| " + " | ".join([*cells, f"{np.mean(shares):.2f}"]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Train the points, or simulate on what was trained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", action="store_true", help="train what the models are of")
    parser.add_argument("--data", default="ml-100k,kuairand")
    parser.add_argument("--seeds", type=int, default=12)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    space = evolution.narrowed(load_agents()[evolution.AGENT].spec.space.expand())
    for data in asked.data.split(","):
        if asked.points:
            _write(POINTS, data, _packed(collect(data, space)))
            continue
        model = Model(space, _unpacked(json.loads(POINTS.read_text())[data]))
        found = [simulate(model, space, seed) for seed in range(asked.seeds)]
        curves = {name: [one[name] for one in found] for name in found[0]}
        _write(RESULT, data, {"correlations": model.told, "curves": curves})
        print(table(json.loads(RESULT.read_text())), flush=True)


def _packed(rows: Sequence[Row]) -> dict[str, Any]:
    names = list(rows[0]["values"])
    values = [[_rounded(row["values"][name]) for name in names] for row in rows]
    found = [[_rounded(row.get(name)) for name in FOUND] for row in rows]
    return {"names": names, "rows": [[*v, *f] for v, f in zip(values, found, strict=True)]}


def _unpacked(packed: Mapping[str, Any]) -> list[Row]:
    names = packed["names"]
    return [
        {
            "values": dict(zip(names, row, strict=False)),
            **{n: v for n, v in zip(FOUND, row[len(names) :], strict=True) if v is not None},
        }
        for row in packed["rows"]
    ]


def _rounded(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _write(file: Path, data: str, found: Mapping[str, Any]) -> None:
    written = json.loads(file.read_text()) if file.exists() else {}
    written[data] = found
    lines = [f"{json.dumps(name)}: {json.dumps(one)}" for name, one in written.items()]
    file.write_text("{" + ",\n".join(lines) + "}\n")


if __name__ == "__main__":
    main()
