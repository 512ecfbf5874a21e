"""A document says by which loss, sampler, optimiser and schedule it is trained, and so it is."""

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
from agenticrs.agents.grammar.training import WAYS, Schedule, Training
from agenticrs.agents.grammar.variation import OPERATORS, mutate
from agenticrs.agents.ranking.dcn import DcnConfig, DcnV2
from agenticrs.agents.side_by_side import Stack, alike

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


OBJECTIVES: dict[str, list[Any]] = {
    "sasrec": [
        {"loss": "bpr"},
        {"loss": "sampled", "sampler": {"draw": "popularity", "negatives": 9}},
        {"loss": "bce", "sampler": {"draw": "in_batch"}},
    ],
    "dcn": [
        {"loss": "pairwise"},
        {"loss": "pointwise", "sampler": {"draw": "popularity", "power": 0.5}},
        {"sampler": {"draw": "neighbours", "negatives": 9}},
    ],
}


def trained_so(document: Architecture, training: Any) -> Architecture:
    body = document.model_dump(mode="json") | {"training": training}
    return Architecture.model_validate(body)


def test_documents_that_say_nothing_are_what_they_were() -> None:
    assert "training" not in CONVOLUTION.model_dump(mode="json")
    assert fingerprint(CONVOLUTION) == "68d3c16e38ce2e64"
    assert fingerprint(RANKER) == "174b73ab5e551ae9"
    older = trained_so(RANKER, OTHERS[1])
    assert fingerprint(older) == "2ce8548e636e75bd", "those that name no loss, too"
    assert fingerprint(trained_so(CONVOLUTION, OTHERS[1])) == "90794e1955894797"
    assert older.model_dump_json().endswith(
        '"training":{"optimizer":"sgd","schedule":"step","rate":30.0}}'
    )


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
    [
        {"optimizer": "lion"},
        {"schedule": "never"},
        {"rate": 0.0},
        {"rate": float("nan")},
        {"x": 1},
        {"loss": "hinge"},
        {"loss": "sampled", "sampler": {"negatives": 4}},
        {"loss": "sampled", "sampler": {"draw": "uniform", "negatives": 0}},
        {"loss": "sampled", "sampler": {"draw": "uniform", "negatives": 16_385}},
        {"loss": "sampled", "sampler": {"draw": "popularity", "power": -0.1}},
    ],
)
def test_what_is_not_known_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError, match="training"):
        trained_so(CONVOLUTION, wrong)


@pytest.mark.parametrize(
    ("document", "wrong", "said"),
    [
        (
            CONVOLUTION,
            {"loss": "pairwise"},
            "training.loss: 'pairwise' is no loss of a dot head: choose softmax, sampled, bce, "
            "gbce or bpr, or leave it out",
        ),
        (RANKER, {"loss": "gbce"}, "choose listwise, pairwise or pointwise, or leave it out"),
        (
            CONVOLUTION,
            {"loss": "bpr", "sampler": {"draw": "neighbours"}},
            "training.sampler.draw: nothing is drawn by 'neighbours' for a dot head: choose "
            "uniform, popularity or in_batch",
        ),
        (
            RANKER,
            {"sampler": {"draw": "uniform", "negatives": 513}},
            "training.sampler.negatives: 513 are too many for a logits head: draw at most 512",
        ),
        (
            CONVOLUTION,
            {"loss": "softmax", "sampler": {"draw": "uniform"}},
            "training.sampler: the loss must be one that draws: name sampled, bce, gbce or bpr",
        ),
        (CONVOLUTION, {"sampler": {"draw": "uniform"}}, "the loss must be one that draws"),
        (
            CONVOLUTION,
            {"loss": "gbce", "sampler": {"draw": "in_batch"}},
            "training.sampler.draw: 'gbce' is calibrated for uniform draws: choose uniform",
        ),
    ],
)
def test_a_loss_or_a_sampler_that_the_head_cannot_have_is_refused_with_what_to_do(
    document: Architecture, wrong: Any, said: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        trained_so(document, wrong)
    assert said in str(caught.value)


def test_what_means_nothing_in_a_sampler_makes_no_other_structure() -> None:
    def mark(document: Architecture, **said: Any) -> str:
        return fingerprint(trained_so(document, said))

    def drawn(draw: str, **more: Any) -> dict[str, Any]:
        return {"draw": draw, **more}

    assert mark(RANKER, loss="listwise", sampler=drawn("mixed", power=0.1)) == fingerprint(RANKER)
    plain = mark(CONVOLUTION, loss="sampled")
    assert mark(CONVOLUTION, loss="sampled", sampler=drawn("uniform", power=0.1)) == plain
    others = {
        plain,
        fingerprint(CONVOLUTION),
        mark(CONVOLUTION, loss="bpr"),
        mark(CONVOLUTION, loss="sampled", sampler=drawn("uniform", negatives=9)),
        mark(CONVOLUTION, loss="sampled", sampler=drawn("popularity")),
        mark(CONVOLUTION, loss="sampled", sampler=drawn("popularity", power=0.5)),
    }
    assert len(others) == 6


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


AGENTS: dict[str, tuple[Architecture, dict[str, Any]]] = {
    "sasrec": (CONVOLUTION, {"max_length": 12}),
    "dcn": (RANKER, {"negatives": 5}),
}


def fitted(
    name: str, said: Any, budget: Budget | None = None, **settings: Any
) -> dict[str, torch.Tensor]:
    """The weights of an agent whose document is trained so, after some epochs."""
    document, own = AGENTS[name]
    structure = trained_so(document, said).model_dump(mode="json")
    config = {"structure": structure, "epochs": 4, "batch_size": 32, **own, **settings}
    agent = catalogue.build(name, config, seed=3)
    agent.fit(small_log(), budget or Budget())
    return agent.state()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(tensor, b[key]) for key, tensor in a.items())


@pytest.mark.parametrize(
    ("name", "training"),
    [(name, said) for name in AGENTS for said in [*OTHERS, *OBJECTIVES[name]]],
)
def test_agents_are_trained_as_their_document_says_and_go_on_so(
    name: str, training: Any, tmp_path: Path
) -> None:
    whole = fitted(name, training)
    assert not same(whole, fitted(name, None))
    file = tmp_path / "checkpoint"
    dying = Budget(report=killing_at(3), checkpoint=Checkpoint(file, "it", every=0.0))
    with pytest.raises(KeyboardInterrupt):
        fitted(name, training, dying)
    told: list[str] = []
    going_on = Budget(report=lambda _, text: told.append(text), checkpoint=Checkpoint(file, "it"))
    resumed = fitted(name, training, going_on)
    assert told[0] == "goes on after epoch 2 of 4"
    assert same(whole, resumed)


@pytest.mark.parametrize(
    ("name", "said", "beside"),
    [
        ("sasrec", {"loss": "gbce"}, {"loss": "gbce"}),
        (
            "sasrec",
            {"loss": "sampled", "sampler": {"draw": "uniform", "negatives": 7}},
            {"loss": "sampled", "negatives": 7},
        ),
        ("sasrec", {"loss": "softmax"}, {}),
        (
            "dcn",
            {"loss": "listwise", "sampler": {"draw": "mixed", "negatives": 7}},
            {"negatives": 7},
        ),
        (
            "dcn",
            {"sampler": {"draw": "uniform"}},
            {"neighbour_share": 0.0, "popular_share": 0.0, "exposed_share": 0.0},
        ),
        (
            "dcn",
            {"sampler": {"draw": "popularity", "power": 1.0}},
            {"neighbour_share": 0.0, "popular_share": 1.0, "exposed_share": 0.0},
        ),
    ],
)
def test_a_document_trains_to_what_the_same_settings_beside_it_train_to(
    name: str, said: Any, beside: Any
) -> None:
    # Early stopping is judged as the settings would have it judged, too.
    inside = fitted(name, said, patience=2)
    assert same(inside, fitted(name, None, patience=2, **beside))


def test_what_a_document_says_goes_before_the_settings() -> None:
    said = {"loss": "sampled", "sampler": {"draw": "popularity", "negatives": 7}}
    assert same(fitted("sasrec", said), fitted("sasrec", said, loss="bpr", negatives=3))
    said = {"sampler": {"draw": "uniform", "negatives": 7}}
    assert same(fitted("dcn", said), fitted("dcn", said, negatives=3, popular_share=0.5))
    settled = trained_so(RANKER, said).trained_by().settled
    assert settled == {"negatives", "neighbour_share", "popular_share", "exposed_share"}
    assert trained_so(CONVOLUTION, {"loss": "softmax"}).trained_by().settled == {
        "loss",
        "negatives",
    }
    assert trained_so(CONVOLUTION, {"loss": "bpr"}).trained_by().settled == {"loss"}
    assert not RANKER.trained_by().settled


@pytest.mark.parametrize("said", OBJECTIVES["dcn"])
def test_rankers_of_another_loss_or_sampler_learn_side_by_side_as_they_do_alone(said: Any) -> None:
    settings: dict[str, Any] = {"negatives": 5, "batch_size": 32, "precision": "float32"}
    config = DcnConfig(structure=trained_so(RANKER, said), **settings)
    assert alike(DcnV2, config) is not None
    courses = DcnV2.courses([DcnV2(config, seed=seed) for seed in (0, 1)], small_log())
    examples = [next(course.examples()) for course in courses]
    stack = Stack(courses)
    together = torch.autograd.grad(stack.losses(examples).sum(), stack.leaves, allow_unused=True)
    for place, (course, example) in enumerate(zip(courses, examples, strict=True)):
        weights = list(course.network.parameters())
        alone = torch.autograd.grad(course.loss(example), weights, allow_unused=True)
        for ours, theirs in zip(together, alone, strict=True):
            if ours is not None and theirs is not None:
                torch.testing.assert_close(ours[place], theirs, atol=1e-5, rtol=1e-4)
    other = DcnV2.courses([DcnV2(DcnConfig(structure=RANKER, **settings))], small_log())[0].loss(
        examples[0]
    )
    assert torch.equal(other, courses[0].loss(examples[0])) is ("loss" not in said)


def test_only_what_is_trained_as_usual_is_trained_side_by_side() -> None:
    usual = DcnConfig(structure=trained_so(RANKER, {"schedule": "constant"}))
    assert alike(DcnV2, usual) is not None
    for other in ({"optimizer": "sgd"}, {"schedule": "cosine"}, {"rate": 2.0}):
        assert alike(DcnV2, DcnConfig(structure=trained_so(RANKER, other))) is None


def test_chance_changes_the_training_and_nothing_beside_it() -> None:
    rng = np.random.default_rng(0)
    for name in ("optimizer", "schedule", "loss", "sampler"):
        for document in (CONVOLUTION, RANKER):
            made = mutate(document, rng, operators={name: OPERATORS[name]})
            assert made.architecture.trained_by() != document.trained_by()
            assert canonical(made.architecture).blocks == canonical(document).blocks
            assert "became" in made.difference
    other = trained_so(CONVOLUTION, {"optimizer": "sgd", "rate": 30})
    changed = mutate(other, rng, operators={"head_bias": OPERATORS["head_bias"]}).architecture
    assert changed.trained_by() == other.trained_by(), "changes elsewhere keep it"


@pytest.mark.parametrize("document", [CONVOLUTION, RANKER])
def test_chance_reaches_every_loss_and_sampler_of_a_head_and_no_others(
    document: Architecture,
) -> None:
    ours = {name: OPERATORS[name] for name in ("loss", "sampler")}
    ways = WAYS[document.head.head]
    losses, draws, numbers = set(), set(), set()
    made, rng = document, np.random.default_rng(0)
    for _ in range(120):
        made = mutate(made, rng, operators=ours).architecture
        training = made.trained_by()
        losses.add(training.loss)
        if training.sampler is not None:
            draws.add(training.sampler.draw)
            numbers.add(training.sampler.negatives)
    # The usual loss of a head stands for none that is named.
    assert losses == {*ways.losses, None} - {ways.usual}
    assert draws == set(ways.draws)
    assert len(numbers) > 3


def test_crosses_take_the_training_over() -> None:
    found = set()
    for seed in range(8):
        draft = Draft(CONVOLUTION)
        other = Draft(trained_so(CONVOLUTION, OTHERS[1]))
        if said := CROSSES["settings"](draft, other, np.random.default_rng(seed)):
            assert "the training" in said
            found.add(draft.finished().trained_by().optimizer)
    assert found == {"sgd"}
