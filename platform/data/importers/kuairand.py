"""KuaiRand-Pure: short videos with many behaviours, from the standard feed.

Reads the official CSV files (log_standard_*.csv, user_features_pure.csv,
video_features_basic_pure.csv) or the same columns in events_*.csv; plain or as .gz. Not read on
purpose: the random-exposure log (another policy), id sequences without times, and
video_features_statistic_*, which averages over the whole period and so tells the future.

A row is positive when the video was clicked, and worth the seconds that it was watched. Rows that
repeat another one exactly are dropped. The source also logs some exposures twice, in the batches
of two hours: same user, video and millisecond. They are merged, with the largest value of each
behaviour. Both are counted in the notes. Watch time is not capped.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenticrs.platform.data.dataset import Positive
from agenticrs.platform.data.importers import reading
from agenticrs.platform.data.raw import Declaration, FeatureKind, RawLog
from agenticrs.platform.errors import DataError

_BEHAVIOURS = {
    "click": "is_click",
    "long_view": "long_view",
    "like": "is_like",
    "follow": "is_follow",
    "comment": "is_comment",
    "forward": "is_forward",
    "hate": "is_hate",
    "watch_time": "play_time_ms",
    "duration": "duration_ms",
}
_COLUMNS = tuple(_BEHAVIOURS.values())
_USER_CATEGORIES = (
    "user_active_degree",
    "is_lowactive_period",
    "is_live_streamer",
    "is_video_author",
    "follow_user_num_range",
    "fans_user_num_range",
    "friend_user_num_range",
    "register_days_range",
    *(f"onehot_feat{number}" for number in range(18)),
)
_USER_NUMBERS = ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")
_ITEM_CATEGORIES = ("author_id", "video_type", "upload_type", "music_type")
_USER_FEATURES: dict[str, FeatureKind] = {
    **dict.fromkeys(_USER_CATEGORIES, "categorical"),
    **dict.fromkeys((f"log_{name}" for name in _USER_NUMBERS), "numeric"),
}
_ITEM_FEATURES: dict[str, FeatureKind] = {
    **dict.fromkeys(_ITEM_CATEGORIES, "categorical"),
    "tag": "multi_hot",
    "log_duration": "numeric",
    "duration_unknown": "numeric",
    "upload_day": "numeric",
}


def read_kuairand(folder: Path) -> RawLog:
    """Read KuaiRand-Pure from its folder (or the ``data`` folder inside).

    Raises:
        DataError: A file is missing or not usable.
    """
    log, notes = _read_events(folder)
    users = _read_users(_required(folder, "user_features_pure.csv"))
    items = _read_items(_required(folder, "video_features_basic_pure.csv"))
    active = users.filter(pc.is_in(users["user_id"], value_set=pc.unique(log["user_id"])))
    shown = items.filter(pc.is_in(items["item_id"], value_set=pc.unique(log["item_id"])))
    notes.append(
        f"{users.num_rows - active.num_rows:,} users and {items.num_rows - shown.num_rows:,} "
        "videos without an event left out"
    )
    return RawLog(
        interactions=log.drop_columns(["row"]),
        users=active,
        items=shown,
        declaration=Declaration(
            positive=Positive("click", 1.0),
            value="watch_time",
            user_features=_USER_FEATURES,
            item_features=_ITEM_FEATURES,
            context=("tab", "hour"),
        ),
        users_complete=True,
        items_complete=True,
        row_numbers=log["row"].combine_chunks(),
        notes=tuple(notes),
    )


def _read_events(folder: Path) -> tuple[pa.Table, list[str]]:
    paths = _event_files(folder)
    tables = [reading.read_text_table(path) for path in paths]
    columns = list(dict.fromkeys(["user_id", "video_id", "time_ms", "hourmin", "tab", *_COLUMNS]))
    for path, table in zip(paths, tables, strict=True):
        reading.require_columns(path, table.column_names, columns)
    source = pa.concat_tables(tables, promote_options="default")
    n = source.num_rows
    source = source.append_column("row", pa.array(np.arange(1, n + 1)))
    once = source.group_by(source.column_names[:-1]).aggregate([("row", "min")])
    log = _merge_repeated(_events(once.sort_by("row_min"), paths[0].name))
    notes = []
    if exact := n - once.num_rows:
        notes.append(f"{exact:,} rows that repeat another one exactly dropped")
    if merged := once.num_rows - log.num_rows:
        notes.append(
            f"{merged:,} exposures logged twice (same user, video and millisecond) merged, "
            "keeping the largest value of each behaviour"
        )
    return log, notes


def _event_files(folder: Path) -> list[Path]:
    for place in (folder, folder / "data"):
        for pattern in ("log_standard_*.csv", "events_*.csv"):
            if found := sorted([*place.glob(pattern), *place.glob(f"{pattern}.gz")]):
                return found
    raise DataError(
        f"{folder}: no event log found", hint="put log_standard_*.csv of KuaiRand-Pure there"
    )


def _events(source: pa.Table, file: str) -> pa.Table:
    seconds = reading.integers(source["time_ms"], file, "time_ms", 1e-3)
    columns = {
        "row": source["row_min"],
        "user_id": source["user_id"],
        "item_id": source["video_id"],
        "timestamp": seconds,
        "order": reading.rest_of_second(source["time_ms"], seconds, file, "time_ms", 1_000),
    }
    for name, column in _BEHAVIOURS.items():
        values = reading.numbers(source[column], file, column)
        columns[name] = reading.scaled(values, 1e-3 if column.endswith("_ms") else 1.0)
    columns["tab"] = source["tab"]
    hour = pc.divide(reading.integers(source["hourmin"], file, "hourmin"), 100)
    columns["hour"] = hour.cast(pa.string())
    return pa.table(columns)


def _merge_repeated(log: pa.Table) -> pa.Table:
    key = ["user_id", "item_id", "timestamp", "order"]
    rules = [("row", "min"), *((name, "max") for name in _BEHAVIOURS)]
    rules += [("tab", "min"), ("hour", "min")]
    merged = log.group_by(key).aggregate(rules)
    merged = merged.rename_columns([*key, *(name for name, _ in rules)])
    return merged.select(log.column_names).sort_by("row")


def _read_users(path: Path) -> pa.Table:
    source = reading.read_text_table(path, columns=("user_id", *_USER_CATEGORIES, *_USER_NUMBERS))
    table = {"user_id": source["user_id"]}
    for name in _USER_CATEGORIES:
        # The same code is written 4 in one file and 4.0 in another.
        table[name] = pc.replace_substring_regex(source[name], r"\.0$", "")
    for name in _USER_NUMBERS:
        table[f"log_{name}"] = _log1p(reading.numbers(source[name], path.name, name))
    return pa.table(table)


def _read_items(path: Path) -> pa.Table:
    source = reading.read_text_table(
        path, columns=("video_id", *_ITEM_CATEGORIES, "tag", "video_duration", "upload_dt")
    )
    table = {"item_id": source["video_id"]}
    for name in _ITEM_CATEGORIES:
        table[name] = pc.replace_substring_regex(source[name], r"\.0$", "")
    table["tag"] = reading.tags(source["tag"], ",")
    duration = pc.divide(
        reading.numbers(source["video_duration"], path.name, "video_duration"), 1e3
    )
    table["log_duration"] = _log1p(duration)
    table["duration_unknown"] = pc.is_null(duration).cast(pa.float64())
    uploaded = reading.moments(source["upload_dt"], path.name, "upload_dt")
    table["upload_day"] = pc.divide(uploaded.cast(pa.float64()), 86_400.0)
    return pa.table(table)


def _log1p(values: pa.ChunkedArray) -> pa.ChunkedArray:
    # The source writes -124 for "unknown" in some columns: as good as none.
    return pc.log1p(pc.max_element_wise(values, 0.0, skip_nulls=False))


def _required(folder: Path, name: str) -> Path:
    path = reading.find_file(folder, [name])
    if path is None:
        raise DataError(f"{folder}: {name} is missing", hint="put the whole KuaiRand folder there")
    return path
