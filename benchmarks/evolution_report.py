"""Table and picture of ``results/evolution.json``: what each method adds at equal seconds.

    python benchmarks/evolution_report.py [FILE]

The picture goes to ``docs/pictures/evolution.svg``; the table is printed. Of another file, such as
``results/evolution-later.json``, the table alone. At every moment a way has
an *incumbent*: the candidate with the best reward of the search users so far. What is drawn and
compared is the incumbent's reward on the confirm users, which nothing was chosen by: the best of
many noisy rewards would flatter whoever tries most.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import sem, t  # type: ignore[import-untyped]  # scipy ships no types

from agenticrs.rewards.significance import bootstrap_mean

RESULT = Path(__file__).parent / "results" / "evolution.json"
PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "evolution.svg"
GOAL = 1 / 3
"""The share of TPE's seconds within which its best is to be reached."""
GRID = np.linspace(0.0, 1.0, 61)[1:]
"""Shares of TPE's seconds at which curves are read."""
COLOURS = {
    "random": "#999999",
    "tpe": "#444444",
    "cold": "#56b4e9",
    "ours": "#0072b2",
    "longer": "#332288",
    "policy": "#d55e00",
    "proposer": "#009e73",
    "llm": "#cc79a7",
}
FloatArray = NDArray[np.float64]
Steps = Sequence[Mapping[str, Any]]


def incumbents(steps: Steps, seconds: Sequence[float] | FloatArray, what: str) -> FloatArray:
    """Reward ``what`` of the incumbent after so many seconds; 0 while there is none."""
    found, best = [(0.0, 0.0)], -math.inf
    for step in steps:
        if step["reward"] is not None and step["reward"] > best:
            best = step["reward"]
            found.append((step["seconds"], step[what]))
    ends, values = np.array(found).T
    place = np.searchsorted(ends, np.asarray(seconds), side="right") - 1
    return np.asarray(values[place], dtype=np.float64)


def best_reward(steps: Steps) -> float:
    """The best that the search users got of a search."""
    return float(incumbents(steps, [math.inf], "reward")[0])


def seconds_to(steps: Steps, reward: float) -> float:
    """Seconds until the search users' best reaches ``reward``; infinite where it never does."""
    reached = (s["seconds"] for s in steps if s["reward"] is not None and s["reward"] >= reward)
    return next(reached, math.inf)


def curves(seeds: Sequence[Mapping[str, Steps]], way: str, what: str = "confirm") -> FloatArray:
    """(S, G): a row a seed, at ``GRID`` of the seconds that TPE took with that seed."""
    return np.stack([incumbents(row[way], GRID * row["tpe"][-1]["seconds"], what) for row in seeds])


def reached(mean: FloatArray, goal: float) -> float:
    """The least share from which a mean curve stays at the goal or above; infinite for never."""
    below = np.flatnonzero(mean < goal)
    first = 0 if not len(below) else below[-1] + 1
    return float(GRID[first]) if first < len(GRID) else math.inf


def median_interval(values: Sequence[float], samples: int = 4000) -> tuple[float, float, float]:
    """Median with a 95 % bootstrap interval over seeds; unreached ones are infinite.

    Of an even number the higher of the middle two, which is the careful one for a censored time.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    middle = len(ordered) // 2
    drawn = np.random.default_rng(0).integers(len(ordered), size=(samples, len(ordered)))
    medians = np.sort(np.sort(ordered[drawn], axis=1)[:, middle])
    low, high = medians[int(0.025 * samples)], medians[int(0.975 * samples) - 1]
    return float(ordered[middle]), float(low), float(high)


def table(seeds: Sequence[Mapping[str, Steps]]) -> str:
    """One dataset as Markdown: each way at a third of the seconds and at all of them."""
    heads = ["way", "candidates", "search users: a third", "all", "confirm users: a third", "all"]
    heads += ["a third less TPE's all", "all less TPE's all", "curve reaches TPE's end"]
    heads += ["TPE's best reward after (median)"]
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    third = int(np.searchsorted(GRID, GOAL))
    end = curves(seeds, "tpe")[:, -1]
    goals = [best_reward(row["tpe"]) for row in seeds]
    for way in seeds[0]:
        steered, judged = curves(seeds, way, "reward"), curves(seeds, way)
        shares = [
            seconds_to(row[way], goal) / row["tpe"][-1]["seconds"]
            for row, goal in zip(seeds, goals, strict=True)
        ]
        cells = [way, f"{np.median([len(row[way]) for row in seeds]):.0f}"]
        cells += [f"{steered[:, third].mean():.4f}", f"{steered[:, -1].mean():.4f}"]
        cells += [f"{judged[:, third].mean():.4f}", f"{judged[:, -1].mean():.4f}"]
        cells += [_gain(judged[:, place] - end) for place in (third, -1)]
        cells.append(_share(reached(judged.mean(0), float(end.mean()))))
        middle, low, high = (_share(v) for v in median_interval(shares))
        cells.append(f"{middle} [{low}, {high}]")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _gain(differences: FloatArray) -> str:
    found = bootstrap_mean(torch.from_numpy(differences), seed=0)
    return f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def _share(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.2f}"


def picture(data: Mapping[str, Sequence[Mapping[str, Steps]]], file: Path) -> None:
    """Mean curves of the confirm users' reward with 95 % intervals over seeds (Student's t)."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    mpl.rcParams.update({"svg.hashsalt": "evolution", "font.size": 9})
    figure, panels = pyplot.subplots(1, len(data), figsize=(4 * len(data), 3.4), squeeze=False)
    for panel, (name, seeds) in zip(panels[0], data.items(), strict=True):
        for way in seeds[0]:
            found = curves(seeds, way)
            panel.plot(GRID, found.mean(0), color=COLOURS[way], label=way)
            if len(found) > 2:  # of two an interval says nothing
                half = t.ppf(0.975, len(found) - 1) * sem(found)
                low, high = found.mean(0) - half, found.mean(0) + half
                panel.fill_between(GRID, low, high, color=COLOURS[way], alpha=0.1, linewidth=0)
        # Intervals of two or three seeds reach far out: the axis is for the curves.
        panel.set_ylim(0.0, 1.3 * max(curves(seeds, way).mean(0).max() for way in seeds[0]))
        panel.axvline(GOAL, color="#bbbbbb", linewidth=0.8, linestyle=":")
        panel.set(title=f"{name}, {len(seeds)} seeds", xlabel="share of TPE's training seconds")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel("NDCG@10 of the incumbent, confirm users")
    panels[0][-1].legend(frameon=False, loc="lower right")
    file.parent.mkdir(exist_ok=True)
    figure.savefig(file, bbox_inches="tight", metadata={"Date": None, "Creator": None})


def main() -> None:
    """Print the tables and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=RESULT)
    file = parser.parse_args().file
    told = json.loads(file.read_text())["data"]
    data = {name: [row["ways"] for row in seeds.values()] for name, seeds in told.items()}
    for name, seeds in data.items():
        print(f"{name}\n{table(seeds)}\n")
    if file == RESULT:
        picture(data, PICTURE)


if __name__ == "__main__":
    main()
