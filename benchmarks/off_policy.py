"""Off-policy estimates beside what was really earned, on the small Open Bandit Dataset.

    OMP_NUM_THREADS=1 python benchmarks/off_policy.py

Two policies chose fashion items side by side in one week, for two campaigns: a uniform one and one
by Thompson sampling, 10,000 rows of each (Saito et al. 2020). From the log of either the other's
clicks are estimated, and compared with the clicks that it had. Thompson sampling's probabilities
are known only for what it did, so as a target it is its shares of the items at each position, over
the week.

Some fifty clicks a log leave wide intervals. So the same logs are drawn anew from click rates that
are set (those of the log, drawn to the mean): there the truth is known, and bias, error and
coverage of the intervals are measured over many draws.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sidebyside import keep
from torch import Tensor

from agenticrs.rewards.off_policy import (
    Logged,
    Worth,
    bootstrap_interval,
    cross_fitted_means,
    direct,
    doubly_robust,
    expected,
    ips,
    snips,
)

DATA = Path(os.environ.get("AGENTICRS_DATA", "../shared/data")) / "open-bandit-sample"
CAMPAIGNS, POLICIES, CLIP = ("men", "women"), ("random", "bts"), 10.0
POSITIONS = 3


@dataclass(frozen=True)
class Log:
    """One policy's week: items and positions as codes, clicks, and propensities, each (n,)."""

    item: Tensor
    position: Tensor
    click: Tensor
    propensity: Tensor
    n_items: int

    @staticmethod
    def read(policy: str, campaign: str) -> Log:
        """From the sample's files."""
        with gzip.open(DATA / f"{policy}_{campaign}.csv.gz", "rt") as lines:
            rows = list(csv.DictReader(lines))
        item = torch.tensor([int(row["item_id"]) for row in rows])
        return Log(
            item=item,
            position=torch.tensor([int(row["position"]) - 1 for row in rows]),
            click=torch.tensor([float(row["click"]) for row in rows], dtype=torch.float64),
            propensity=torch.tensor(
                [float(row["propensity_score"]) for row in rows], dtype=torch.float64
            ),
            n_items=int(item.max()) + 1,
        )

    def shares(self) -> Tensor:
        """Of the items at each position, (POSITIONS, n_items) float64."""
        place = self.position * self.n_items + self.item
        counts = torch.bincount(place, minlength=POSITIONS * self.n_items)
        table = counts.view(POSITIONS, self.n_items).to(torch.float64)
        return table / table.sum(1, keepdim=True)

    def rates(self, strength: float = 200.0) -> Tensor:
        """Click rates by position and item, drawn to the mean of all."""
        place, cells = self.position * self.n_items + self.item, POSITIONS * self.n_items
        clicks = torch.bincount(place, self.click, minlength=cells)
        shown = torch.bincount(place, minlength=cells)
        rates = (clicks + strength * self.click.mean()) / (shown + strength)
        return rates.view(POSITIONS, self.n_items)


def policy_of(name: str, log: Log) -> Tensor:
    """As a target, (POSITIONS, n_items)."""
    if name == "random":
        return torch.full((POSITIONS, log.n_items), 1 / log.n_items, dtype=torch.float64)
    return log.shares()


def estimates(log: Log, target: Tensor, seed: int) -> tuple[Logged, dict[str, Worth]]:
    """All estimators, for a target (POSITIONS, n_items)."""
    logged = Logged.of(log.click, log.propensity)
    wanted = target[log.position, log.item]
    model = cross_fitted_means(log.click, log.item, log.n_items, strength=100.0, seed=seed)
    of_logged = model.gather(1, log.item[:, None])[:, 0]
    of_target = expected(model, target[log.position])
    return logged, {
        "IPS": ips(logged, wanted),
        f"IPS, weights to {CLIP:g}": ips(logged, wanted, clip=CLIP),
        "SNIPS": snips(logged, wanted),
        "DM": direct(logged, of_target),
        "DR": doubly_robust(logged, wanted, of_logged, of_target),
        f"DR, weights to {CLIP:g}": doubly_robust(logged, wanted, of_logged, of_target, clip=CLIP),
    }


def beside_the_truth(
    source: str, target: str, campaign: str, samples: int = 1000
) -> list[dict[str, Any]]:
    """What was estimated from one log, and what the other policy had."""
    log, other = Log.read(source, campaign), Log.read(target, campaign)
    clicks = float(other.click.mean())
    spread = math.sqrt(clicks * (1 - clicks) / len(other.click))
    logged, found = estimates(log, policy_of(target, other), seed=0)
    rows = []
    for name, worth in found.items():
        low, high = bootstrap_interval(logged, worth, samples=samples, seed=0)
        apart = abs(worth.value - clicks) / math.hypot(worth.error, spread)
        rows.append(
            {
                "campaign": campaign,
                "log": source,
                "target": target,
                "estimator": name,
                "value": worth.value,
                "low": worth.low,
                "high": worth.high,
                "bootstrap": [low, high],
                "effective": round(worth.effective, 1),
                "heaviest": round(worth.heaviest, 4),
                "clipped": round(worth.clipped, 4),
                "on-policy": clicks,
                "on-policy error": spread,
                "log's own": float(log.click.mean()),
                "standard errors apart": round(apart, 2),
            }
        )
    return rows


def drawn_anew(source: str, target: str, campaign: str, draws: int) -> list[dict[str, Any]]:
    """Bias, error and coverage where click rates are set, over many logs of the same size."""
    log, other = Log.read(source, campaign), Log.read(target, campaign)
    rates, wanted = Log.read("random", campaign).rates(), policy_of(target, other)
    acting = policy_of(source, log)
    # What was never done cannot be drawn; a hundredth of the uniform policy makes it possible.
    acting = 0.99 * acting + 0.01 / log.n_items
    mix = torch.bincount(log.position, minlength=POSITIONS).to(torch.float64)
    mix = mix / mix.sum()
    truth = float((mix[:, None] * wanted * rates).sum())
    values: dict[str, list[float]] = {}
    held: dict[str, int] = {}
    for seed in range(draws):
        generator = torch.Generator().manual_seed(seed)
        n = len(log.click)
        position = torch.multinomial(mix, n, replacement=True, generator=generator)
        item = torch.multinomial(acting[position], 1, generator=generator)[:, 0]
        click = torch.bernoulli(rates[position, item], generator=generator)
        anew = Log(item, position, click, acting[position, item], log.n_items)
        for name, worth in estimates(anew, wanted, seed)[1].items():
            values.setdefault(name, []).append(worth.value)
            held[name] = held.get(name, 0) + (worth.low <= truth <= worth.high)
    rows = []
    for name, found in values.items():
        told = torch.tensor(found, dtype=torch.float64)
        rows.append(
            {
                "campaign": campaign,
                "log": source,
                "target": target,
                "estimator": name,
                "draws": draws,
                "truth": truth,
                "bias": float(told.mean()) / truth - 1,
                "bias error": float(told.std()) / math.sqrt(draws) / truth,
                "rmse": float((told - truth).square().mean().sqrt()) / truth,
                "coverage": held[name] / draws,
            }
        )
    return rows


def main() -> None:
    """Compare both directions of both campaigns, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=100)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for campaign in CAMPAIGNS:
        for source, target in (POLICIES, POLICIES[::-1]):
            rows += beside_the_truth(source, target, campaign)
            rows += drawn_anew(source, target, campaign, arguments.draws)
            keep("off_policy", rows)
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
