"""Pictures of numbers over time: well-formed, inside their frame, and silent where nothing is."""

from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenticrs.ui.console import lines_svg
from agenticrs.ui.console.lines_svg import Line, Mark, Tick

numbers = st.floats(-1e6, 1e6)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12), st.booleans())
def test_everything_lies_inside_the_picture(points: list[tuple[float, float]], steps: bool) -> None:
    points = sorted(points)
    svg = lines_svg.draw(
        name="l",
        title="t",
        lines=[Line(points, steps=steps, band=[(y - 1, y + 1) for _, y in points])],
        marks=[Mark(x, y, "done", "m", "#here") for x, y in points],
        ticks=[Tick(points[0][0], "first", divides=True)],
    )
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        for name, most in (("cx", lines_svg.WIDTH), ("cy", lines_svg.HEIGHT)):
            if name in element.attrib:
                assert 0 <= float(element.attrib[name]) <= most
    assert len(list(root.iter("circle"))) == len(points)
    assert root.attrib["role"] == "group", "its marks can be followed"


def test_without_numbers_there_is_no_picture() -> None:
    assert lines_svg.draw(name="l", title="t") == ""
    assert lines_svg.draw(name="l", title="t", lines=[Line([(0, float("nan"))])]) == ""
    assert lines_svg.draw(name="l", title="t", marks=[Mark(0, None, "failed", "m")]) == ""


def test_what_failed_stands_at_the_foot_with_a_sign_of_its_own() -> None:
    marks = [Mark(1, 0.5, "done", "one"), Mark(2, None, "failed", "<two>")]
    root = ElementTree.fromstring(lines_svg.draw(name="l", title="t", marks=marks))
    failed = next(g for g in root.iter("g") if g.attrib["class"] == "mark failed")
    assert failed.find("path") is not None
    title = failed.find("title")
    assert title is not None
    assert title.text == "<two>"


def test_a_tick_that_is_a_moment_can_be_shown_in_the_readers_zone() -> None:
    at = datetime(2026, 11, 3, 23, 30, tzinfo=UTC)
    ticks = [Tick(1, "03 Nov", at=at), Tick(2, "<two>")]
    svg = lines_svg.draw(name="l", title="t", lines=[Line([(1, 1), (2, 2)])], ticks=ticks)
    texts = [e for e in ElementTree.fromstring(svg).iter("text") if e.text in ("03 Nov", "<two>")]
    assert texts[0].attrib["data-at"] == "2026-11-03T23:30:00+00:00"
    assert texts[0].findtext("title") == "03 Nov 2026, 23:30 UTC"
    assert "data-at" not in texts[1].attrib


@pytest.mark.parametrize("ends", [(0.0, 1.0), (0.071, 0.0742), (-3.0, 250.0), (5.0, 5.0)])
def test_ticks_are_few_rise_and_lie_inside(ends: tuple[float, float]) -> None:
    found = lines_svg.spread(ends)
    assert 1 <= len(found) <= 6
    assert found == sorted(set(found))
    assert all(ends[0] - 1e-9 <= value <= ends[1] + 1e-9 for value in found)
