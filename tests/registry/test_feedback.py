"""Feedback is kept once for each key, whoever sends it and how often."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait

from sqlalchemy import Engine
from sqlmodel import Session

from agenticrs.platform.database import session_scope
from agenticrs.registry import feedback
from agenticrs.registry.feedback import Accepted, FeedbackEvent


def event(key: str, item: str = "i") -> FeedbackEvent:
    return FeedbackEvent(key, "u", item, 1_700_000_000, {"click": 1.0})


def test_of_several_with_one_key_the_first_is_kept(engine: Engine) -> None:
    with session_scope(engine) as session:
        both = [event("a", "first"), event("b"), event("a", "second")]
        assert feedback.append(session, "d", both) == Accepted(new=2, repeated=1)
        assert feedback.append(session, "d", [event("a", "third")]) == Accepted(0, 1)
        rows = {row.key: row.item_id for row in feedback.pending(session, "d")}
    assert rows == {"a": "first", "b": "i"}


def test_nothing_is_nothing(engine: Engine) -> None:
    with session_scope(engine) as session:
        assert feedback.append(session, "d", []) == Accepted(0, 0)


def test_the_same_keys_from_several_threads_are_kept_once(engine: Engine) -> None:
    def send(_: int) -> int:
        with session_scope(engine) as session:
            return feedback.append(session, "d", [event(str(key)) for key in range(40)]).new

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(send, range(16))) == 40
    with session_scope(engine) as session:
        assert feedback.count(session, "d") == 40


def test_who_reads_on_from_the_largest_id_misses_nothing_that_is_committed_late(
    engine: Engine,
) -> None:
    def send() -> None:
        with session_scope(engine) as session:
            feedback.append(session, "d", [event("b")])

    seen: list[tuple[int, str]] = []

    def read_on() -> None:
        with session_scope(engine) as session:
            after = max([0, *(number for number, _ in seen)])
            seen.extend((row.id or 0, row.key) for row in feedback.pending(session, "d", after))

    with ThreadPoolExecutor(1) as pool, Session(engine) as early:
        feedback.append(early, "d", [event("a")])
        later = pool.submit(send)
        wait([later], timeout=1)
        read_on()
        early.commit()
        later.result()
    read_on()
    assert [key for _, key in seen] == ["a", "b"]


def test_only_newer_rows_of_the_dataset_are_pending(engine: Engine) -> None:
    with session_scope(engine) as session:
        feedback.append(session, "d", [event("a"), event("b")])
        feedback.append(session, "other", [event("c")])
    with session_scope(engine) as session:
        first = feedback.pending(session, "d")[0].id or 0
        assert [row.key for row in feedback.pending(session, "d", first)] == ["b"]
