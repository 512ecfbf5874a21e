"""Both tasks: strict schemas that fit what is read, distances, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evolution.proposer.situation import (
    COMPOSITION,
    DCN,
    ITEMS,
    MACHINE,
    RECURRENT,
    SASREC,
    SPACE,
    composition,
    document,
    point,
    structure,
)

from agenticrs.agents.agent import Budget
from agenticrs.agents.catalogue import load_agents
from agenticrs.agents.contract import small_log
from agenticrs.agents.grammar import documents
from agenticrs.agents.grammar.document import Architecture
from agenticrs.agents.grammar.tables import Sizes
from agenticrs.agents.grammar.training import WAYS
from agenticrs.agents.retrieval.ease import Ease
from agenticrs.agents.retrieval.sasrec import SASRec
from agenticrs.evolution import blueprint
from agenticrs.evolution.proposer import answer
from agenticrs.evolution.proposer.composition_task import CompositionTask
from agenticrs.evolution.proposer.embedding import difference, distance, of_structure
from agenticrs.evolution.proposer.parameters import read_value
from agenticrs.evolution.proposer.prompts import load
from agenticrs.evolution.proposer.structure_task import StructureTask
from agenticrs.evolution.proposer.task import Task, Unfit
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry.spec import Choice, FloatRange, IntRange

KNOWN = {
    "sasrec": documents.sasrec(),
    "hstu": documents.hstu(),
    "gru4rec": documents.gru4rec(),
    "lightgcn": documents.lightgcn(),
    "two_tower": documents.two_tower(),
    "fm": documents.ranker("fm"),
    "deepfm": documents.ranker("deepfm"),
    "dcn": documents.ranker("dcn"),
    "din": documents.ranker("din"),
}


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for inner in schema.values():
            yield from parts(inner)
    if isinstance(schema, list):
        for inner in schema:
            yield from parts(inner)


@pytest.mark.parametrize("task", [SASREC, DCN, COMPOSITION])
def test_schemas_are_strict(task: Task) -> None:
    body = answer.schema(task, ["current", "c0"]).body
    assert next(iter(body["properties"])) == "hypothesis"
    assert body["properties"]["parent"]["enum"] == ["current", "c0"]
    defined = {f"#/$defs/{name}" for name in body["$defs"]}
    for part in parts(body):
        assert not {"oneOf", "patternProperties", "default"} & set(part)
        assert part.get("$ref", next(iter(defined))) in defined
        if part.get("type") == "object":
            assert part["required"] == list(part["properties"])
            assert part["additionalProperties"] is False


def test_a_grammar_offers_only_what_it_can_use() -> None:
    retrieval = answer.schema(SASREC, ["current"]).body["$defs"]
    ranking = answer.schema(DCN, ["current"]).body["$defs"]
    assert "DotHead" in retrieval
    assert "LogitHead" not in retrieval
    assert "TargetAttention" not in retrieval
    assert "GraphPropagation" not in ranking
    assert list(ranking["LogitHead"]["properties"]["tasks"]["properties"]) == ["click"]


def test_a_ranker_takes_another_rankers_document() -> None:
    din = documents.ranker("din").model_dump(mode="json")
    drafted = DCN.read(structure(din), {})
    assert drafted.facts["fingerprint"] == DCN.identity({"structure": din})
    assert drafted.facts["estimated"]["flops"] > 0


@pytest.mark.parametrize(
    ("task", "made", "said"),
    [
        (SASREC, documents.ranker("dcn"), "dot head"),
        (DCN, documents.sasrec(), "logits head"),
        (SASREC, documents.two_tower(), ""),
        (
            StructureTask(SASRec, Sizes(50, 80), machine=MACHINE),
            documents.two_tower(),
            "nothing is known of items but their ids",
        ),
    ],
)
def test_documents_of_another_kind_are_refused(
    task: StructureTask, made: Architecture, said: str
) -> None:
    given_answer = structure(made.model_dump(mode="json"))
    if not said:
        assert task.read(given_answer, {}).values["structure"]
        return
    with pytest.raises(Unfit, match=said):
        task.read(given_answer, {})


def test_a_ranker_has_no_graph() -> None:
    blocks = documents.lightgcn(width=16).model_dump(mode="json")["blocks"][:3]
    made = documents.ranker("lr").model_dump(mode="json")
    made["blocks"] = [*blocks, *made["blocks"][1:]]
    with pytest.raises(Unfit) as caught:
        DCN.read(structure(made), {})
    assert caught.value.errors


def test_products_of_products_are_refused() -> None:
    crossed = [
        {"block": "cross", "name": name, "input": before, "layers": 8}
        for before, name in (("taste", "a"), ("a", "query"))
    ]
    pooled = {"block": "pooling", "name": "taste", "input": "history"}
    with pytest.raises(Unfit, match="multiplied with each other"):
        SASREC.read(structure(document(pooled, *crossed)), {})


def test_many_errors_come_together_and_are_bounded() -> None:
    blocks = [{**ITEMS, "name": f"i{n}", "width": -1} for n in range(30)]
    made = {"blocks": blocks, "head": {"head": "dot", "query": "i0", "items": "i0"}}
    with pytest.raises(Unfit) as caught:
        SASREC.read(structure(made, learning_rate="fast"), {})
    assert len(caught.value.errors) == 12


def test_an_agent_with_a_fixed_structure_has_no_such_task() -> None:
    with pytest.raises(EvolutionError, match="fixed"):
        StructureTask(Ease, Sizes(5, 5))


def test_sizes_are_near_and_other_ideas_are_far() -> None:
    plain = KNOWN["sasrec"]
    for near in (
        documents.sasrec(width=128),
        documents.sasrec(dropout=0.5, length=200),
        documents.sasrec(heads=2),
    ):
        assert distance(of_structure(plain), of_structure(near)) < SASREC.near
    for far in (
        documents.sasrec(layers=3),
        documents.sasrec(norm="post"),
        documents.sasrec(relative=8),
        documents.hstu(),
    ):
        assert distance(of_structure(plain), of_structure(far)) >= SASREC.near
    crossed = of_structure(documents.ranker("dcn"))
    assert distance(crossed, of_structure(documents.ranker("dcn", crosses=3))) >= SASREC.near
    assert distance(crossed, of_structure(documents.ranker("dcn", width=20))) < SASREC.near


def test_known_models_are_far_from_each_other_and_not_from_themselves() -> None:
    found = {name: of_structure(made) for name, made in KNOWN.items()}
    for name, mine in found.items():
        assert distance(mine, mine) == 0.0
        for other, theirs in found.items():
            assert other == name or distance(mine, theirs) >= SASREC.near


def test_a_difference_is_said_in_words() -> None:
    assert difference(KNOWN["sasrec"], documents.sasrec(layers=3)) == "+attention"
    assert difference(KNOWN["sasrec"], documents.sasrec(width=32)) == (
        "embedding items.width 64 > 32"
    )
    assert "+target_attention" in difference(KNOWN["dcn"], KNOWN["din"])
    assert difference(KNOWN["dcn"], KNOWN["dcn"]) == "other connections"


def test_a_point_that_makes_no_graph_is_refused_with_the_reason() -> None:
    def check(values: Any) -> None:
        raise EvolutionError("every retriever has a weight below the least one")

    made = composition(weight__ease=0, weight__bpr=0.0, ranking="none", rrf__k=60.0)
    drafted = COMPOSITION.read(made, {})
    assert drafted.values == {"weight.ease": 0.0, "weight.bpr": 0.0, "ranking": "none", "rrf.k": 60}
    with pytest.raises(Unfit, match="below the least one"):
        CompositionTask(SPACE, check).read(made, {})


def test_what_an_answer_leaves_out_stays_as_the_parent_has_it() -> None:
    drafted = COMPOSITION.read(composition(ranking="dcn"), point(0.7))
    assert drafted.values == point(0.7, "dcn")
    with pytest.raises(Unfit, match=r"weight\.ease: None is not a number"):
        COMPOSITION.read(composition(ranking="dcn"), {})
    with pytest.raises(Unfit, match="wanted an object"):
        COMPOSITION.read({"point": [1]}, point())


def test_points_are_the_same_by_their_coordinates_and_near_by_small_steps() -> None:
    assert COMPOSITION.identity({"other": 1}) is None
    assert COMPOSITION.identity(point()) == COMPOSITION.identity({**point(), "other": 1})
    assert COMPOSITION.identity(point()) != COMPOSITION.identity({"ranking": "none"})
    plain = COMPOSITION.embedding(point(0.5))
    assert distance(plain, COMPOSITION.embedding(point(0.55))) < COMPOSITION.near
    assert distance(plain, COMPOSITION.embedding(point(0.65))) >= COMPOSITION.near
    assert distance(plain, COMPOSITION.embedding(point(ranking="dcn"))) >= COMPOSITION.near


def test_a_draft_can_be_trained() -> None:
    drafted = SASREC.read(structure(RECURRENT, epochs=10), {})
    config = SASRec.config_type.model_validate({**drafted.values, "epochs": 1})
    agent = SASRec(config)
    agent.fit(small_log(), Budget())
    assert [block.block for block in agent.network.architecture.blocks][-1] == "recurrent"


def test_the_real_space_of_compositions_can_be_drafted_in() -> None:
    specs = {name: agent.spec for name, agent in load_agents().items()}
    task = CompositionTask(blueprint.space(specs), lambda values: blueprint.at(values, specs))
    schema = answer.schema(task, ["current"]).body["properties"]["point"]
    made = {
        name: form["enum"][0] if "enum" in form else form["minimum"]
        for name, form in schema["properties"].items()
    }
    with pytest.raises(Unfit, match="below the least one"):
        task.read({"point": made}, {})
    drafted = task.read({"point": {**made, "weight.ease": 1.0}}, {})
    assert blueprint.at(drafted.values, specs).retrievers == ("ease",)
    cascade = {
        "ranking": "din",
        "coarse_ranking": "lr",
        "keep.coarse_ranking": 20,
        "when.history_router.ranking": "warm",
    }
    bold = task.read({"point": {**made, **cascade, "weight.ease": 1.0}}, {})
    plan = blueprint.at(bold.values, specs)
    assert (plan.coarse, plan.keep["lr"], plan.only["din"]) == ("lr", 20, "warm")
    with pytest.raises(Unfit, match=r"keep.coarse_ranking: 30 is none of 'all', 20, 50"):
        task.read({"point": {**bold.values, "keep.coarse_ranking": 30}}, {})
    assert "keep.coarse_ranking all > 20" in task.difference(drafted.values, bold.values)


def test_the_prompt_explains_every_kind_of_parameter_of_the_real_space() -> None:
    text = load("composition").text
    specs = {name: agent.spec for name, agent in load_agents().items()}
    roles = {name: f"<{spec.role}>" for name, spec in specs.items()}
    short = {
        "<retrieval>": "<retriever>",
        "<routing>": "<router>",
        "<segmenting>": "<router>",
    }
    for parameter in blueprint.space(specs):
        head, *rest = parameter.name.split(".")
        if head in specs:
            continue
        rest = [short[roles[part]] if part in roles else part for part in rest]
        rest[1:] = ["<segment>"] if head == "path" else rest[1:]
        assert f"`{'.'.join([head, *rest])}`" in text, parameter.name


@pytest.mark.parametrize("value", [True, "0.5", None, math.nan, math.inf, 10**400, [], {}, -0.1])
def test_no_number_is_no_value(value: Any) -> None:
    for parameter in (SPACE[0], SPACE[3]):
        with pytest.raises(ValueError, match="is not"):
            read_value(parameter, value)


def test_choices_keep_their_type() -> None:
    assert read_value(Choice(name="c", values=(0, 1)), 1) == 1
    with pytest.raises(ValueError, match="none of"):
        read_value(Choice(name="c", values=(0, 1)), True)
    assert read_value(Choice(name="c", values=(True, False)), True) is True


@given(st.one_of(st.integers(-5, 120), st.floats(-5, 120)))
def test_what_is_read_lies_in_the_range(value: float) -> None:
    for parameter in (
        FloatRange(name="f", low=0.0, high=100.0),
        IntRange(name="i", low=1, high=100),
    ):
        try:
            found = read_value(parameter, value)
        except ValueError:
            continue
        assert parameter.low <= found <= parameter.high
        assert found == value


def test_a_draft_may_name_how_it_is_trained() -> None:
    body = answer.schema(SASREC, ["current"]).body
    fields = {"loss", "sampler", "optimizer", "schedule", "rate"}
    assert body["$defs"]["Training"]["properties"].keys() == fields
    own = documents.sasrec(width=16, length=20)
    usual, other = (
        own.model_dump(mode="json") | {"training": said}
        for said in (None, {"optimizer": "sgd", "schedule": None, "rate": 30.0})
    )
    drafted = SASREC.read({"document": other, "settings": None}, {})
    assert drafted.values["structure"]["training"]["optimizer"] == "sgd"
    assert SASREC.identity({"structure": usual}) != SASREC.identity(drafted.values)
    apart = distance(SASREC.embedding({"structure": usual}), SASREC.embedding(drafted.values))
    assert apart >= SASREC.near, "that is no copy"
    said = SASREC.difference({"structure": usual}, drafted.values)
    assert said == "training adamw cosine > sgd cosine x 30"
    with pytest.raises(Unfit, match=r"training\.optimizer"):
        SASREC.read(
            {"document": own.model_dump(mode="json") | {"training": {"optimizer": "x"}}}, {}
        )


@pytest.mark.parametrize(("task", "head"), [(SASREC, "dot"), (DCN, "logits")])
def test_a_schema_offers_the_losses_and_samplers_of_its_head_alone(task: Task, head: str) -> None:
    offered, ways = answer.schema(task, ["current"]).body["$defs"], WAYS[head]
    loss, nothing = offered["Training"]["properties"]["loss"]["anyOf"]
    assert loss["enum"] == list(ways.losses)
    assert nothing == {"type": "null"}
    sampler = offered["Sampler"]["properties"]
    assert sampler["draw"]["enum"] == list(ways.draws)
    assert sampler["negatives"]["anyOf"][0]["maximum"] == ways.negatives


def test_the_prompt_explains_every_loss_and_sampler() -> None:
    text = load("structure").text
    for ways in WAYS.values():
        assert not [name for name in (*ways.losses, *ways.draws) if f"`{name}`" not in text]


def test_another_loss_or_sampler_is_another_idea_and_another_number_is_a_size() -> None:
    def drafted(**training: Any) -> Architecture:
        own = documents.sasrec(width=16, length=20).model_dump(mode="json")
        return Architecture.model_validate(own | {"training": training})

    def sampled(draw: str, negatives: int | None = None) -> Architecture:
        sampler = {"draw": draw, "negatives": negatives}
        return drafted(loss="sampled", sampler=sampler)

    plain, few = drafted(), sampled("uniform", 256)
    for other in (drafted(loss="bpr"), sampled("popularity"), sampled("in_batch", 256)):
        for known in (plain, few):
            assert distance(of_structure(known), of_structure(other)) >= SASREC.near
    assert distance(of_structure(few), of_structure(sampled("uniform", 512))) < SASREC.near
    assert difference(plain, sampled("popularity", 256)) == (
        "training adamw cosine > sampled (popularity^0.75, 256 negatives), adamw cosine"
    )
