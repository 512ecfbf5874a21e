from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agenticrs.platform.data.dataset import Positive
from agenticrs.platform.data.importers.movielens import GENRES, read_movielens
from agenticrs.platform.data.splits import make_fold
from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.errors import DataError


@pytest.fixture
def grouplens_100k(tmp_path: Path) -> Path:
    """The layout of u.data with three ratings."""
    flags = {"Toy": {"Animation", "Comedy"}, "Cidade": {"Drama"}, "Never": {"unknown"}}
    titles = ["Toy Story (1995)", 'Cidade do "São" Paulo (1989)', "Never Rated"]
    items = "".join(
        f"{number}|{title}|01-Jan-1995||http://example.org/|"
        + "|".join("1" if genre in flags[title.split()[0]] else "0" for genre in GENRES)
        + "\n"
        for number, title in enumerate(titles, 1)
    )
    (tmp_path / "u.item").write_bytes(items.encode("latin-1"))
    (tmp_path / "u.user").write_text("1|24|M|technician|85711\n2|7|F|other|V3N4P\n")
    (tmp_path / "u.data").write_text("1\t2\t5\t881250949\n2\t1\t1\t881250950\n1\t1\t3\t881250951\n")
    return tmp_path


@pytest.fixture
def grouplens_1m(tmp_path: Path) -> Path:
    """The layout of ratings.dat with three ratings."""
    (tmp_path / "movies.dat").write_bytes(
        "1::Toy Story (1995)::Animation|Children's|Comedy\n"
        "2::Star: Épisode, The (1977)::Sci-Fi\n".encode("latin-1")
    )
    (tmp_path / "users.dat").write_text("1::F::1::10::48067\n2::M::56::16::70072-1000\n")
    (tmp_path / "ratings.dat").write_text("1::2::5::978300760\n1::1::3::978302109\n2::1::4::5\n")
    return tmp_path


def test_the_100k_layout_of_grouplens_is_read(grouplens_100k: Path) -> None:
    raw = read_movielens(grouplens_100k)
    assert raw.interactions.to_pylist()[0] == {
        "user_id": "1",
        "item_id": "2",
        "timestamp": 881250949,
        "rating": 5.0,
    }
    assert raw.users.to_pylist() == [
        {"user_id": "1", "gender": "M", "age": "18", "occupation": "technician", "region": "8"},
        {"user_id": "2", "gender": "F", "age": "1", "occupation": "other", "region": "V"},
    ]
    assert raw.items.to_pylist() == [
        {
            "item_id": "1",
            "title": "Toy Story (1995)",
            "genres": ["Animation", "Comedy"],
            "decade": "1990s",
        },
        {
            "item_id": "2",
            "title": 'Cidade do "São" Paulo (1989)',
            "genres": ["Drama"],
            "decade": "1980s",
        },
    ]
    assert raw.declaration.positive == Positive("rating", 1.0)
    assert raw.declaration.value is None
    assert raw.notes == ("1 movies without a rating in the log left out",)


def test_the_1m_layout_of_grouplens_is_read(grouplens_1m: Path) -> None:
    raw = read_movielens(grouplens_1m)
    assert raw.interactions.num_rows == 3
    assert raw.interactions.to_pylist()[1] == {
        "user_id": "1",
        "item_id": "1",
        "timestamp": 978302109,
        "rating": 3.0,
    }
    assert raw.users.to_pylist()[1] == {
        "user_id": "2",
        "gender": "M",
        "age": "56",
        "occupation": "16",
        "region": "7",
    }
    assert raw.items.to_pylist()[1] == {
        "item_id": "2",
        "title": "Star: Épisode, The (1977)",
        "genres": ["Sci-Fi"],
        "decade": "1970s",
    }
    assert raw.declaration.has_times
    assert raw.notes == ()


def test_an_unparsable_cell_is_named_with_file_and_row(grouplens_1m: Path) -> None:
    (grouplens_1m / "ratings.dat").write_text("1::2::5::978300760\n1::1::good::978302109\n")
    with pytest.raises(DataError, match=r"ratings\.dat, row 2, column 'rating': 'good'"):
        read_movielens(grouplens_1m)


def test_a_missing_part_and_a_strange_folder_are_named(grouplens_1m: Path, tmp_path: Path) -> None:
    (grouplens_1m / "movies.dat").unlink()
    with pytest.raises(DataError, match=r"movies\.dat is missing"):
        read_movielens(grouplens_1m)
    with pytest.raises(DataError, match="no MovieLens layout"):
        read_movielens(tmp_path / "nowhere")


def test_the_compressed_100k_has_its_published_size(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "ml-100k"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    dataset = DatasetStore(tmp_path).save("ml-100k", read_movielens(folder))
    assert (dataset.n_users, dataset.n_items, len(dataset.interactions)) == (943, 1_682, 100_000)
    assert np.bincount(dataset.interactions.user).min() >= 20
    assert dataset.item_titles[0] == "Toy Story (1995)"
    assert dataset.item_features.multi_hot["genres"].shape == (1_682, 19)
    fold = make_fold(dataset, "random", "test")
    assert len(fold.heldout) == pytest.approx(25_000, rel=0.001)


def test_the_compressed_1m_follows_the_pre_processing_of_sasrec(
    real_data: Path, tmp_path: Path
) -> None:
    folder = real_data / "ml-1m"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    raw = read_movielens(folder)
    assert "598 ratings without a place (seq_pos 0) left out" in raw.notes
    dataset = DatasetStore(tmp_path).save("ml-1m", raw)
    assert (dataset.n_users, dataset.n_items, len(dataset.interactions)) == (6_040, 3_416, 999_611)
    assert not dataset.has_times
    fold = make_fold(dataset, "leave_one_out", "test")
    assert len(fold.users) == 6_040
    assert len(fold.dataset.interactions) == 999_611 - 6_040
    with pytest.raises(DataError, match="no times"):
        make_fold(dataset, "temporal", "test")
