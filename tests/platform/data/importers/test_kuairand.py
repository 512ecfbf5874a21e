from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agenticrs.platform.data.dataset import Positive
from agenticrs.platform.data.importers.kuairand import read_kuairand
from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.errors import DataError

EVENT_COLUMNS = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,"
    "is_hate,long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,"
    "is_profile_enter,is_rand,tab"
)
EARLY = [
    "0,10,20220408,900,1649379600123,1,0,0,0,0,0,1,61802,49866,0,0,0,0,1",
    "0,10,20220408,900,1649379600123,1,0,0,0,0,0,1,61802,49866,0,0,0,0,1",
    "0,11,20220408,1000,1649379600124,0,0,0,0,0,0,0,0,12000,0,0,0,0,4",
    "0,11,20220408,1100,1649379600124,0,1,0,0,0,0,0,500,12000,0,0,0,0,4",
]
LATE = ["1,10,20220422,2359,1650643190000,0,0,0,0,0,0,0,1184,49866,0,0,0,0,0"]
USER_COLUMNS = (
    "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,"
    "follow_user_num,follow_user_num_range,fans_user_num,fans_user_num_range,friend_user_num,"
    "friend_user_num_range,register_days,register_days_range,"
    + ",".join(f"onehot_feat{number}" for number in range(18))
)
VIDEO_COLUMNS = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,"
    "server_width,server_height,music_id,music_type,tag"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The official layout: two logs, users, videos, and a table that must not be read."""
    data = tmp_path / "data"
    data.mkdir()

    def write(name: str, rows: list[str]) -> None:
        (data / name).write_text("\n".join(rows) + "\n")

    write("log_standard_4_08_to_4_21_pure.csv", [EVENT_COLUMNS, *EARLY])
    write("log_standard_4_22_to_5_08_pure.csv", [EVENT_COLUMNS, *LATE])
    write("log_random_4_22_to_5_08_pure.csv", ["not read"])
    write("video_features_statistic_pure.csv", ["not read"])
    ranges = '514,500+,150,"[100,1k)",34,"[30,60)",799,730+'
    flags = ",".join(["1", "1", "29", "949", "4.0", *["0"] * 13])
    users = [f"{user},full_active,0,-124,1,{ranges},{flags}" for user in (0, 1, 2)]
    write("user_features_pure.csv", [USER_COLUMNS, *users])
    write(
        "video_features_basic_pure.csv",
        [
            VIDEO_COLUMNS,
            '10,77,NORMAL,2022-04-01,Web,0.0,49866.0,720.0,1280.0,9155,9.0,"39,2"',
            "11,78,AD,2022-04-02,Web,0.0,,720.0,1280.0,9156,,39",
            "12,78,AD,2022-04-02,Web,0.0,5000.0,720.0,1280.0,9156,4.0,1",
        ],
    )
    return tmp_path


def test_the_official_layout_is_read(folder: Path) -> None:
    raw = read_kuairand(folder)
    rows = raw.interactions.to_pylist()
    assert len(rows) == 3
    assert rows[0]["timestamp"] == 1649379600
    assert rows[0]["order"] == 123
    assert rows[0]["watch_time"] == pytest.approx(61.802)  # above the duration, not capped
    assert rows[0]["duration"] == pytest.approx(49.866)
    assert (rows[0]["tab"], rows[0]["hour"]) == ("1", "9")
    assert rows[2]["hour"] == "23"
    assert raw.declaration.positive == Positive("click", 1.0)
    assert raw.declaration.value == "watch_time"
    assert raw.users["user_id"].to_pylist() == ["0", "1"]
    assert raw.users["onehot_feat4"].to_pylist() == ["4", "4"]
    assert raw.items["tag"].to_pylist() == [["39", "2"], ["39"]]
    assert raw.items["duration_unknown"].to_pylist() == [0.0, 1.0]


def test_repeats_are_dropped_or_merged_and_counted(folder: Path) -> None:
    raw = read_kuairand(folder)
    assert raw.notes == (
        "1 rows that repeat another one exactly dropped",
        "1 exposures logged twice (same user, video and millisecond) merged, "
        "keeping the largest value of each behaviour",
        "1 users and 1 videos without an event left out",
    )
    merged = raw.interactions.to_pylist()[1]
    assert (merged["like"], merged["watch_time"]) == (1.0, 0.5)
    assert raw.row_numbers is not None
    assert raw.row_numbers.to_pylist() == [1, 3, 5]


def test_a_missing_file_and_a_missing_column_are_named(folder: Path) -> None:
    log = folder / "data" / "log_standard_4_22_to_5_08_pure.csv"
    log.write_text(log.read_text().replace("is_click", "clicked"))
    with pytest.raises(DataError, match=r"log_standard_4_22.*'is_click' is missing"):
        read_kuairand(folder)
    log.unlink()
    (folder / "data" / "user_features_pure.csv").unlink()
    with pytest.raises(DataError, match=r"user_features_pure\.csv is missing"):
        read_kuairand(folder)
    with pytest.raises(DataError, match="no event log"):
        read_kuairand(folder / "nowhere")


def test_the_compressed_part_has_its_documented_size(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "kuairand-pure"
    if not source.is_dir():
        pytest.skip(f"{source} is not there")
    raw = read_kuairand(source)
    assert raw.notes[0].startswith("5,460 rows")
    dataset = DatasetStore(tmp_path).save("kuairand", raw)
    assert (dataset.n_users, dataset.n_items) == (25_156, 6_361)
    # 228,329 rows less 5,460 exact repeats and 425 exposures logged in two batches.
    assert len(dataset.interactions) == 228_329 - 5_460 - 425
    assert set(dataset.interactions.context) == {"tab", "hour"}
    assert dataset.interactions.behaviours["watch_time"].max() == pytest.approx(898.147)
    for column in dataset.item_features.numeric.values():
        assert np.isfinite(column).all()
