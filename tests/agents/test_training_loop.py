"""Interrupted trainings go on with the same result; those that get no better stop."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from agenticrs.agents import catalogue
from agenticrs.agents.agent import Budget
from agenticrs.agents.checkpoint import Checkpoint
from agenticrs.agents.contract import small_log
from agenticrs.agents.early_stopping import EarlyStopping, hold_back
from agenticrs.agents.retrieval import bpr
from agenticrs.platform.errors import AgentError

SMALL: dict[str, dict[str, Any]] = {
    "sasrec": {"epochs": 4, "batch_size": 16, "embedding_size": 8, "dropout": 0.2},
    "lightgcn": {"epochs": 4, "batch_size": 64, "embedding_size": 8},
    "hstu": {"epochs": 4, "batch_size": 16, "embedding_size": 8},
    "dcn": {"epochs": 4, "embedding_size": 8},
    "bpr": {"epochs": 4, "embedding_size": 8, "batch_size": 64},
    "mmoe": {"epochs": 4, "embedding_size": 8, "hidden": 8},
    "ials": {"epochs": 4, "embedding_size": 8},
    "cold_item": {"epochs": 4, "embedding_size": 8},
}


class Killed(Exception):
    """Stands for a worker that dies."""


def killing_after(epoch: int) -> Callable[[float, str], None]:
    def report(fraction: float, text: str) -> None:
        if text.startswith(f"epoch {epoch} of"):
            raise Killed

    return report


def state(name: str, budget: Budget, patience: int = 0) -> dict[str, torch.Tensor]:
    agent = catalogue.build(name, {**SMALL[name], "patience": patience}, seed=3)
    agent.fit(small_log(), budget)
    return agent.state()


@pytest.mark.parametrize("patience", [0, 9])
@pytest.mark.parametrize("name", SMALL)
def test_a_training_that_was_killed_ends_as_if_it_had_not_been(
    name: str, patience: int, tmp_path: Path
) -> None:
    whole = state(name, Budget(), patience)
    file = tmp_path / "deep" / "checkpoint"
    dying = Budget(report=killing_after(3), checkpoint=Checkpoint(file, "it", every=0.0))
    with pytest.raises(Killed):
        state(name, dying, patience)
    told: list[str] = []
    losses: list[float] = []
    going_on = Budget(
        report=lambda f, t: told.append(t), checkpoint=Checkpoint(file, "it"), loss=losses.append
    )
    torch.rand(5)
    resumed = state(name, going_on, patience)
    assert told[0] == "goes on after epoch 2 of 4"
    assert told[1].startswith("epoch 3 of 4")
    assert len(losses) == 4, "the curve begins with the first epoch all the same"
    assert set(whole) == set(resumed)
    for key, tensor in whole.items():
        assert torch.equal(tensor, resumed[key]), key


@pytest.mark.parametrize("patience", [0, 9])
def test_so_does_one_that_goes_pair_by_pair(
    patience: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bpr, "_MANY", 1)
    test_a_training_that_was_killed_ends_as_if_it_had_not_been("bpr", patience, tmp_path)


ALONE = """
import sys
import threading
from pathlib import Path

from agenticrs.agents import catalogue
from agenticrs.agents.agent import Budget
from agenticrs.agents.checkpoint import Checkpoint
from agenticrs.agents.contract import small_log

config = {"epochs": 20, "batch_size": 16, "embedding_size": 8, "dropout": 0.2}
checkpoint = Checkpoint(Path(sys.argv[1]), "it", every=0.0)
agent = catalogue.build("sasrec", config, seed=3)


def report(fraction, text):
    print(text, flush=True)
    if text.startswith("epoch 15 of 20"):
        threading.Event().wait()  # it has not ended by itself before it is killed


agent.fit(small_log(), Budget(report=report, checkpoint=checkpoint))
"""


@pytest.mark.slow
def test_a_process_killed_by_signal_nine_is_gone_on_with_to_the_same_weights(
    tmp_path: Path,
) -> None:
    file = tmp_path / "checkpoint"
    with subprocess.Popen(
        [sys.executable, "-c", ALONE, str(file)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch 5 of 20"):
                process.kill()
                break
    assert process.returncode == -signal.SIGKILL
    told: list[str] = []
    config = {"epochs": 20, "batch_size": 16, "embedding_size": 8, "dropout": 0.2}
    states = []
    for checkpoint in (Checkpoint(file, "it"), None):
        agent = catalogue.build("sasrec", config, seed=3)
        agent.fit(small_log(), Budget(report=lambda f, t: told.append(t), checkpoint=checkpoint))
        states.append(agent.state())
    assert told[0].startswith("goes on after epoch ")
    assert len(told) < 20 + 20
    for name, weight in states[1].items():
        assert torch.equal(weight, states[0][name]), name


def test_what_another_training_or_a_broken_disk_left_is_not_taken_up(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint"
    Checkpoint(file, "one").save({"a": torch.ones(2)})
    assert Checkpoint(file, "other").load() is None
    kept = Checkpoint(file, "one").load()
    assert kept is not None
    assert kept["a"].tolist() == [1, 1]
    file.write_bytes(file.read_bytes()[:10])
    assert Checkpoint(file, "one").load() is None
    assert Checkpoint(tmp_path / "none", "one").load() is None
    assert list(tmp_path.iterdir()) == [file]


def test_short_trainings_write_nothing(tmp_path: Path) -> None:
    state("sasrec", Budget(checkpoint=Checkpoint(tmp_path / "checkpoint", "it")))
    assert not list(tmp_path.iterdir())


def test_stopping_waits_for_patience_and_brings_the_best_weights_back() -> None:
    weight = torch.zeros(1)
    scores = iter([0.1, 0.5, 0.4, 0.3, 0.2])
    stopping = EarlyStopping({"w": weight}, lambda: next(scores), patience=2)
    stops = []
    for epoch in range(4):
        weight.fill_(epoch)
        stops.append(stopping.should_stop())
    assert stops == [False, False, False, True]
    stopping.restore_best()
    assert weight.tolist() == [1.0]


@pytest.mark.parametrize("name", SMALL)
def test_a_model_that_gets_no_better_stops_before_its_epochs_are_used_up(name: str) -> None:
    told: list[tuple[float, str]] = []
    still = {} if name in ("ials", "cold_item") else {"learning_rate": 1e-9}
    config = {**SMALL[name], **still, "epochs": 40, "patience": 1}
    agent = catalogue.build(name, config, seed=0)
    agent.fit(small_log(), Budget(report=lambda f, t: told.append((f, t))))
    assert len(told) < 20
    assert told[-1][0] == 1.0
    assert "stopped" in told[-1][1]


@pytest.mark.parametrize("name", ["bpr", "dcn", "mmoe"])
def test_what_is_kept_is_the_best_epoch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begin, scores = EarlyStopping.__init__, iter([0.1, 0.3, 0.1, 0.3, 0.2, 0.2])
    monkeypatch.setattr(
        EarlyStopping,
        "__init__",
        lambda self, weights, _, patience: begin(self, weights, lambda: next(scores), patience),
    )
    half = state(name, Budget(effort=0.5), patience=9)
    for key, tensor in state(name, Budget(), patience=9).items():
        assert torch.equal(tensor, half[key]), key


@pytest.mark.parametrize("name", ["sasrec", "bpr", "ials", "dcn"])
def test_where_nobody_has_items_to_spare_nothing_is_held_back(name: str) -> None:
    log = small_log()
    first = torch.zeros(len(log.histories.items), dtype=torch.bool)
    first[log.histories.offsets[:-1][log.histories.lengths > 0]] = True
    short = replace(log, histories=log.histories.only(first))
    states = []
    for patience in (0, 1):
        agent = catalogue.build(name, {**SMALL[name], "patience": patience}, seed=3)
        agent.fit(short, Budget())
        states.append(agent.state())
    for key, tensor in states[0].items():
        assert torch.equal(tensor, states[1][key]), key


def test_held_back_items_are_the_newest_and_are_gone_from_the_histories() -> None:
    histories = small_log().histories
    shorter, users, items = hold_back(histories, torch.Generator().manual_seed(0))
    assert len(users) == len(items) == max(1, round(0.1 * int((histories.lengths >= 3).sum())))
    assert len(shorter.items) == len(histories.items) - len(users)
    for user, item in zip(users.tolist(), items.tolist(), strict=True):
        end = int(histories.offsets[user + 1])
        assert int(histories.items[end - 1]) == item
    others = torch.ones(len(histories), dtype=torch.bool)
    others[users] = False
    rows = others.nonzero()[:, 0]
    assert torch.equal(shorter.take(rows).items, histories.take(rows).items)


def test_a_loss_that_is_no_number_is_an_error_with_advice() -> None:
    with pytest.raises(AgentError, match="diverged"):
        catalogue.build("sasrec", {**SMALL["sasrec"], "learning_rate": 1e30}).fit(
            small_log(), Budget()
        )
