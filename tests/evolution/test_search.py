from __future__ import annotations

from pathlib import Path

import pytest

from agenticrs.evolution.search import Search, open_storage
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry.spec import Choice, FloatRange, IntRange

SPACE = (
    FloatRange(name="x", low=0.0, high=1.0),
    IntRange(name="n", low=1, high=8),
    Choice(name="kind", values=("a", "b")),
)


def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/optuna.db"


def draw(path: Path, *, restart: bool) -> list[dict[str, object]]:
    """Six candidates in waves of two; with ``restart`` each wave is drawn by a new object."""
    search = Search(open_storage(url(path)), "s", SPACE, seed=7)
    drawn: list[dict[str, object]] = []
    for _ in range(3):
        if restart:
            search = Search(open_storage(url(path)), "s", SPACE, seed=7)
        for candidate in search.ask(2):
            drawn.append(dict(candidate.values))
            search.tell(candidate.number, float(candidate.values["x"]))
    return drawn


def test_a_restart_draws_what_would_have_been_drawn(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert draw(tmp_path / "a", restart=False) == draw(tmp_path / "b", restart=True)


def test_given_points_come_first_and_only_once(tmp_path: Path) -> None:
    search = Search(open_storage(url(tmp_path)), "s", SPACE)
    search.enqueue([{"x": 0.25, "n": 3, "kind": "b", "unknown": 1}])
    search.enqueue([{"x": 0.25, "n": 3, "kind": "b"}])
    first, second = search.ask(2)
    assert first.enqueued
    assert first.values == {"x": 0.25, "n": 3, "kind": "b"}
    assert not second.enqueued


def test_a_candidate_that_was_told_is_closed_and_telling_again_changes_nothing(
    tmp_path: Path,
) -> None:
    search = Search(open_storage(url(tmp_path)), "s", SPACE)
    (candidate,) = search.ask(1)
    assert search.open_numbers() == [candidate.number]
    search.tell(candidate.number, 1.0)
    search.tell(candidate.number, 2.0)
    assert search.open_numbers() == []


def test_the_short_rung_stops_what_is_worse_than_the_middle(tmp_path: Path) -> None:
    search = Search(open_storage(url(tmp_path)), "s", SPACE)
    for candidate in search.ask(4):
        search.report_short(candidate.number, 1.0 + candidate.number)
        search.tell(candidate.number, 1.0 + candidate.number)
    bad, good = search.ask(2)
    assert search.report_short(bad.number, 0.1)
    assert not search.report_short(good.number, 9.0)


def test_what_is_remembered_steers_the_search_and_is_taken_once(tmp_path: Path) -> None:
    search = Search(open_storage(url(tmp_path)), "s", SPACE)
    known: list[tuple[dict[str, object], float]] = [
        ({"x": 0.5, "n": 2, "kind": "a", "other": 1}, 0.3),
        ({"x": 0.5}, 0.1),
    ]
    assert search.remember(known) == 1
    assert search.remember(known) == 0


def test_an_empty_space_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvolutionError, match="empty"):
        Search(open_storage(url(tmp_path)), "s", ())
