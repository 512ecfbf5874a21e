from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import Session

from agenticrs.platform.database import session_scope
from agenticrs.registry import memory, method_states
from agenticrs.registry.tables import MemoryRow

from .conftest import Store


def entry(key: str, proposal: str, **changed: Any) -> MemoryRow:
    given: dict[str, Any] = {
        "surface": "home",
        "agent": "sasrec",
        "origin": "tpe",
        "verdict": "worse",
        "lesson": "it made no difference",
        "dataset": "ml",
        "fingerprint": "f",
    }
    return MemoryRow(key=key, proposal=proposal, **{**given, **changed})


def keys(found: list[memory.Found]) -> list[str]:
    return [one.row.key for one in found]


@pytest.fixture
def filled(store: Store) -> Store:
    with session_scope(store.engine) as session:
        for row in (
            entry("a", "attention became convolution", verdict="better"),
            entry("b", "learning rate 0.01, dropout 0.3", lesson="training diverged"),
            entry("c", "dropout 0.5", agent="dcn"),
            entry("d", "wider attention", surface="other"),
        ):
            assert memory.remember(session, row)
    return store


def search(store: Store, *words: Any, **named: Any) -> list[str]:
    with session_scope(store.engine) as session:
        return keys(memory.search(session, "home", *words, **named))


def test_words_find_what_says_them_rare_words_first(filled: Store) -> None:
    assert search(filled, "convolution") == ["a"]
    assert search(filled, "diverged dropout") == ["b", "c"]
    assert search(filled, "nothing-of-the-kind") == []


def test_without_words_the_newest_come_first(filled: Store) -> None:
    assert search(filled) == ["c", "b", "a"]
    assert search(filled, limit=1) == ["c"]


def test_an_agent_and_verdicts_narrow_the_search(filled: Store) -> None:
    assert search(filled, agent="dcn") == ["c"]
    assert search(filled, verdicts=memory.GOOD) == ["a"]


def test_what_happened_on_similar_data_comes_first(store: Store) -> None:
    with session_scope(store.engine) as session:
        memory.remember(session, entry("like", "x", data={"users": 1000.0}))
        memory.remember(session, entry("unlike", "x", data={"users": 9e6}))
    assert search(store, "x", data={"users": 1200.0}) == ["like", "unlike"]


def test_nothing_is_remembered_twice(filled: Store) -> None:
    with session_scope(filled.engine) as session:
        assert not memory.remember(session, entry("a", "another text"))
    assert search(filled, "another") == []


def learn(session: Session, cycle: int, content: bytes) -> int:
    return method_states.store(
        session,
        surface="home",
        agent="ease",
        method="policy",
        space="s",
        cycle_id=cycle,
        content=content,
    ).version


def test_what_a_method_learnt_has_a_version_for_each_cycle(store: Store) -> None:
    where: dict[str, Any] = {
        "surface": "home",
        "agent": "ease",
        "method": "policy",
        "space": "s",
    }
    with session_scope(store.engine) as session:
        assert method_states.latest(session, **where) is None
        assert learn(session, store.cycle, b"one") == 1
        assert learn(session, store.cycle, b"changed") == 1, "a cycle learns once"
        row = method_states.latest(session, **where)
        assert row is not None
        assert row.content == b"one"
        assert method_states.latest(session, **where, before_cycle=store.cycle) is None
        assert method_states.latest(session, **{**where, "space": "another"}) is None
