"""What serves follows the registry and MLflow, and never lets a request fail over it."""

from __future__ import annotations

import gc
import shutil
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agenticrs.agents.runtime import Runtime
from agenticrs.platform.data.raw import Event
from agenticrs.platform.database import session_scope
from agenticrs.registry import audit, feedback, promotion
from agenticrs.ui.garbage import look_at_new_objects_only
from agenticrs.ui.serving import NothingServes, ServingModel


def test_without_a_composition_it_says_what_to_run(empty_place: Any) -> None:
    assert empty_place.serving.refresh() is False
    with pytest.raises(NothingServes) as caught:
        empty_place.serving.recommend("u1", 5)
    assert "agenticrs evolve" in caught.value.hint


def test_a_slate_is_full_unseen_and_without_repetition(place: Any) -> None:
    dataset = place.datasets.load("generated")
    rows = dataset.interactions
    seen = set(dataset.item_ids[rows.item[(rows.user == 3) & dataset.is_positive(rows)]])
    answer = place.serving.recommend(str(dataset.user_ids[3]), 10)
    ids = [item.id for item in answer.items]
    assert answer.composition == 1
    assert answer.known
    assert len(ids) == len(set(ids)) == 10
    assert not seen & set(ids)


def test_an_unknown_user_takes_the_cold_path(place: Any) -> None:
    place.promote(2)
    assert place.serving.refresh()
    answer = place.serving.recommend("nobody", 5)
    assert not answer.known
    assert len(answer.items) == 5
    assert {step.node: step.status for step in answer.trace}["itemknn"] == "skipped"


def test_a_told_history_moves_an_unknown_user_to_the_warm_path(place: Any) -> None:
    place.promote(2)
    place.serving.refresh()
    told = [str(name) for name in place.datasets.load("generated").item_ids[:8]]
    answer = place.serving.recommend(None, 5, [*told, "no such item"])
    assert {step.node: step.status for step in answer.trace}["itemknn"] == "ok"
    assert not set(told) & {item.id for item in answer.items}


def test_feedback_counts_with_the_next_request_but_only_positives_do(place: Any) -> None:
    first, second = place.serving.recommend("u-new", 2).items
    place.serving.see(
        [
            feedback.FeedbackEvent("a", "u-new", first.id, 100, {"click": 1.0}),
            feedback.FeedbackEvent("b", "u-new", second.id, 100, {"click": 0.0}),
        ]
    )
    ids = [item.id for item in place.serving.recommend("u-new", 10).items]
    assert first.id not in ids
    assert second.id in ids


def test_feedback_that_another_process_stored_is_taken_in(place: Any) -> None:
    first = place.serving.recommend("u1", 1).items[0]
    event = feedback.FeedbackEvent("k", "u1", first.id, 100, {"click": 1.0})
    with session_scope(place.engine) as session:
        feedback.append(session, "generated", [event])
    again = ServingModel(place.engine, place.tracking, place.datasets, place.settings)
    again.refresh()
    place.serving.refresh()
    for model in (again, place.serving):
        assert first.id not in [item.id for item in model.recommend("u1", 10).items]


def test_feedback_that_was_folded_into_the_data_is_not_counted_twice(place: Any) -> None:
    user, item = "u-late", place.serving.recommend("u-late", 1).items[0].id
    event = feedback.FeedbackEvent("k", user, item, 1_700_000_000, {"click": 1.0})
    with session_scope(place.engine) as session:
        feedback.append(session, "generated", [event])
    place.serving.refresh()
    before = place.serving.status.fingerprint
    place.datasets.append_events("generated", [Event(user, item, 1_700_000_000, {"click": 1.0})])
    assert place.serving.refresh(), "a newer snapshot is loaded"
    loaded = place.serving.loaded
    assert place.serving.status.fingerprint != before
    batch = loaded.histories.batch(user, place.serving._live, ())
    assert len(batch.items) == 1


def test_live_histories_do_not_grow_with_all_feedback_that_ever_came_in(place: Any) -> None:
    item, live = place.serving.recommend("u1", 1).items[0].id, place.serving._live
    for number in range(3):
        user, at = f"u-{number}", 1_700_000_000 + number
        place.serving.see([feedback.FeedbackEvent(f"k{number}", user, item, at, {"click": 1.0})])
        place.serving.refresh()
        assert live.of(user), "the snapshot does not hold it yet"
        place.datasets.append_events("generated", [Event(user, item, at, {"click": 1.0})])
        assert place.serving.refresh()
        assert live.of(user), "requests under way may still have the older snapshot"
        assert not place.serving.refresh()
        assert not live._seen
        assert not live._known
        batch = place.serving.loaded.histories.batch(user, live, ())
        assert len(batch.items) == 1


def test_an_alias_moved_in_mlflow_is_followed_and_audited_as_external(place: Any) -> None:
    place.promote(2)
    place.serving.refresh()
    place.tracking.set_alias("home.composition", "champion", 1)
    assert place.serving.refresh()
    assert place.serving.recommend("u1", 3).composition == 1
    with session_scope(place.engine) as session:
        entry = audit.entries(session, 1)[0]
    assert entry.who == "mlflow"
    assert (entry.after["composition"], entry.after["cause"]) == (1, "external")
    assert entry.after["digest"] != entry.before["digest"]
    assert entry.after["evidence"].startswith("external-home-")


def test_no_request_fails_while_compositions_are_swapped(place: Any) -> None:
    stop = threading.Event()

    def ask() -> tuple[set[int], list[int]]:
        numbers, lengths = set(), []
        while not stop.is_set():
            answer = place.serving.recommend("u2", 5)
            numbers.add(answer.composition)
            lengths.append(len(answer.items))
        return numbers, lengths

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            for turn, number in enumerate([2, 1, 2, 1, 2]):
                place.promote(number, key=f"turn-{turn}")
                assert place.serving.refresh()
        finally:
            stop.set()
        found = [future.result() for future in asking]
    assert set().union(*(numbers for numbers, _ in found)) == {1, 2}
    assert all(length == 5 for _, lengths in found for length in lengths)


def test_while_mlflow_is_away_it_keeps_serving_and_follows_when_it_is_back(place: Any) -> None:
    place.tracking.reachable = False
    place.serving.refresh()
    assert not place.serving.status.tracking_reachable
    assert place.serving.recommend("u1", 3).composition == 1
    place.tracking.reachable = True
    place.promote(2)
    place.serving.refresh()
    assert place.serving.status.tracking_reachable
    assert place.serving.recommend("u1", 3).composition == 2


def test_a_composition_that_cannot_be_loaded_changes_nothing_and_is_audited_once(
    place: Any, tmp_path: Path
) -> None:
    now = [0.0]
    model = ServingModel(
        place.engine, place.tracking, place.datasets, place.settings, clock=lambda: now[0]
    )
    model.refresh()
    place.promote(2)
    folder = place.tracking.download("home.itemknn", 1)
    aside = tmp_path / "aside"
    shutil.move(folder, aside)
    for _ in range(3):
        assert model.refresh() is False
        now[0] += 1000.0
    assert model.recommend("u1", 3).composition == 1
    assert "agent.json" in model.status.failure
    with session_scope(place.engine) as session:
        assert len(audit.entries(session, 50, action="load failed")) == 1
    shutil.move(aside, folder)
    assert model.refresh()
    assert model.status.failure == ""
    assert model.recommend("u1", 3).composition == 2


def test_a_broken_composition_is_not_loaded_anew_with_every_look(place: Any) -> None:
    class Counting:
        def __init__(self, inner: Any) -> None:
            self._inner = inner
            self.downloads = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def download(self, model: str, version: int) -> Path:
            self.downloads += 1
            if model == "home.itemknn":
                shutil.rmtree(self._inner.download(model, version), ignore_errors=True)
            found: Path = self._inner.download(model, version)
            return found

    tracking = Counting(place.tracking)
    model = ServingModel(place.engine, tracking, place.datasets, place.settings, clock=lambda: 0.0)
    model.refresh()
    place.promote(2)
    model.refresh()
    after_first = tracking.downloads
    model.refresh()
    assert tracking.downloads == after_first


def test_the_thread_follows_by_itself_and_survives_the_database_being_away(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    followed = threading.Event()
    real = ServingModel.refresh

    def shaky(self: ServingModel) -> bool:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise OSError("database is away")
        try:
            return real(self)
        finally:
            if self.status.composition == 2:
                followed.set()

    monkeypatch.setattr(ServingModel, "refresh", shaky)
    settings = place.settings.model_copy(update={"alias_poll_seconds": 0.01})
    model = ServingModel(place.engine, place.tracking, place.datasets, settings)
    model.start()
    try:
        place.promote(2)
        assert followed.wait(60)
    finally:
        model.stop()


def test_rollback_in_the_registry_is_what_serves_next(place: Any) -> None:
    place.promote(2)
    place.serving.refresh()
    promotion.rollback(
        place.engine, place.tracking, surface="home", to=None, who="maria", reason="worse"
    )
    place.serving.refresh()
    assert place.serving.recommend("u1", 1).composition == 1


def test_a_model_that_nobody_uses_any_more_gives_its_threads_back(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:

    real = Runtime.close
    numbers: list[str] = []

    def close(self: Runtime) -> None:
        numbers.append(self.graph.output)
        real(self)

    monkeypatch.setattr(Runtime, "close", close)
    model = ServingModel(place.engine, place.tracking, place.datasets, place.settings)
    model.refresh()
    held = model.loaded
    place.promote(2)
    model.refresh()
    gc.collect()
    assert numbers == [], "a request under way still holds the old model"
    del held
    gc.collect()
    assert numbers == ["popularity"]


def test_what_serves_at_the_start_goes_although_the_collector_never_looks_at_it(place: Any) -> None:
    model = ServingModel(place.engine, place.tracking, place.datasets, place.settings)
    model.refresh()
    model.recommend("u1", 3)
    look_at_new_objects_only()
    try:
        assert gc.get_freeze_count() > 0
        gone: list[weakref.ref[Any]] = [
            weakref.ref(model.loaded),
            weakref.ref(model.loaded._runtime),
        ]
        place.promote(2)
        model.refresh()
        model.recommend("u1", 3)
        assert [one() for one in gone] == [None, None]
    finally:
        gc.unfreeze()
