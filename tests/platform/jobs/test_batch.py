"""The rules of a batch, on a pool that is played by hand: order, room, retries, clocks."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from agenticrs.platform.errors import JobError, JobsAway
from agenticrs.platform.jobs.batch import Batch, Died
from agenticrs.platform.jobs.call import Raised
from agenticrs.platform.jobs.capacity import Capacity
from agenticrs.platform.jobs.job import Failed, Job, Outcome, Resources, Succeeded
from agenticrs.platform.jobs.worker import Note, RaisedAfter, Returned, Ticket

Answer = Returned | RaisedAfter | Died | None
LOST = Died("lost", "the worker died")


class PlayedPool:
    """Ends each attempt with the next answer that was laid out for its key; None never ends."""

    def __init__(self, answers: Mapping[str, Sequence[Answer]], age: float = 0.0) -> None:
        self._answers = {key: list(values) for key, values in answers.items()}
        self._age = age
        self.flying: dict[str, Answer] = {}
        self.submitted: list[Ticket] = []
        self.killed: list[str] = []
        self.most_at_once = 0
        self.broken = self.silent = False

    def submit(self, job: Job, ticket: Ticket) -> str:
        if job.function is threading.Lock:
            raise TypeError("cannot pickle a lock")
        self.submitted.append(ticket)
        self.flying[ticket.id] = self._answers[job.key].pop(0)
        self.most_at_once = max(self.most_at_once, len(self.flying))
        return ticket.id

    def wait(self, handles: Sequence[str], seconds: float) -> Sequence[str]:
        if self.broken:
            raise JobError("the cluster is gone")
        return [handle for handle in handles if self.flying[handle] is not None][:1]

    def result(self, handle: str) -> Returned | RaisedAfter | Died:
        answer = self.flying.pop(handle)
        assert answer is not None
        return answer

    def kill(self, handle: str) -> None:
        self.killed.append(handle)
        self.flying[handle] = LOST

    def notes(self) -> Mapping[str, Note]:
        if self.silent:
            raise JobsAway("the cluster has not answered for a minute")
        return {handle: Note(self._age, 0.0, "") for handle in self.flying}

    def forget(self, ticket: Ticket) -> None:
        pass


def run(
    pool: PlayedPool, jobs: Sequence[Job], cpus: float = 2.0, gpus: float = 0.0
) -> tuple[dict[str, Outcome], list[str]]:
    told: list[str] = []

    def tell(event: str, facts: dict[str, Any]) -> None:
        told.append(f"{event}: {facts.get('reason', '')}")

    batch = Batch(jobs, pool, Capacity(cpus, gpus, cpus, gpus), tell)
    batch.start()
    outcomes = {outcome.key: outcome for outcome in batch.outcomes()}
    batch.stop()
    return outcomes, told


def job(key: str, **resources: Any) -> Job:
    return Job(key, abs, (1,), Resources(**resources))


def test_no_more_is_handed_over_than_there_is_room_for() -> None:
    pool = PlayedPool({str(n): [Returned(n, 0.1)] for n in range(9)})
    outcomes, _ = run(pool, [job(str(n)) for n in range(9)], cpus=3)
    assert len(outcomes) == 9
    assert pool.most_at_once == 3
    assert [ticket.key for ticket in pool.submitted] == [str(n) for n in range(9)]


def test_gpu_shares_fill_a_gpu() -> None:
    pool = PlayedPool({str(n): [Returned(n, 0.1)] for n in range(9)})
    outcomes, _ = run(pool, [job(str(n), gpus=0.25) for n in range(9)], cpus=16, gpus=1)
    assert pool.most_at_once == 4
    assert {o.device for o in outcomes.values() if isinstance(o, Succeeded)} == {"cuda"}


def test_a_lost_worker_is_replaced_as_often_as_asked() -> None:
    pool = PlayedPool({"a": [LOST, LOST, Returned(7, 0.1)], "b": [LOST, LOST]})
    outcomes, told = run(pool, [job("a", retries=2), job("b", retries=1)])
    assert outcomes["a"] == Succeeded("a", 7, 0.1, "cpu")
    lost = outcomes["b"]
    assert isinstance(lost, Failed)
    assert lost.cause == "lost"
    assert len(told) == 4
    assert len({ticket.id for ticket in pool.submitted}) == 5


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (RaisedAfter(Raised("ValueError: no", "trace"), 1.0), "error"),
        (RaisedAfter(Raised("MemoryError", "trace", out_of_memory=True), 1.0), "out_of_memory"),
        (Died("out_of_memory", "the node was full"), "out_of_memory"),
        (Died("error", "cannot unpickle"), "error"),
    ],
)
def test_other_failures_are_not_tried_again(answer: Answer, cause: str) -> None:
    pool = PlayedPool({"a": [answer]})
    outcomes, _ = run(pool, [job("a", retries=5)])
    failed = outcomes["a"]
    assert isinstance(failed, Failed)
    assert failed.cause == cause


def test_a_job_over_its_limit_is_killed_and_is_a_timeout() -> None:
    pool = PlayedPool({"old": [None], "fine": [Returned(1, 0.1)]}, age=99.0)
    outcomes, _ = run(pool, [job("old", time_limit=50, retries=3), job("fine", time_limit=500)])
    failed = outcomes["old"]
    assert isinstance(failed, Failed)
    assert failed.cause == "timeout"
    assert failed.seconds >= 99
    assert len(pool.killed) == 1


def test_what_cannot_be_sent_fails_alone() -> None:
    pool = PlayedPool({"fine": [Returned(1, 0.1)]})
    outcomes, _ = run(pool, [Job("lock", threading.Lock), job("fine")])
    failed = outcomes["lock"]
    assert isinstance(failed, Failed)
    assert failed.cause == "error"
    assert isinstance(outcomes["fine"], Succeeded)


def test_stopping_kills_what_runs_and_drops_what_waits() -> None:
    pool = PlayedPool({"a": [None], "b": [None], "c": []})
    batch = Batch([job("a"), job("b"), job("c")], pool, Capacity(2, 0, 2, 0), lambda *_: None)
    batch.start()
    batch.stop()
    outcomes = list(batch.outcomes())
    assert {o.key: o.cause for o in outcomes if isinstance(o, Failed)} == dict.fromkeys(
        "abc", "cancelled"
    )
    assert pool.flying == {}
    assert batch.running() == {}


def test_a_pool_that_breaks_is_an_error_of_the_runner() -> None:
    pool = PlayedPool({"a": [None]})
    pool.broken = True
    with pytest.raises(JobError, match="the cluster is gone"):
        run(pool, [job("a")])


def test_a_pool_that_is_lost_while_a_job_runs_may_be_asked_again_later() -> None:
    pool = PlayedPool({"a": [None]})
    pool.silent = True
    with pytest.raises(JobsAway, match="has not answered"):
        run(pool, [job("a")])


def test_a_request_that_no_node_can_meet_is_cut_and_told() -> None:
    capacity = Capacity(cpus=8, gpus=0, node_cpus=4, node_gpus=0)
    given, reason = capacity.fit(Resources(cpus=6, gpus=0.5))
    assert (given.cpus, given.gpus) == (4, 0)
    assert "no GPU" in reason
    assert "6 CPUs" in reason
    assert capacity.fit(Resources(cpus=4)) == (Resources(cpus=4), "")


def test_capacity_counts_living_nodes() -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0}},
        {"Alive": True, "Resources": {"CPU": 8.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    ]
    assert Capacity.of_nodes(nodes) == Capacity(cpus=12, gpus=1, node_cpus=8, node_gpus=1)


def test_an_idle_cluster_takes_any_job() -> None:
    assert Capacity(0, 0, 0, 0).holds([], Resources(cpus=1))
    assert not Capacity(1, 0, 1, 0).holds([Resources(cpus=0.9)], Resources(cpus=0.2))
    assert Capacity(1, 1, 1, 1).holds(
        [Resources(cpus=0.1, gpus=0.1)] * 9, Resources(cpus=0.1, gpus=0.1)
    )
