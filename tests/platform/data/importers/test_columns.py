from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from agenticrs.platform.data.dataset import Positive
from agenticrs.platform.data.importers.columns import ColumnMapping, read_csv, read_parquet
from agenticrs.platform.data.validation import validate
from agenticrs.platform.errors import DataError

LOG = "user_id,item_id,timestamp,click,watch_time\nu1,i1,100,1,2.5\nu1,i2,200,0,0\n"


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_a_file_in_the_words_of_the_schema_needs_no_mapping(tmp_path: Path) -> None:
    raw = read_csv(write(tmp_path / "log.csv", LOG))
    assert raw.interactions.to_pylist() == [
        {"user_id": "u1", "item_id": "i1", "timestamp": 100, "click": 1.0, "watch_time": 2.5},
        {"user_id": "u1", "item_id": "i2", "timestamp": 200, "click": 0.0, "watch_time": 0.0},
    ]
    assert raw.declaration.positive == Positive("click", 1.0)
    assert not raw.users_complete
    assert raw.notes == ()


def test_a_mapping_renames_scales_and_declares(tmp_path: Path) -> None:
    log = tmp_path / "log.csv.gz"
    log.write_bytes(
        gzip.compress(
            b"who;what;ms;seen;played_ms;place;junk\n007;x;1500;1;2500;home;a\n7;x;-1;0;0;;b\n"
        )
    )
    users = write(tmp_path / "users.csv", "who;land\n007;FR\n7;\n")
    items = write(tmp_path / "items.csv", 'what;name;kinds;size\nx;"A;B";k1|k2;3.5\n')
    mapping = ColumnMapping(
        user="who",
        item="what",
        timestamp="ms",
        time_unit="ms",
        behaviours={"long_view": "seen", "watch_time": "played_ms"},
        scale={"watch_time": 0.001},
        context={"tab": "place"},
        positive="long_view",
        value="watch_time",
        title="name",
        user_features={"land": "categorical"},
        item_features={"kinds": "multi_hot", "size": "numeric"},
        delimiter=";",
    )
    raw = read_csv(log, mapping, users=users, items=items)
    assert raw.interactions.to_pylist() == [
        {
            "user_id": "007",
            "item_id": "x",
            "timestamp": 1,
            "order": 500,
            "long_view": 1.0,
            "watch_time": 2.5,
            "tab": "home",
        },
        {
            "user_id": "7",
            "item_id": "x",
            "timestamp": -1,
            "order": 999,
            "long_view": 0.0,
            "watch_time": 0.0,
            "tab": None,
        },
    ]
    assert raw.users.to_pylist() == [
        {"user_id": "007", "land": "FR"},
        {"user_id": "7", "land": None},
    ]
    assert raw.items.to_pylist() == [
        {"item_id": "x", "title": "A;B", "kinds": ["k1", "k2"], "size": 3.5}
    ]
    assert raw.users_complete
    assert raw.items_complete
    assert raw.declaration.value == "watch_time"
    assert raw.notes == ("log.csv.gz: columns left out: junk",)


def test_a_file_without_behaviours_counts_every_row_and_says_so(tmp_path: Path) -> None:
    raw = read_csv(write(tmp_path / "log.csv", "user_id,item_id,timestamp\na,b,1\na,c,2\n"))
    assert raw.interactions["click"].to_pylist() == [1.0, 1.0]
    assert "every row counts as one click" in raw.notes[0]


def test_iso_times_become_unix_seconds_in_utc(tmp_path: Path) -> None:
    times = [
        "1970-01-02",
        "1970-01-01T00:01",
        "1970-01-01 00:00:30.9",
        "1970-01-01T01:00:00+01:00",
        "1970-01-01T00:00:05Z",
    ]
    rows = "".join(f"u,i{row},{time}\n" for row, time in enumerate(times))
    log = write(tmp_path / "log.csv", "user_id,item_id,timestamp\n" + rows)
    raw = read_csv(log, ColumnMapping(time_unit="iso"))
    assert raw.interactions["timestamp"].to_pylist() == [86_400, 60, 30, 0, 5]


def test_parquet_reads_like_csv(tmp_path: Path) -> None:
    table = pa.table(
        {
            "user_id": pa.array([1, 1], pa.int32()),
            "item_id": pa.array(["i1", "i2"]).dictionary_encode(),
            "timestamp": pa.array([100_000, 200_000], pa.timestamp("ms")),
            "click": [True, False],
            "watch_time": pa.array([2.5, 0.0], pa.float32()),
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    raw = read_parquet(tmp_path / "log.parquet", ColumnMapping(time_unit="iso"))
    expected = read_csv(write(tmp_path / "log.csv", LOG.replace("u1", "1")))
    assert raw.interactions.to_pylist() == expected.interactions.to_pylist()


def test_a_folder_of_parquet_files_is_one_log(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    for part in range(2):
        table = pa.table({"user_id": [f"u{part}"], "item_id": ["i"], "timestamp": [part]})
        pq.write_table(table, tmp_path / "log" / f"part-{part}.parquet")
    raw = read_parquet(tmp_path / "log", ColumnMapping())
    assert sorted(raw.interactions["user_id"].to_pylist()) == ["u0", "u1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "log.csv: the file is empty"),
        ("\n", "no header"),
        ("user_id,item_id,timestamp\n", "no rows"),
        ("user,item_id,timestamp\na,b,1\n", "column 'user_id' is missing .*the file has user"),
        ("user_id,item_id,timestamp\na,b,1\na,b,soon\n", "row 2, column 'timestamp': 'soon'"),
        ("user_id,item_id,timestamp\na,b,1e99\n", "row 1, column 'timestamp': 1e.99 is not"),
        ("user_id,item_id,timestamp,click\na,b,1,x\na,c,2,y\n", r"column 'click': 'x'.*2 such"),
        ("user_id,item_id,timestamp\na,b,1\na,b\n", "row 2: 2 columns where 3 are expected"),
    ],
)
def test_an_unusable_file_is_named_with_row_column_and_fix(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_csv(write(tmp_path / "log.csv", text))
    assert caught.value.hint


def test_empty_and_nan_cells_are_left_to_validation(tmp_path: Path) -> None:
    log = write(
        tmp_path / "log.csv", "user_id,item_id,timestamp,click\na,b,nan,1\na,,2,\na,c,3,nan\n"
    )
    report = validate(read_csv(log), now=10)
    assert [(bad.row, bad.column, bad.rule) for bad in report.rows] == [
        (1, "timestamp", "missing"),
        (2, "item_id", "missing"),
        (2, "click", "missing"),
        (3, "click", "not_finite"),
    ]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for read in (read_csv, read_parquet):
        with pytest.raises(DataError, match=r"absent.*no such file"):
            read(tmp_path / "absent", ColumnMapping())


def test_a_wrong_encoding_is_named_and_the_right_one_works(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", "user_id,item_id,timestamp\nJosé,b,1\n", "latin-1")
    with pytest.raises(DataError, match="not utf-8"):
        read_csv(log)
    raw = read_csv(log, ColumnMapping(encoding="latin-1"))
    assert raw.interactions["user_id"].to_pylist() == ["José"]


def test_what_is_no_parquet_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"log\.csv: not a Parquet file"):
        read_parquet(write(tmp_path / "log.csv", LOG))


def test_a_parquet_column_of_the_wrong_kind_is_named(tmp_path: Path) -> None:
    table = pa.table({"user_id": ["u"], "item_id": ["i"], "timestamp": [[1, 2]]})
    pq.write_table(table, tmp_path / "log.parquet")
    for unit in ("s", "iso"):
        with pytest.raises(DataError, match="column 'timestamp': holds list"):
            read_parquet(
                tmp_path / "log.parquet", ColumnMapping.model_validate({"time_unit": unit})
            )


def test_wrong_mappings_are_refused(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", LOG)
    with pytest.raises(DataError, match="unknown behaviour 'smile'"):
        read_csv(log, ColumnMapping(behaviours={"smile": "click"}))
    with pytest.raises(DataError, match="no behaviour 'rating'"):
        read_csv(log, ColumnMapping(positive="rating"))
    with pytest.raises(DataError, match="column 'shop' is missing"):
        read_csv(log, ColumnMapping(context={"tab": "shop"}))
    with pytest.raises(DataError, match="context 'click'"):
        read_csv(log, ColumnMapping(context={"click": "click"}, behaviours={}))
    with pytest.raises(ValidationError):
        ColumnMapping.model_validate({"usr": "x"})


def test_quoted_and_spaced_cells_are_read(tmp_path: Path) -> None:
    log = write(
        tmp_path / "log.csv", '\ufeff"user_id","item_id",timestamp,click\n"a, b",c, 7 , 1\n'
    )
    raw = read_csv(log)
    assert raw.interactions.to_pylist() == [
        {"user_id": "a, b", "item_id": "c", "timestamp": 7, "click": 1.0}
    ]
