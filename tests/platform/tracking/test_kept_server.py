"""The embedded server is kept running, whatever happens to its processes."""

from __future__ import annotations

import threading

import pytest

from agenticrs.platform.errors import TrackingError
from agenticrs.platform.tracking.kept_server import KeptServer


class FakeServer:
    """Dies when a test says so, and then refuses to start as often as it is told to."""

    url = "http://127.0.0.1:5321"

    def __init__(self, refusals: int = 0) -> None:
        self.ended: int | None = None
        self.calls: list[str] = []
        self.refusals = refusals
        self.started = threading.Semaphore(0)

    def start(self) -> None:
        self.calls.append("start")
        if self.refusals:
            self.refusals -= 1
            raise TrackingError("it does not come up")
        self.ended = None
        self.started.release()

    def stop(self) -> None:
        self.calls.append("stop")
        self.ended = None  # as the real one, which forgets its process


@pytest.mark.parametrize("refusals", [0, 2])
def test_a_server_that_dies_is_started_again_until_it_comes_up(refusals: int) -> None:
    server = FakeServer()
    with KeptServer(server, look_seconds=0.001) as kept:
        assert kept.url == server.url
        assert server.started.acquire(timeout=60)
        for _ in range(2):
            server.refusals = refusals
            server.ended = -9
            assert server.started.acquire(timeout=60)
    once = ["stop", "start"] * (refusals + 1)
    assert server.calls[: 1 + 2 * len(once)] == ["start", *once, *once]
    assert server.calls[-1] == "stop"


def test_a_server_that_never_came_up_is_told_at_once() -> None:
    with pytest.raises(TrackingError, match="come up"):
        KeptServer(FakeServer(refusals=1)).start()


def test_when_it_is_stopped_nothing_is_started_any_more() -> None:
    server = FakeServer()
    kept = KeptServer(server, look_seconds=0.001)
    kept.start()
    kept.stop()
    kept.stop()
    server.ended = -9
    assert not server.started.acquire(timeout=0) or not server.started.acquire(timeout=0.05)
    assert server.calls.count("start") == 1
