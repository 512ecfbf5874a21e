from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from agenticrs.agents.fusion.union import Union

rows = st.lists(st.integers(-1, 6), min_size=4, max_size=4)


@given(st.lists(st.tuples(rows, rows), min_size=1, max_size=4))
def test_sums_stand_where_an_item_stands_first(users: list[tuple[list[int], list[int]]]) -> None:
    lists = [torch.tensor([user[source] for user in users]) for source in range(2)]
    union = Union.of(lists)
    values = torch.arange(8.0).expand(len(users), 8)
    totals = union.total(values)
    for row, user in enumerate(users):
        entries = [*user[0], *user[1]]
        for place, item in enumerate(entries):
            first = entries.index(item)
            assert int(union.first[row, place]) == first
            assert bool(union.leading[row, place]) == (item >= 0 and first == place)
            if first == place:
                wanted = sum(float(p) for p, other in enumerate(entries) if other == item)
                assert float(totals[row, place]) == wanted
    assert torch.equal(union.total(values[..., None].expand(-1, -1, 2))[..., 1], totals)
