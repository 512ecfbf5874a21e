from __future__ import annotations

import torch

from agenticrs.agents.retrieval.entry_scores import entry_scores


def test_each_entry_gets_its_product_also_unordered_repeated_and_beside_empty_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(4, 5, generator=generator)
    table = torch.randn(6, 5, generator=generator)
    items = torch.tensor([5, 0, 0, 3, 2, 2, 1])
    rows = torch.tensor([0, 0, 0, 2, 2, 2, 3])
    found = entry_scores(torch.tensor([0, 3, 3, 6, 7]), items, vectors, table)
    torch.testing.assert_close(found, (vectors @ table.T)[rows, items])


def test_no_entries_have_no_scores() -> None:
    nothing = torch.empty(0, dtype=torch.int64)
    assert (
        len(
            entry_scores(
                torch.zeros(3, dtype=torch.int64), nothing, torch.ones(2, 3), torch.ones(4, 3)
            )
        )
        == 0
    )
