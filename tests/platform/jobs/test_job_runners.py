"""What every job runner promises, over the runners that there are, and what only Ray can do.

Job functions stand in this file; Ray gets them by value, since a worker cannot import a test.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from agenticrs.platform.errors import JobError
from agenticrs.platform.jobs.inline import InlineRunner
from agenticrs.platform.jobs.job import Failed, Job, JobRunner, Outcome, Resources, Succeeded
from agenticrs.platform.jobs.ray_runner import RayRunner

Until = Callable[[Callable[[], bool]], None]


def add(a: int, b: int) -> int:
    return a + b


def fail_and_count(folder: Path) -> None:
    (folder / f"call-{time.time_ns()}").touch()
    raise ValueError("the learning rate is a banana")


def run_out_of_memory() -> None:
    raise MemoryError("no room")


def exit_politely() -> None:
    raise SystemExit(3)


def die_until(folder: Path, calls: int) -> int:
    """Kill the own process at the first ``calls`` calls, then return how many there were."""
    (folder / f"call-{time.time_ns()}").touch()
    n = len(list(folder.glob("call-*")))
    if n <= calls:
        os.kill(os.getpid(), signal.SIGKILL)
    return n


def write_pid_and_hang(folder: Path) -> None:
    (folder / "pid").write_text(str(os.getpid()))
    while True:
        time.sleep(0.1)


def report_and_wait(folder: Path, report: Callable[[float, str], None]) -> str:
    report(0.5, "half way")
    while not (folder / "go").exists():
        time.sleep(0.02)
    return "done"


def report_and_hang(folder: Path, report: Callable[[float, str], None]) -> None:
    (folder / "pid").write_text(str(os.getpid()))
    for step in range(1_000_000):
        report(0.25, f"step {step}")
        time.sleep(0.01)


def look_at(array: npt.NDArray[Any]) -> dict[str, Any]:
    before = _resident()
    total = float(array.sum())
    return {
        "total": total,
        "writeable": array.flags.writeable,
        "owns": array.flags.owndata,
        "grown": _resident() - before,
        "pid": os.getpid(),
    }


def write_into(array: npt.NDArray[Any]) -> None:
    array[0] = 1


def count_threads(with_torch: bool) -> tuple[str, int]:
    if not with_torch:
        return os.environ["OMP_NUM_THREADS"], 0
    import torch

    return os.environ["OMP_NUM_THREADS"], torch.get_num_threads()


def _resident() -> int:
    """Private (not shared) resident bytes of this process."""
    pages = Path("/proc/self/statm").read_text().split()
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE")


def visible_gpus() -> str:
    return os.environ.get("CUDA_VISIBLE_DEVICES", "unset")


def watched_node() -> str:
    return os.environ.get("RAY_RAYLET_PID", "none")


def give_a_thread() -> Thread:
    return Thread()  # cannot be pickled


def gone(pid: int) -> bool:
    """Whether no process has that id (a zombie that nobody waited for is gone too)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    return wait_until


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """A folder in which jobs leave files for the test to see."""
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


class JobRunnerContract:
    """Needs a fixture ``runner`` that yields an open runner."""

    def test_a_job_returns_its_value(self, runner: JobRunner) -> None:
        (outcome,) = runner.run([Job("one", add, (2, 3))])
        assert isinstance(outcome, Succeeded)
        assert (outcome.key, outcome.value, outcome.device) == ("one", 5, "cpu")
        assert outcome.seconds >= 0

    def test_every_job_has_exactly_one_outcome(self, runner: JobRunner) -> None:
        outcomes = list(runner.run([Job(f"job-{n}", add, (n, n)) for n in range(20)]))
        values = {o.key: o.value for o in outcomes if isinstance(o, Succeeded)}
        assert values == {f"job-{n}": 2 * n for n in range(20)}
        assert len(outcomes) == 20

    def test_no_jobs_have_no_outcomes(self, runner: JobRunner) -> None:
        assert list(runner.run([])) == []

    def test_an_error_is_an_outcome_and_is_not_tried_again(
        self, runner: JobRunner, marks: Path
    ) -> None:
        (outcome,) = runner.run([Job("bad", fail_and_count, (marks,), Resources(retries=3))])
        assert isinstance(outcome, Failed)
        assert outcome.cause == "error"
        assert outcome.message == "ValueError: the learning rate is a banana"
        assert "fail_and_count" in outcome.traceback
        assert "call.py" not in outcome.traceback
        assert len(list(marks.iterdir())) == 1

    def test_exit_in_a_job_is_an_error_and_ends_nothing_else(self, runner: JobRunner) -> None:
        (outcome,) = runner.run([Job("exit", exit_politely)])
        assert isinstance(outcome, Failed)
        assert (outcome.cause, outcome.message) == ("error", "SystemExit: 3")

    def test_running_out_of_memory_has_a_cause_of_its_own(self, runner: JobRunner) -> None:
        (outcome,) = runner.run([Job("big", run_out_of_memory)])
        assert isinstance(outcome, Failed)
        assert outcome.cause == "out_of_memory"

    def test_a_gpu_share_without_a_gpu_runs_on_the_cpu(self, runner: JobRunner) -> None:
        (outcome,) = runner.run([Job("gpu", add, (1, 1), Resources(gpus=0.25))])
        assert isinstance(outcome, Succeeded)
        assert outcome.device == "cpu"

    def test_shared_arrays_are_read_only_and_not_copied(self, runner: JobRunner) -> None:
        array = np.arange(4_000_000, dtype=np.float64)
        reference = runner.share(array)
        outcomes = list(runner.run([Job(f"look-{n}", look_at, (reference,)) for n in (1, 2)]))
        for outcome in outcomes:
            assert isinstance(outcome, Succeeded)
            assert outcome.value["total"] == array.sum()
            assert not outcome.value["writeable"]
            assert not outcome.value["owns"]
            assert outcome.value["grown"] < array.nbytes / 4
        (refused,) = runner.run([Job("write", write_into, (reference,))])
        assert isinstance(refused, Failed)
        assert "read-only" in refused.message

    def test_progress_of_a_running_job_can_be_read(
        self, runner: JobRunner, marks: Path, until: Until
    ) -> None:
        outcomes: list[Outcome] = []
        jobs = [Job("slow", report_and_wait, (marks,))]
        thread = Thread(target=lambda: outcomes.extend(runner.run(jobs)))
        thread.start()
        try:
            until(lambda: any(p.fraction == 0.5 for p in runner.progress()))
            (word,) = [p for p in runner.progress() if p.key == "slow"]
            assert word.text == "half way"
        finally:
            (marks / "go").touch()
            thread.join()
        assert [outcome.key for outcome in outcomes] == ["slow"]
        assert not any(p.key == "slow" for p in runner.progress())

    def test_closing_the_iterator_drops_the_rest(self, runner: JobRunner, marks: Path) -> None:
        jobs = [Job("first", add, (1, 1))]
        jobs += [Job(f"rest-{n}", report_and_wait, (marks,)) for n in range(3)]
        outcomes = runner.run(jobs)
        assert isinstance(outcomes, Iterator)
        assert next(outcomes).key == "first"
        outcomes.close()  # type: ignore[attr-defined]
        (again,) = runner.run([Job("first", add, (2, 2))])
        assert isinstance(again, Succeeded)

    def test_two_jobs_with_one_key_are_refused(self, runner: JobRunner) -> None:
        with pytest.raises(JobError, match="'twin'"):
            runner.run([Job("twin", add, (1, 1)), Job("twin", add, (1, 2))])

    def test_at_least_one_job_can_run(self, runner: JobRunner) -> None:
        assert runner.parallel >= 1

    def test_cancelling_an_unknown_job_is_no_error(self, runner: JobRunner) -> None:
        runner.cancel("nobody")


class TestInlineRunner(JobRunnerContract):
    @pytest.fixture
    def runner(self) -> InlineRunner:
        return InlineRunner()


def test_a_job_that_waits_can_be_cancelled() -> None:
    with InlineRunner() as runner:
        outcomes = runner.run([Job("a", add, (1, 1)), Job("b", add, (1, 1))])
        next(outcomes)
        runner.cancel("b")
        second = next(outcomes)
    assert isinstance(second, Failed)
    assert second.cause == "cancelled"


def test_a_closed_runner_takes_no_jobs() -> None:
    runner = InlineRunner()
    runner.close()
    with pytest.raises(JobError, match="closed"):
        runner.run([])


@pytest.fixture(scope="module")
def ray_runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayRunner]:
    with RayRunner(None, tmp_path_factory.mktemp("home"), num_cpus=2, num_gpus=0) as runner:
        from ray import cloudpickle

        by_value: Any = cloudpickle
        by_value.register_pickle_by_value(sys.modules[__name__])
        yield runner
        by_value.unregister_pickle_by_value(sys.modules[__name__])


@pytest.mark.slow
class TestRayRunner(JobRunnerContract):
    @pytest.fixture
    def runner(self, ray_runner: RayRunner) -> RayRunner:
        return ray_runner

    def test_runs_in_another_process(self, runner: JobRunner) -> None:
        (outcome,) = runner.run([Job("pid", os.getpid)])
        assert isinstance(outcome, Succeeded)
        assert outcome.value != os.getpid()

    def test_a_worker_watches_its_node_and_we_watch_ourselves(self, runner: JobRunner) -> None:
        (outcome,) = runner.run([Job("node", watched_node)])
        assert isinstance(outcome, Succeeded)
        assert watched_node() == str(os.getpid()), "else Ray would end us with its node"
        name = Path(f"/proc/{outcome.value}/comm").read_text().strip()
        assert name == "raylet", "a worker must not outlive its node"

    def test_a_lost_worker_is_replaced(self, runner: JobRunner, marks: Path) -> None:
        (outcome,) = runner.run([Job("shaky", die_until, (marks, 2), Resources(retries=2))])
        assert isinstance(outcome, Succeeded), outcome
        assert outcome.value == 3

    def test_a_job_that_always_loses_its_worker_is_lost(
        self, runner: JobRunner, marks: Path
    ) -> None:
        (outcome,) = runner.run([Job("dead", die_until, (marks, 99), Resources(retries=1))])
        assert isinstance(outcome, Failed)
        assert outcome.cause == "lost"
        assert "2 times" in outcome.message
        assert len(list(marks.iterdir())) == 2

    def test_the_time_limit_kills_the_process_and_is_not_tried_again(
        self, runner: JobRunner, marks: Path, until: Until
    ) -> None:
        limit = Resources(time_limit=1.0, retries=3)
        (outcome,) = runner.run([Job("endless", write_pid_and_hang, (marks,), limit)])
        assert isinstance(outcome, Failed)
        assert outcome.cause == "timeout"
        assert outcome.seconds >= 1.0
        until(lambda: gone(int((marks / "pid").read_text())))

    def test_the_time_limit_holds_while_the_job_reports(
        self, runner: JobRunner, marks: Path, until: Until
    ) -> None:
        limit = Resources(time_limit=1.0)
        (outcome,) = runner.run([Job("busy", report_and_hang, (marks,), limit)])
        assert isinstance(outcome, Failed)
        assert outcome.cause == "timeout"
        until(lambda: gone(int((marks / "pid").read_text())))

    def test_the_time_limit_holds_while_nobody_asks_for_outcomes(
        self, runner: JobRunner, marks: Path, until: Until
    ) -> None:
        limit = Resources(time_limit=0.5)
        outcomes = runner.run([Job("left alone", write_pid_and_hang, (marks,), limit)])
        until((marks / "pid").exists)
        until(lambda: gone(int((marks / "pid").read_text() or "0")))
        (outcome,) = outcomes
        assert isinstance(outcome, Failed)
        assert outcome.cause == "timeout"

    def test_waiting_for_a_worker_does_not_count(self, runner: JobRunner) -> None:
        # Naps of an eighth of the limit on two CPUs: the last ones begin when it is over.
        given = Resources(time_limit=2.0)
        jobs = [Job(f"nap-{n}", time.sleep, (0.25,), given) for n in range(18)]
        assert all(isinstance(outcome, Succeeded) for outcome in runner.run(jobs))

    def test_cancelling_kills_the_process(
        self, runner: JobRunner, marks: Path, until: Until
    ) -> None:
        outcomes = runner.run([Job("unwanted", write_pid_and_hang, (marks,))])
        until((marks / "pid").exists)
        runner.cancel("unwanted")
        (outcome,) = outcomes
        assert isinstance(outcome, Failed)
        assert outcome.cause == "cancelled"
        until(lambda: gone(int((marks / "pid").read_text())))

    def test_closing_the_iterator_kills_what_runs(
        self, runner: JobRunner, marks: Path, until: Until
    ) -> None:
        outcomes = runner.run([Job("a", add, (1, 1)), Job("b", write_pid_and_hang, (marks,))])
        assert next(outcomes).key == "a"
        until((marks / "pid").exists)
        assert isinstance(outcomes, Generator)
        outcomes.close()
        until(lambda: gone(int((marks / "pid").read_text())))

    def test_what_cannot_be_sent_is_an_error_of_that_job_alone(self, runner: JobRunner) -> None:
        unsendable = Job("thread", len, (Thread(),))
        outcomes = {o.key: o for o in runner.run([unsendable, Job("fine", add, (1, 1))])}
        failed = outcomes["thread"]
        assert isinstance(failed, Failed)
        assert failed.cause == "error"
        assert isinstance(outcomes["fine"], Succeeded)

    def test_a_value_that_cannot_come_back_is_an_error(self, runner: JobRunner) -> None:
        (outcome,) = runner.run([Job("odd", give_a_thread)])
        assert isinstance(outcome, Failed)
        assert outcome.cause == "error"

    @pytest.mark.parametrize("cpus", [1.0, 2.0])
    def test_libraries_get_as_many_threads_as_the_job_has_cpus(
        self, runner: JobRunner, cpus: float
    ) -> None:
        (outcome,) = runner.run([Job("threads", count_threads, (True,), Resources(cpus=cpus))])
        assert isinstance(outcome, Succeeded)
        assert outcome.value == (str(int(cpus)), int(cpus))

    def test_a_job_without_a_share_sees_no_gpu(self, runner: JobRunner) -> None:
        (outcome,) = runner.run([Job("eyes", visible_gpus)])
        assert isinstance(outcome, Succeeded)
        assert outcome.value == ""

    def test_a_request_larger_than_the_machine_still_runs(self, runner: JobRunner) -> None:
        (outcome,) = runner.run([Job("huge", add, (1, 2), Resources(cpus=64, gpus=8))])
        assert isinstance(outcome, Succeeded)

    def test_a_second_runner_in_the_process_is_refused(self, runner: JobRunner) -> None:
        with pytest.raises(JobError, match="already running"):
            RayRunner(None, Path()).__enter__()

    def test_nothing_of_lost_workers_is_printed(
        self, runner: JobRunner, marks: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        list(runner.run([Job("dead", die_until, (marks, 99), Resources(retries=1))]))
        assert "raylet" not in capfd.readouterr().out


@pytest.mark.slow
def test_two_runners_work_one_after_the_other_and_a_pretended_gpu_is_shared(
    tmp_path: Path, ray_runner: RayRunner
) -> None:
    ray_runner.close()  # last in this file: the module's own runner is no longer needed
    for _ in range(2):
        with RayRunner(None, tmp_path, num_cpus=2, num_gpus=1) as runner:
            jobs = [Job(f"gpu-{n}", abs, (-n,), Resources(cpus=0.5, gpus=0.5)) for n in range(2)]
            outcomes = list(runner.run(jobs))
            assert all(isinstance(o, Succeeded) and o.device == "cuda" for o in outcomes)
        runner.close()


def test_a_cluster_that_is_not_there_is_named(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        # Held while we ask, and nobody listens: it cannot become somebody else's meanwhile.
        with pytest.raises(JobError, match=f"Ray at {address} does not answer"):
            RayRunner(address, tmp_path).__enter__()


@pytest.mark.parametrize("address", ["nonsense", "ray://host-without-port"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(JobError, match="is no address of a Ray cluster"):
        RayRunner(address, tmp_path).__enter__()
