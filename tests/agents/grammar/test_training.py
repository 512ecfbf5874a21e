"""A document says by which optimiser and schedule it is trained, and training does as it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from agenticrs.agents import catalogue
from agenticrs.agents.agent import Budget
from agenticrs.agents.checkpoint import Checkpoint
from agenticrs.agents.contract import small_log
from agenticrs.agents.grammar import documents
from agenticrs.agents.grammar.canonical import canonical, fingerprint
from agenticrs.agents.grammar.crossing import CROSSES
from agenticrs.agents.grammar.descent import Descent, share_of_rate
from agenticrs.agents.grammar.document import Architecture
from agenticrs.agents.grammar.draft import Draft
from agenticrs.agents.grammar.training import Schedule, Training
from agenticrs.agents.grammar.variation import OPERATORS, mutate
from agenticrs.agents.ranking.dcn import DcnConfig, DcnV2
from agenticrs.agents.side_by_side import alike

CONVOLUTION = documents.sequential(
    [{"block": "convolution", "name": "query", "input": "x", "kernel": 3}],
    width=8,
    length=12,
    dropout=0.0,
)
RANKER = documents.ranker("deepfm", width=4, hidden=8)
OTHERS = [
    {"optimizer": "adam", "schedule": "linear"},
    {"optimizer": "sgd", "schedule": "step", "rate": 30.0},
    {"optimizer": "adagrad", "schedule": "constant", "rate": 5.0},
]


def trained_so(document: Architecture, training: Any) -> Architecture:
    body = document.model_dump(mode="json") | {"training": training}
    return Architecture.model_validate(body)


def test_documents_that_say_nothing_are_what_they_were() -> None:
    assert "training" not in CONVOLUTION.model_dump(mode="json")
    assert fingerprint(CONVOLUTION) == "68d3c16e38ce2e64"
    assert fingerprint(RANKER) == "174b73ab5e551ae9"


@pytest.mark.parametrize(
    ("document", "usual", "other"),
    [(CONVOLUTION, "cosine", "constant"), (RANKER, "constant", "cosine")],
)
def test_the_usual_training_makes_no_other_structure(
    document: Architecture, usual: str, other: str
) -> None:
    for same in (None, {}, {"optimizer": "adamw", "schedule": usual}):
        assert fingerprint(trained_so(document, same)) == fingerprint(document)
    marks = {fingerprint(trained_so(document, one)) for one in [{"schedule": other}, *OTHERS]}
    assert len(marks - {fingerprint(document)}) >= 3
    kept = canonical(trained_so(document, {"optimizer": "sgd"})).training
    assert kept == Training.model_validate({"optimizer": "sgd", "schedule": usual})


@pytest.mark.parametrize(
    "wrong",
    [{"optimizer": "lion"}, {"schedule": "never"}, {"rate": 0.0}, {"rate": float("nan")}, {"x": 1}],
)
def test_what_is_not_known_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError, match="training"):
        trained_so(CONVOLUTION, wrong)


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        ("constant", [1.0, 1.0, 1.0, 1.0]),
        ("step", [1.0, 1.0, 1 / 3, 0.1]),
        ("linear", [0.5, 1 - 0.9 * 0.45 / 0.95, 1 - 0.9 * 0.65 / 0.95, 0.1]),
        ("cosine", [0.5, 0.5872, 0.3039, 0.1]),
    ],
)
def test_the_rate_follows_the_schedule(schedule: Schedule, wanted: list[float]) -> None:
    found = [share_of_rate(schedule, done) for done in (0.025, 0.5, 0.7, 1.0)]
    assert found == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize(
    ("optimizer", "wanted"),
    [
        ("adamw", 1 - 0.1 * 0.5 - 0.1),
        ("adam", 1 - 0.1),
        ("sgd", 1 - 0.1 * (2 + 0.5)),
        ("adagrad", 1 - 0.1),
    ],
)
def test_one_step_goes_as_far_as_the_optimiser_says(optimizer: Any, wanted: float) -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    descent = Descent(Training(optimizer=optimizer, rate=2.0), [weight], 0.05, decay=0.5)
    descent.at(1.0)
    torch.autograd.backward((2 * weight).sum())
    descent.optimizer.step()
    assert float(weight.detach()) == pytest.approx(wanted, abs=1e-5)


def killing_at(epoch: int) -> Callable[[float, str], None]:
    def report(_: float, text: str) -> None:
        if text.startswith(f"epoch {epoch} of"):
            raise KeyboardInterrupt

    return report


@pytest.mark.parametrize("training", OTHERS)
@pytest.mark.parametrize(
    ("name", "document", "settings"),
    [("sasrec", CONVOLUTION, {"max_length": 12}), ("dcn", RANKER, {"negatives": 5})],
)
def test_agents_are_trained_as_their_document_says_and_go_on_so(
    name: str, document: Architecture, settings: Any, training: Any, tmp_path: Path
) -> None:
    def fitted(said: Any, budget: Budget) -> dict[str, torch.Tensor]:
        structure = trained_so(document, said).model_dump(mode="json")
        config = {"structure": structure, "epochs": 4, "batch_size": 32, **settings}
        agent = catalogue.build(name, config, seed=3)
        agent.fit(small_log(), budget)
        return agent.state()

    whole, usual = fitted(training, Budget()), fitted(None, Budget())
    assert any(not torch.equal(tensor, usual[key]) for key, tensor in whole.items())
    file = tmp_path / "checkpoint"
    dying = Budget(report=killing_at(3), checkpoint=Checkpoint(file, "it", every=0.0))
    with pytest.raises(KeyboardInterrupt):
        fitted(training, dying)
    told: list[str] = []
    going_on = Budget(report=lambda _, text: told.append(text), checkpoint=Checkpoint(file, "it"))
    resumed = fitted(training, going_on)
    assert told[0] == "goes on after epoch 2 of 4"
    assert all(torch.equal(tensor, resumed[key]) for key, tensor in whole.items())


def test_only_what_is_trained_as_usual_is_trained_side_by_side() -> None:
    usual = DcnConfig(structure=trained_so(RANKER, {"schedule": "constant"}))
    assert alike(DcnV2, usual) is not None
    for other in ({"optimizer": "sgd"}, {"schedule": "cosine"}, {"rate": 2.0}):
        assert alike(DcnV2, DcnConfig(structure=trained_so(RANKER, other))) is None


def test_chance_changes_the_training_and_nothing_beside_it() -> None:
    rng = np.random.default_rng(0)
    for name in ("optimizer", "schedule"):
        made = mutate(CONVOLUTION, rng, operators={name: OPERATORS[name]})
        assert made.architecture.trained_by() != CONVOLUTION.trained_by()
        assert made.architecture.blocks == CONVOLUTION.blocks
        assert "became" in made.difference
    other = trained_so(CONVOLUTION, {"optimizer": "sgd", "rate": 30})
    changed = mutate(other, rng, operators={"head_bias": OPERATORS["head_bias"]}).architecture
    assert changed.trained_by() == other.trained_by(), "changes elsewhere keep it"


def test_crosses_take_the_training_over() -> None:
    found = set()
    for seed in range(8):
        draft = Draft(CONVOLUTION)
        other = Draft(trained_so(CONVOLUTION, OTHERS[1]))
        if said := CROSSES["settings"](draft, other, np.random.default_rng(seed)):
            assert "the training" in said
            found.add(draft.finished().trained_by().optimizer)
    assert found == {"sgd"}
