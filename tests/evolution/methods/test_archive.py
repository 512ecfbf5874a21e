"""The archive keeps the best of every kind, and knows where each candidate comes from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticrs.evolution.methods.archive import Archive, Cell, Layout, lineage
from agenticrs.evolution.methods.method import Tried

REWARDS = st.floats(-1, 1, allow_nan=False)


def done(number: int, reward: float, weights: int = 1000, coverage: float = 0.25) -> Tried:
    """A candidate of that size whose lists show that share of the catalogue."""
    metrics = {"parameters": float(weights), "coverage@10": coverage}
    island = {"island": number}
    return Tried(number, {"x": number}, "done", reward, metrics=metrics, note=island)


@st.composite
def histories(draw: st.DrawFn) -> list[Tried]:
    rewards = draw(st.lists(REWARDS, min_size=1, max_size=40))
    return [
        done(number, reward, draw(st.integers(1, 10**6)), draw(st.floats(0, 1)))
        for number, reward in enumerate(rewards)
    ]


LAYOUTS = st.builds(Layout, islands=st.integers(1, 5), migrate_every=st.integers(1, 9))


@given(tried=histories(), layout=LAYOUTS)
def test_the_best_is_never_lost(tried: list[Tried], layout: Layout) -> None:
    for so_far in range(1, len(tried) + 1):
        best = min(tried[:so_far], key=lambda one: (-(one.reward or 0), one.number))
        archive = Archive.of(tried[:so_far], layout)
        assert archive.best() == best
        assert any(best in archive.elites(island) for island in range(layout.islands))


@given(tried=histories(), layout=LAYOUTS)
def test_a_cell_of_an_island_holds_the_best_that_came_there(
    tried: list[Tried], layout: Layout
) -> None:
    archive = Archive.of(tried, layout)
    for one in tried:
        elite = archive.islands[layout.island(one)][layout.cell(one)]
        assert elite.reward is not None
        assert one.reward is not None
        assert elite.reward >= one.reward
    assert sum(archive.crowd.values()) == len(tried)


@given(tried=histories(), layout=LAYOUTS, seed=st.integers(0, 99))
def test_parents_are_elites_and_the_same_seed_draws_the_same(
    tried: list[Tried], layout: Layout, seed: int
) -> None:
    for island in range(layout.islands):
        archive = Archive.of(tried, layout)
        parent = archive.parent(island, np.random.default_rng(seed))
        assert parent == Archive.of(tried, layout).parent(island, np.random.default_rng(seed))
        assert parent in archive.elites(island) or (parent is None and not archive.elites(island))


def test_cells_are_powers_of_two_of_size_and_tenths_of_coverage() -> None:
    layout = Layout()
    assert layout.cell(done(0, 0.1, 1023, 0.3)) == Cell(9, 3)
    assert layout.cell(done(0, 0.1, 1024, 0.299)) == Cell(10, 2)
    assert layout.cell(Tried(0, {}, "done", 0.1)) == Cell(None, None)
    other = Layout(behaviour="novelty@10", step=0.5)
    bits = Tried(0, {}, "done", 0.1, metrics={"novelty@10": 7.6, "parameters": 2.0})
    assert other.cell(bits) == Cell(1, 15)


def test_a_worse_candidate_of_another_kind_is_an_elite_too() -> None:
    archive = Archive.of([done(0, 0.9, 1000), done(1, 0.1, 64000)], Layout(islands=1))
    assert [one.number for one in archive.elites(0)] == [0, 1]
    again = Archive.of([done(0, 0.9, 1000), done(1, 0.1, 1000)], Layout(islands=1))
    assert [one.number for one in again.elites(0)] == [0]


def test_the_best_of_an_island_moves_on_only_when_it_is_time() -> None:
    tried = [done(0, 0.9), done(1, 0.1), done(2, 0.2)]
    apart = Archive.of(tried, Layout(islands=3, migrate_every=10))
    assert [[one.number for one in apart.elites(i)] for i in range(3)] == [[0], [1], [2]]
    together = Archive.of(tried, Layout(islands=3, migrate_every=3))
    assert [[one.number for one in together.elites(i)] for i in range(3)] == [[0], [0], [2]]


def test_only_what_is_done_counts() -> None:
    tried = [
        Tried(0, {}, "open"),
        Tried(1, {}, "failed", error="no"),
        Tried(2, {}, "pruned", rungs=(0.9,)),
        Tried(3, {}, "done", float("nan")),
    ]
    archive = Archive.of(tried)
    assert archive.best() is None
    assert archive.parent(0, np.random.default_rng(0)) is None


def test_candidates_that_name_no_island_spread_over_all_of_them() -> None:
    layout = Layout(islands=4)
    islands = {layout.island(Tried(n, {"x": n}, "done", 0.5)) for n in range(60)}
    assert islands == {0, 1, 2, 3}
    assert layout.island(Tried(5, {"x": 1}, "done")) == layout.island(Tried(9, {"x": 1}, "done"))


def test_rare_kinds_are_parents_more_often_than_their_rank_says() -> None:
    crowded = [done(n, 0.5 + n / 100) for n in range(20)]
    rare = done(99, 0.1, 10**6)
    archive = Archive.of([*crowded, rare], Layout(islands=1))
    rng = np.random.default_rng(0)
    drawn = [archive.parent(0, rng) for _ in range(300)]
    assert 300 * 0.25 < sum(one == rare for one in drawn) < 300 * 0.55


def test_a_lineage_is_complete_and_says_what_each_step_cost() -> None:
    tried = [
        Tried(0, {}, "done", 0.1, origin="given"),
        Tried(1, {}, "done", 0.2, origin="tpe"),
        Tried(
            2,
            {},
            "done",
            0.3,
            origin="llm:small-model",
            metrics={"coverage@10": 0.4},
            note={
                "parent": "c0",
                "difference": "layer0: wider",
                "prompts": ["3", "1"],
                "cost": {"tokens": 812},
            },
        ),
        Tried(3, {}, "pruned", origin="mutation", note={"parent": 1}),
        Tried(
            4,
            {},
            "done",
            0.4,
            origin="crossover",
            note={"parents": [2, 1], "difference": "query blended"},
        ),
        Tried(5, {}, "open", origin="mutation", note={"parent": 4}),
    ]
    steps = lineage(tried, 5)
    assert [step.number for step in steps] == [0, 1, 2, 4, 5]
    drafted = steps[2]
    assert drafted.parents == (0,)
    assert (drafted.model, drafted.prompts, drafted.cost) == (
        "small-model",
        ("3", "1"),
        {"tokens": 812},
    )
    assert (drafted.difference, drafted.reward) == ("layer0: wider", 0.3)
    assert drafted.metrics == {"coverage@10": 0.4}
    assert steps[3].parents == (2, 1)
    assert [step.number for step in lineage(tried, 1)] == [1]
    from_what_serves = Tried(6, {}, "open", origin="llm:x", note={"parent": "current"})
    assert [step.parents for step in lineage([*tried, from_what_serves], 6)] == [()]


def test_a_lineage_of_what_was_not_tried_is_an_error() -> None:
    with pytest.raises(KeyError):
        lineage([], 3)
