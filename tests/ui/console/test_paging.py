"""Tables a page at a time: the right rows, whatever number is asked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agenticrs.ui.console.navigation import MENU
from agenticrs.ui.console.paging import page_of


@given(st.integers(0, 200), st.integers(1, 300), st.integers(1, 60))
def test_every_page_has_its_rows_and_a_number_beyond_the_end_is_the_last(
    total: int, number: int, size: int
) -> None:
    rows = list(range(total))
    page = page_of(
        lambda limit, offset: rows[offset : offset + limit],
        total=total,
        number=number,
        path="/rows",
        size=size,
    )
    assert 1 <= page.number <= page.last
    assert list(page.rows) == rows[page.first_row - 1 : page.last_row]
    assert bool(page.rows) == bool(rows)


def test_links_keep_what_was_asked_for() -> None:
    page = page_of(
        lambda limit, offset: [0] * limit,
        total=100,
        number=2,
        path="/memory",
        size=10,
        asked={"words": "a&b", "agent": ""},
    )
    assert page.link(3) == "/memory?words=a%26b&page=3"
    assert page.link(1) == "/memory?words=a%26b"


def test_the_menu_marks_one_page_at_most() -> None:
    entries = [entry for group in MENU for entry in group.entries]
    for path in ("/", "/agents", "/agents/rrf", "/cycles/3", "/compositions/compare", "/login"):
        assert sum(entry.leads_to(path) for entry in entries) <= 1
    assert next(e for e in entries if e.leads_to("/agents/rrf")).name == "Agents"
