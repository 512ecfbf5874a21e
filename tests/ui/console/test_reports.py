"""Report cards in the console: how to make one, what one says, pictures that are well-formed."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenticrs.evolution.report_card import shelf
from agenticrs.evolution.report_card.card import Dimension, Figure, ReportCard
from agenticrs.registry.tables import utc_now
from agenticrs.ui.console import bars_svg

ATTACK = "<script>alert(1)</script>\"'>"


def card_of(composition: int, of: str = "itemknn") -> ReportCard:
    lost = Figure(of=of, name="reward lost", value=0.0421, low=0.01, high=0.08, how=f"{of} fails")
    gained = Figure(of="rrf", name="reward lost", value=-0.0017, how="rrf fails")
    unknown = Figure(name="p-value of drift", value=None, how="not measured: too few new rows")
    return ReportCard(
        surface="home",
        composition=composition,
        dataset="generated",
        fingerprint="0123456789abcdef",
        split="leave_one_out",
        users=232,
        made_at=utc_now(),
        seconds=2.5,
        dimensions=(
            Dimension(
                key="quality",
                title="Task quality",
                figures=(Figure(name="value@10", value=0.1234, how="of what users see"),),
            ),
            Dimension(key="system", title="Faults and change", figures=(lost, unknown, gained)),
        ),
    )


def test_without_a_card_the_pages_say_how_to_make_one(place: Any) -> None:
    client = place.logged_in()
    overview = client.get("/reports")
    assert overview.status_code == 200
    assert "serves and has no report card yet" in overview.text
    one = client.get("/reports/2")
    assert one.status_code == 200
    assert "<code>agenticrs report 2</code>" in one.text
    assert client.get("/reports/99").status_code == 404
    assert 'href="/reports/1"' in client.get("/compositions/1").text


def test_before_anything_serves_there_is_nothing_to_report_on(empty_place: Any) -> None:
    text = empty_place.logged_in().get("/reports").text
    assert "No composition has been reported on yet" in text
    assert "has no report card yet" not in text


def test_reports_are_for_those_who_are_logged_in(place: Any) -> None:
    for path in ("/reports", "/reports/1"):
        assert place.client().get(path).status_code == 303


def test_a_card_is_shown_with_how_each_figure_was_measured(place: Any) -> None:
    shelf.store(place.settings.home, card_of(1))
    client = place.logged_in()
    overview = client.get("/reports").text
    assert "has no report card yet" not in overview
    assert 'href="/reports/1"' in overview
    assert "0.1234" in overview
    text = client.get("/reports/1").text
    for told in ("Task quality", "of what users see", "itemknn fails", "too few new rows"):
        assert told in text
    assert "0.0100 … 0.0800" in text
    assert text.count('<svg class="bars"') == 1, "of one figure alone there is no picture"
    assert '<th scope="rowgroup" rowspan="2">reward lost</th>' in text


def test_a_card_obeys_the_content_policy(place: Any) -> None:
    shelf.store(place.settings.home, card_of(1))
    client = place.logged_in()
    for path in ("/reports", "/reports/1"):
        text = client.get(path).text
        assert not re.search(r"<[^>]+\s(?:style|on[a-z]+)=", text), path
        assert "<script>" not in text
        assert not re.search(r"(?:src|href)=[\"'](?:https?:)?//", text)


def test_the_colours_of_pictures_follow_the_readers_setting(place: Any) -> None:
    shelf.store(place.settings.home, card_of(1))
    client = place.logged_in()
    assert not re.search(r"fill=|stroke=|#[0-9a-f]{6}", bars_of(client.get("/reports/1").text))
    rules = re.findall(r"\.bars [^{]*\{[^}]*\}", client.get("/static/pictures.css").text)
    painted = [rule for rule in rules if "fill:" in rule or "stroke:" in rule]
    assert painted
    assert all("var(--" in rule for rule in painted)


def bars_of(html: str) -> str:
    (found,) = re.findall(r'<svg class="bars".*?</svg>', html, re.DOTALL)
    return str(found)


def test_a_card_of_another_release_is_no_card(place: Any) -> None:
    path = shelf.store(place.settings.home, card_of(1))
    path.write_text("{}")
    client = place.logged_in()
    assert "agenticrs report 1" in client.get("/reports/1").text
    assert client.get("/reports").status_code == 200


def test_what_a_card_holds_cannot_become_markup(place: Any) -> None:
    shelf.store(place.settings.home, card_of(1, of=ATTACK))
    assert "<script>alert" not in place.logged_in().get("/reports/1").text


def test_the_picture_says_the_same_in_words() -> None:
    (_, system) = card_of(1).dimensions
    svg = bars_svg.draw(system.by_name()["reward lost"], name="b", title="Reward lost")
    title = ElementTree.fromstring(svg).find("title")
    assert title is not None
    assert title.text == "Reward lost: itemknn 0.0421, rrf -0.0017"
    assert 'class="bar below"' in svg


@pytest.mark.parametrize("values", [[], [1.0], [1.0, None], [1.0, float("nan")]])
def test_fewer_than_two_values_are_no_picture(values: list[float | None]) -> None:
    figures = [Figure(of=str(n), name="f", value=v, how="h") for n, v in enumerate(values)]
    assert bars_svg.draw(figures, name="b", title="t") == ""


numbers = st.floats(-1e6, 1e6)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(numbers, numbers, numbers).map(sorted), min_size=2, max_size=6))
def test_everything_lies_inside_the_picture(found: list[list[float]]) -> None:
    figures = [
        Figure(of=f"agent{n}", name="f", value=mean, low=low, high=high, how="h")
        for n, (low, mean, high) in enumerate(found)
    ]
    root = ElementTree.fromstring(bars_svg.draw(figures, name="b", title="t"))
    height = float(root.attrib["height"])
    for element in root.iter():
        for name in ("x", "x1", "x2"):
            assert 0 <= float(element.attrib.get(name, 0)) <= bars_svg.WIDTH
        assert float(element.attrib.get("width", 0)) >= 0
        assert float(element.attrib.get("y", 0)) <= height
