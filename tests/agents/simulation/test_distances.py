from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agenticrs.agents.simulation.choice import Choice, area_under_curve
from agenticrs.agents.simulation.distances import (
    jensen_shannon,
    kullback_leibler,
    shares,
    wasserstein,
)
from agenticrs.agents.simulation.fidelity import Fidelity, Figure
from agenticrs.agents.simulation.ordering import kendall, ordering
from agenticrs.agents.simulation.trust import trust
from agenticrs.platform.errors import AgentError

codes = st.lists(st.integers(0, 4), min_size=1, max_size=30)


@given(codes, codes)
def test_jensen_shannon_is_the_root_of_the_mean_divergence_to_the_middle(
    a: list[int], b: list[int]
) -> None:
    p, q = shares(torch.tensor(a), 5), shares(torch.tensor(b), 5)
    total = 0.0
    for one, other in zip(p.tolist(), q.tolist(), strict=True):
        middle = (one + other) / 2
        total += sum(0.5 * x * math.log2(x / middle) for x in (one, other) if x)
    assert jensen_shannon(p, q) == pytest.approx(math.sqrt(max(0.0, total)), abs=1e-6)
    assert jensen_shannon(p, q) == pytest.approx(jensen_shannon(q, p))
    assert jensen_shannon(p, p) == 0
    assert kullback_leibler(p, q) >= 0


def test_what_has_nothing_in_common_is_at_distance_one() -> None:
    p, q = torch.tensor([1.0, 0.0]).double(), torch.tensor([0.0, 1.0]).double()
    assert jensen_shannon(p, q) == 1
    assert math.isfinite(kullback_leibler(p, q))


def test_wasserstein_is_how_far_values_move() -> None:
    values = torch.arange(50.0)
    assert wasserstein(values, values + 3) == pytest.approx(3)
    assert wasserstein(values, values.repeat(2)) == pytest.approx(0, abs=1e-9)
    assert wasserstein(values, torch.zeros(0)) == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=30))
def test_the_area_under_the_curve_counts_pairs(rows: list[tuple[int, bool]]) -> None:
    wanted = [score for score, good in rows if good]
    others = [score for score, good in rows if not good]
    pairs = [(a > b) + 0.5 * (a == b) for a in wanted for b in others]
    expected = sum(pairs) / len(pairs) if pairs else 0.5
    scores = torch.tensor([float(score) for score, _ in rows])
    found = area_under_curve(scores, torch.tensor([good for _, good in rows]))
    assert found == pytest.approx(expected)


def test_kendall_counts_pairs_in_the_same_order() -> None:
    up = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert kendall(up, up) == 1
    assert kendall(up, -up) == -1
    assert kendall(up, torch.tensor([1.0, 3.0, 2.0, 4.0])) == pytest.approx(4 / 6)
    assert kendall(up, torch.zeros(4)) == 0


def test_an_ordering_that_hangs_on_chance_has_a_wide_interval() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = {name: torch.rand(200, generator=generator) for name in "abcd"}
    clear = {name: noise[name] + place for place, name in enumerate("abcd")}
    sure = ordering(clear, clear, samples=100, seed=0)
    assert (sure.tau, sure.low, sure.high) == (1, 1, 1)
    doubtful = ordering(noise, clear, samples=100, seed=0)
    assert doubtful.high - doubtful.low > 0.5
    assert doubtful == ordering(noise, clear, samples=100, seed=0)
    with pytest.raises(AgentError, match="same recommenders"):
        ordering({"a": noise["a"]}, noise, seed=0)


def figure(part: str, distance: float) -> Figure:
    return Figure(part, "signal", 0, 0, distance, 0, 0, 0, 0)


def judged(distance: float, auc: float) -> Fidelity:
    nothing = (torch.zeros(0), torch.zeros(0))
    choice = Choice(1, 10, 0, 0, 0, 0, auc, (nothing, nothing, nothing))
    parts = ("response", "sequence", "items", "visits")
    return Fidelity(tuple(figure(part, distance) for part in parts), (choice,), 10, 100)


def test_trust_is_one_for_perfect_users_and_one_bad_part_is_not_made_good_by_others() -> None:
    assert trust(judged(0.0, 1.0), tau=1.0).score == pytest.approx(1)
    assert trust(judged(0.0, 1.0), tau=-1.0).score < 0.4
    assert trust(judged(0.0, 0.5), tau=1.0).score < 0.4
    assert trust(judged(0.9, 1.0), tau=1.0).score < 0.3


def test_what_was_not_measured_is_neither_trusted_nor_refuted() -> None:
    perfect = judged(0.0, 1.0)
    unknown = trust(perfect)
    assert unknown.parts["ordering"] is None
    assert unknown.score == pytest.approx(trust(perfect, tau=0.0).score)
    nothing = trust(Fidelity((), (), 0, 0))
    assert nothing.score == pytest.approx(0.5)
