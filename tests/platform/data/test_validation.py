from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticrs.platform.data.raw import RawLog
from agenticrs.platform.data.validation import InvalidRows, validate

NOW = 1_000_000
MakeRaw = Callable[..., RawLog]

DEFECTS: dict[str, tuple[str, Any, str]] = {
    "unknown user": ("user_id", "stranger", "unknown"),
    "unknown item": ("item_id", "novelty", "unknown"),
    "no user": ("user_id", None, "missing"),
    "no time": ("timestamp", None, "missing"),
    "future": ("timestamp", NOW + 1, "future"),
    "negative time": ("timestamp", -5, "negative"),
    "nan click": ("click", math.nan, "not_finite"),
    "infinite click": ("click", math.inf, "not_finite"),
    "negative click": ("click", -1.0, "negative"),
    "no click": ("click", None, "missing"),
    "negative watch time": ("watch_time", -0.5, "negative"),
    "nan watch time": ("watch_time", math.nan, "not_finite"),
}


@given(st.data())
def test_every_planted_defect_is_found_by_row_and_column_and_nothing_else(
    make_raw: MakeRaw, data: st.DataObject
) -> None:
    n = data.draw(st.integers(1, 30), label="rows")
    columns: dict[str, list[Any]] = {
        "user_id": [f"u{row % 3}" for row in range(n)],
        "item_id": [f"i{row}" for row in range(n)],
        "timestamp": list(range(n)),
        "click": [float(row % 2) for row in range(n)],
        "watch_time": [1.5 * row for row in range(n)],
    }
    planted = set()
    rows = data.draw(st.sets(st.integers(0, n - 1)), label="bad rows")
    for row in rows:
        column, value, rule = DEFECTS[data.draw(st.sampled_from(sorted(DEFECTS)))]
        columns[column][row] = value
        planted.add((row + 1, column, rule))
    n_repeats = data.draw(st.integers(0, 3), label="repeats")
    good = [row for row in range(n) if row not in rows]
    for place in range(n_repeats if good else 0):
        for values in columns.values():
            values.append(values[good[0]])
        planted.add((n + place + 1, "timestamp", "duplicate"))
    raw = make_raw(
        list(
            zip(
                columns["user_id"],
                columns["item_id"],
                columns["timestamp"],
                columns["click"],
                strict=True,
            )
        ),
        users={"user_id": ["u0", "u1", "u2"]},
        items={"item_id": [f"i{number}" for number in range(30)]},
        columns={"watch_time": columns["watch_time"]},
    )
    report = validate(raw, NOW)
    assert {(bad.row, bad.column, bad.rule) for bad in report.rows} == planted
    assert len(report.rows) == len(planted)
    assert report.ok is (not planted)
    bad_rows = {row for row, _, _ in planted}
    assert [row + 1 for row, good in enumerate(report.good["interactions"]) if not good] == sorted(
        bad_rows
    )


def test_ids_are_only_unknown_where_the_table_is_complete(make_raw: MakeRaw) -> None:
    assert validate(make_raw([("stranger", "novelty", 1, 1.0)]), NOW).ok


def test_the_same_place_in_time_is_no_repeat_when_the_order_differs(make_raw: MakeRaw) -> None:
    rows = [("u", "i", 1, 1.0), ("u", "i", 1, 1.0)]
    assert validate(make_raw(rows), NOW).counts == {"duplicate": 1}
    assert validate(make_raw(rows, columns={"order": [1, 2]}), NOW).ok


def test_places_in_a_history_are_never_in_the_future(make_raw: MakeRaw) -> None:
    rows = [("u", "i", NOW + 5, 1.0)]
    assert validate(make_raw(rows), NOW).counts == {"future": 1}
    assert validate(make_raw(rows, has_times=False), NOW).ok


@pytest.mark.parametrize("bad", ["", "   ", "a\x00b", "line\nbreak", "x" * 201])
def test_malformed_ids_are_found(make_raw: MakeRaw, bad: str) -> None:
    report = validate(make_raw([("fine", bad, 1, 1.0)]), NOW)
    assert [(row.row, row.column, row.rule) for row in report.rows] == [(1, "item_id", "malformed")]
    assert len(report.rows[0].value) <= 60


def test_users_and_items_tables_are_checked_too(make_raw: MakeRaw) -> None:
    raw = make_raw(
        [("u", "i", 1, 1.0)],
        users={"user_id": ["u", "v", "u"]},
        items={"item_id": ["i", None], "length": [math.inf, 1.0]},
        item_features={"length": "numeric"},
    )
    found = {(bad.table, bad.row, bad.column, bad.rule) for bad in validate(raw, NOW).rows}
    assert found == {
        ("users", 3, "user_id", "duplicate"),
        ("items", 1, "length", "not_finite"),
        ("items", 2, "item_id", "missing"),
    }


def test_rows_are_numbered_as_in_the_source(make_raw: MakeRaw) -> None:
    raw = make_raw(
        [("u", "i", 1, 1.0), ("u", "j", 2, -1.0)], row_numbers=pa.array([4, 17], pa.int64())
    )
    assert [bad.row for bad in validate(raw, NOW).rows] == [17]


def test_an_error_names_the_first_rows_and_counts_the_rest(make_raw: MakeRaw) -> None:
    raw = make_raw([("u", f"i{row}", row, -1.0) for row in range(9)])
    error = InvalidRows(validate(raw, NOW), hint="correct them")
    assert "9 negative" in str(error)
    assert "row 1, column click" in str(error)
    assert "4 more" in str(error)
