"""A model written by hand and its document have the same weights and give the same scores."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.agents.grammar import by_hand
from tests.agents.grammar.by_hand import Weights, history_of
from tests.agents.grammar.conftest import SIZES, answer, built
from torch.nn.functional import layer_norm

from agenticrs.agents.batch import UserBatch
from agenticrs.agents.grammar import documents
from agenticrs.agents.grammar.document import Architecture
from agenticrs.agents.grammar.network import Batch, Network
from agenticrs.agents.grammar.retriever import normalised_graph
from agenticrs.agents.retrieval.bpr import BprConfig, BprMF

TASKS = ("click", "forward")


def drawn(architecture: Architecture) -> Network:
    """A network all of whose weights are large enough to count, zeros of the beginning too."""
    network = built(architecture)
    generator = torch.Generator().manual_seed(5)
    for weight in network.parameters():
        weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))
    return network


def test_a_recurrent_unit(batch: Batch) -> None:
    network = drawn(documents.gru4rec(width=8))
    weights = Weights(network)
    for row in (0, 1):
        wanted = by_hand.gru4rec(weights, history_of(batch, row))
        torch.testing.assert_close(answer(network, batch)[row], wanted)
    assert not weights.unread


@pytest.mark.parametrize(
    ("made", "settings"),
    [
        (documents.sasrec(width=8, heads=2), {}),
        (
            documents.sasrec(width=8, heads=2, norm="post", relative=2),
            {"norm": "post", "biases": ("distance",)},
        ),
        (
            documents.sasrec(width=8, heads=2, relative=9, times=5),
            {"biases": ("distance", "elapsed")},
        ),
        (
            documents.hstu(width=8, heads=2, length=9, times=5),
            {"kernel": "silu", "biases": ("distance", "elapsed")},
        ),
    ],
    ids=["sasrec", "post", "times", "hstu"],
)
def test_attention(batch: Batch, made: Architecture, settings: dict[str, Any]) -> None:
    network = drawn(made)
    weights = Weights(network)
    assert batch.times is not None
    for row in (0, 1):
        times = batch.times[row].tolist()
        wanted = by_hand.attention(
            weights, history_of(batch, row), times, layers=2, heads=2, **settings
        )
        torch.testing.assert_close(answer(network, batch)[row], wanted, atol=1e-5, rtol=1e-4)
    assert not weights.unread


def test_a_smoothed_graph(batch: Batch) -> None:
    histories = {0: [1, 2, 3], 1: [2, 7], 2: [], 3: [4, 1]}
    items = [item for user in range(SIZES.n_users) for item in histories.get(user, [])]
    lengths = torch.tensor([len(histories.get(user, [])) for user in range(SIZES.n_users)])
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    users = UserBatch(torch.arange(SIZES.n_users), offsets, torch.tensor(items))
    network = drawn(documents.lightgcn(width=8, layers=3))
    for module in network.blocks.values():
        if hasattr(module, "graph"):
            module.graph = normalised_graph(users, SIZES.n_items)
    weights = Weights(network)
    for row, user in ((0, 0), (1, 3)):
        wanted = by_hand.lightgcn(weights, histories, user, layers=3)
        torch.testing.assert_close(answer(network, batch)[row], wanted)
    assert not weights.unread


def test_factors(batch: Batch) -> None:
    network = drawn(documents.factors(width=8))
    agent = BprMF(BprConfig(embedding_size=8))
    weights = {name.rpartition("@")[2]: w.detach() for name, w in network.named_parameters()}
    state = {name.partition(".")[0]: weight for name, weight in weights.items()}
    assert set(state) == {"users", "items", "bias"}, "the same parameters"
    agent.load(state, n_users=SIZES.n_users, n_items=SIZES.n_items)
    nothing = torch.zeros(3, dtype=torch.int64)
    wanted = agent.score(UserBatch(batch.user[:2], nothing, nothing[:0]))
    torch.testing.assert_close(answer(network, batch)[:2], wanted)


def test_two_towers(batch: Batch) -> None:
    network = drawn(documents.two_tower(width=8, hidden=6))
    weights = Weights(network)
    for row in (0, 1):
        wanted = by_hand.two_tower(weights, int(batch.user[row]), history_of(batch, row))
        torch.testing.assert_close(answer(network, batch)[row], wanted, atol=1e-5, rtol=1e-4)
    assert not weights.unread


@pytest.mark.parametrize(
    ("kind", "made", "own"),
    [
        ("fm", documents.ranker("fm", width=4), 0),
        ("deepfm", documents.ranker("deepfm", width=4, hidden=6), 0),
        ("din", documents.ranker("din", width=4, hidden=6), 0),
        ("mmoe", documents.multi_task(TASKS, width=4, hidden=6), 0),
        ("ple", documents.multi_task(TASKS, width=4, hidden=6, own=2), 2),
    ],
)
def test_rankers(batch: Batch, kind: str, made: Architecture, own: int) -> None:
    network = drawn(made)
    weights = Weights(network)
    logits = network.logits(network.tables(), batch)
    for row in (0, 1):
        for place in (0, 6):
            wanted = by_hand.ranked(weights, kind, batch, row, place, own=own)
            assert set(wanted) == set(logits)
            for task, logit in wanted.items():
                torch.testing.assert_close(logits[task][row, place], logit[0], atol=1e-5, rtol=1e-4)
    assert not weights.unread


def test_a_convolution_pooling_and_gates(batch: Batch) -> None:
    pooled = [
        {"block": "pooling", "name": how, "input": "conv", "how": how}
        for how in ("mean", "max", "newest", "attention")
    ]
    network = drawn(
        Architecture.model_validate(
            {
                "blocks": [
                    {"block": "embedding", "name": "items", "of": "items", "width": 8},
                    {"block": "lookup", "name": "history", "table": "items", "at": "history"},
                    {
                        "block": "convolution",
                        "name": "conv",
                        "input": "history",
                        "kernel": 2,
                        "dilation": 2,
                    },
                    *pooled,
                    {"block": "gate", "name": "one", "a": "mean", "b": "max"},
                    {"block": "gate", "name": "two", "a": "newest", "b": "attention"},
                    {"block": "add", "name": "query", "of": ["one", "two"]},
                ],
                "head": {"head": "dot", "query": "query", "items": "items"},
            }
        )
    )
    weights = Weights(network)
    kernel, bias = weights["conv.convolve.weight"], weights["conv.convolve.bias"]
    scale, shift = weights["conv.norm.weight"], weights["conv.norm.bias"]
    for row in (0, 1):
        x = weights["items.weight"][history_of(batch, row)]
        normed = layer_norm(x, (8,), scale, shift)
        places = []
        for t in range(len(x)):
            out = bias + kernel[:, :, 1] @ normed[t]
            if t >= 2:
                out = out + kernel[:, :, 0] @ normed[t - 2]
            places.append(x[t] + out.relu())
        y = torch.stack(places)
        share = torch.stack([weights.linear("attention.weigh", one)[0] for one in y]).softmax(0)
        a = [y.mean(0), y[-1]]
        b = [y.amax(0), share @ y]
        query = torch.zeros(8)
        for name, left, right in zip(("one", "two"), a, b, strict=True):
            g = torch.sigmoid(weights.linear(f"{name}.decide", torch.cat([left, right])))
            query = query + g * left + (1 - g) * right
        torch.testing.assert_close(answer(network, batch)[row], weights["items.weight"] @ query)
    assert not weights.unread
