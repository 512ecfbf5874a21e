"""Where versions come from: parents that are named, predecessors that are not, differences."""

from __future__ import annotations

from typing import Any

from agenticrs.registry.tables import TrialRow, VersionRow
from agenticrs.ui.console.lineage import lineage


def trial(id: int, number: int, reward: float = 0.1, **note: Any) -> TrialRow:
    return TrialRow(
        id=id,
        cycle_id=1,
        agent="bpr",
        number=number,
        method="mutation",
        note=note,
        state="done",
        config={},
        seed=0,
        dataset="d",
        fingerprint="f",
        split="s",
        code_version="c",
        reward=reward,
    )


def version(number: int, trial_id: int, fingerprint: str = "f", **config: Any) -> VersionRow:
    return VersionRow(
        surface="home",
        agent="bpr",
        number=number,
        model="home.bpr",
        run_id="r",
        config=config,
        seed=0,
        dataset="d",
        fingerprint=fingerprint,
        code_version="c",
        trial_id=trial_id,
    )


def test_a_parent_is_found_by_way_of_candidates_that_never_became_versions() -> None:
    trials = [trial(1, 0), trial(2, 1, 0.12, parent=0), trial(3, 2, 0.15, parent=1)]
    found = lineage([version(2, 3), version(1, 1)], {t.id or 0: t for t in trials})
    (root,) = found
    (child,) = root.children
    assert (root.version.number, child.version.number, child.inherits) == (1, 2, True)
    assert child.gain is not None
    assert round(child.gain, 9) == 0.05


def test_without_a_parent_it_stands_below_the_one_before_and_says_what_differs() -> None:
    trials = {1: trial(1, 0), 2: trial(2, 1)}
    versions = [version(1, 1, size=8, depth=2), version(2, 2, size=16, depth=2, dropout=0.5)]
    (child,) = lineage(versions, trials)[0].children
    assert not child.inherits
    assert child.difference == "size 8 → 16, dropout unset → 0.5"


def test_what_a_candidate_says_of_itself_comes_first() -> None:
    trials = {1: trial(1, 0), 2: trial(2, 1, parent=0, difference="one block more")}
    (child,) = lineage([version(1, 1), version(2, 2, size=1)], trials)[0].children
    assert child.difference == "one block more"


def test_rewards_on_other_data_are_no_gain() -> None:
    other = trial(2, 1).model_copy(update={"fingerprint": "g"})
    versions = [version(1, 1), version(2, 2, fingerprint="g")]
    (child,) = lineage(versions, {1: trial(1, 0), 2: other})[0].children
    assert child.gain is None
    assert child.difference == "trained anew on other data"


def test_a_note_that_runs_in_circles_ends() -> None:
    trials = {1: trial(1, 0, parent=1), 2: trial(2, 1, parent=0), 3: trial(3, 2, parent=0)}
    assert len(lineage([version(1, 3)], trials)) == 1


def test_a_parent_of_an_earlier_cycle_is_found_by_the_key_of_its_trial() -> None:
    first = TrialRow(**{**trial(1, 0).model_dump(), "cycle_id": 1})
    later = trial(2, 0)
    later.cycle_id, later.note = 2, {"parent_trials": [1], "parent": "m0"}
    found = lineage([version(2, 2), version(1, 1)], {1: first, 2: later})
    assert [child.version.number for child in found[0].children] == [2]
    assert found[0].children[0].inherits
