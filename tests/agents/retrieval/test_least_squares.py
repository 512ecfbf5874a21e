from __future__ import annotations

import pytest
import torch
from tests.agents.retrieval.conftest import data_of, random_histories
from torch import Tensor

from agenticrs.agents.batch import UserBatch
from agenticrs.agents.retrieval import least_squares
from agenticrs.agents.retrieval.least_squares import LeastSquares

SIZE = 6


def rows_of(histories: list[list[int]], n_items: int) -> UserBatch:
    return data_of(histories, n_items).histories


def problem(l2: float = 0.05) -> tuple[LeastSquares, UserBatch, Tensor]:
    """Systems of 30 rows, of which one has no entries, and vectors to begin with."""
    generator = torch.Generator().manual_seed(0)
    other = torch.randn(20, SIZE, generator=generator)
    rows = rows_of([*random_histories(29, 20, 8, seed=1), []], 20)
    begin = torch.randn(30, SIZE, generator=generator)
    return LeastSquares(other, unobserved_weight=0.3, l2=l2, power=0.8), rows, begin


def test_a_solution_is_that_of_the_system_written_out() -> None:
    squares, rows, _ = problem()
    solved = squares.solved(rows)
    for row in range(len(rows)):
        known = squares.other[rows.items[rows.offsets[row] : rows.offsets[row + 1]]]
        r = 0.05 * (len(known) + 0.3 * 20) ** 0.8
        system = 0.3 * squares.other.T @ squares.other + known.T @ known + r * torch.eye(SIZE)
        torch.testing.assert_close(solved[row], torch.linalg.solve(system, known.sum(0)))


def test_every_time_the_vectors_come_nearer_to_the_solutions_until_they_are_there() -> None:
    squares, rows, vectors = problem()
    solved = squares.solved(rows)
    apart = []
    for _ in range(6):
        apart.append(float((vectors - solved).norm()))
        vectors = squares.nearer(rows, vectors)
    assert apart[:4] == sorted(apart[:4], reverse=True)
    assert apart[1] < 0.1 * apart[0]
    torch.testing.assert_close(vectors, solved, rtol=1e-4, atol=1e-5)


def test_what_was_begun_with_stays_and_rows_without_entries_are_zeros() -> None:
    squares, rows, vectors = problem()
    before = vectors.clone()
    found = squares.nearer(rows, vectors)
    assert torch.equal(vectors, before)
    assert found[-1].tolist() == [0.0] * SIZE
    assert found[:-1].ne(0).all()


def test_rows_taken_in_parts_come_out_as_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    squares, rows, vectors = problem()
    whole = squares.nearer(rows, vectors)
    monkeypatch.setattr(least_squares, "_ROWS_AT_ONCE", 7)
    torch.testing.assert_close(squares.nearer(rows, vectors), whole)


@pytest.mark.parametrize("known", [0, 2])
def test_systems_without_a_single_solution_give_finite_vectors(known: int) -> None:
    squares, rows, _ = problem(l2=0.0)
    squares.other[:, known:] = 0.0
    vectors = torch.zeros(len(rows), SIZE)
    for _ in range(5):
        vectors = squares.nearer(rows, vectors)
    assert vectors.isfinite().all()
    assert vectors[:, known:].abs().max() < 1e-6


def test_nobody_has_no_vectors_to_bring_nearer() -> None:
    squares, _, _ = problem()
    empty = rows_of([[], []], 20)
    assert squares.nearer(empty, torch.ones(2, SIZE)).tolist() == [[0.0] * SIZE] * 2
    assert squares.solved(empty).tolist() == [[0.0] * SIZE] * 2
