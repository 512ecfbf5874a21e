"""Small logs for the tests of datasets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pytest

from agenticrs.platform.data.dataset import Positive
from agenticrs.platform.data.raw import Declaration, RawLog

Row = tuple[str | None, str | None, int | None, float | None]


@pytest.fixture(scope="session")
def make_raw() -> Callable[..., RawLog]:
    """Make a log of (user, item, timestamp, click) rows, with options of RawLog."""

    def make(
        rows: Sequence[Row],
        *,
        users: dict[str, list[Any]] | None = None,
        items: dict[str, list[Any]] | None = None,
        columns: dict[str, list[Any]] | None = None,
        has_times: bool = True,
        value: str | None = None,
        user_features: dict[str, Any] | None = None,
        item_features: dict[str, Any] | None = None,
        context: tuple[str, ...] = (),
        **options: Any,
    ) -> RawLog:
        table = pa.table(
            {
                "user_id": pa.array([row[0] for row in rows], pa.string()),
                "item_id": pa.array([row[1] for row in rows], pa.string()),
                "timestamp": pa.array([row[2] for row in rows], pa.int64()),
                "click": pa.array([row[3] for row in rows], pa.float64()),
                **(columns or {}),
            }
        )
        return RawLog(
            interactions=table,
            users=pa.table(users or {"user_id": pa.array([], pa.string())}),
            items=pa.table(items or {"item_id": pa.array([], pa.string())}),
            declaration=Declaration(
                positive=Positive("click", 1.0),
                value=value,
                user_features=user_features or {},
                item_features=item_features or {},
                context=context,
                has_times=has_times,
            ),
            users_complete=users is not None,
            items_complete=items is not None,
            **options,
        )

    return make
