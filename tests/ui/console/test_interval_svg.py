"""The picture of a comparison says what the numbers say."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticrs.ui.console import interval_svg


def comparison(low: float, high: float) -> dict[str, Any]:
    return {
        "metric": "value@10",
        "before": {"mean": 0.1, "low": 0.09, "high": 0.11},
        "after": {"mean": 0.12, "low": 0.11, "high": 0.13},
        "difference": {"mean": (low + high) / 2, "low": low, "high": high},
    }


@pytest.mark.parametrize(
    ("low", "high", "kind"), [(0.01, 0.03, "gain"), (-0.03, -0.01, "loss"), (-0.01, 0.02, "open")]
)
def test_an_interval_clear_of_zero_is_a_gain_or_a_loss(low: float, high: float, kind: str) -> None:
    assert f'class="row {kind}"' in interval_svg.draw(comparison(low, high), name="i")


def test_without_the_figures_there_is_no_picture() -> None:
    assert interval_svg.draw({}, name="i") == ""
    assert interval_svg.draw({"before": {"mean": "x"}}, name="i") == ""
    assert interval_svg.draw(comparison(0, 1) | {"difference": {"mean": 1}}, name="i") == ""


def test_not_a_number_is_no_picture() -> None:
    assert interval_svg.draw(comparison(float("nan"), 1.0), name="i") == ""


@given(
    st.floats(-1e6, 1e6).flatmap(
        lambda low: st.floats(low, 1e6).map(lambda high: comparison(low, high))
    )
)
def test_everything_lies_inside_the_picture(found: dict[str, Any]) -> None:
    svg = interval_svg.draw(found, name="i")
    for element in ElementTree.fromstring(svg).iter():
        for name in ("x1", "x2", "cx"):
            if name in element.attrib:
                assert 0 <= float(element.attrib[name]) <= interval_svg.WIDTH
