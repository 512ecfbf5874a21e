"""Pages of a surface's rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from agenticrs.platform.database import make_engine, session_scope
from agenticrs.registry import schema, surface_rows
from agenticrs.registry.tables import ObjectiveRow


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = make_engine(f"sqlite:///{tmp_path / 'registry.db'}")
    schema.upgrade(made)
    yield made
    made.dispose()


def test_a_page_has_the_newest_of_its_surface_and_no_other_ones(engine: Engine) -> None:
    with session_scope(engine) as session:
        for number in range(5):
            row = ObjectiveRow(
                surface="home" if number != 3 else "shop",
                state="refused",
                before={},
                after={},
                evidence={},
                reason=f"reason {number}",
                proposed_by="evolution",
            )
            session.add(row)
            session.flush()
        page = surface_rows.newest(session, ObjectiveRow, "home", limit=2, offset=1)
        assert [row.reason for row in page] == ["reason 2", "reason 1"]
        assert surface_rows.count(session, ObjectiveRow, "home") == 4
        assert surface_rows.count(session, ObjectiveRow, "nowhere") == 0
