"""Every change by chance keeps a document valid, buildable and different from what it was."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.agents.grammar.conftest import SIZES, answer, built
from tests.agents.grammar.test_documents import KNOWN

from agenticrs.agents.grammar import documents
from agenticrs.agents.grammar.canonical import fingerprint
from agenticrs.agents.grammar.crossing import CROSSES
from agenticrs.agents.grammar.degree import MOST, degree
from agenticrs.agents.grammar.document import MAX_BLOCKS, Architecture, DotHead
from agenticrs.agents.grammar.network import Batch, Network, count_weights
from agenticrs.agents.grammar.shapes import infer
from agenticrs.agents.grammar.tables import Sizes
from agenticrs.agents.grammar.variation import OPERATORS, Limits, Variation, cross, mutate
from agenticrs.platform.errors import AgentError

CHAIN = 30
SEEDS = st.integers(0, 2**32 - 1)
RETRIEVERS = [name for name in KNOWN if KNOWN[name].head.head == "dot"]
RANKERS = ["lr", "fm", "deepfm", "dcn", "din"]


def chain(start: Architecture, seed: int, length: int = CHAIN) -> list[Variation]:
    """So many changes, one upon the other."""
    rng = np.random.default_rng(seed)
    made: list[Variation] = []
    for _ in range(length):
        made.append(mutate(made[-1].architecture if made else start, rng))
    return made


def small_batch() -> Batch:
    """Two users, one of them with a history of three, and candidates for both."""
    return Batch(
        torch.tensor([0, -1]),
        torch.tensor([[1, 2, 3], [-1, -1, -1]]),
        torch.tensor([3, 0]),
        torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]]),
        torch.ones(2, 4, 2),
    )


def check_that_it_learns(architecture: Architecture) -> None:
    """It builds for nothing on the meta device, and for real one step gives gradients."""
    with torch.device("meta"):
        Network(architecture, SIZES)
    network = built(architecture).requires_grad_(True)
    found = answer(network, small_batch())
    assert bool(torch.isfinite(found).all())
    found.square().sum().backward()  # type: ignore[no-untyped-call]
    gradients = [w.grad for w in network.parameters() if w.grad is not None]
    assert gradients
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


@pytest.mark.parametrize("name", KNOWN)
@settings(max_examples=3, deadline=None)
@given(seed=SEEDS)
def test_a_long_chain_of_changes_stays_valid_and_learns(name: str, seed: int) -> None:
    made = chain(KNOWN[name], seed)
    for before, after in pairwise([KNOWN[name], *(step.architecture for step in made)]):
        assert fingerprint(after) != fingerprint(before)
        assert after.head.head == before.head.head
    for step in made:
        again = Architecture.model_validate_json(step.architecture.model_dump_json())
        assert infer(again)
        assert len(again.blocks) <= MAX_BLOCKS
        assert step.difference
    check_that_it_learns(made[-1].architecture)


def test_every_operator_is_reached() -> None:
    reached = {
        step.operator for name in KNOWN for seed in range(5) for step in chain(KNOWN[name], seed)
    }
    assert reached == set(OPERATORS)


def test_the_same_random_numbers_give_the_same_changes() -> None:
    for name in ("sasrec", "dcn"):
        assert chain(KNOWN[name], 7) == chain(KNOWN[name], 7)
        assert chain(KNOWN[name], 7) != chain(KNOWN[name], 8)


@pytest.mark.parametrize("name", ["sasrec", "hstu", "gru4rec"])
def test_a_changed_sequence_still_does_not_see_what_comes_later(name: str) -> None:
    for seed in range(6):
        for step in chain(KNOWN[name], seed, 12):
            head = step.architecture.head
            assert isinstance(head, DotHead)
            if infer(step.architecture)[head.query].kind != "sequence":
                continue
            network = built(step.architecture)
            items = torch.tensor([[1, 2, 3], [1, 2, 70]])
            batch = Batch(torch.tensor([0, 0]), items, torch.tensor([3, 3]))
            query = network.query(network.tables(), batch)
            torch.testing.assert_close(query[0, :2], query[1, :2])


def test_a_width_changes_wherever_it_must_be_the_same() -> None:
    rng = np.random.default_rng(0)
    found = mutate(documents.sasrec(heads=4), rng, operators={"width": OPERATORS["width"]})
    shapes = infer(found.architecture)
    widths = {shape.width for shape in shapes.values()}
    assert len(widths) == 1
    assert widths != {64}
    assert "width 64 became" in found.difference
    attention = [b for b in found.architecture.blocks if b.block == "attention"]
    assert all(shapes["items"].width % block.heads == 0 for block in attention)


def test_an_exchanged_block_keeps_its_place_and_is_named_in_the_difference() -> None:
    operators = {"swap_kind": OPERATORS["swap_kind"]}
    found = mutate(documents.sasrec(), np.random.default_rng(3), operators=operators)
    before = {block.name: block for block in documents.sasrec().blocks}
    after = {block.name: block for block in found.architecture.blocks}
    assert before.keys() == after.keys()
    (changed,) = [name for name in before if before[name] != after[name]]
    assert before[changed].inputs() == after[changed].inputs()
    assert found.difference.startswith(f"{changed}: attention became {after[changed].block}")


def test_a_removed_block_is_passed_by_and_widths_follow() -> None:
    operators = {"remove": OPERATORS["remove"]}
    start = documents.ranker("din", hidden=32)
    removed = set()
    for seed in range(12):
        found = mutate(start, np.random.default_rng(seed), operators=operators).architecture
        removed |= {block.name for block in start.blocks} - {block.name for block in found.blocks}
        check_that_it_learns(found)
    assert "deep" in removed


def test_what_nothing_reads_is_dropped() -> None:
    for name in KNOWN:
        for step in chain(KNOWN[name], 11, 8):
            blocks = step.architecture.blocks
            read = {value.partition(".")[0] for block in blocks for value in block.inputs()}
            read |= {value.partition(".")[0] for value in step.architecture.head.inputs()}
            assert {block.name for block in blocks} <= read


def test_products_of_products_do_not_run_away() -> None:
    operators = {name: OPERATORS[name] for name in ("duplicate", "cross_layers", "products")}
    rng, made = np.random.default_rng(0), documents.ranker("dcn")
    for _ in range(12):
        made = mutate(made, rng, operators=operators).architecture
        assert degree(made) <= MOST
    check_that_it_learns(made)
    assert degree(documents.ranker("dcn", crosses=2)) == 2 * 3  # crosses of similarities
    assert degree(documents.sasrec()) == 1


def test_limits_are_kept_all_along_a_chain() -> None:
    start = documents.sasrec(width=16, layers=1)
    limits = Limits(Sizes(200, 300), parameters=12_000, blocks=9)
    rng, made = np.random.default_rng(0), start
    for _ in range(20):
        made = mutate(made, rng, limits=limits).architecture
        assert len(made.blocks) <= 9
        assert count_weights(made, 200, 300) <= 12_000
        assert all(block.block != "feature_embedding" for block in made.blocks)  # there are none


def test_limits_on_latency_are_kept() -> None:
    start = documents.gru4rec(width=16)
    assert Limits(SIZES, latency_ms=1000.0).allow(start)
    assert not Limits(SIZES, latency_ms=1e-6).allow(start)


def test_when_nothing_is_allowed_it_says_so() -> None:
    with pytest.raises(AgentError, match="no allowed change"):
        mutate(documents.sasrec(), np.random.default_rng(0), limits=Limits(SIZES, parameters=1))


@settings(max_examples=30, deadline=None)
@given(pair=st.sampled_from([(a, b) for a in RETRIEVERS for b in RETRIEVERS if a != b]), seed=SEEDS)
def test_retrievers_of_all_kinds_can_be_crossed(pair: tuple[str, str], seed: int) -> None:
    check_cross(*pair, seed)


@settings(max_examples=20, deadline=None)
@given(pair=st.sampled_from([(a, b) for a in RANKERS for b in RANKERS if a != b]), seed=SEEDS)
def test_rankers_of_one_task_can_be_crossed(pair: tuple[str, str], seed: int) -> None:
    check_cross(*pair, seed)


def check_cross(first: str, second: str, seed: int) -> None:
    """The cross is unlike both, of the first one's head, learns, and repeats."""
    # Two that were changed meet, as in evolution: plain copies would often have nothing to give.
    a = chain(KNOWN[first], seed, 2)[-1].architecture
    b = chain(KNOWN[second], seed + 1, 2)[-1].architecture
    found = cross(a, b, np.random.default_rng(seed))
    assert fingerprint(found.architecture) not in {fingerprint(a), fingerprint(b)}
    assert found.operator in CROSSES
    check_that_it_learns(found.architecture)
    assert cross(a, b, np.random.default_rng(seed)) == found


def test_every_way_to_cross_is_reached() -> None:
    ways = set()
    for a, b in (("sasrec", "gru4rec"), ("lightgcn", "two_tower"), ("dcn", "din")):
        for seed in range(10):
            ways.add(cross(KNOWN[a], KNOWN[b], np.random.default_rng(seed)).operator)
    assert ways == set(CROSSES)


@pytest.mark.parametrize(("first", "second"), [("sasrec", "dcn"), ("dcn", "mmoe")])
def test_documents_for_different_purposes_are_not_crossed(first: str, second: str) -> None:
    with pytest.raises(AgentError, match="unlike heads"):
        cross(KNOWN[first], KNOWN[second], np.random.default_rng(0))
