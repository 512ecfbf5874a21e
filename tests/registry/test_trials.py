"""Trials: rows from the first moment, rungs that add up, and what later cycles read of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import IntegrityError

from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import NotFound
from agenticrs.registry import cycles, provenance, trials
from agenticrs.registry.tables import TrialRow

if TYPE_CHECKING:
    from tests.registry.conftest import Store


SPLIT = "leave_one_out"


def found(reward: float = 0.5, seconds: float = 1.0, **metrics: float) -> dict[str, Any]:
    return {"metrics": metrics, "reward": reward, "seconds": seconds, "device": "cpu"}


def full(store: Store, reward: float, *, agent: str = "ease", **given: Any) -> int:
    """A fully trained candidate with that reward; its id."""
    seconds = given.pop("seconds", 1.0)
    row = store.trial(agent, done=False, **given)
    with session_scope(store.engine) as session:
        trials.record_full(session, row.id or 0, **found(reward, seconds))
    return row.id or 0


def read(store: Store, trial_id: int | None) -> TrialRow:
    with session_scope(store.engine) as session:
        return trials.get(session, trial_id or 0)


def test_a_candidate_is_written_down_before_anything_is_spent(store: Store) -> None:
    row = read(store, store.trial(done=False, config={"l2": 1.0, "weights": {"bpr": 2}}).id)
    assert (row.state, row.reward, row.seconds, row.finished_at) == ("proposed", None, 0.0, None)
    assert row.config == {"l2": 1.0, "weights": {"bpr": 2}}
    assert row.code_version == provenance.code_version()
    assert row.environment == provenance.environment()


def test_a_number_is_given_once_to_an_agent_in_a_cycle(store: Store) -> None:
    store.trial(number=5)
    with pytest.raises(IntegrityError):
        store.trial(number=5)
    store.trial("itemknn", number=5)
    with session_scope(store.engine) as session:
        assert [t.agent for t in trials.of_cycle(session, store.cycle)] == ["ease", "itemknn"]


def test_a_candidate_of_no_cycle_is_refused_by_the_database(store: Store) -> None:
    with pytest.raises(IntegrityError):
        store.trial(cycle_id=99)


def test_a_rung_leaves_a_candidate_open(store: Store) -> None:
    trial = store.trial(done=False).id
    with session_scope(store.engine) as session:
        trials.record_short(session, trial or 0, **found(0.2, 3.0, ndcg=0.1))
    row = read(store, trial)
    assert (row.state, row.reward, row.seconds, row.finished_at) == ("short", 0.2, 3.0, None)
    assert row.metrics == {}, "they are those of a trial that is done"
    assert row.note[trials.RUNGS] == [{"reward": 0.2, "metrics": {"ndcg": 0.1}}]


def test_what_stops_at_a_rung_has_ended(store: Store) -> None:
    trial = store.trial(done=False).id
    with session_scope(store.engine) as session:
        trials.record_pruned(session, trial or 0, **found(0.2, 3.0, ndcg=0.1))
    row = read(store, trial)
    assert (row.state, row.reward) == ("pruned", 0.2)
    assert row.note[trials.RUNGS] == [{"reward": 0.2, "metrics": {"ndcg": 0.1}}]
    assert row.finished_at is not None


def test_full_training_counts_for_the_reward_and_seconds_add_up(store: Store) -> None:
    trial = store.trial(done=False).id
    with session_scope(store.engine) as session:
        trials.record_short(session, trial or 0, **found(0.2, 3.0, ndcg=0.1))
    with session_scope(store.engine) as session:
        trials.record_full(session, trial or 0, **{**found(0.4, 10.0, ndcg=0.3), "device": "cuda"})
    row = read(store, trial)
    assert (row.state, row.reward, row.seconds, row.device) == ("done", 0.4, 13.0, "cuda")
    assert row.metrics["ndcg"] == 0.3, "the metrics of a done trial are those of full training"
    assert row.finished_at is not None


def test_a_failure_keeps_its_cause_in_bounds_and_what_it_has_cost(store: Store) -> None:
    trial = store.trial(done=False).id
    with session_scope(store.engine) as session:
        trials.record_short(session, trial or 0, **found(0.2, 3.0))
        trials.record_failed(session, trial or 0, error="x" * 5000, seconds=4.0)
    row = read(store, trial)
    assert (row.state, row.seconds, row.error) == ("failed", 7.0, "x" * 2000)
    assert row.finished_at is not None


def test_a_trial_shows_the_run_that_was_noted(store: Store) -> None:
    trial = store.trial().id
    assert read(store, trial).run_id == ""
    with session_scope(store.engine) as session:
        trials.set_run(session, trial or 0, "r1")
    assert read(store, trial).run_id == "r1"


def test_nothing_is_recorded_of_a_trial_that_is_not_there(store: Store) -> None:
    with session_scope(store.engine) as session:
        for call in (
            lambda: trials.get(session, 99),
            lambda: trials.set_run(session, 99, "r"),
            lambda: trials.record_short(session, 99, **found()),
            lambda: trials.record_pruned(session, 99, **found()),
            lambda: trials.record_full(session, 99, **found()),
            lambda: trials.record_failed(session, 99, error="e"),
        ):
            with pytest.raises(NotFound, match="no trial 99"):
                call()


def test_trials_of_a_cycle_stand_in_the_order_of_their_making(store: Store) -> None:
    made = [store.trial(agent, number=n).id for agent, n in (("ease", 9), ("rrf", 0), ("ease", 1))]
    with session_scope(store.engine) as session:
        other = cycles.open_cycle(
            session,
            surface="home",
            kind="individual",
            dataset="shop",
            fingerprint="f",
            seed=0,
            request={},
        )
    store.trial(cycle_id=other.id)
    with session_scope(store.engine) as session:
        assert [t.id for t in trials.of_cycle(session, store.cycle)] == made
        assert [t.number for t in trials.of_cycle(session, store.cycle, "ease")] == [9, 1]
        assert trials.of_cycle(session, store.cycle, "itemknn") == []


def test_only_full_training_on_the_same_data_and_split_is_remembered(store: Store) -> None:
    first, second = full(store, 0.1), full(store, 0.2)
    store.trial(done=False)
    full(store, 0.3, fingerprint="g")
    full(store, 0.4, split="temporal")
    full(store, 0.5, agent="itemknn")
    pruned = store.trial(done=False)
    with session_scope(store.engine) as session:
        trials.record_pruned(session, pruned.id or 0, **found(0.9))

    def ids(limit: int = 200) -> list[int | None]:
        with session_scope(store.engine) as session:
            rows = trials.finished(
                session, "ease", fingerprint="f", split="leave_one_out", limit=limit
            )
        return [row.id for row in rows]

    assert ids() == [second, first]
    assert ids(limit=1) == [second]


def test_trials_on_other_snapshots_are_found_by_snapshot_the_newest_first(store: Store) -> None:
    oldest = full(store, 0.1, fingerprint="e")
    older = [full(store, 0.2, fingerprint="g"), full(store, 0.1, fingerprint="g")]
    full(store, 0.4)
    newer = full(store, 0.3, fingerprint="h")
    full(store, 0.5, agent="itemknn", fingerprint="i")
    store.trial(done=False, fingerprint="j")

    def ids(snapshots: int, before_cycle: int = 10**6) -> list[list[int | None]]:
        with session_scope(store.engine) as session:
            groups = trials.elsewhere(
                session, "ease", "f", snapshots=snapshots, before_cycle=before_cycle
            )
        return [[row.id for row in rows] for rows in groups]

    assert ids(2) == [[newer], older[::-1]]
    assert ids(9) == [[newer], older[::-1], [oldest]]
    assert ids(9, before_cycle=read(store, oldest).cycle_id) == [], "of earlier cycles only"


def test_no_more_than_so_many_of_another_snapshot_are_read_and_they_are_the_newest(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "_MOST_ELSEWHERE", 2)
    made = [full(store, 0.1, fingerprint="g") for _ in range(4)]
    with session_scope(store.engine) as session:
        (rows,) = trials.elsewhere(session, "ease", "f", snapshots=5, before_cycle=10**6)
        assert [row.id for row in rows] == made[:1:-1]


def test_the_best_reward_is_one_of_full_training_on_that_data(store: Store) -> None:
    for reward in (0.1, 0.3, 0.2):
        full(store, reward)
    full(store, 0.8, fingerprint="g")
    full(store, 0.9, split="temporal")
    short = store.trial(done=False)
    with session_scope(store.engine) as session:
        trials.record_short(session, short.id or 0, **found(0.9))
    with session_scope(store.engine) as session:
        assert trials.best_reward(session, "ease", "f", SPLIT) == 0.3
        assert trials.best_reward(session, "ease", "g", SPLIT) == 0.8
        assert trials.best_reward(session, "itemknn", "f", SPLIT) is None


def test_a_reward_below_zero_is_still_the_best_when_it_is_the_only_one(store: Store) -> None:
    full(store, -0.5)
    with session_scope(store.engine) as session:
        assert trials.best_reward(session, "ease", "f", SPLIT) == -0.5


def test_the_mean_cost_leaves_out_what_cost_nothing_or_never_ended(store: Store) -> None:
    with session_scope(store.engine) as session:
        assert trials.mean_seconds(session, "ease") is None
    full(store, 0.1, seconds=0.0)
    with session_scope(store.engine) as session:
        assert trials.mean_seconds(session, "ease") is None
    full(store, 0.1, seconds=2.0)
    full(store, 0.1, seconds=4.0, fingerprint="g")
    full(store, 0.1, agent="itemknn", seconds=90.0)
    failed = store.trial(done=False)
    with session_scope(store.engine) as session:
        trials.record_failed(session, failed.id or 0, error="e", seconds=600.0)
    with session_scope(store.engine) as session:
        assert trials.mean_seconds(session, "ease") == 3.0


def test_what_candidates_cost_is_known_by_dataset_with_the_cheapest(store: Store) -> None:
    with session_scope(store.engine) as session:
        assert trials.cost(session, "ease", "shop") == trials.Cost()
    full(store, 0.1, seconds=0.0)
    full(store, 0.1, seconds=2.0)
    full(store, 0.1, seconds=6.0, fingerprint="g")
    full(store, 0.1, seconds=90.0, dataset="another")
    with session_scope(store.engine) as session:
        assert trials.cost(session, "ease", "shop") == trials.Cost(4.0, None, 2.0)
    on_gpu = store.trial(done=False)
    with session_scope(store.engine) as session:
        trials.record_short(session, on_gpu.id or 0, **found(0.2, 2.0), gpu_seconds=0.5)
        trials.record_full(session, on_gpu.id or 0, **found(0.3, 8.0), gpu_seconds=2.0)
    with session_scope(store.engine) as session:
        assert trials.cost(session, "ease", "shop") == trials.Cost(6.0, 2.5, 2.0)


def test_gpu_seconds_of_what_failed_are_kept_too(store: Store) -> None:
    trial = store.trial(done=False)
    with session_scope(store.engine) as session:
        trials.record_short(session, trial.id or 0, **found(0.2, 3.0), gpu_seconds=1.0)
        trials.record_failed(session, trial.id or 0, error="e", seconds=4.0, gpu_seconds=2.0)
    assert read(store, trial.id).gpu_seconds == 3.0


def test_trials_of_one_content_are_found_when_they_ended_well(store: Store) -> None:
    done, pruned, failed, open_ = (store.trial(done=n == 0) for n in range(4))
    other = store.trial()
    with session_scope(store.engine) as session:
        for row in (done, pruned, failed, open_):
            trials.set_content(session, row.id or 0, "c")
        trials.record_pruned(session, pruned.id or 0, **found())
        trials.record_failed(session, failed.id or 0, error="lost")
    with session_scope(store.engine) as session:
        assert [row.id for row in trials.same_content(session, "c")] == [pruned.id, done.id]
        assert trials.same_content(session, "") == [], "nothing is known of that one"
        assert read(store, other.id).content == ""


def test_what_is_noted_with_a_result_joins_the_note(store: Store) -> None:
    trial = store.trial(done=False, note={"parent": 3})
    with session_scope(store.engine) as session:
        trials.record_short(session, trial.id or 0, **found(0.1))
        trials.record_short(session, trial.id or 0, **found(0.2), note={"a": 1})
        trials.record_full(session, trial.id or 0, **found(0.3), note={"cached_from": 7})
    note = read(store, trial.id).note
    assert [rung["reward"] for rung in note.pop(trials.RUNGS)] == [0.1, 0.2]
    assert note == {"parent": 3, "a": 1, "cached_from": 7}


def test_trials_on_other_lists_from_above_are_like_those_on_another_snapshot(store: Store) -> None:
    def on(inputs: str, reward: float, **given: Any) -> int:
        made = full(store, reward, agent="mmr", **given)
        with session_scope(store.engine) as session:
            trials.set_content(session, made, "", inputs)
        return made

    nobody_knows = on("", 0.9)
    older = [on("old lists", 0.6), on("old lists", 0.5)]
    now = on("new lists", 0.2)
    other = on("new lists", 0.7, fingerprint="g")
    assert read(store, nobody_knows).note == {}
    assert trials.inputs_of(read(store, now)) == "new lists"
    with session_scope(store.engine) as session:
        best = [
            trials.best_reward(session, "mmr", "f", SPLIT, inputs=inputs)
            for inputs in ("new lists", "old lists", "others", "")
        ]
        groups = trials.elsewhere(
            session, "mmr", "f", inputs="new lists", snapshots=9, before_cycle=10**6
        )
        assert [[row.id for row in rows] for rows in groups] == [
            [other],
            older[::-1],
            [nobody_knows],
        ]
    assert best == [0.2, 0.6, None, 0.9]
