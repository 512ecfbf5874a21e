from __future__ import annotations

import pytest

from agenticrs.rewards.experiments.guardrails import Guardrail, judge
from agenticrs.rewards.experiments.sequential import Gathered, Sample

LATENCY = Guardrail("latency", margin=0.1)
VISITS = Guardrail("visits", margin=0.1, larger_is_better=True)


def seen(change: float, n: int) -> Gathered:
    return Gathered().seen(Sample(n, 100 * (1 + change), 100.0), Sample(n, 100.0, 100.0))


@pytest.mark.parametrize(
    ("change", "n", "verdict"),
    [
        (0.0, 1000, "kept"),
        (0.05, 1000, "kept"),
        (0.2, 1000, "broken"),
        (0.1, 1000, "undecided"),
        (0.0, 20, "undecided"),
        (-0.2, 1000, "kept"),
    ],
)
def test_verdicts_are_about_what_is_established(change: float, n: int, verdict: str) -> None:
    assert judge(LATENCY, seen(change, n), alpha=0.05, planned=500).verdict == verdict
    assert judge(VISITS, seen(-change, n), alpha=0.05, planned=500).verdict == verdict


def test_few_users_may_risk_more_but_harm_is_harm() -> None:
    slower = seen(0.1, 1000)
    at_all = judge(LATENCY, slower, alpha=0.05, planned=500)
    at_a_tenth = judge(LATENCY, slower, alpha=0.05, planned=500, share=0.1)
    assert (at_all.verdict, at_a_tenth.verdict) == ("undecided", "kept")
    capped = Guardrail("latency", margin=0.1, worst=0.11)
    assert judge(capped, slower, alpha=0.05, planned=500, share=0.1).verdict == "undecided"
    broken = judge(LATENCY, seen(0.2, 1000), alpha=0.05, planned=500, share=0.1)
    assert broken.verdict == "broken"
    assert str(broken).startswith("-20.0% (-2")


def test_what_is_broken_may_begin_before_the_margin() -> None:
    strict = Guardrail("reward", margin=0.1, larger_is_better=True, tolerated=0.0)
    found = judge(strict, seen(-0.05, 1000), alpha=0.05, planned=500)
    assert found.verdict == "broken"
    with pytest.raises(ValueError, match="worst >= margin"):
        Guardrail("x", margin=0.1, worst=0.05)
    for margin, tolerated in ((0.0, None), (0.1, -0.1)):
        with pytest.raises(ValueError, match="need margin > 0"):
            Guardrail("x", margin=margin, tolerated=tolerated)
