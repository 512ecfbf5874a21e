"""Named, reproducible splits: a name and a dataset give a fold, always the same.

=============================== =========================================================
name                            held out
=============================== =========================================================
leave_one_out                   each user's last positive (test) and second last (valid)
temporal:valid=0.1,test=0.1     positives after the global time at which 20 % (10 %) of all
                                rows are still to come
random:valid=0.1,test=0.25,     these shares of every user's positives, drawn at random
seed=0
=============================== =========================================================

``+core:5`` behind any of them first keeps users and items with at least 5 positives each, again
and again until none drops out; indices are not renumbered. Numbers may be left out.

A fold's history never holds what it must not know: no held-out row, nothing of that user after it
(leave_one_out), nothing of anybody after the cut (temporal). A held-out item is one that the user
has not yet among the positives of the history, because full ranking masks those; so a user's
first positive row with an item stands for the pair.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from agenticrs.platform.data.dataset import Dataset, Fold, IntArray, Interactions
from agenticrs.platform.errors import DataError

Part = Literal["valid", "test"]
Mask = npt.NDArray[np.bool_]

_GRAMMAR = (
    "use leave_one_out, temporal[:valid=0.1,test=0.1] or random[:valid=0.1,test=0.25,seed=0], "
    "with +core:5 behind it if wanted"
)
_DEFAULTS: dict[str, dict[str, float]] = {
    "leave_one_out": {},
    "temporal": {"valid": 0.1, "test": 0.1},
    "random": {"valid": 0.1, "test": 0.25, "seed": 0},
}
_NAME = re.compile(r"(?P<kind>[a-z_]+)(:(?P<options>[a-z0-9=.,]+))?(\+core:(?P<core>\d{1,6}))?")


@dataclass(frozen=True)
class Split:
    """A split's name, read: ``core`` is 0 where no core is asked for."""

    kind: Literal["leave_one_out", "temporal", "random"]
    valid: float = 0.0
    test: float = 0.0
    seed: int = 0
    core: int = 0


def parse_split(name: str) -> Split:
    """Read a split's name.

    Raises:
        DataError: The name does not follow the grammar (the hint repeats it).
    """
    match = _NAME.fullmatch(name.strip())
    if match is None or match["kind"] not in _DEFAULTS:
        raise DataError(f"{name[:80]!r} is no split", hint=_GRAMMAR)
    options = dict(_DEFAULTS[match["kind"]])
    for text in filter(None, (match["options"] or "").split(",")):
        option, _, value = text.partition("=")
        if option not in options or not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value):
            raise DataError(f"split {name[:80]!r}: {text!r} is no option of it", hint=_GRAMMAR)
        options[option] = float(value)
    valid, test = options.get("valid", 0.0), options.get("test", 0.0)
    if options and not (0 < valid < 1 and 0 < test < 1 and valid + test < 1):
        raise DataError(
            f"split {name[:80]!r}: valid and test must be above 0 and below 1 together",
            hint=_GRAMMAR,
        )
    kind = cast(Literal["leave_one_out", "temporal", "random"], match["kind"])
    return Split(kind, valid, test, int(options.get("seed", 0)), int(match["core"] or 0))


def make_fold(dataset: Dataset, split: str, part: Part) -> Fold:
    """Hold out one part of a dataset.

    Args:
        dataset: With rows in the order of user and time.
        split: Its name, see the module's head.
        part: "valid": the history is what training may see; "test": the history is that and the
            validation part, as when a chosen version is trained anew.

    Raises:
        DataError: The name is malformed, the dataset has no times for a temporal split, or
            nothing is left to hold out or to learn from.
    """
    if part not in ("valid", "test"):
        raise DataError(f"a split has no part {part!r}", hint="use valid or test")
    rule = parse_split(split)
    rows = dataset.interactions
    if rule.core:
        rows = rows.take(_core(dataset, rule.core))
    if rule.kind == "leave_one_out":
        history, heldout = _leave_one_out(dataset, rows, part)
    elif rule.kind == "temporal":
        history, heldout = _temporal(dataset, rows, rule, part)
    else:
        history, heldout = _random(dataset, rows, rule, part)
    if not heldout.any() or not history.any():
        what = "hold out" if history.any() else "learn from"
        raise DataError(
            f"split {split!r} leaves nothing to {what} in dataset {dataset.name!r}",
            hint="import more data, or choose another split or a smaller core",
        )
    return Fold(
        dataset=replace(dataset, interactions=rows.take(history)),
        heldout=rows.take(heldout),
        split=split.strip(),
        part=part,
    )


def search_users(users: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Mask (n,) of the held-out users whose rows may steer a search or teach an agent.

    One third, by a hash of the index: the same in every cycle, so that rewards of earlier cycles on
    the same data can be compared with new ones. The others confirm.
    """
    mixed = users.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mask: npt.NDArray[np.bool_] = (mixed >> np.uint64(40)) % np.uint64(3) == 0
    return mask


def sample_of(users: npt.NDArray[Any], fraction: float) -> npt.NDArray[np.bool_]:
    """Mask (U,) of a fixed share of the users, at least one, chosen by a hash of their index."""
    mixed = (users.astype(np.uint64) + np.uint64(1)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    wanted = min(len(users), max(1, round(fraction * len(users))))
    mask = np.zeros(len(users), dtype=np.bool_)
    mask[np.argsort(mixed ^ (mixed >> np.uint64(31)), kind="stable")[:wanted]] = True
    return mask


def _leave_one_out(dataset: Dataset, rows: Interactions, part: Part) -> tuple[Mask, Mask]:
    """Masks of history and held-out rows.

    Users with fewer than three different positives stay in the history whole.
    """
    first = np.flatnonzero(_first_positives(dataset, rows))
    counts = np.bincount(rows.user[first], minlength=dataset.n_users)
    ends = np.cumsum(counts)
    users = np.flatnonzero(counts >= 3)
    at = first[ends[users] - (1 if part == "test" else 2)]
    heldout = np.zeros(len(rows), dtype=np.bool_)
    heldout[at] = True
    stop = np.full(dataset.n_users, len(rows), dtype=np.int64)
    stop[users] = at
    history = np.arange(len(rows)) < stop[rows.user]
    return history, heldout


def _temporal(dataset: Dataset, rows: Interactions, rule: Split, part: Part) -> tuple[Mask, Mask]:
    if not dataset.has_times:
        raise DataError(
            f"dataset {dataset.name!r} has no times, only places in each user's history",
            hint="use leave_one_out or random",
        )
    n = len(rows)
    times = np.sort(rows.timestamp)

    def cut(share: float) -> int:
        """The time at which ``share`` of all rows are still to come."""
        return int(times[min(round(n * (1 - share)), n - 1)])

    start = cut(rule.valid + rule.test) if part == "valid" else cut(rule.test)
    history = rows.timestamp < start
    later = ~history
    if part == "valid":
        later &= rows.timestamp < cut(rule.test)
    # A pair whose first positive lies in the history is not among the firsts of the later rows.
    return history, later & _first_positives(dataset, rows)


def _random(dataset: Dataset, rows: Interactions, rule: Split, part: Part) -> tuple[Mask, Mask]:
    """Whole (user, item) pairs go to one part, drawn among the user's pairs of the same kind.

    Pairs with a positive and pairs without are drawn apart, so that shares of positives are exact
    (to rounding) and exposures of the held-out time are not all in the history.
    """
    first = _first_positives(dataset, rows)
    keys = _pair_keys(dataset, rows)
    pairs, pair_of_row = np.unique(keys, return_inverse=True)
    positive = np.zeros(len(pairs), dtype=np.int64)
    positive[pair_of_row[first]] = 1
    stratum = pairs // dataset.n_items * 2 + positive
    drawn = np.random.default_rng(rule.seed).random(len(pairs))
    order = np.lexsort((drawn, stratum))
    _, start, sizes = np.unique(stratum[order], return_index=True, return_counts=True)
    place = np.empty(len(pairs), dtype=np.int64)
    place[order] = np.arange(len(pairs)) - np.repeat(start, sizes)
    size = np.empty(len(pairs), dtype=np.int64)
    size[order] = np.repeat(sizes, sizes)
    keep_for_test = np.maximum(np.rint(size * (1 - rule.test)), 1)
    keep_for_valid = np.maximum(np.rint(size * (1 - rule.test - rule.valid)), 1)
    if part == "test":
        known, asked = place < keep_for_test, place >= keep_for_test
    else:
        known = place < keep_for_valid
        asked = (place >= keep_for_valid) & (place < keep_for_test)
    return known[pair_of_row], asked[pair_of_row] & first


def _core(dataset: Dataset, k: int) -> Mask:
    """Rows of users and items that keep at least ``k`` positives within the kept rows."""
    rows = dataset.interactions
    positive = dataset.is_positive(rows)
    user, item = rows.user[positive], rows.item[positive]
    keep_user = np.ones(dataset.n_users, dtype=np.bool_)
    keep_item = np.ones(dataset.n_items, dtype=np.bool_)
    while True:
        keep_user &= np.bincount(user, minlength=dataset.n_users) >= k
        inside = keep_user[user]
        user, item = user[inside], item[inside]
        keep_item &= np.bincount(item, minlength=dataset.n_items) >= k
        inside = keep_item[item]
        if inside.all():
            mask: Mask = keep_user[rows.user] & keep_item[rows.item]
            return mask
        user, item = user[inside], item[inside]


def _first_positives(dataset: Dataset, rows: Interactions) -> Mask:
    """Positive rows in which the user meets that item for the first time."""
    positive = np.flatnonzero(dataset.is_positive(rows))
    keys = _pair_keys(dataset, rows)[positive]
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    new = np.ones(len(keys), dtype=np.bool_)
    new[1:] = ordered[1:] != ordered[:-1]
    mask = np.zeros(len(rows), dtype=np.bool_)
    mask[positive[order[new]]] = True
    return mask


def _pair_keys(dataset: Dataset, rows: Interactions) -> IntArray:
    keys: IntArray = rows.user.astype(np.int64) * dataset.n_items + rows.item
    return keys
