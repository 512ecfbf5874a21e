"""Long tables a page at a time: what is shown, how much there is, and the addresses around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Generic, TypeVar
from urllib.parse import urlencode

from fastapi import Query

Row = TypeVar("Row")
PageNumber = Annotated[int, Query(ge=1, le=1_000_000)]
"""The query parameter ``page`` of a route."""
SIZE = 50


@dataclass(frozen=True)
class Page(Generic[Row]):
    """One page of a table.

    ``number`` counts from 1, ``total`` are all rows that fit, ``asked`` the query parameters that
    the links to other pages keep (filters, words). ``parameter`` is that of the number: a page
    with two tables has two.
    """

    rows: Sequence[Row]
    number: int
    total: int
    path: str
    size: int = SIZE
    asked: Mapping[str, str] = field(default_factory=dict)
    parameter: str = "page"

    @property
    def last(self) -> int:
        """Number of the last page; 1 when there is nothing."""
        return max(1, -(-self.total // self.size))

    @property
    def first_row(self) -> int:
        """Place of the first row that is shown, from 1."""
        return (self.number - 1) * self.size + 1

    @property
    def last_row(self) -> int:
        """Place of the last row that is shown."""
        return (self.number - 1) * self.size + len(self.rows)

    @property
    def asked_again(self) -> str:
        """The query that asks for this very page, with its question mark; empty for the first."""
        return self._query(self.number)

    def link(self, number: int) -> str:
        """Address of another page of the same table."""
        return self.path + self._query(number)

    def _query(self, number: int) -> str:
        kept = {name: value for name, value in self.asked.items() if value}
        asked = urlencode(kept | ({self.parameter: str(number)} if number > 1 else {}))
        return f"?{asked}" if asked else ""


def page_of(
    fetch: Callable[[int, int], Sequence[Row]],
    *,
    total: int,
    number: int,
    path: str,
    size: int = SIZE,
    asked: Mapping[str, str] | None = None,
    parameter: str = "page",
) -> Page[Row]:
    """The page with that number, or the last one when there are fewer.

    ``fetch(limit, offset)`` reads the rows.
    """
    number = min(number, max(1, -(-total // size)))
    rows = fetch(size, (number - 1) * size)
    return Page(rows, number, total, path, size, dict(asked or {}), parameter)
