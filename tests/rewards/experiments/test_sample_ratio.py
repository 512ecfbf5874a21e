from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]  # scipy ships no types

from agenticrs.rewards.experiments.sample_ratio import chi_square_p, log_evidence


@pytest.mark.parametrize("counts", [(480, 520), (10, 990), (300, 400, 300), (1, 0)])
def test_it_is_pearsons_test(counts: tuple[int, ...]) -> None:
    shares = [1 / len(counts)] * len(counts)
    assert chi_square_p(counts, shares) == pytest.approx(stats.chisquare(counts).pvalue)


def looks(n_runs: int, drawn: float, assumed: float) -> tuple[float, float]:
    """Shares of runs in which 50 looks at 400 new users each find a mismatch at 5 %."""
    rng = np.random.default_rng(1)
    always = once = 0
    for _ in range(n_runs):
        counts = np.cumsum(rng.binomial(400, drawn, 50))
        totals = 400 * np.arange(1, 51)
        pairs = [(int(a), int(n - a)) for a, n in zip(counts, totals, strict=True)]
        shares = (assumed, 1 - assumed)
        always += any(log_evidence(pair, shares) > -math.log(0.05) for pair in pairs)
        once += any(chi_square_p(pair, shares) < 0.05 for pair in pairs)
    return always / n_runs, once / n_runs


def test_looking_every_day_finds_no_mismatch_that_is_not_there() -> None:
    always, once = looks(200, 0.1, 0.1)
    assert always <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)
    assert once > 0.2, "and the test that is meant for one look does"


def test_a_mismatch_is_found() -> None:
    always, _ = looks(50, 0.09, 0.1)
    assert always > 0.9
    assert chi_square_p((820, 9180), (0.1, 0.9)) < 1e-6


def test_impossible_counts_and_shares_are_refused() -> None:
    for counts, shares in (((1,), (1.0,)), ((0, 0), (0.5, 0.5)), ((1, -1), (0.5, 0.5))):
        with pytest.raises(ValueError, match="a count for each"):
            chi_square_p(counts, shares)
    with pytest.raises(ValueError, match="positive and sum to 1"):
        log_evidence((1, 1), (0.0, 1.0))
