"""MovieLens 100K and 1M, as GroupLens ships them or as compressed CSV.

============================ =========================================================
found in the folder          read as
============================ =========================================================
u.data, u.item, u.user       100K of GroupLens (tabs and bars, latin-1)
ratings.dat, movies.dat,     1M of GroupLens (``::``, latin-1)
users.dat
ratings.csv with timestamp   100K as CSV (beside items.csv and users.csv)
ratings.csv with seq_pos     1M as CSV (beside movies.csv and users.csv); it has no times
============================ =========================================================

Every rating counts as a positive of the same worth, as in the published implicit-feedback
protocols. Movies that nobody rated are left out, so that rankings run over the published number
of items. The 1M CSV knows only the place of a rating in its user's history: that is taken as the
time, and rows without a place (movies with fewer than five ratings, which SASRec's pre-processing
drops) are left out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenticrs.platform.data.dataset import Positive
from agenticrs.platform.data.importers import reading
from agenticrs.platform.data.raw import Declaration, RawLog
from agenticrs.platform.errors import DataError

GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
"""The flags of u.item, in the order of its columns."""
_ITEM_COLUMNS = ("item_id", "title", "released", "video_released", "url", *GENRES)
_AGES = (1, 18, 25, 35, 45, 50, 56)
"""Lower bounds of the age brackets of 1M, used for 100K too."""
_POSITIVE = Positive("rating", 1.0)


def read_movielens(folder: Path) -> RawLog:
    """Read MovieLens 100K or 1M; the layout is recognised by the names of the files.

    Raises:
        DataError: The folder has none of the layouts, or a file of it is not usable.
    """
    if path := reading.find_file(folder, ["u.data"]):
        return _grouplens_100k(path, folder)
    if path := reading.find_file(folder, ["ratings.dat"]):
        return _grouplens_1m(path, folder)
    if path := reading.find_file(folder, ["ratings.csv"]):
        names = reading.header(path)
        if "seq_pos" in names:
            return _csv_1m(path, folder)
        if "item_id" in names:
            return _csv_100k(path, folder)
    raise DataError(
        f"{folder}: no MovieLens layout found",
        hint="the folder must hold u.data (100K), ratings.dat (1M), or ratings.csv with a column "
        "item_id (100K) or seq_pos (1M)",
    )


def _grouplens_100k(path: Path, folder: Path) -> RawLog:
    ratings = reading.read_text_table(
        path, names=("user_id", "item_id", "rating", "timestamp"), delimiter="\t", quoted=False
    )
    movies = reading.read_text_table(
        _beside(folder, "u.item"),
        names=_ITEM_COLUMNS,
        delimiter="|",
        encoding="latin-1",
        quoted=False,
    )
    people = reading.read_text_table(
        _beside(folder, "u.user"),
        names=("user_id", "age", "gender", "occupation", "zip"),
        delimiter="|",
        encoding="latin-1",
        quoted=False,
    )
    flags = np.stack(
        [pc.equal(movies[genre], "1").fill_null(False).to_numpy() for genre in GENRES], axis=1
    )
    names = pa.array(GENRES).take(pa.array(np.nonzero(flags)[1]))
    offsets = np.concatenate([[0], np.cumsum(flags.sum(axis=1))]).astype(np.int32)
    genres = pa.ListArray.from_arrays(pa.array(offsets), names)
    return _log(
        _interactions(ratings, path.name, "item_id"),
        _users(people, _age_brackets(people["age"], "u.user")),
        _items(movies["item_id"], movies["title"], genres),
    )


def _grouplens_1m(path: Path, folder: Path) -> RawLog:
    ratings = reading.read_text_table(
        path,
        names=("user_id", "item_id", "rating", "timestamp"),
        delimiter="::",
        encoding="latin-1",
        quoted=False,
    )
    movies = reading.read_text_table(
        _beside(folder, "movies.dat"),
        names=("item_id", "title", "genres"),
        delimiter="::",
        encoding="latin-1",
        quoted=False,
    )
    people = reading.read_text_table(
        _beside(folder, "users.dat"),
        names=("user_id", "gender", "age", "occupation", "zip"),
        delimiter="::",
        encoding="latin-1",
        quoted=False,
    )
    return _log(
        _interactions(ratings, path.name, "item_id"),
        _users(people, people["age"]),
        _items(movies["item_id"], movies["title"], reading.tags(movies["genres"])),
    )


def _csv_100k(path: Path, folder: Path) -> RawLog:
    ratings = reading.read_text_table(path, columns=("user_id", "item_id", "rating", "timestamp"))
    movies = reading.read_text_table(
        _beside(folder, "items.csv"),
        columns=("item_id", "movie_title", "release_year", "class"),
    )
    people = reading.read_text_table(
        _beside(folder, "users.csv"),
        columns=("user_id", "age", "gender", "occupation", "zip_code"),
    ).rename_columns(["user_id", "age", "gender", "occupation", "zip"])
    year = movies["release_year"]
    title = pc.if_else(
        pc.match_substring_regex(year, r"^\d{4}$"),
        pc.binary_join_element_wise(movies["movie_title"], " (", year, ")", ""),
        movies["movie_title"],
    )
    return _log(
        _interactions(ratings, path.name, "item_id"),
        _users(people, _age_brackets(people["age"], "users.csv")),
        _items(movies["item_id"], title, reading.tags(movies["class"], " ")),
    )


def _csv_1m(path: Path, folder: Path) -> RawLog:
    ratings = reading.read_text_table(path, columns=("user_id", "movie_id", "rating", "seq_pos"))
    movies = reading.read_text_table(
        _beside(folder, "movies.csv"), columns=("movie_id", "title", "genres")
    )
    people = reading.read_text_table(
        _beside(folder, "users.csv"), columns=("user_id", "gender", "age", "occupation", "zip")
    )
    place = reading.integers(ratings["seq_pos"], path.name, "seq_pos")
    placed = pc.fill_null(pc.greater(place, 0), True)
    interactions = _interactions(
        ratings.set_column(3, "timestamp", place), path.name, "movie_id"
    ).filter(placed)
    kept = np.flatnonzero(placed.to_numpy()) + 1
    notes = ["ratings have no times here: their place in the user's history (seq_pos) stands in"]
    if left := ratings.num_rows - interactions.num_rows:
        notes.append(f"{left:,} ratings without a place (seq_pos 0) left out")
    return _log(
        interactions,
        _users(people, people["age"]),
        _items(movies["movie_id"], movies["title"], reading.tags(movies["genres"])),
        has_times=False,
        row_numbers=pa.array(kept),
        notes=notes,
    )


def _interactions(ratings: pa.Table, file: str, item: str) -> pa.Table:
    return pa.table(
        {
            "user_id": ratings["user_id"],
            "item_id": ratings[item],
            "timestamp": reading.integers(ratings["timestamp"], file, "timestamp"),
            "rating": reading.numbers(ratings["rating"], file, "rating"),
        }
    )


def _users(people: pa.Table, age: pa.ChunkedArray | pa.Array) -> pa.Table:
    return pa.table(
        {
            "user_id": people["user_id"],
            "gender": people["gender"],
            "age": age,
            "occupation": people["occupation"],
            # The first digit of a US zip code is a region.
            "region": pc.utf8_slice_codeunits(people["zip"], 0, 1),
        }
    )


def _items(
    ids: pa.ChunkedArray, titles: pa.ChunkedArray, genres: pa.ChunkedArray | pa.Array
) -> pa.Table:
    year = pc.extract_regex(titles, r"\((?P<decade>\d{3})\d\)")
    decade = pc.binary_join_element_wise(pc.struct_field(year, "decade"), "0s", "")
    return pa.table({"item_id": ids, "title": titles, "genres": genres, "decade": decade})


def _age_brackets(ages: pa.ChunkedArray, file: str) -> pa.Array:
    values = reading.integers(ages, file, "age")
    known = pc.fill_null(values, 0).to_numpy()
    lower = np.array(_AGES)[np.searchsorted(_AGES, known, side="right").clip(min=1) - 1]
    return pc.if_else(pc.is_valid(values), pa.array(lower).cast(pa.string()), None)


def _log(
    interactions: pa.Table,
    users: pa.Table,
    items: pa.Table,
    *,
    has_times: bool = True,
    row_numbers: pa.Array | None = None,
    notes: list[str] | None = None,
) -> RawLog:
    notes = notes or []
    rated = items.filter(pc.is_in(items["item_id"], value_set=pc.unique(interactions["item_id"])))
    if left := items.num_rows - rated.num_rows:
        notes.append(f"{left:,} movies without a rating in the log left out")
    return RawLog(
        interactions=interactions,
        users=users,
        items=rated,
        declaration=Declaration(
            positive=_POSITIVE,
            user_features={
                "gender": "categorical",
                "age": "categorical",
                "occupation": "categorical",
                "region": "categorical",
            },
            item_features={"genres": "multi_hot", "decade": "categorical"},
            has_times=has_times,
        ),
        users_complete=True,
        items_complete=True,
        row_numbers=row_numbers,
        notes=tuple(notes),
    )


def _beside(folder: Path, name: str) -> Path:
    path = reading.find_file(folder, [name])
    if path is None:
        raise DataError(f"{folder}: {name} is missing", hint="put the whole MovieLens folder there")
    return path
