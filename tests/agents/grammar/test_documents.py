"""Documents are checked before anything is built, and mean the same as models written by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.agents.grammar.conftest import SIZES, answer, built, features
from tests.agents.grammar.cross_network import CrossNetwork, Entity, Question
from tests.agents.grammar.transformer import Transformer

from agenticrs.agents.grammar import documents
from agenticrs.agents.grammar.canonical import canonical, fingerprint
from agenticrs.agents.grammar.cost import Machine, estimate
from agenticrs.agents.grammar.document import Architecture
from agenticrs.agents.grammar.modules import drop
from agenticrs.agents.grammar.network import Batch, Network
from agenticrs.agents.grammar.shapes import infer
from agenticrs.platform.errors import AgentError

TASKS = ("click", "forward")  # torch has methods called "forward" and "items"
KNOWN = {
    "sasrec": documents.sasrec(),
    "sasrec_post": documents.sasrec(norm="post", relative=8, heads=2),
    "sasrec_times": documents.sasrec(relative=8, times=16, heads=2),
    "hstu": documents.hstu(heads=2),
    "gru4rec": documents.gru4rec(),
    "lightgcn": documents.lightgcn(),
    "two_tower": documents.two_tower(),
    "content": documents.two_tower(ids=False),
    "lr": documents.ranker("lr"),
    "fm": documents.ranker("fm"),
    "deepfm": documents.ranker("deepfm"),
    "dcn": documents.ranker("dcn"),
    "din": documents.ranker("din"),
    "mmoe": documents.multi_task(TASKS),
    "ple": documents.multi_task(TASKS, own=1, top=3),
    "mmoe with own vectors": documents.multi_task(TASKS, rare=TASKS, own_width=3),
}


def document(*blocks: dict[str, Any], query: str = "query", items: str = "items") -> Architecture:
    head = {"head": "dot", "query": query, "items": items}
    return Architecture.model_validate({"blocks": blocks, "head": head})


ITEMS = {"block": "embedding", "name": "items", "of": "items", "width": 8}
HISTORY = {"block": "lookup", "name": "history", "table": "items", "at": "history"}
MEAN = {"block": "pooling", "name": "query", "input": "history"}


@pytest.mark.parametrize("name", KNOWN)
def test_every_known_model_answers_finitely_for_known_unknown_and_empty_users(
    name: str, batch: Batch
) -> None:
    found = answer(built(KNOWN[name]), batch)
    assert found.shape[-2:] == ((3, 80) if KNOWN[name].head.head == "dot" else (3, 7))
    assert bool(torch.isfinite(found).all())


@pytest.mark.parametrize("name", KNOWN)
def test_pads_do_not_change_an_answer(name: str, batch: Batch) -> None:
    padded = Batch(
        batch.user,
        torch.cat([batch.items, torch.full((3, 4), -1)], 1),
        batch.lengths,
        batch.candidates,
        batch.context,
        torch.nn.functional.pad(batch.times, (0, 4)) if batch.times is not None else None,
    )
    network = built(KNOWN[name])
    torch.testing.assert_close(answer(network, padded), answer(network, batch))


@pytest.mark.parametrize("name", KNOWN)
def test_a_document_survives_json_and_its_canonical_form_answers_alike(
    name: str, batch: Batch
) -> None:
    again = Architecture.model_validate_json(KNOWN[name].model_dump_json())
    assert again == KNOWN[name]
    plain = canonical(KNOWN[name])
    assert canonical(plain) == plain
    assert fingerprint(plain) == fingerprint(KNOWN[name])
    theirs, ours = built(KNOWN[name]), built(plain)
    assert sum(w.numel() for w in theirs.parameters()) == sum(w.numel() for w in ours.parameters())


def test_the_hand_written_transformer_and_its_document_are_one_model(batch: Batch) -> None:
    by_hand = Transformer(SIZES.n_items, 50, 64, 2, 1)
    by_hand.initialise(torch.Generator().manual_seed(1))
    network = Network(documents.sasrec(dropout=0.0), SIZES)
    weights = {
        name: by_hand.state_dict()[
            name.replace("blocks.@items.weight", "items")
            .replace("blocks.@x.vectors", "positions")
            .replace("blocks.@query.", "norm.")
            .replace("blocks.@layer", "blocks.")
        ]
        for name in network.state_dict()
    }
    assert sum(w.numel() for w in weights.values()) == sum(w.numel() for w in by_hand.parameters())
    network.load_state_dict(weights)
    theirs, ours = by_hand(batch.items, batch.lengths), network.query(network.tables(), batch)
    torch.testing.assert_close(ours[0], theirs[0])
    torch.testing.assert_close(ours[1, 0], theirs[1, 0])


def test_the_hand_written_cross_network_and_its_document_are_one_model(batch: Batch) -> None:
    popularity = torch.rand(SIZES.n_items, generator=torch.Generator().manual_seed(1))
    by_hand = CrossNetwork(
        Entity(SIZES.n_users, features(SIZES.n_users, SIZES.users), SIZES.users, 8),
        Entity(SIZES.n_items, features(SIZES.n_items, SIZES.items), SIZES.items, 8),
        popularity,
        size=8,
        crosses=2,
        deep=16,
    )
    by_hand.initialise(torch.Generator().manual_seed(2))
    network = built(documents.ranker("dcn", width=8, hidden=16))
    theirs = by_hand.state_dict()
    renamed = {
        **{f"blocks.@{e}_ids.weight": theirs[f"{e}.ids"] for e in ("users", "items")},
        **{
            f"blocks.@{e}_said.{part}": theirs[f"{e}.{part}"]
            for e in ("users", "items")
            for part in ("categories", "dense")
        },
    }
    for name in ("weight", "bias"):
        renamed[f"tasks.@click.{name}"] = theirs[f"out.{name}"]
        for layer in range(2):
            renamed[f"blocks.@crossed.linear.{layer}.{name}"] = theirs[
                f"crosses.{layer}.linear.{name}"
            ]
            renamed[f"blocks.@deep.layers.{layer}.{name}"] = theirs[f"deep.{layer}.{name}"]
    network.load_state_dict(renamed)
    assert sum(w.numel() for w in network.parameters()) == sum(
        w.numel() for w in by_hand.parameters()
    )
    assert batch.candidates is not None
    candidates = batch.candidates[:2]
    length = torch.tensor([3, 1])
    context = torch.stack(
        [popularity[candidates], torch.log1p(length)[:, None].expand_as(candidates)], -1
    )
    known = Batch(batch.user[:2], batch.items[:2], length, candidates, context)
    past = torch.tensor([[1, 2, 3], [-1, -1, 4]])  # it has its pads on the other side
    question = Question(batch.user[:2], past, length, candidates)
    torch.testing.assert_close(
        network.logits(network.tables(), known)["click"], by_hand(question, by_hand.tables())
    )


def test_cross_layers_and_factorisation_follow_their_formulas(batch: Batch) -> None:
    network = built(documents.ranker("dcn"))
    values = network.values(network.tables(), batch)
    x0 = x = values["all"]
    weights = dict(network.module("crossed").named_parameters())
    for layer in ("linear.0", "linear.1"):
        x = x0 * (x @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"]) + x
    torch.testing.assert_close(values["crossed"], x)
    pairs = built(documents.ranker("fm")).values(built(documents.ranker("fm")).tables(), batch)
    given = [pairs[n] if pairs[n].dim() == 3 else pairs[n][:, None] for n in ("user", "item")]
    given += [pairs[n][:, None] for n in ("taste", "newest")]
    by_pair = sum((given[a] * given[b]).sum(-1, keepdim=True) for a in range(4) for b in range(a))
    torch.testing.assert_close(pairs["pairs"], by_pair)


def test_a_place_does_not_see_what_comes_later(batch: Batch) -> None:
    for name in ("sasrec", "sasrec_post", "sasrec_times", "hstu", "gru4rec"):
        network = built(KNOWN[name])
        changed = batch.items.clone()
        changed[0, 2] = 70
        other = replace(batch, items=changed)
        before, after = (network.query(network.tables(), b) for b in (batch, other))
        torch.testing.assert_close(before[0, :2], after[0, :2])
        assert not torch.allclose(before[0, 2], after[0, 2]), name


def test_vectors_of_a_task_alone_learn_from_that_task_alone(batch: Batch) -> None:
    network = built(documents.multi_task(TASKS, rare=TASKS, own_width=4)).requires_grad_(True)
    network.logits(network.tables(), batch)["click"].sum().backward()  # type: ignore[no-untyped-call]
    learnt = {n for n, w in network.named_parameters() if w.grad is not None and bool(w.grad.any())}
    tables = [n for n, _ in network.named_parameters() if "users_" in n or "items_" in n]
    assert any("users_click" in name for name in learnt)
    assert any("items_click" in name for name in learnt)
    assert any("forward" in name for name in tables)
    assert not any("forward" in name for name in learnt)


def test_a_gate_that_keeps_the_best_experts_ignores_the_others(batch: Batch) -> None:
    network = built(documents.multi_task(TASKS, shared=4, top=2))
    share = network.values(network.tables(), batch)["experts.click.share"]
    assert share.shape == (3, 7, 4)
    torch.testing.assert_close(share.sum(-1), torch.ones(3, 7))
    assert int((share > 0).sum(-1).max()) == 2


def test_titles_add_the_mean_of_their_words() -> None:
    sizes = replace(SIZES, items=replace(SIZES.items, titled=True))
    plain, titled = (documents.two_tower(width=8, ids=False, words=n) for n in (0, 32))
    assert fingerprint(plain) != fingerprint(titled)
    assert estimate(titled, sizes).parameters == estimate(plain, sizes).parameters + 32 * 8
    network = Network(titled, sizes)
    network.initialise(torch.Generator().manual_seed(0))
    said = features(SIZES.n_items, SIZES.items)
    words = torch.full((SIZES.n_items, 3), -1)
    words[4, :2] = torch.tensor([7, 45])
    people = features(SIZES.n_users, SIZES.users)
    tables = []
    for titles in (None, words):
        network.give(people, replace(said, words=titles), None)
        tables.append(network.tables()["content"])
    vectors = dict(network.module("content").named_parameters())["words"]
    wanted = tables[0].clone()
    wanted[4] += (vectors[7] + vectors[45 % 32]) / 2
    torch.testing.assert_close(tables[1], wanted)
    with pytest.raises(ValidationError, match="only items have titles"):
        document(
            ITEMS,
            {"block": "feature_embedding", "name": "p", "of": "users", "width": 8, "words": 9},
        )


@pytest.mark.parametrize("name", KNOWN)
def test_all_weights_come_from_the_generator(name: str) -> None:
    networks = []
    for torch_seed in (1, 2):
        torch.manual_seed(torch_seed)
        networks.append(built(KNOWN[name]).state_dict())
    assert networks[0].keys() == networks[1].keys()
    for weight in networks[0]:
        assert torch.equal(networks[0][weight], networks[1][weight]), weight


def test_dropout_keeps_the_mean_and_repeats_with_its_seed() -> None:
    ones = torch.ones(100_000)
    dropped = drop(ones, 0.3, torch.Generator().manual_seed(4))
    assert abs(float((dropped == 0).float().mean()) - 0.3) < 0.01
    assert abs(float(dropped.mean()) - 1.0) < 0.01
    assert torch.equal(dropped, drop(ones, 0.3, torch.Generator().manual_seed(4)))
    assert drop(ones, 0.3, None) is ones


@pytest.mark.parametrize(
    ("blocks", "says"),
    [
        ((ITEMS, ITEMS), "two blocks are called 'items'"),
        ((HISTORY, ITEMS), "'history' reads 'items', which no block before it puts out"),
        (({**ITEMS, "width": 0},), "width"),
        (({**ITEMS, "code": "import os"},), "code"),
        (({**ITEMS, "block": "python"},), "python"),
    ],
)
def test_malformed_documents_are_refused_by_name(
    blocks: tuple[dict[str, Any], ...], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        document(*blocks)


@pytest.mark.parametrize(
    ("blocks", "says"),
    [
        ((ITEMS, {**MEAN, "input": "items"}), "'query'.*reads 'items', a table of items, width 8"),
        ((ITEMS, {**HISTORY, "at": "user"}, MEAN), "wanted a table of users"),
        (
            (
                ITEMS,
                HISTORY,
                {**MEAN, "name": "m"},
                {"block": "mlp", "name": "query", "input": "m", "widths": [4]},
            ),
            "query 'query' has width 4, items 'items' 8",
        ),
        (
            (
                ITEMS,
                HISTORY,
                {"block": "attention", "name": "query", "input": "history", "heads": 3},
            ),
            "3 heads do not divide the width 8",
        ),
        (
            (
                ITEMS,
                HISTORY,
                MEAN | {"name": "m"},
                {"block": "add", "name": "query", "of": ["m", "history"]},
            ),
            "they must be alike",
        ),
    ],
)
def test_blocks_that_do_not_fit_are_refused_by_name(
    blocks: tuple[dict[str, Any], ...], says: str
) -> None:
    with pytest.raises(AgentError, match=says):
        infer(document(*blocks))


def test_names_order_and_unused_blocks_do_not_change_the_fingerprint() -> None:
    mlp = {"block": "mlp", "name": "query", "input": "m", "widths": [8]}
    plain = document(ITEMS, HISTORY, {**MEAN, "name": "m"}, mlp)
    renamed = document(
        {"block": "embedding", "name": "nobody", "of": "users", "width": 4},
        {**ITEMS, "name": "things"},
        {**HISTORY, "table": "things", "name": "past"},
        {**MEAN, "name": "middle", "input": "past"},
        {**mlp, "input": "middle", "name": "q"},
        query="q",
        items="things",
    )
    assert fingerprint(plain) == fingerprint(renamed)
    wider = document(ITEMS, HISTORY, {**MEAN, "name": "m"}, {**mlp, "widths": [9, 8]})
    assert fingerprint(wider) != fingerprint(plain)


def test_sharing_weights_is_not_the_same_as_having_two_of_a_kind() -> None:
    second = {**ITEMS, "name": "others"}
    shared = document(ITEMS, HISTORY, MEAN)
    apart = document(ITEMS, second, {**HISTORY, "table": "others"}, MEAN)
    assert fingerprint(shared) != fingerprint(apart)


@pytest.mark.parametrize("name", KNOWN)
def test_the_estimate_counts_the_weights_that_are_built(name: str) -> None:
    machine = Machine(flops=1e11, bytes=1e10, overhead=1e-6)
    cost = estimate(KNOWN[name], SIZES, machine=machine)
    assert cost.parameters == sum(w.numel() for w in built(KNOWN[name]).parameters())
    assert cost.flops > 0
    longer = estimate(KNOWN[name], SIZES, history=200, candidates=400, machine=machine)
    assert longer.flops >= cost.flops
    slower = estimate(KNOWN[name], SIZES, machine=Machine(1e9, 1e10, 1e-6))
    assert slower.latency_ms > cost.latency_ms


@settings(max_examples=30, deadline=None)
@given(
    width=st.sampled_from([2, 4, 8]),
    layers=st.integers(1, 3),
    kernel=st.sampled_from(["softmax", "silu"]),
    norm=st.sampled_from(["pre", "post"]),
    relative=st.sampled_from([0, 5]),
    dilation=st.integers(1, 3),
)
def test_drawn_documents_build_and_answer(
    width: int, layers: int, kernel: str, norm: str, relative: int, dilation: int
) -> None:
    body: list[dict[str, Any]] = []
    for number in range(layers):
        body += [
            {
                "block": "attention",
                "name": f"a{number}",
                "kernel": kernel,
                "norm": norm,
                "relative": relative,
                "input": body[-1]["name"] if body else "x",
            },
            {
                "block": "convolution",
                "name": f"c{number}",
                "dilation": dilation,
                "input": f"a{number}",
            },
        ]
    made = documents.sequential(body, width=width, length=6, dropout=0.1)
    users = Batch(torch.tensor([1, -1]), torch.tensor([[3, 9], [-1, -1]]), torch.tensor([2, 0]))
    assert bool(torch.isfinite(answer(built(made), users)).all())
    assert fingerprint(canonical(made)) == fingerprint(made)
