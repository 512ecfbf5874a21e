"""Documents with a generated block: what they may be, and that none gets past a switch that is off.

Nothing is confined here, and nothing of a block is run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tests.agents.grammar.conftest import SIZES
from tests.agents.grammar.written import GOOD, document

from agenticrs.agents import artifact, catalogue
from agenticrs.agents.agent import Budget
from agenticrs.agents.contract import N_ITEMS, small_log
from agenticrs.agents.grammar import documents, generated
from agenticrs.agents.grammar.canonical import canonical, fingerprint, source_hash
from agenticrs.agents.grammar.confined import Confined
from agenticrs.agents.grammar.cost import Machine, estimate
from agenticrs.agents.grammar.document import Architecture, most_weights
from agenticrs.agents.grammar.hosted import Hosted
from agenticrs.agents.grammar.network import Network
from agenticrs.agents.grammar.retriever import DocumentConfig
from agenticrs.agents.grammar.shapes import infer
from agenticrs.agents.grammar.structured import check_structure
from agenticrs.agents.grammar.variation import OPERATORS, cross, mutate
from agenticrs.agents.retrieval.sasrec import SASRec, SASRecConfig
from agenticrs.platform.errors import AgentError
from agenticrs.platform.sandbox.confinement import Confinement
from agenticrs.platform.sandbox.errors import SandboxUnavailable
from agenticrs.platform.sandbox.permission import VARIABLE, permit, permitted
from agenticrs.platform.sandbox.session import Call

MADE = Architecture.model_validate(document(GOOD))


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "true")


@pytest.mark.parametrize(
    ("value", "answer"),
    [("", False), ("false", False), ("0", False), ("maybe", False), ("TRUE", True), (" 1 ", True)],
)
def test_only_a_clear_yes_permits_generated_code(
    monkeypatch: pytest.MonkeyPatch, value: str, answer: bool
) -> None:
    monkeypatch.setenv(VARIABLE, value)
    assert permitted() is answer
    permit(not answer)
    assert permitted() is not answer


def test_without_permission_no_agent_is_built_of_such_a_document(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(AgentError, match="generated code is switched off"):
        catalogue.build("sasrec", {"structure": document(GOOD)})
    with pytest.raises(ValidationError, match="AGENTICRS_GENERATED_CODE"):
        SASRecConfig(structure=MADE)
    catalogue.build("sasrec", {"structure": documents.sasrec().model_dump(mode="json")})


def test_a_version_with_such_a_document_is_not_loaded_once_it_is_switched_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "true")
    monkeypatch.setattr(generated, "confinement", lambda: Confinement(landlock=True))
    agent = SASRec(SASRecConfig(structure=MADE))
    agent.load(_weights(), n_users=4, n_items=N_ITEMS)
    files = artifact.pack(agent)
    assert artifact.unpack(files).state().keys() == agent.state().keys()
    monkeypatch.setenv(VARIABLE, "false")
    with pytest.raises(AgentError, match="generated code is switched off"):
        artifact.unpack(files)


@pytest.mark.usefixtures("allowed")
def test_a_machine_that_cannot_confine_it_neither_trains_nor_loads_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing = Confinement(reasons=("no such kernel",))
    monkeypatch.setattr(generated, "confinement", lambda: nothing)
    agent = SASRec(SASRecConfig(structure=MADE))
    with pytest.raises(SandboxUnavailable, match="no such kernel"):
        agent.fit(small_log(), Budget())
    with pytest.raises(SandboxUnavailable, match="no such kernel"):
        agent.load(_weights(), n_users=4, n_items=N_ITEMS)
    with pytest.raises(SandboxUnavailable, match="no such kernel"):
        generated.check_document(MADE)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import os\n" + GOOD, "import of 'os' is not allowed"),
        (GOOD + "\nopen('x')", "'open' is not allowed"),
        ("def (", "cannot be parsed"),
        ("x = 1\n" * 4000, "at most 16000 characters"),
        ("", "at least 1 character"),
    ],
)
def test_a_source_is_read_before_it_is_a_document(source: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Architecture.model_validate(document(source))


def test_a_document_has_one_generated_block_at_most() -> None:
    twice = document(GOOD)
    twice["blocks"].insert(3, {**twice["blocks"][2], "name": "other", "input": "own"})
    with pytest.raises(ValidationError, match="one generated block"):
        Architecture.model_validate(twice)


def test_it_keeps_the_shape_of_a_sequence_or_a_vector_and_takes_nothing_else() -> None:
    assert str(infer(MADE)["own"]) == "sequence, width 8"
    pooled = document(GOOD)
    pooled["blocks"].insert(2, {"block": "pooling", "name": "pooled", "input": "history"})
    pooled["blocks"][3]["input"] = "pooled"
    assert infer(Architecture.model_validate(pooled))["own"].kind == "vector"
    table = document(GOOD)
    table["blocks"][2]["input"] = "items"
    with pytest.raises(AgentError, match="wanted a sequence or a vector"):
        infer(Architecture.model_validate(table))


def test_the_fingerprint_holds_the_source_by_its_hash() -> None:
    other = Architecture.model_validate(document(GOOD.replace("gelu", "relu")))
    blanks = Architecture.model_validate(document(GOOD.replace("\n\n", "   \n\n") + "\n\n"))
    renamed = MADE.model_dump_json().replace('"own"', '"mine"')
    assert fingerprint(MADE) != fingerprint(other)
    assert fingerprint(MADE) == fingerprint(blanks)
    assert fingerprint(MADE) == fingerprint(Architecture.model_validate_json(renamed))
    block = canonical(MADE).generated
    assert block is not None
    assert block.source == GOOD
    assert len(source_hash(block)) == 64


def test_fingerprints_of_other_documents_stay_what_they_are() -> None:
    assert fingerprint(documents.gru4rec()) == "0f442e4cd477a19b"
    assert fingerprint(documents.ranker("dcn")) == "51baf4c066edef86"


@pytest.mark.usefixtures("allowed")
def test_changes_by_chance_keep_it_or_drop_it_and_never_write_one() -> None:
    rng = np.random.default_rng(1)
    kept = dropped = 0
    current = MADE
    for _ in range(120):
        changed = mutate(current, rng).architecture
        block = changed.generated
        kept, dropped = kept + (block is not None), dropped + (block is None)
        assert block is None or block.source == GOOD
        current = changed if block is not None else MADE
    assert kept > 60
    assert dropped > 0
    plain = documents.sasrec(width=8, layers=1)
    for _ in range(60):
        plain = mutate(plain, rng).architecture
        assert plain.generated is None
    for _ in range(20):
        block = cross(MADE, documents.gru4rec(width=8), rng).architecture.generated
        assert block is None or block.source == GOOD


def test_once_it_is_switched_off_changes_by_chance_keep_no_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    rng = np.random.default_rng(1)
    made = [mutate(MADE, rng, operators={"remove": OPERATORS["remove"]}) for _ in range(5)]
    assert [one.architecture.generated for one in made] == [None] * 5
    with pytest.raises(AgentError, match="no allowed change"):
        mutate(MADE, rng, operators={"head_bias": OPERATORS["head_bias"]})


def test_a_ranker_has_none() -> None:
    made = documents.ranker("dcn").model_dump(mode="json")
    at = next(n for n, block in enumerate(made["blocks"]) if block["name"] == "taste")
    own = {"block": "generated", "name": "own", "input": "history", "source": GOOD}
    made["blocks"].insert(at, own)
    made["blocks"][at + 1]["input"] = "own"
    with pytest.raises(AgentError, match="only retrievers can"):
        check_structure(Architecture.model_validate(made), "ranking")
    check_structure(MADE, "retrieval")


@pytest.mark.usefixtures("allowed")
def test_it_counts_as_large_as_it_may_be_until_it_is_known() -> None:
    machine = Machine(flops=1e10, bytes=1e10, overhead=1e-6)
    most, plain = most_weights(8), 80 * 8 + 2 * 8
    assert estimate(MADE, SIZES, machine=machine).parameters == plain + most
    known = estimate(MADE, SIZES, machine=machine, generated=80)
    assert known.parameters == plain + 80
    assert known.flops < estimate(MADE, SIZES, machine=machine).flops
    assert estimate(MADE, SIZES, machine=machine, generated=0).parameters == plain
    config = SASRecConfig(structure=MADE)
    assert SASRec.static_check(config, 50, 80) == plain + most + 80


def test_outside_of_the_sandbox_the_block_is_a_stand_in_that_computes_nothing() -> None:
    network = Network(MADE, SIZES)
    with pytest.raises(AgentError, match="in the sandbox alone"):
        network.module("own")(torch.zeros(1, 2, 8), None)
    assert {weight.device.type for weight in network.module("own").parameters()} == {"meta"}


class Forging:
    """A session that answers what it was given."""

    def __init__(self, **tensors: Any) -> None:
        self.tensors = tensors

    def call(self, call: Call) -> Any:
        return self.tensors, None


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({}, "gave nothing"),
        ({"query": np.zeros((4, 9), np.float32)}, r"must be float32 \(3, 8\)"),
        ({"query": np.zeros((2, 8), np.float32)}, r"gave float32 \(2, 8\)"),
        ({"query": np.zeros((3, 8))}, "gave float64"),
        ({"query": np.full((3, 8), 1e30, np.float32)}, "larger than"),
    ],
)
def test_what_is_no_vector_for_each_user_is_refused(
    monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any], said: str
) -> None:
    monkeypatch.setattr(generated, "confinement", lambda: Confinement(landlock=True))
    confined = Confined({}, MADE, _weights(), N_ITEMS)
    monkeypatch.setattr(confined, "_session", Forging(**answer))
    with pytest.raises(AgentError, match=said):
        confined.queries(small_log().histories.take(torch.arange(3)))


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize(
    ("change", "told", "said"),
    [
        ({}, {"share": 1.0}, ""),
        ({"table.items": None}, {"share": 1.0}, "other shapes"),
        ({"table.items": torch.zeros(N_ITEMS + 1, 8)}, {"share": 1.0}, "other shapes"),
        ({"table.users": torch.zeros(40, 8)}, {"share": 1.0}, "other shapes"),
        ({"table.items": torch.zeros(N_ITEMS, 8).long()}, {"share": 1.0}, "other shapes"),
        ({"weight.blocks.@own.x": torch.zeros(40, 40)}, {"share": 1.0}, "1672 weights, at most"),
        ({}, {"share": 2.0}, "how much"),
        ({}, None, "how much"),
    ],
)
def test_weights_that_are_not_those_of_the_document_are_refused(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], told: Any, said: str
) -> None:
    state = {n: w for n, w in {**_weights(), **change}.items() if w is not None and n != "prior"}

    class Trained(Forging):
        def call(self, call: Call) -> Any:
            return {name: tensor.numpy() for name, tensor in state.items()}, told

        def close(self) -> None:
            """Nothing is left open."""

    monkeypatch.setattr(generated, "confinement", lambda: Confinement(landlock=True))
    monkeypatch.setattr("agenticrs.agents.grammar.confined._open", lambda *_: Trained())
    agent = SASRec(SASRecConfig(structure=MADE))
    if not said:
        agent.fit(small_log(), Budget())
        assert torch.equal(agent.state()["prior"].argmax(), _most_popular())
        return
    with pytest.raises(AgentError, match=said):
        agent.fit(small_log(), Budget())


def _most_popular() -> torch.Tensor:
    return torch.bincount(small_log().histories.items, minlength=N_ITEMS).argmax()


def _weights() -> dict[str, torch.Tensor]:
    """Weights of the document and its block, as they come out of the sandbox."""
    return {
        "table.items": torch.ones(N_ITEMS, 8),
        "weight.blocks.@query.weight": torch.ones(8),
        "weight.blocks.@query.bias": torch.zeros(8),
        "weight.blocks.@own.written.mix.weight": torch.eye(8),
        "weight.blocks.@own.written.scale": torch.ones(8),
        "prior": torch.zeros(N_ITEMS),
    }


@pytest.mark.usefixtures("allowed")
def test_the_sandbox_trains_by_the_loss_and_sampler_of_the_document() -> None:
    training = {"loss": "bpr", "sampler": {"draw": "uniform", "negatives": 7}}

    def learnt(structure: Any, **settings: Any) -> dict[str, torch.Tensor]:
        """What a child makes of what it is told of the agent."""
        agent = SASRec(SASRecConfig(structure=structure, epochs=2, **settings), seed=3)
        inside = Hosted(DocumentConfig.model_validate(agent._common()), seed=3)
        known: dict[str, Any] = {}
        exec(GOOD, known)  # our own block, which may run here too
        inside.written = known["Block"]
        torch.manual_seed(3)
        inside.fit(small_log(), Budget())
        return inside.state()

    said = learnt(document(GOOD) | {"training": training})
    beside = learnt(document(GOOD), loss="bpr", negatives=7)
    assert all(torch.equal(tensor, beside[name]) for name, tensor in said.items())
    usual = learnt(document(GOOD))
    assert any(not torch.equal(tensor, usual[name]) for name, tensor in said.items())
