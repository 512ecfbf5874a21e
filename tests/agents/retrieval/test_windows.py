from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from agenticrs.agents.retrieval.windows import cut
from agenticrs.agents.training_data import TrainingData

MakeData = Callable[..., TrainingData]

LENGTHS = (0, 1, 2, 5, 6, 7, 40)


def data_with(make_data: MakeData) -> TrainingData:
    """Users whose items are all different: 100 * user + place."""
    histories = [[100 * user + place for place in range(n)] for user, n in enumerate(LENGTHS)]
    return make_data(histories, 1000)


def test_every_transition_is_trained_exactly_once_an_epoch(make_data: MakeData) -> None:
    histories = data_with(make_data).histories
    generator = torch.Generator().manual_seed(0)
    windows = cut(histories, 5, generator)
    pairs = []
    for batch in windows.batches(histories, 3, generator):
        real = batch.target >= 0
        assert torch.equal(real, batch.items >= 0)
        assert batch.items.shape[1] <= 5
        assert (batch.items[real] // 100 == batch.rows[:, None].expand_as(real)[real]).all()
        pairs += list(zip(batch.items[real].tolist(), batch.target[real].tolist(), strict=True))
    expected = [
        (100 * user + place, 100 * user + place + 1)
        for user, n in enumerate(LENGTHS)
        for place in range(n - 1)
    ]
    assert sorted(pairs) == expected


def test_short_histories_stay_whole_and_long_ones_are_cut_anew(make_data: MakeData) -> None:
    histories = data_with(make_data).histories
    generator = torch.Generator().manual_seed(0)
    cuts = set()
    for _ in range(20):
        windows = cut(histories, 5, generator)
        assert (windows.rows < 5).sum() == 3
        cuts.add(tuple(windows.start[windows.rows == 6].tolist()))
    assert len(cuts) > 1


def test_sequences_are_aligned_to_the_left(make_data: MakeData) -> None:
    data = make_data([[1, 2, 3], [4, 5]], 9)
    generator = torch.Generator().manual_seed(0)
    (batch,) = cut(data.histories, 9, generator).batches(data.histories, 8, generator)
    rows = {tuple(row) for row in torch.cat([batch.items, batch.target], 1).tolist()}
    assert rows == {(1, 2, 2, 3), (4, -1, 5, -1)}


def test_items_bring_their_times(make_data: MakeData) -> None:
    histories = data_with(make_data).histories
    generator = torch.Generator().manual_seed(0)
    for known in (None, 7 * histories.items):
        timed = replace(histories, times=known)
        for batch in cut(timed, 5, generator).batches(timed, 3, generator):
            real = batch.items >= 0
            assert (batch.times is None) == (known is None)
            if batch.times is not None:
                assert torch.equal(batch.times[real], 7 * batch.items[real])


def test_nothing_to_learn_from_gives_no_batches(make_data: MakeData) -> None:
    data = make_data([[1], [], [2]], 3)
    generator = torch.Generator().manual_seed(0)
    windows = cut(data.histories, 4, generator)
    assert list(windows.batches(data.histories, 2, generator)) == []
