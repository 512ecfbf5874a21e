"""What the tests of the sandbox share: who still runs, and waiting for a condition."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def children_of() -> Callable[[int], list[str]]:
    """Command lines of the sandbox's processes that the process with that number has started."""

    def find(parent: int) -> list[str]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                line = (process / "cmdline").read_text()
            except OSError:
                continue
            if f'"parent": {parent},' in line:
                found.append(line)
        return found

    return find


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Waits for a condition; fails when it does not come."""

    def wait(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, "it has not come"
            threading.Event().wait(0.01)

    return wait
