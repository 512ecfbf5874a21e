"""A Ray that was lost is joined anew at the next call, and whoever used it is told once."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

import pytest

from agenticrs.platform.errors import JobError, JobsAway
from agenticrs.platform.jobs.batch import Batch
from agenticrs.platform.jobs.capacity import Capacity
from agenticrs.platform.jobs.ray_pool import RayPool
from agenticrs.platform.jobs.ray_runner import RayRunner


class Cluster:
    """Hands out pools; those of an earlier life do not answer. Down, it hands out none."""

    def __init__(self) -> None:
        self.life = 0
        self.up = True
        self.threads: list[threading.Thread] = []

    def join(self) -> RayPool:
        if not self.up:
            raise JobError("nobody answers")
        self.threads.append(threading.current_thread())
        return cast(RayPool, Joined(self))


class Joined:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._life = cluster, cluster.life
        self.address = f"life {cluster.life}"
        self.closed = False

    def answers(self) -> bool:
        return self._cluster.up and self._life == self._cluster.life

    def capacity(self) -> Capacity:
        assert self.answers(), "a lost Ray ends whoever asks it for its nodes"
        return Capacity(2, 0, 2, 0)

    def share(self, value: Any) -> Any:
        return (self._life, value)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def runner(
    cluster: Cluster, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    monkeypatch.setattr(RayRunner, "_join", lambda self: cluster.join())
    with RayRunner(None, tmp_path, rejoined=told.append) as made:
        yield made


def test_another_ray_takes_the_place_of_a_lost_one(
    runner: RayRunner, cluster: Cluster, told: list[str]
) -> None:
    assert runner.share("fold") == (0, "fold")
    cluster.life += 1
    with pytest.raises(JobsAway, match="with what was shared"):
        runner.share("fold")
    assert told == []
    assert runner.share("fold") == (1, "fold")
    assert (told, runner.parallel, runner.address) == (["life 1"], 2, "life 1")


def test_while_it_is_not_back_every_call_says_so(
    runner: RayRunner, cluster: Cluster, told: list[str]
) -> None:
    cluster.up = False
    for _ in range(3):
        with pytest.raises(JobsAway):
            runner.run([])
    cluster.life, cluster.up = 1, True
    assert runner.parallel == 2
    assert told == ["life 1"]


def test_another_ray_outlives_the_thread_that_missed_it(
    runner: RayRunner, cluster: Cluster
) -> None:
    def miss() -> None:
        cluster.life += 1
        with pytest.raises(JobsAway):
            runner.share("fold")
        runner.share("fold")

    asking = threading.Thread(target=miss)
    asking.start()
    asking.join()
    assert len(cluster.threads) == 2
    assert all(thread.is_alive() for thread in cluster.threads), "a local Ray ends with its thread"


def test_it_is_not_left_while_somebody_waits_for_its_jobs(
    runner: RayRunner, cluster: Cluster
) -> None:
    pool = cast(Joined, runner._pool)
    waiting = Batch([], cast(Any, pool), Capacity(2, 0, 2, 0), lambda event, facts: None)
    runner._batches.append(waiting)
    cluster.life += 1
    with pytest.raises(JobsAway):
        runner.share("fold")
    assert not pool.closed
    runner._batches.remove(waiting)  # it has found out by itself
    with pytest.raises(JobsAway):
        runner.share("fold")
    assert pool.closed


def test_a_runner_that_was_closed_joins_nothing(runner: RayRunner, told: list[str]) -> None:
    runner.close()
    with pytest.raises(JobError, match="not open"):
        runner.share("fold")
    assert told == []
