"""What candidates bring along goes into shared memory once, if it is large."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from agenticrs.evolution.outer_reward.arena import Arena, Entry
from agenticrs.registry.graph import Graph


def test_large_files_are_shared_once_and_small_ones_go_along() -> None:
    shared: list[Any] = []

    def share(value: Any) -> Any:
        shared.append(value)
        return f"reference {len(shared)}"

    cycle: Any = SimpleNamespace(runner=SimpleNamespace(share=share))
    arena = Arena(cycle)
    nodes = [SimpleNamespace(agent="large", version=2), SimpleNamespace(agent="small", version=3)]
    graph = cast(Graph, SimpleNamespace(nodes=nodes))
    small = {"config.json": b"{}"}
    found = [
        arena._references(
            Entry(str(n), graph, {"large": {"w": bytes([n // 2]) * 200_000}, "small": small})
        )
        for n in range(4)
    ]
    assert [one[0] for one in found] == ["reference 1"] * 2 + ["reference 2"] * 2
    assert all(one[1] is small for one in found)
    assert shared == [{"w": b"\0" * 200_000}, {"w": b"\1" * 200_000}]
