"""A fold that lets something through is found, and no honest one is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.agents.conftest import small_fold

from agenticrs.agents.health.folds import check_fold
from agenticrs.agents.health.sample import N_ITEMS, N_USERS, sample_of
from agenticrs.platform.data.dataset import Features, Fold, Interactions
from agenticrs.platform.data.generated import GeneratorConfig, generate
from agenticrs.platform.data.splits import make_fold
from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.errors import DataError

Spoil = Callable[[Fold], Fold]


def with_history(fold: Fold, rows: Interactions) -> Fold:
    return replace(fold, dataset=replace(fold.dataset, interactions=rows))


def joined(a: Interactions, b: Interactions) -> Interactions:
    rows = Interactions(
        user=np.concatenate([a.user, b.user]),
        item=np.concatenate([a.item, b.item]),
        timestamp=np.concatenate([a.timestamp, b.timestamp]),
        behaviours={n: np.concatenate([a.behaviours[n], b.behaviours[n]]) for n in a.behaviours},
        context={n: np.concatenate([a.context[n], b.context[n]]) for n in a.context},
    )
    return rows.take(np.lexsort((rows.timestamp, rows.user)))


def whole_log(fold: Fold) -> Interactions:
    return joined(fold.dataset.interactions, fold.heldout)


def temporal(fold: Fold) -> Fold:
    dataset = replace(fold.dataset, interactions=whole_log(fold))
    return make_fold(dataset, "temporal:valid=0.15,test=0.15", "valid")


def with_item_features(fold: Fold, **features: Any) -> Fold:
    return replace(fold, dataset=replace(fold.dataset, item_features=Features(**features)))


def with_user_features(fold: Fold, **features: Any) -> Fold:
    return replace(fold, dataset=replace(fold.dataset, user_features=Features(**features)))


def heldout_in_history(fold: Fold) -> Fold:
    return with_history(fold, whole_log(fold))


def one_heldout_row_in_history(fold: Fold) -> Fold:
    earlier = replace(fold.heldout.take(np.array([3])), timestamp=np.array([0], np.int64))
    return with_history(fold, joined(fold.dataset.interactions, earlier))


def history_after_the_cut(fold: Fold) -> Fold:
    fold = temporal(fold)
    late = fold.heldout.timestamp.max() + 1
    rows = fold.dataset.interactions
    at = np.flatnonzero(np.diff(rows.user))[:3]
    timestamp = rows.timestamp.copy()
    timestamp[at] = late
    return with_history(fold, replace(rows, timestamp=timestamp))


def history_after_the_last_one(fold: Fold) -> Fold:
    timestamp = np.where(np.arange(len(fold.heldout)) == 0, 0, fold.heldout.timestamp)
    return replace(fold, heldout=replace(fold.heldout, timestamp=timestamp))


def out_of_order(fold: Fold) -> Fold:
    rows = fold.dataset.interactions
    return with_history(fold, rows.take(np.arange(len(rows))[::-1]))


def held_out_twice(fold: Fold) -> Fold:
    return replace(fold, heldout=joined(fold.heldout, fold.heldout.take(np.array([0]))))


def held_out_without_a_click(fold: Fold) -> Fold:
    behaviours = {**fold.heldout.behaviours, "click": np.zeros(len(fold.heldout), np.float32)}
    return replace(fold, heldout=replace(fold.heldout, behaviours=behaviours))


def held_out_of_nobody(fold: Fold) -> Fold:
    return replace(fold, heldout=replace(fold.heldout, user=fold.heldout.user + 100))


def number_that_is_missing(fold: Fold) -> Fold:
    return with_item_features(fold, numeric={"length": np.full(40, np.nan, np.float32)})


def code_that_was_not_declared(fold: Fold) -> Fold:
    codes = (np.arange(60) % 4).astype(np.int32)
    return with_user_features(fold, categorical={"age": codes}, cardinality={"age": 3})


def next_item_of(fold: Fold) -> np.ndarray[Any, Any]:
    codes = np.zeros(fold.dataset.n_users, np.int32)
    codes[fold.heldout.user] = fold.heldout.item + 1
    return codes


def user_code_of_the_item(fold: Fold) -> Fold:
    codes = {"mood": next_item_of(fold)}
    return with_user_features(fold, categorical=codes, cardinality={"mood": 41})


def user_number_of_the_item(fold: Fold) -> Fold:
    return with_user_features(fold, numeric={"mood": next_item_of(fold).astype(np.float32) / 40})


def user_code_in_disguise(fold: Fold) -> Fold:
    hidden = np.random.default_rng(0).permutation(41)[next_item_of(fold)].astype(np.int32)
    return with_user_features(fold, categorical={"mood": hidden}, cardinality={"mood": 41})


def user_tags_of_the_item(fold: Fold) -> Fold:
    return with_user_features(
        fold, multi_hot={"mood": np.eye(41, dtype=np.float32)[next_item_of(fold)]}
    )


def item_number_of_takers(fold: Fold) -> Fold:
    takers = np.bincount(fold.heldout.item, minlength=40)
    return with_item_features(fold, numeric={"heat": takers.astype(np.float32)})


def item_number_of_all_takers(fold: Fold) -> Fold:
    takers = np.bincount(whole_log(fold).item, minlength=40)
    return with_item_features(fold, numeric={"heat": (takers / takers.max()).astype(np.float32)})


def item_tag_of_being_held_out(fold: Fold) -> Fold:
    taken = (np.bincount(fold.heldout.item, minlength=40) > 0).astype(np.float32)
    return with_item_features(fold, multi_hot={"hot": np.stack([taken, 1 - taken], 1)})


def item_code_of_being_held_out(fold: Fold) -> Fold:
    taken = (np.bincount(fold.heldout.item, minlength=40) > 0).astype(np.int32)
    return with_item_features(fold, categorical={"hot": taken}, cardinality={"hot": 2})


def context_that_is_the_label(fold: Fold) -> Fold:
    rows = fold.dataset.interactions
    click = (np.arange(len(rows)) % 3 > 0).astype(np.float32)
    context = {"tab": (2 - click).astype(np.int32)}
    behaviours = {**rows.behaviours, "click": click}
    return with_history(fold, replace(rows, behaviours=behaviours, context=context))


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (heldout_in_history, "held-out rows are unseen"),
        (one_heldout_row_in_history, "held-out rows are unseen"),
        (history_after_the_cut, "times are in order"),
        (history_after_the_last_one, "times are in order"),
        (out_of_order, "times are in order"),
        (held_out_twice, "nothing is held out twice"),
        (held_out_without_a_click, "held-out rows are sound"),
        (held_out_of_nobody, "held-out rows are sound"),
        (number_that_is_missing, "features are finite"),
        (code_that_was_not_declared, "features are finite"),
        (user_code_of_the_item, "no feature is the label"),
        (user_number_of_the_item, "no feature is the label"),
        (user_code_in_disguise, "no feature is the label"),
        (user_tags_of_the_item, "no feature is the label"),
        (item_number_of_takers, "no feature is the label"),
        (item_number_of_all_takers, "no feature is the label"),
        (item_tag_of_being_held_out, "no feature is the label"),
        (item_code_of_being_held_out, "no feature is the label"),
        (context_that_is_the_label, "no feature is the label"),
    ],
    ids=lambda given: given.__name__.replace("_", " ") if callable(given) else "",
)
def test_a_fold_that_lets_something_through_is_found(spoil: Spoil, expected: str) -> None:
    report = check_fold(spoil(small_fold()))
    assert expected in [row.name for row in report.failures], report.summary()


@pytest.mark.parametrize("split", ["leave_one_out", "temporal", "random", "random:seed=3+core:5"])
@pytest.mark.parametrize("part", ["valid", "test"])
def test_an_honest_fold_is_not_refused(log: Fold, split: str, part: Any) -> None:
    dataset = replace(log.dataset, interactions=whole_log(log))
    report = check_fold(make_fold(dataset, split, part))
    assert report.passed, report.summary()


def test_features_that_know_the_past_or_nothing_are_not_refused() -> None:
    fold = small_fold()
    known = np.bincount(fold.dataset.interactions.item, minlength=40).astype(np.float32)
    rng = np.random.default_rng(2)
    honest = with_item_features(
        fold,
        numeric={"popularity": known, "noise": rng.random(40).astype(np.float32)},
        categorical={"maker": np.arange(40, dtype=np.int32)},
        cardinality={"maker": 40},
    )
    group = (np.arange(60) % 2).astype(np.int32)  # people of one taste have a group in common
    honest = with_user_features(honest, categorical={"group": group}, cardinality={"group": 2})
    assert check_fold(honest).passed, check_fold(honest).summary()


def test_a_world_that_turned_to_one_kind_of_item_is_no_leak(log: Fold) -> None:
    """All take items of one tag alone since a while: the tag says who is held out, honestly."""
    rows = whole_log(log)
    late = rows.timestamp > np.quantile(rows.timestamp, 0.6)
    wanted = np.arange(log.dataset.n_items) % 3 == 0
    turned = replace(rows, item=np.where(late, rows.item // 3 * 3, rows.item))
    dataset = replace(log.dataset, interactions=turned)
    dataset = replace(dataset, item_features=Features(multi_hot={"topics": wanted[:, None]}))
    fold = make_fold(dataset, "temporal:valid=0.15,test=0.05", "valid")
    taken = np.bincount(fold.heldout.item, minlength=dataset.n_items) > 0
    assert np.corrcoef(taken, wanted)[0, 1] > 0.9, "the tag does say who is held out"
    assert check_fold(fold).passed, check_fold(fold).summary()


def with_mood(fold: Fold, right: float) -> Fold:
    """A renamed code of the held-out item beside honest columns, right for a share of the users."""
    dataset, rng = fold.dataset, np.random.default_rng(0)
    codes = np.zeros(dataset.n_users, np.int32)
    codes[fold.heldout.user] = fold.heldout.item + 1
    wrong = rng.random(dataset.n_users) > right
    codes[wrong] = rng.integers(1, dataset.n_items + 1, int(wrong.sum()))
    codes = rng.permutation(dataset.n_items + 1)[codes].astype(np.int32)
    features = dataset.user_features
    spoilt = replace(
        features,
        categorical={**features.categorical, "mood": codes},
        cardinality={**features.cardinality, "mood": dataset.n_items + 1},
    )
    return replace(fold, dataset=replace(dataset, user_features=spoilt))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Fold:
    """A fold of the generated platform with enough users for shares."""
    raw = generate(GeneratorConfig(n_users=3000, n_items=150)).raw
    dataset = DatasetStore(tmp_path_factory.mktemp("large")).save("generated", raw)
    return make_fold(dataset, "leave_one_out", "valid")


@pytest.mark.parametrize("right", [0.99, 0.9, 0.75])
def test_a_code_of_the_item_that_is_wrong_for_some_users_is_found(
    large: Fold, right: float
) -> None:
    (fault,) = check_fold(with_mood(large, right)).failures
    assert fault.name == "no feature is the label"
    told = re.search(r"'mood' tells which item is held out: right for (\d+)%, by", fault.detail)
    assert told
    assert int(told[1]) == pytest.approx(100 * right, abs=3), "the share is told as it is"


@pytest.mark.parametrize("right", [0.0, 0.3, 0.5])
def test_a_feature_that_tells_half_of_it_is_a_good_feature(large: Fold, right: float) -> None:
    report = check_fold(with_mood(large, right))
    assert report.passed, report.summary()


def test_numbers_and_tags_that_name_the_item_for_most_users_are_found(large: Fold) -> None:
    mood = with_mood(large, 0.9).dataset.user_features.categorical["mood"]
    for features in (
        {"numeric": {"mood": mood.astype(np.float32)}},
        {"multi_hot": {"mood": np.eye(mood.max() + 1, dtype=np.float32)[mood]}},
    ):
        report = check_fold(with_user_features(large, **features))
        assert "right for" in report.summary()


def test_names_of_users_and_groups_that_have_a_taste_are_not_refused(large: Fold) -> None:
    n_users, n_items = large.dataset.n_users, large.dataset.n_items
    favourite = np.zeros(n_users, np.int32)
    rows = large.dataset.interactions
    favourite[rows.user] = rows.item  # the latest item of the history: known before
    honest = {
        "name": np.arange(n_users, dtype=np.int32),
        "household": (np.arange(n_users) // 2).astype(np.int32),
        "everybody": np.zeros(n_users, np.int32),
        "latest": favourite,
    }
    size = {name: max(n_users, n_items) for name in honest}
    report = check_fold(with_user_features(large, categorical=honest, cardinality=size))
    assert report.passed, report.summary()


def test_a_context_that_is_nearly_the_label_is_found() -> None:
    fold = context_that_is_the_label(small_fold())
    rows = fold.dataset.interactions
    tab = rows.context["tab"].copy()
    tab[::100] = 3 - tab[::100]
    noisy = with_history(fold, replace(rows, context={"tab": tab}))
    assert "context 'tab' tells which rows are positives" in check_fold(noisy).summary()


def test_rows_that_lack_a_context_are_no_leak() -> None:
    fold = context_that_is_the_label(small_fold())
    rows = fold.dataset.interactions
    taken = fold.dataset.is_positive(rows)
    other_source = replace(rows, context={"tab": taken.astype(np.int32)})
    report = check_fold(with_history(fold, other_source))
    assert report.passed, report.summary()


def test_a_sample_is_small_and_its_heldout_rows_are_decoys(log: Fold) -> None:
    small = sample_of(log)
    assert small.dataset.n_users <= N_USERS
    assert small.dataset.n_items <= N_ITEMS
    assert check_fold(small).passed, check_fold(small).summary()
    known = {
        (str(log.dataset.user_ids[user]), str(log.dataset.item_ids[item]))
        for user, item in zip(log.heldout.user, log.heldout.item, strict=True)
    }
    real = [
        (str(small.dataset.user_ids[user]), str(small.dataset.item_ids[item])) in known
        for user, item in zip(small.heldout.user, small.heldout.item, strict=True)
    ]
    assert np.mean(real) < 0.2
    again = sample_of(log)
    np.testing.assert_array_equal(small.heldout.item, again.heldout.item)


def test_a_log_in_which_nobody_has_two_items_cannot_be_examined() -> None:
    fold = small_fold()
    rows = fold.dataset.interactions
    lonely = with_history(fold, rows.take(np.unique(rows.user, return_index=True)[1]))
    with pytest.raises(DataError, match="two positives"):
        sample_of(lonely)
