"""The protocols of published tables: data, split, what is trained on, and the agents' settings.

What each of them means is written in ``docs/results.md``; ``published.py`` runs them. Data is
looked for in ``AGENTICRS_DATA``.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from agenticrs.agents.training_data import Heldout, TrainingData
from agenticrs.platform.data.dataset import Dataset, Fold, Positive
from agenticrs.platform.data.generated import GeneratorConfig, generate
from agenticrs.platform.data.importers.kuairand import read_kuairand
from agenticrs.platform.data.importers.movielens import read_movielens
from agenticrs.platform.data.raw import Declaration, RawLog
from agenticrs.platform.data.splits import Part, make_fold
from agenticrs.platform.data.store import DatasetStore

DATA = Path(os.environ.get("AGENTICRS_DATA", "../shared/data"))
PARTS = ("train", "valid", "test")
FILES = "files"
"""A split in which the source itself says what is held out (``read_parts``)."""


@dataclass(frozen=True)
class Task:
    """A dataset, a split, what is trained on, and the configs that differ from the defaults.

    ``split`` is ``FILES`` or a name for ``make_fold``, in which ``{seed}`` becomes the run's seed.
    """

    read: Callable[[], RawLog]
    split: str
    train_on: Literal["train", "train+valid"]
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    validate_every: Mapping[str, int] = field(default_factory=dict)
    """Agents whose epoch is chosen on the validation part, and how often that is looked at."""
    cut: int = 10
    """How long the lists are that count."""
    draws: int = 0
    """How many validation parts are drawn anew from train and valid together to choose configs on,
    each as large as the split's; 0: the split's own one."""


def read_parts(folder: Path) -> RawLog:
    """Files with a user and the user's items in each line, one file for each of ``PARTS``.

    There are no times: the number of the part stands in their place.
    """
    users: list[str] = []
    items: list[str] = []
    parts: list[int] = []
    for part, name in enumerate(PARTS):
        with gzip.open(folder / f"{name}.txt.gz", "rt") as file:
            for line in file:
                user, *found = line.split()
                users += [user] * len(found)
                items += found
                parts += [part] * len(found)
    return _bare(users, items, parts)


def read_sequences(file: Path) -> RawLog:
    """A file with a user and the user's items, oldest first, in each line. There are no times."""
    users: list[str] = []
    items: list[str] = []
    places: list[int] = []
    with gzip.open(file, "rt") as lines:
        for line in lines:
            user, *found = line.split()
            users += [user] * len(found)
            items += found
            places += range(len(found))
    return _bare(users, items, places)


def _bare(users: list[str], items: list[str], places: list[int]) -> RawLog:
    """A log of positives of which nothing else is said."""
    columns = {"user_id": users, "item_id": items, "timestamp": places}
    return RawLog(
        interactions=pa.table({**columns, "click": np.ones(len(users))}),
        users=pa.table({"user_id": pa.array([], pa.string())}),
        items=pa.table({"item_id": pa.array([], pa.string())}),
        declaration=Declaration(Positive("click", 1.0), has_times=False),
    )


NO_RECENCY = 1e9
"""A half-life so long that entries of a history weigh the same: the models as published."""

TASKS = {
    "ml-100k": Task(
        read=lambda: read_movielens(DATA / "ml-100k"),
        split="random:valid=0.1,test=0.25,seed={seed}",
        train_on="train+valid",
        draws=3,
        configs={
            "popularity": {"half_life_days": 1e6},
            "itemknn": {"half_life": NO_RECENCY, "shrinkage": 5.0},
            "ease": {"half_life": NO_RECENCY, "l2": 500.0},
            "slim": {"half_life": NO_RECENCY, "neighbours": 400},
        },
    ),
    "ml-1m": Task(
        read=lambda: read_movielens(DATA / "ml-1m"),
        split="leave_one_out",
        train_on="train",
        configs={
            "bpr": {"l2": 0.01, "negatives": 8, "batch_size": 8192},
            "ease": {"half_life": 4.0},
            "itemknn": {"half_life": 4.0},
            "sasrec": {
                "embedding_size": 128,
                "max_length": 200,
                "dropout": 0.25,
                "epochs": 40,
                "learning_rate": 2e-3,
                "batch_size": 64,
            },
            "hstu": {
                "embedding_size": 128,
                "max_length": 200,
                "dropout": 0.25,
                "epochs": 24,
                "learning_rate": 2e-3,
                "batch_size": 64,
                "times": 0,
            },
        },
        validate_every={"sasrec": 5, "hstu": 4},
    ),
    "kuairand": Task(
        read=lambda: read_kuairand(DATA / "kuairand-pure"),
        split="leave_one_out",
        train_on="train+valid",
    ),
    "gowalla": Task(
        read=lambda: read_parts(DATA / "gowalla-lightgcn"),
        split=FILES,
        train_on="train+valid",
        cut=20,
        configs={
            "popularity": {"half_life_days": 1e6},
            "itemknn": {"half_life": NO_RECENCY},
            "ease": {"half_life": NO_RECENCY, "l2": 50.0, "max_items": 46_000},
            "lightgcn": {
                "layers": 3,
                "negatives": 512,
                "temperature": 0.07,
                "length_power": 0.5,
                "learning_rate": 0.01,
                "l2": 0.0,
                "batch_size": 4096,
                "epochs": 20,
            },
        },
    ),
    "beauty": Task(
        read=lambda: read_sequences(DATA / "s3rec-amazon-yelp" / "Beauty.txt.gz"),
        split="leave_one_out",
        train_on="train",
        configs={
            "popularity": {"half_life_days": 1e6},
            "gru4rec": {"dropout": 0.4, "epochs": 10, "weight_decay": 0.1},
        },
        validate_every={"gru4rec": 2},
    ),
    "generated": Task(
        read=lambda: generate(GeneratorConfig()).raw,
        split="leave_one_out",
        train_on="train+valid",
    ),
}


@dataclass(frozen=True)
class Problem:
    """A task's data: to learn from, to choose epochs with, and to be tested on.

    ``known`` holds the histories at test time, which include the validation part.
    """

    train: TrainingData
    valid: Heldout
    known: TrainingData
    test: Heldout

    @staticmethod
    def of(task: Task, seed: int) -> tuple[Problem, list[Problem]]:
        """Import and split: the task itself, and tasks to choose configs on.

        The latter are trained on and tested with nothing but the former's train and valid.
        """
        with TemporaryDirectory() as folder:
            dataset = DatasetStore(Path(folder)).save("data", task.read(), keep_good=True)
        split = task.split.format(seed=seed)
        valid, test = fold(dataset, split, "valid"), fold(dataset, split, "test")
        train, known = TrainingData.of(valid.dataset), TrainingData.of(test.dataset)
        truth = Heldout.of(valid)
        real = Problem(train if task.train_on == "train" else known, truth, known, Heldout.of(test))
        share = len(valid.heldout) / len(test.dataset.interactions)
        drawn = [
            make_fold(test.dataset, f"random:valid=0.001,test={share:.6f},seed={draw}", "test")
            for draw in range(task.draws)
        ]
        choosing = [
            Problem(data := TrainingData.of(one.dataset), Heldout.of(one), data, Heldout.of(one))
            for one in drawn
        ]
        return real, choosing or [Problem(train, truth, train, truth)]


def fold(dataset: Dataset, split: str, part: Part) -> Fold:
    """``make_fold``, or the parts as the source has them."""
    if split != FILES:
        return make_fold(dataset, split, part)
    rows, number = dataset.interactions, PARTS.index(part)
    history = replace(dataset, interactions=rows.take(rows.timestamp < number))
    return Fold(history, rows.take(rows.timestamp == number), split, part)
