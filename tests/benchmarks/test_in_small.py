"""The benchmarks of engine and quality in small: the same scripts on a generated platform."""

from __future__ import annotations

import gzip
import importlib
import json
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agenticrs.agents.agent import Budget
from agenticrs.agents.contract import small_log
from agenticrs.agents.training_data import Heldout, TrainingData
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.data.generated import GeneratorConfig, generate
from agenticrs.platform.data.raw import RawLog
from agenticrs.platform.data.splits import make_fold
from agenticrs.platform.data.store import DatasetStore

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PLAIN_RANKING = """
import sys

import numpy as np
from protocol import serve

arrays = np.load(sys.argv[1])
users, truth = arrays["users_held_out"], arrays["items_held_out"]
scores = arrays["users"] @ arrays["vectors"].T
scores[arrays["rows"], arrays["items"]] = -np.inf
assert len(np.unique(users)) == len(users)


def once():
    place = (scores[users] > scores[users, truth][:, None]).sum(1)
    ndcg = np.where(place < 10, 1 / np.log2(place + 2), 0.0)
    return {"ndcg@10": float(ndcg.mean()), "recall@50": float((place < 50).mean())}


serve(once)
"""
"""Full ranking of one held-out item for each user, as short as it can be."""
PLAIN_METRICS = """
import sys

import numpy as np
from protocol import serve

arrays = np.load(sys.argv[2])
hits = arrays["ranked"] == arrays["items"][:, None]
assert (np.diff(arrays["offsets"]) == 1).all()
place = np.where(hits.any(1), hits.argmax(1), 1000)


def once():
    ndcg = np.where(place < 10, 1 / np.log2(place + 2), 0.0)
    return {"ndcg@10": float(ndcg.mean()), "recall@50": float((place < 50).mean())}


serve(once)
"""
"""The same out of ready lists."""
IDLE = """
import sys

import numpy as np
from protocol import serve

with np.load(next(a for a in sys.argv if a.endswith(".npz"))) as arrays:
    told = {"rows": float(len(arrays["rows"]))}
serve(lambda: told)
"""
"""Reads the log that it is given, and does nothing with it."""


def log() -> RawLog:
    return generate(GeneratorConfig(n_users=60, n_items=120, n_topics=4, days=7)).raw


@pytest.fixture(scope="module")
def fold(tmp_path_factory: pytest.TempPathFactory) -> Fold:
    dataset = DatasetStore(tmp_path_factory.mktemp("data")).save("tiny", log())
    return make_fold(dataset, "leave_one_out", "valid")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Imports a benchmark by its name. Peers run in this environment, figures go to a folder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    sidebyside = importlib.import_module("sidebyside")
    monkeypatch.setattr(sidebyside, "peer_python", lambda packages: Path(sys.executable))
    monkeypatch.setattr(sidebyside, "RESULTS", tmp_path)
    return importlib.import_module


@pytest.fixture
def stand_in(script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Puts a program in the place of every peer's script of that name."""
    folder = tmp_path / "peers"
    folder.mkdir()
    (folder / "protocol.py").write_text((BENCHMARKS / "peers" / "protocol.py").read_text())
    monkeypatch.setattr(script("sidebyside"), "HERE", tmp_path)
    return lambda name, text: (folder / name).write_text(text)


def test_files_of_sequences_and_of_parts_are_read(script: Any, tmp_path: Path) -> None:
    tasks = script("published_tasks")
    for name, text in (("train", "u a b c\nv b d\n"), ("valid", "u d\n"), ("test", "v a\n")):
        with gzip.open(tmp_path / f"{name}.txt.gz", "wt") as file:
            file.write(text)
    store = DatasetStore(tmp_path / "data")
    one = store.save("one", tasks.read_sequences(tmp_path / "train.txt.gz"))
    rows = one.interactions
    assert one.item_ids[rows.item[rows.user == 0]].tolist() == ["a", "b", "c"]
    assert not one.has_times
    parts = store.save("parts", tasks.read_parts(tmp_path))
    held = tasks.fold(parts, tasks.FILES, "test")
    assert parts.item_ids[held.heldout.item].tolist() == ["a"]
    assert len(held.dataset.interactions) == 6


@pytest.mark.slow
def test_agents_are_tested_in_a_published_protocol(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    published, tasks = script("published"), script("published_tasks")
    small = {"embedding_size": 8, "epochs": 2, "max_length": 10}
    task = tasks.Task(
        read=log,
        split="leave_one_out",
        train_on="train",
        configs={"sasrec": small, "dcn": {"embedding_size": 4, "deep": 8}},
        validate_every={"sasrec": 1},
    )
    monkeypatch.setattr(published, "RESULTS", tmp_path)
    monkeypatch.setitem(tasks.TASKS, "small", task)
    asked = ["--task", "small", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", ["published.py", *asked, "--agents", "popularity,sasrec,dcn"])
    published.main()
    grid = ["--agents", "ease", "--grid", '{"l2": [10, 1000]}', "--keep", str(tmp_path / "kept")]
    monkeypatch.setattr(sys, "argv", ["published.py", *asked, *grid])
    published.main()
    found = json.loads((tmp_path / "small.json").read_text())
    rows = {row["agent"]: row for row in found["rows"]}
    assert set(rows) == {"popularity", "sasrec", "dcn", "ease"}
    assert all(0 < row["ndcg@10"] < 1 for row in rows.values())
    assert [point["epoch"] for point in rows["sasrec"]["validation"]] == [1, 2]
    assert rows["dcn"]["candidates_from"] == "ease"
    best = max(found["choices"], key=lambda one: one["ndcg@10"])
    assert rows["ease"]["config"]["l2"] == best["changes"]["l2"]
    assert (tmp_path / "kept" / "small" / "ease-0").is_dir()


def test_metrics_of_ready_lists_are_those_of_a_plain_program(
    script: Any, stand_in: Any, fold: Fold, tmp_path: Path
) -> None:
    stand_in("evaluation.py", PLAIN_METRICS)
    data, heldout = TrainingData.of(fold.dataset), Heldout.of(fold)
    (row,) = script("evaluation").ready_lists(("ranx",), data, heldout, tmp_path, 1)
    assert row["ours"] == pytest.approx(row["peer"], abs=1e-6)
    assert row["ours_seconds"] > 0
    assert row["ratio"] > 0


def test_full_ranking_finds_what_a_plain_program_finds(
    script: Any, stand_in: Any, fold: Fold, tmp_path: Path
) -> None:
    stand_in("recbole_evaluation.py", PLAIN_RANKING)
    data, heldout = TrainingData.of(fold.dataset), Heldout.of(fold)
    row = script("evaluation").full_ranking(data, heldout, tmp_path, 1, 1024)
    assert row["ours"] == pytest.approx(row["peer"], abs=1e-6)
    assert "cpu_ratio" in row


def test_an_epoch_is_timed_in_both_precisions(script: Any) -> None:
    row = script("precision").compare("dcn", {"embedding_size": 4, "deep": 8}, small_log(), 1)
    assert row["float32_seconds"] > 0
    assert row["bfloat16_seconds"] > 0
    assert row["bfloat16_loss"] == pytest.approx(row["float32_loss"], rel=0.02)


def test_seconds_watched_are_judged_beside_who_always_says_the_same(
    script: Any, fold: Fold
) -> None:
    watch = script("watch_time")
    seconds = torch.tensor([1.0, 2.0, 4.0])
    assert watch.xauc(seconds, seconds) == 1.0
    assert watch.xauc(-seconds, seconds) == 0.0
    assert watch.errors(seconds + 1, seconds) == {"mae": 1.0, "rmse": 1.0}
    train, whole, later = watch.split(fold.dataset)
    assert len(train.events.user) + len(later) == len(whole.events.user)
    config = watch.MultiTaskConfig(embedding_size=4, hidden=8, watch="quantile", epochs=1)
    agent = watch.Mmoe(config)
    agent.fit(train, Budget())
    row = watch.judged(agent, whole, later)
    mean, median = watch.constants(train, whole, later)
    assert row["came"] > 0
    assert row["mae"] < 2 * mean["mae"]
    assert median["xauc"] == 0.5
    assert 0 < row["auc_click"] < 1


def test_exact_search_finds_what_faiss_finds(script: Any) -> None:
    asked = Namespace(items=3000, size=16, k=20, pairs=1)
    rows = script("retrieval").exact_rows(asked)
    assert [row["name"] for row in rows] == ["faiss flat"] * 2
    for row in rows:
        assert row["ours"]["sum"] == pytest.approx(row["peer"]["sum"], rel=1e-4)
        assert row["share_of_limit"] > 0


def test_an_index_is_measured_beside_exact_search(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    retrieval = script("retrieval")
    monkeypatch.setattr(retrieval, "_INDEX_SIZES", (4000,))
    rows = retrieval.index_rows(Namespace(size=16, k=20, pairs=1))
    assert [row["task"].split()[3] for row in rows] == ["clustered", "random"]
    assert all(0.3 < row["recall@20"] <= 1 for row in rows)
    script("sidebyside").write("retrieval", rows)
    kept = json.loads((tmp_path / "retrieval.json").read_text())["rows"]
    assert [row["recall@20"] for row in kept] == [row["recall@20"] for row in rows]


@pytest.mark.slow
def test_every_training_runs_beside_a_peer_that_reads_the_same_log(
    script: Any, stand_in: Any, fold: Fold, tmp_path: Path
) -> None:
    training, data = script("training"), TrainingData.of(fold.dataset)
    path = tmp_path / "log.npz"
    rows, items = data.histories.rows.numpy(), data.histories.items.numpy()
    np.savez(path, rows=rows, items=items, n_users=data.n_users, n_items=data.n_items)
    for name, task in script("training_tasks").TASKS.items():
        stand_in(task.script, IDLE)
        (tmp_path / task.peer).mkdir(exist_ok=True)
        sizes = {key: 8 for key in ("embedding_size", "batch_size") if key in task.config}
        small = replace(task, config={**task.config, **sizes}, our_steps=task.our_steps and 2)
        row = training.compare(name, small, data, path, 1, tmp_path)
        script("sidebyside").write("training", [row])
        assert row["peer"] == {"rows": float(len(rows))}, name
        assert row["ours_seconds"] > 0
        assert ("steps" in row["ours"]) == (task.our_steps is not None)
        assert ("share_of_limit" in row) == (name == "ease")
    kept = json.loads((tmp_path / "training.json").read_text())["rows"]
    assert len(kept) == len(script("training_tasks").TASKS)
