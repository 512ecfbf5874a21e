"""How fast one caller may ask."""

from __future__ import annotations

from typing import Any

from agenticrs.platform.settings import load_settings
from agenticrs.ui.api import pace
from agenticrs.ui.api.pace import Pace


def test_a_caller_has_a_minutes_worth_at_once_and_then_what_time_brings() -> None:
    now = [0.0]
    kept = Pace(60, clock=lambda: now[0])
    assert [kept.wait("maria") for _ in range(61)] == [0] * 60 + [2]
    assert kept.wait("bob") == 0, "others are not slowed down"
    now[0] = 1.0
    assert kept.wait("maria") == 0
    assert kept.wait("maria") > 0


def test_callers_are_forgotten_before_they_fill_the_memory() -> None:
    now = [0.0]
    kept = Pace(60, clock=lambda: now[0])
    for number in range(pace._MOST_CALLERS + 10):
        now[0] += 0.001
        kept.wait(f"caller {number}")
    assert len(kept._left) <= pace._MOST_CALLERS


def test_who_asks_too_fast_is_told_when_to_come_back_and_the_surface_is_not(
    empty_place: Any,
) -> None:
    empty_place.settings = load_settings(home=empty_place.settings.home, requests_per_minute=3)
    client = empty_place.client()
    codes = [client.get("/v1/agents").status_code for _ in range(4)]
    assert codes == [401, 401, 401, 429]
    refused = client.get("/login")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert "default-src 'none'" in refused.headers["content-security-policy"]
    assert {client.get("/healthz").status_code for _ in range(5)} == {200}
