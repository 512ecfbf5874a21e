"""What attention is raised by: distances, and the time that passed inside a history."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.agents.grammar.conftest import SIZES, answer
from torch.nn import functional

from agenticrs.agents.grammar import documents
from agenticrs.agents.grammar.document import Architecture, Attention
from agenticrs.agents.grammar.modules import AttentionModule, spans
from agenticrs.agents.grammar.network import Batch, Network

HOUR, DAY, YEAR = 3600, 86_400, 365 * 86_400
TIMED = {
    "softmax": documents.sasrec(width=8, times=16, heads=2),
    "silu": documents.hstu(width=8, times=16, heads=2),
}
timed = pytest.mark.parametrize("architecture", TIMED.values(), ids=TIMED)


def biased(architecture: Architecture) -> Network:
    """A network whose biases are no longer zero, as they are before training."""
    network = Network(architecture, SIZES)
    generator = torch.Generator().manual_seed(1)
    network.initialise(generator)
    for name, weight in network.named_parameters():
        if name.endswith(("distance", "elapsed")):
            torch.nn.init.normal_(weight, generator=generator)
    return network.requires_grad_(False)


def history(times: list[int] | None) -> Batch:
    items = torch.tensor([[3, 14, 15, 9]])
    known = None if times is None else torch.tensor([times])
    return Batch(torch.tensor([-1]), items, torch.tensor([4]), times=known)


def test_spans_are_equal_steps_of_the_logarithm_up_to_ten_years() -> None:
    now = 1_600_000_000
    before = [now - 30 * YEAR, now - 10 * YEAR, now - YEAR, now - DAY, now - HOUR, now - 1, now]
    found = spans(torch.tensor([before]), 32)[0]
    assert found[-1].tolist() == [31, 31, 28, 18, 13, 1, 0]
    assert found[0].tolist() == [0] * 7, "what comes later lies zero seconds back"
    assert int(spans(torch.tensor([[0, 2**40]]), 4).max()) == 3


@timed
def test_only_the_time_between_items_counts(architecture: Architecture) -> None:
    network = biased(architecture)
    first = answer(network, history([0, 60, HOUR, DAY]))
    later = answer(network, history([YEAR, YEAR + 60, YEAR + HOUR, YEAR + DAY]))
    torch.testing.assert_close(first, later)
    assert not torch.allclose(first, answer(network, history([0, 60, HOUR, YEAR])))


@timed
def test_when_the_next_item_came_is_not_known_to_a_place(architecture: Architecture) -> None:
    network = biased(architecture)
    tables = network.tables()
    one, other = history([0, 60, HOUR, DAY]), history([0, 60, HOUR, 9 * YEAR])
    before, after = network.query(tables, one), network.query(tables, other)
    torch.testing.assert_close(before[0, :3], after[0, :3])
    assert not torch.allclose(before[0, 3], after[0, 3])


@timed
def test_without_times_everything_was_taken_at_one_moment(architecture: Architecture) -> None:
    network = biased(architecture)
    torch.testing.assert_close(
        answer(network, history(None)), answer(network, history([DAY, DAY, DAY, DAY]))
    )


def test_a_bias_of_zero_leaves_the_attention_as_it_is_without_one() -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(3, 6, 8, generator=generator)
    times = torch.randint(YEAR, (3, 6), generator=generator).sort(1).values
    plain = AttentionModule(Attention(name="a", input="x", heads=2), 8)
    with_bias = AttentionModule(Attention(name="a", input="x", heads=2, relative=4, times=4), 8)
    with_bias.load_state_dict(plain.state_dict(), strict=False)
    torch.testing.assert_close(with_bias(x, times, None), plain(x, times, None))
    with torch.no_grad():
        with_bias.elapsed[0] += torch.arange(4)
    assert not torch.allclose(with_bias(x, times, None), plain(x, times, None))


@pytest.mark.parametrize("kernel", ["softmax", "silu"])
def test_bfloat16_stays_within_its_precision(kernel: str) -> None:
    generator = torch.Generator().manual_seed(3)
    block = Attention.model_validate({"name": "a", "input": "x", "kernel": kernel, "heads": 2})
    module = AttentionModule(block, 16).requires_grad_(False)
    x = torch.randn(4, 9, 16, generator=generator)
    exact = module(x, None, None)
    with torch.autocast("cpu", torch.bfloat16):
        rough = module(x, None, None)
    assert float(functional.cosine_similarity(exact, rough.float(), -1).min()) > 0.999
    assert not torch.equal(exact, rough.float())


def test_padding_beside_times_changes_nothing() -> None:
    network = biased(TIMED["silu"])
    one = history([0, 60, HOUR, DAY])
    assert one.times is not None
    padded = replace(
        one,
        items=functional.pad(one.items, (0, 3), value=-1),
        times=functional.pad(one.times, (0, 3)),
    )
    torch.testing.assert_close(answer(network, padded), answer(network, one))
