from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from agenticrs.platform.errors import DataError
from agenticrs.rewards.experiments.sequential import (
    Always,
    Gathered,
    Sample,
    difference,
    lift,
    mixing,
)

RUNS, LOOKS = 150, 40
SHARES = np.repeat([0.01, 0.05, 0.1, 0.5], LOOKS // 4)


def traffic(seed: int, effect: float, kind: str) -> Iterator[tuple[Sample, Sample]]:
    """Steps of 2,000 users as a ladder would send them, on a baseline that moves."""
    rng = np.random.default_rng(seed)
    for look, share in enumerate(SHARES):
        n = int(2000 * share), 2000 - int(2000 * share)
        drift = 0.3 * math.sin(look / 3)
        treatment, control = (
            clicks(rng, size, 0.2 + 0.1 * drift + added)
            if kind == "clicks"
            else Sample.of(torch.from_numpy(rng.standard_exponential(size) + drift + added))
            for added, size in zip((effect, 0.0), n, strict=True)
        )
        yield treatment, control


def clicks(rng: np.random.Generator, n: int, chance: float) -> Sample:
    mean = rng.binomial(n, chance) / n
    return Sample(n, mean, mean * (1 - mean) * n / (n - 1))


def followed(seed: int, effect: float, kind: str, alpha: float = 0.05) -> list[Always]:
    seen, found = Gathered(), []
    for treatment, control in traffic(seed, effect, kind):
        seen = seen.seen(treatment, control)
        found.append(difference(seen, alpha=alpha, planned=1000))
    return found


@pytest.mark.parametrize("kind", ["clicks", "minutes"])
def test_looking_all_the_time_finds_nothing_where_there_is_nothing(kind: str) -> None:
    alarms = naive = 0
    runs = RUNS if kind == "clicks" else RUNS // 2
    for seed in range(runs):
        found = followed(seed, 0.0, kind)
        alarms += any(one.p_value <= 0.05 for one in found)
        naive += any(_fixed_p(one) <= 0.05 for one in found)
    assert alarms / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    assert naive / runs > 0.15, "a test that is meant for one look does not"


def _fixed_p(found: Always) -> float:
    """The p-value of a test that is meant for one look, out of the interval at 5 %."""
    error = (found.high - found.low) / 2 / 3.1
    return math.erfc(abs(found.mean) / error / math.sqrt(2)) if math.isfinite(error) else 1.0


def test_the_interval_holds_the_truth_at_all_times_together() -> None:
    effect, missed = -0.02, 0
    for seed in range(RUNS):
        found = followed(seed, effect, "clicks", alpha=0.1)
        missed += any(not one.low <= effect <= one.high for one in found)
    assert missed / RUNS <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / RUNS)


def test_a_real_difference_is_found_and_told_with_its_size() -> None:
    found = [followed(seed, -0.1, "minutes")[-1] for seed in range(15)]
    assert sum(one.high < 0 for one in found) >= 14
    assert np.mean([one.mean for one in found]) == pytest.approx(-0.1, abs=0.01)


def test_shares_that_change_on_a_moving_baseline_make_no_difference() -> None:
    """Pooled over steps this looks like a large effect: the share grew as the baseline rose."""
    seen, pooled = Gathered(), [[0.0, 0], [0.0, 0]]
    for share, level in ((0.01, 1.0), (0.5, 2.0)):
        n = int(10_000 * share), int(10_000 * (1 - share))
        arms = [Sample(size, level, 0.01) for size in n]
        seen = seen.seen(*arms)
        for arm, total in zip(arms, pooled, strict=True):
            total[0] += arm.n * arm.mean
            total[1] += arm.n
    naive = pooled[0][0] / pooled[0][1] - pooled[1][0] / pooled[1][1]
    assert naive > 0.3
    assert difference(seen, alpha=0.05, planned=1000).mean == 0


def test_interval_and_p_value_say_the_same() -> None:
    for seed in range(30):
        for one in followed(seed, 0.03, "clicks"):
            assert (one.p_value <= 0.05) == (one.low > 0 or one.high < 0)


def test_it_is_narrowest_at_the_planned_size() -> None:
    def reach(size: float, planned: float) -> float:
        r = mixing(planned, 0.05)
        return math.sqrt((size + r) * (math.log((size + r) / r) - 2 * math.log(0.05)))

    best = reach(1000, 1000)
    assert best <= min(reach(1000, planned) for planned in (100, 500, 2000, 10_000)) * 1.001
    assert best / math.sqrt(1000) == pytest.approx(3.1, abs=0.1)


def test_a_rare_event_not_seen_yet_is_no_proof_of_its_absence() -> None:
    seen = Gathered().seen(Sample(100, 0.0, 0.0), Sample(9900, 0.01, 0.0099))
    found = lift(seen, alpha=0.05, planned=100)
    assert found.low < -2
    assert found.high > 0.5


def test_rare_events_raise_no_false_alarm_among_few_users() -> None:
    for seed in range(100):
        rng, seen = np.random.default_rng(seed), Gathered()
        for _ in range(30):
            seen = seen.seen(clicks(rng, 100, 0.002), clicks(rng, 9900, 0.002))
            found = difference(seen, alpha=0.01, planned=2000)
            assert found.low <= 0 <= found.high


def test_too_few_users_say_nothing_and_equals_are_equal() -> None:
    few = Gathered().seen(Sample(5, 3.0, 0.0), Sample(50, 1.0, 0.1))
    assert difference(few, alpha=0.05, planned=10) == Always(0.0, -math.inf, math.inf, 1.0)
    assert few.seen(Sample(0, 0.0, 0.0), Sample(9, 1.0, 0.0)) == few
    same = Gathered().seen(Sample(50, 1.0, 0.0), Sample(50, 1.0, 0.0))
    assert difference(same, alpha=0.05, planned=10) == Always(0.0, 0.0, 0.0, 1.0)


def test_a_lift_is_relative_to_the_control_and_plain_where_that_has_nothing() -> None:
    seen = Gathered().seen(Sample(500, 2.2, 1.0), Sample(500, 2.0, 1.0))
    assert lift(seen, alpha=0.05, planned=250).mean == pytest.approx(0.1)
    nothing = Gathered().seen(Sample(500, 0.2, 1.0), Sample(500, 0.0, 1.0))
    assert lift(nothing, alpha=0.05, planned=250).mean == pytest.approx(0.2)
    turned = lift(seen, alpha=0.05, planned=250).scaled(-1)
    assert turned.mean == pytest.approx(-0.1)
    assert turned.low < turned.mean < turned.high


def test_samples_come_from_values_and_impossible_ones_are_refused() -> None:
    assert Sample.of(torch.tensor([1.0, 3.0])) == Sample(2, 2.0, 2.0)
    assert Sample.of(torch.zeros(0)) == Sample(0, 0.0, 0.0)
    with pytest.raises(DataError, match="finite"):
        Sample.of(torch.tensor([math.nan]))
    for alpha, planned in ((0.0, 1.0), (1.0, 1.0), (0.05, 0.0)):
        with pytest.raises(ValueError, match="alpha"):
            difference(Gathered(), alpha=alpha, planned=planned)
