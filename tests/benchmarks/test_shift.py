"""The planted shift in small: the same beginning for all ways, and what is said of them."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("shift")


@pytest.fixture
def figures(benchmark: Any) -> Any:
    return importlib.import_module("shift_figures")


def row(**ways: list[tuple[float, float]]) -> dict[str, Any]:
    """A seed with steps of (seconds, share)."""
    steps = {n: [{"seconds": s, "share": v} for s, v in found] for n, found in ways.items()}
    quiet = [{"day": 24, "alarm": ""}]
    return {"ways": steps, "before": {"share": 0.8}, "quiet": quiet, "alarm": "items have drifted"}


ROW = row(
    alternating=[(0.0, 0.3), (2.0, 0.3), (4.0, 0.6)],
    individual=[(0.0, 0.3), (1.0, 0.4), (5.0, 0.5)],
)


def test_who_never_comes_near_the_best_takes_forever(figures: Any) -> None:
    assert figures.recovery(ROW, "share") == {"alternating": 4.0, "individual": math.inf}


def test_a_way_has_at_each_time_what_its_last_cycle_left(figures: Any) -> None:
    lines = figures.curves([ROW], "share", 4.0)
    told = {round(point[0], 2): point[1] for point in lines["individual"]}
    assert [told[at] for at in (0.0, 0.8, 1.0, 4.0)] == [0.3, 0.3, 0.4, 0.4]
    summed = figures.summary([ROW, ROW], "share", 4.0)
    assert summed["alternating"]["more_than_individual"] == [pytest.approx(0.2)] * 3
    assert summed["individual"]["seconds_to_recover"] == [None, None]
    assert (summed["detected"], summed["false_alarms"], summed["quiet_looks"]) == (2, 0, 2)


def test_the_picture_is_one_and_holds_every_curve(benchmark: Any, figures: Any) -> None:
    lines = figures.curves([ROW], "share", 4.0)
    drawn = ElementTree.fromstring(benchmark.draw({"a": (lines, 0.8), "b": (lines, 0.7)}))
    assert len(drawn.findall(".//{*}polyline")) == 4


def test_only_an_alarm_puts_the_graph_first(benchmark: Any) -> None:
    kinds = {
        way: [[kind for kind, _ in turn(alarm)] for alarm in (False, True)]
        for way, turn in benchmark.WAYS.items()
    }
    agents, graph = "individual", "compositional"
    assert kinds["individual"] == [[agents], [agents]]
    assert kinds["alternating"] == [[agents, graph], [graph, agents]]
    assert kinds["refreshed"] == [[agents, graph], [agents, graph, agents]]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_a_great_event_needs_is_another_graph(benchmark: Any) -> None:
    small = benchmark.PLATFORM.model_copy(update={"n_users": 300, "n_items": 160})
    found = benchmark.one_seed("one topic", 0, small, seconds=1.0)
    assert [look["alarm"] for look in found["quiet"]] == [""]
    assert "drifted" in found["alarm"]
    ways = found["ways"]
    first = {way: steps[0] for way, steps in ways.items()}
    assert first["alternating"] == first["individual"] == first["refreshed"]
    assert first["individual"]["share"] < found["before"]["share"]
    best = {way: max(step["share"] for step in steps) for way, steps in ways.items()}
    assert best["refreshed"] > best["individual"]
