"""Checks of a fold, before anybody learns from it: nothing of what is held out may be in sight.

They hold for every candidate on the fold, and cost a few passes over its rows. What a feature may
know is judged by how much it tells of the held-out rows: more than any honest one could.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from agenticrs.agents.health.report import Check, HealthReport
from agenticrs.platform.data.dataset import Dataset, Features, Fold, Interactions
from agenticrs.platform.data.splits import parse_split

Column = npt.NDArray[Any]
_TELLS = 0.9
"""Correlation, or share of those with a tag, from which a feature knows the answer."""
_OPEN = 0.2
"""Share of who is held out, as variance, that the past must leave open before a column can tell."""
_NAMES = 0.6
"""Share of what chance leaves open that no honest feature of a user gets right."""
_MARKS = 0.9
"""The same for a context and the label of its row."""
_ENOUGH = 20
_ENOUGH_WITH_TAG = 8
_MOST_COMMON = 0.5
_MOST_USERS = 20_000


def check_fold(fold: Fold) -> HealthReport:
    """Examine a fold: its held-out rows, their times, and its features."""
    asked = (
        Check(
            "held-out rows are sound",
            lambda: sound(fold),
            "hold out positive rows of known users and items, in order of user",
        ),
        Check(
            "nothing is held out twice",
            lambda: held_out_once(fold),
            "a user's first positive row with an item stands for the pair",
        ),
        Check(
            "held-out rows are unseen",
            lambda: unseen(fold),
            "take the held-out rows out of the history",
        ),
        Check(
            "times are in order",
            lambda: in_order(fold),
            "cut by time: nothing that came after the held-out rows may be learnt from",
        ),
        Check(
            "features are finite",
            lambda: finite_features(fold.dataset),
            "fill in what is missing when the log is imported",
        ),
        Check(
            "no feature is the label",
            lambda: no_label(fold),
            # A stored dataset keeps its columns, and takes new values for them.
            "import the column again, made of what was known before the held-out rows, or "
            "the log without it under another name",
        ),
    )
    return HealthReport(tuple(check.run() for check in asked))


def sound(fold: Fold) -> str:
    """Whether held-out rows are positives of known users and items, in order of user."""
    rows, dataset = fold.heldout, fold.dataset
    if not len(rows):
        return "nothing is held out"
    if rows.user.min() < 0 or rows.user.max() >= dataset.n_users:
        return "a held-out row is of a user that the dataset does not know"
    if rows.item.min() < 0 or rows.item.max() >= dataset.n_items:
        return "a held-out row is of an item that the dataset does not know"
    if (np.diff(rows.user) < 0).any():
        return "held-out rows are not in order of user"
    wrong = int((~dataset.is_positive(rows)).sum())
    return f"{wrong} held-out rows are no positives" if wrong else ""


def held_out_once(fold: Fold) -> str:
    """Whether a pair of user and item is held out once."""
    repeated = len(fold.heldout) - len(np.unique(_pairs(fold.dataset, fold.heldout)))
    return f"{repeated} held-out rows repeat a user and an item" if repeated else ""


def unseen(fold: Fold) -> str:
    """Whether no held-out pair is among the positives of the history."""
    dataset = fold.dataset
    positives = dataset.interactions.take(dataset.is_positive(dataset.interactions))
    both = np.isin(_pairs(dataset, fold.heldout), _pairs(dataset, positives))
    return f"{int(both.sum())} held-out rows are in the history" if both.any() else ""


def in_order(fold: Fold) -> str:
    """Whether history rows are in order, and none is later than the split allows."""
    rows, heldout, kind = fold.dataset.interactions, fold.heldout, parse_split(fold.split).kind
    same_user = rows.user[1:] == rows.user[:-1]
    if (np.diff(rows.user) < 0).any() or (np.diff(rows.timestamp)[same_user] < 0).any():
        return "history rows are not in order of user and time"
    if kind == "temporal":
        late = rows.timestamp >= heldout.timestamp.min(initial=np.iinfo(np.int64).max)
        return f"{int(late.sum())} history rows are later than the cut" if late.any() else ""
    if kind == "leave_one_out":
        last = np.full(fold.dataset.n_users, np.iinfo(np.int64).max)
        np.minimum.at(last, heldout.user, heldout.timestamp)
        late = rows.timestamp > last[rows.user]
        return f"{int(late.sum())} history rows are later than held-out ones" if late.any() else ""
    return ""


def finite_features(dataset: Dataset) -> str:
    """Whether features are numbers and codes are within what is declared."""
    for whose, features in (("user", dataset.user_features), ("item", dataset.item_features)):
        for name, column in [*features.numeric.items(), *features.multi_hot.items()]:
            if not np.isfinite(column).all():
                return f"{whose} feature {name!r} holds NaN or infinite numbers"
        for name, codes in features.categorical.items():
            if len(codes) and not 0 <= codes.min() <= codes.max() < features.cardinality[name]:
                return f"{whose} feature {name!r} has codes beyond those that it declares"
    return ""


def no_label(fold: Fold) -> str:
    """Whether a feature or a context tells what is held out, or what was taken."""
    return (
        _fault_of_user_features(fold)
        or _fault_of_item_features(fold)
        or _fault_of_context(fold.dataset)
    )


def _fault_of_user_features(fold: Fold) -> str:
    """A user feature must not name the item that the user is going to take."""
    features = fold.dataset.user_features
    users, first = np.unique(fold.heldout.user, return_index=True)
    if len(users) < _ENOUGH:
        return ""
    last = np.append(first[1:], len(fold.heldout)) - 1
    users, first, last = users[:_MOST_USERS], first[:_MOST_USERS], last[:_MOST_USERS]
    for place in (first, last):
        item = fold.heldout.item[place]
        if _share_of_most_common(item) > _MOST_COMMON:
            continue
        for name, column in [*features.categorical.items(), *features.numeric.items()]:
            if _follows(column[users], item):
                return f"user feature {name!r} tells which item is held out"
            if told := _told(column[users], item, _NAMES):
                return f"user feature {name!r} tells which item is held out: {told}"
        for name, table in features.multi_hot.items():
            _, kind = np.unique(table[users], axis=0, return_inverse=True)
            if told := _told(kind.ravel(), item, _NAMES):
                return f"user feature {name!r} tells which item is held out: {told}"
            for tag in range(table.shape[1]):
                tagged = item[table[users, tag] > 0]
                if len(tagged) >= _ENOUGH_WITH_TAG and _share_of_most_common(tagged) > _TELLS:
                    return f"user feature {name!r} tells which item is held out"
    return ""


def _fault_of_item_features(fold: Fold) -> str:
    """An item feature must not count held-out takers, beyond what takers so far say.

    Nor beyond the newest of them (as many as are held out, half and a quarter): where all the world
    turns to one kind of item, that kind says who will be taken, and so do the days before.
    """
    dataset = fold.dataset
    rows = dataset.interactions
    positive = np.flatnonzero(dataset.is_positive(rows))
    newest = positive[np.argsort(-rows.timestamp[positive], kind="stable")]
    takers = [
        np.bincount(rows.item[newest[:most]], minlength=dataset.n_items)
        for most in (len(newest), *(len(fold.heldout) // part for part in (1, 2, 4)))
    ]
    known = np.stack([*takers, *(some > 0 for some in takers[1:])], 1)
    taken = np.bincount(fold.heldout.item, minlength=dataset.n_items)
    if (taken > 0).sum() < _ENOUGH or (taken == 0).sum() == 0:
        return ""
    for target in (taken.astype(np.float64), (taken > 0).astype(np.float64)):
        left = _beyond(target, known)
        if left.var() < _OPEN * target.var():
            continue  # whoever knew the past alone would know it, too
        for name, column in _columns(dataset.item_features):
            beyond = _beyond(column.astype(np.float64), known), left
            if _correlation(*beyond) > _TELLS and _follows(*beyond):
                return f"item feature {name!r} tells how often an item is held out"
    return ""


def _fault_of_context(dataset: Dataset) -> str:
    """A context must not say whether the row is a positive.

    Rows without one are not asked: where another source brought them, that they lack it says where
    they come from, and so what they are.
    """
    rows = dataset.interactions
    label = dataset.is_positive(rows)
    for name, codes in rows.context.items():
        known = codes > 0
        if known.sum() < _ENOUGH or not 0.05 < label[known].mean() < 0.95:
            continue
        if told := _told(codes[known], label[known], _MARKS):
            return f"context {name!r} tells which rows are positives: {told}"
    return ""


def _columns(features: Features) -> list[tuple[str, Column]]:
    """Numbers, tags, and each of a categorical feature's commoner codes as a column."""
    found: list[tuple[str, Column]] = list(features.numeric.items())
    for name, table in features.multi_hot.items():
        found += [(name, table[:, tag]) for tag in range(table.shape[1])]
    for name, codes in features.categorical.items():
        counts = np.bincount(codes)
        common = np.argsort(-counts, kind="stable")[:32]
        found.append((name, codes))
        found += [(name, codes == code) for code in common if counts[code]]
    return found


def _pairs(dataset: Dataset, rows: Interactions) -> npt.NDArray[np.int64]:
    pairs: npt.NDArray[np.int64] = rows.user.astype(np.int64) * dataset.n_items + rows.item
    return pairs


def _share_of_most_common(values: Column) -> float:
    return float(np.unique(values, return_counts=True)[1].max() / len(values))


def _told(groups: Column, values: Column, most: float) -> str:
    """In words how often a column names the value, where that is more than ``most`` allows.

    Counted is what chance leaves open: a column that is shuffled has the same groups and knows
    nothing. Some wrong codes do not hide what the others say.
    """
    found = _named(groups, values)
    if found == 0:
        return ""
    chance = _named(np.random.default_rng(0).permutation(groups), values)
    if found - chance <= most * (1 - chance):
        return ""
    return f"right for {found:.0%}, by chance for {chance:.0%}"


def _named(groups: Column, values: Column) -> float:
    """Share of those with company in their group whose value most of the others there have.

    A tie counts half. Nobody is one of their own others, so that small groups do not name
    themselves. 0 where fewer than 20 have company.
    """
    _, group = np.unique(groups, return_inverse=True)
    _, value = np.unique(values, return_inverse=True)
    size = np.bincount(group)
    company = size > 1
    if size[company].sum() < _ENOUGH:
        return 0.0
    kinds = value.max() + 1
    pair, count = np.unique(group * kinds + value, return_counts=True)
    owner = pair // kinds
    order = np.lexsort((-count, owner))
    first = np.searchsorted(owner[order], np.arange(len(size)))
    ranked = np.append(count[order], 0)
    best = ranked[first]
    second = np.where(np.bincount(owner) > 1, ranked[first + 1], 0)
    # What the others have most often, but for this value: one with this value is left out.
    rival = np.where(count == best[owner], second[owner], best[owner])
    right = (count - 1 > rival) + 0.5 * ((count - 1 == rival) & (count > 1))
    with_company = company[owner]
    return float((count * right)[with_company].sum() / size[company].sum())


def _beyond(values: Column, known: Column) -> Column:
    """What is left of the values, (n,), when a line on ``known``, (n, columns), is taken away."""
    line = np.column_stack([np.ones(len(known)), known.astype(np.float64)])
    rest: Column = values - line @ np.linalg.lstsq(line, values, rcond=None)[0]
    return rest.round(9)


def _follows(a: Column, b: Column) -> bool:
    """Whether two columns have (nearly) the same order, or the opposite one."""
    return _correlation(_ranks(a), _ranks(b)) > _TELLS


def _ranks(values: Column) -> Column:
    """Ranks; equal values share their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle: Column = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return middle


def _correlation(a: Column, b: Column) -> float:
    """Absolute correlation; 0 where one of them does not vary."""
    a, b = a - a.mean(), b - b.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return abs(float(a @ b)) / size if size > 1e-12 else 0.0
