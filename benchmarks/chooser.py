"""Which of ten does a user take? A policy trained by GRPO, beside its reference and simple rules.

    OMP_NUM_THREADS=1 python benchmarks/chooser.py [--data ml-100k] [--seeds 1]

Eight tenths of the users teach (of KuaiRand a sample); the rest are never learnt from. Of those, up
to 20 choices each from the later half of their history are asked: the item that was really taken
among nine others (half of them drawn by popularity), in four offers. Each figure is a mean over
users, each interval from resampling users, paired. References are taught for 0, 1 or 4 passes; a
policy is trained from each of them for 3 passes of GRPO; beside it stands the reference that was
taught for 3 passes more. Step sizes are the agent's default and one that is larger; all are shown.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from sidebyside import RESULTS, keep
from simulation import dataset_of
from torch import Tensor

from agenticrs.agents.agent import Budget
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.retrieval.itemknn import ItemKNN, ItemKNNConfig
from agenticrs.agents.simulation.chooser.agent import SimulatedUser, SimulatedUserConfig
from agenticrs.agents.simulation.chooser.offers import Offers
from agenticrs.agents.simulation.logbook import rank
from agenticrs.agents.simulation.world import groups
from agenticrs.agents.training_data import TrainingData
from agenticrs.platform.data.dataset import Dataset
from agenticrs.rewards.significance import paired_bootstrap

DATA = ("ml-100k", "kuairand-pure")
MOST_TEACHING, MOST_ASKED, MOST_OF_ALL, CHOICES = 2_000, 600, 200, 20
OFFERED, TURNS, SLATE = 10, 4, 10
PASSES = 3
POLICIES = ((0, 1e-3), (1, 1e-3), (4, 3e-4), (4, 1e-3))
"""Passes of the reference, and the step size of the policy."""
Order = Callable[[UserBatch, Tensor], Tensor]
"""Offers (n, k) of users, the likeliest choice first."""


@dataclass(frozen=True)
class Exam:
    """Choices of users whom nobody learnt from: histories before them, what was taken, whose."""

    data: TrainingData
    users: UserBatch
    taken: Tensor
    row: Tensor
    offers: tuple[Tensor, ...]

    @staticmethod
    def of(dataset: Dataset) -> Exam:
        """Cut the users in two, and draw the offers."""
        rows, group = dataset.interactions, groups(dataset.n_users)
        teaching = (group != 2).nonzero()[:, 0][:MOST_TEACHING]
        asked = (group == 2).nonzero()[:, 0][:MOST_ASKED]
        kept = torch.zeros(dataset.n_users, dtype=torch.bool)
        kept[teaching] = True
        mask = kept[torch.from_numpy(rows.user.astype("int64"))].numpy()
        data = TrainingData.of(replace(dataset, interactions=rows.take(mask)))
        histories = TrainingData.of(dataset).histories.take(asked)
        owner, before = histories.rows, rank(histories.rows)
        half = histories.lengths[owner] // 2
        chosen = (before >= half.clamp(min=1)) & (before < half + CHOICES)
        entry = chosen.nonzero()[:, 0]
        whole = Offers.of(histories, dataset.n_items)
        offers = Offers(torch.bincount(data.histories.items, minlength=dataset.n_items), whole.had)
        row, taken = owner[entry], histories.items[entry]
        return Exam(
            data,
            _before(histories, entry),
            taken,
            torch.unique(row, return_inverse=True)[1],
            tuple(offers.make(row, taken, OFFERED, turn) for turn in range(TURNS)),
        )

    def of_user(self, values: Tensor) -> Tensor:
        """The mean of values (choices,) for each user."""
        n = int(self.row.max()) + 1
        total = torch.zeros(n, dtype=torch.float64).index_add_(0, self.row, values.double())
        return total / torch.bincount(self.row, minlength=n)

    def measure(self, order: Order) -> dict[str, Tensor]:
        """Accuracy and NDCG among ten by user; hit among the first ten of the whole catalogue.

        The catalogue is asked for one choice of some users.
        """
        right, gain = torch.zeros(len(self.taken)), torch.zeros(len(self.taken))
        for offered in self.offers:
            place = (order(self.users, offered) == self.taken[:, None]).to(torch.int8).argmax(1)
            right += (place == 0) / TURNS
            gain += (place + 2.0).log2().reciprocal() / TURNS
        first = (rank(self.row) == 0).nonzero()[:MOST_OF_ALL, 0]
        everything = torch.arange(self.data.n_items).expand(len(first), -1)
        top = order(self.users.take(first), everything)[:, :SLATE]
        hit = (top == self.taken[first][:, None]).any(1).double()
        return {"accuracy": self.of_user(right), "ndcg": self.of_user(gain), "hit_all": hit}


def _before(histories: UserBatch, entry: Tensor) -> UserBatch:
    """For each entry what its user had before it, of a user whom nobody knows."""
    begin = histories.offsets[:-1][histories.rows[entry]]
    lengths = entry - begin
    offsets = torch.zeros(len(entry) + 1, dtype=torch.int64)
    torch.cumsum(lengths, 0, out=offsets[1:])
    start = torch.repeat_interleave(begin - offsets[:-1], lengths)
    items = histories.items[torch.arange(int(offsets[-1])) + start]
    return UserBatch(torch.full((len(entry),), -1), offsets, items)


def by_score(score: Callable[[UserBatch], Tensor]) -> Order:
    """The order of scores of all items (n, n_items); what was had comes last."""

    def order(users: UserBatch, offered: Tensor) -> Tensor:
        parts = []
        for some in torch.arange(len(users)).split(1024):
            batch = users.take(some)
            scores = score(batch)
            scores[batch.rows, batch.items] = -torch.inf
            own = scores.gather(1, offered[some].clamp(min=0))
            own = own.masked_fill(offered[some] < 0, -torch.inf)
            parts.append(offered[some].gather(1, own.argsort(dim=1, descending=True, stable=True)))
        return torch.cat(parts)

    return order


def by_agent(agent: SimulatedUser) -> Order:
    """The order that a fitted agent puts offers in."""

    def order(users: UserBatch, offered: Tensor) -> Tensor:
        scores = torch.zeros(offered.shape).masked_fill(offered < 0, -torch.inf)
        given = Candidates(offered, scores)
        parts = [
            agent.act(users.take(some), [Candidates(given.items[some], given.scores[some])], 100)
            for some in torch.arange(len(users)).split(256)
        ]
        return torch.cat([part.items for part in parts])

    return order


def simple(exam: Exam) -> dict[str, Order]:
    """Popularity, and likeness by ItemKNN to the newest item and to the history."""
    knn = ItemKNN(ItemKNNConfig())
    knn.fit(exam.data, Budget())
    counts = torch.bincount(exam.data.histories.items, minlength=exam.data.n_items).float()

    def newest(users: UserBatch) -> Tensor:
        last = users.recent(1)[:, 0]
        return knn.score(UserBatch(users.users, torch.arange(len(users) + 1), last))

    return {
        "popularity": by_score(lambda users: counts.repeat(len(users), 1)),
        "most like the newest item": by_score(newest),
        "most like the history": by_score(knn.score),
    }


def trained(exam: Exam, seed: int, **config: Any) -> tuple[dict[str, Tensor], float]:
    """A fitted agent's measures, and the processor seconds of its training."""
    begin = time.process_time()
    agent = SimulatedUser(SimulatedUserConfig(**config), seed=seed)
    agent.fit(exam.data, Budget())
    return exam.measure(by_agent(agent)), time.process_time() - begin


def run(name: str, seeds: int) -> list[dict[str, Any]]:
    """Every rule and every policy on one dataset."""
    exam = Exam.of(dataset_of(name))
    size = {"data": name, "users": int(exam.row.max()) + 1, "choices": len(exam.taken)}
    print(name, size, flush=True)
    with torch.inference_mode():
        rules = {rule: exam.measure(order) for rule, order in simple(exam).items()}
    rows = [_row(size, rule, found) for rule, found in rules.items()]
    for seed in range(seeds):
        known: dict[int, dict[str, Tensor]] = {}
        for passes in sorted({n for taught, _ in POLICIES for n in (taught, taught + PASSES)}):
            # Without any training the vectors' likeness decides.
            config = {"reference_epochs": passes, "epochs": 0, "reference_rate": 2e-3}
            if not passes:
                config |= {"reference_epochs": 1, "reference_rate": 1e-12}
            known[passes], seconds = trained(exam, seed, **config)
            title = f"taught for {passes} passes"
            rows.append(_row(size, title, known[passes], seed=seed, cpu_seconds=seconds))
        for taught, rate in POLICIES:
            found, seconds = trained(
                exam, seed, reference_epochs=taught, epochs=PASSES, learning_rate=rate
            )
            beside = {"its reference": known[taught], "taught longer": known[taught + PASSES]}
            beside |= {rule: rules[rule] for rule in rules}
            title = f"GRPO from {taught} passes, rate {rate:g}"
            rows.append(_row(size, title, found, beside, seed=seed, cpu_seconds=seconds))
    return rows


def _row(
    size: dict[str, Any],
    title: str,
    found: dict[str, Tensor],
    beside: dict[str, dict[str, Tensor]] | None = None,
    **more: float,
) -> dict[str, Any]:
    row = {**size, "who": title, **{key: round(float(v.mean()), 4) for key, v in found.items()}}
    row |= {key: round(value, 1) for key, value in more.items()}
    for other, values in (beside or {}).items():
        apart = paired_bootstrap(found["accuracy"], values["accuracy"], seed=0)
        row[f"over {other}"] = [round(x, 4) for x in (apart.mean, apart.low, apart.high)]
    print(row, flush=True)
    return row


def main() -> None:
    """Run what is asked for, and keep it beside what was measured of other data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="*", default=list(DATA), choices=list(DATA))
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args()
    for name in asked.data:
        rows = run(name, asked.seeds)
        file = RESULTS / "chooser.json"
        old = json.loads(file.read_text())["rows"] if file.exists() else []
        keep("chooser", [row for row in old if row["data"] != name] + rows)


if __name__ == "__main__":
    main()
