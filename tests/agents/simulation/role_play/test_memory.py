from __future__ import annotations

import torch

from agenticrs.agents.simulation.role_play.memory import (
    MOST_FACTS,
    MOST_FEELINGS,
    Fact,
    Feeling,
    Memory,
)

VECTORS = torch.eye(20)


def facts(*items: int, remarkable: float = 0.5) -> list[Fact]:
    return [Fact(item, f"had {item}", remarkable) for item in items]


def test_what_is_near_to_the_page_comes_to_mind() -> None:
    memory = Memory()
    memory.note(facts(*range(20)))
    found = [fact.item for fact in memory.recall(VECTORS, torch.tensor([2, 4]))]
    assert len(found) == MOST_FACTS
    assert {2, 4} <= set(found)
    assert found == sorted(found), "oldest first"


def test_new_and_remarkable_things_come_to_mind() -> None:
    memory = Memory()
    memory.note([*facts(0, remarkable=1.0), *facts(*range(1, 15), remarkable=0.0)])
    found = [fact.item for fact in memory.recall(VECTORS, torch.tensor([19]))]
    assert found == [0, 11, 12, 13, 14]


def test_nothing_comes_to_mind_without_memory_or_page() -> None:
    memory = Memory()
    assert memory.recall(VECTORS, torch.tensor([1])) == []
    memory.note(facts(1))
    assert memory.recall(VECTORS, torch.zeros(0, dtype=torch.int64)) == []


def test_memory_does_not_grow_without_end() -> None:
    memory = Memory()
    for day in range(300):
        memory.note(facts(day % 20))
        memory.feel(Feeling(day, 5, 3, "so so"))
    assert len(memory.facts) == 200
    assert [feeling.day for feeling in memory.feelings] == [297, 298, 299][-MOST_FEELINGS:]
