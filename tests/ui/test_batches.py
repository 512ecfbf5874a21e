"""Requests of one moment share a batch; errors, cancellation and the end are each one's own."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from agenticrs.ui import batches as module
from agenticrs.ui.batches import Batches, BatchLimits, Overloaded

LONG = 30.0


class Desk:
    """Doubles numbers; refuses odd hundreds; a batch that begins with -1 waits for the gate."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []
        self.gate = threading.Event()
        self.busy = threading.Event()

    def __call__(self, asked: Sequence[int]) -> list[int | Exception]:
        self.seen.append(list(asked))
        if asked[0] == -1:
            self.busy.set()
            assert self.gate.wait(LONG)
        return [ValueError(f"no {n}") if n >= 100 else 2 * n for n in asked]


async def until(true: Callable[[], bool]) -> None:
    """Let the loop run until it holds."""
    async with asyncio.timeout(LONG):
        while not true():
            await asyncio.sleep(0)


async def held(
    desk: Desk, batches: Batches[int, int], numbers: Sequence[int]
) -> list[asyncio.Task[int]]:
    """Ask for the numbers while the only worker is kept busy; the busy one's task comes last."""
    first = asyncio.create_task(batches.ask(-1))
    await until(desk.busy.is_set)
    tasks = [asyncio.create_task(batches.ask(n)) for n in numbers]
    await until(lambda: len(batches._queue) == len(numbers))
    return [*tasks, first]


def test_who_is_alone_is_answered_at_once_and_alone() -> None:
    desk = Desk()
    batches: Batches[int, int] = Batches(desk, BatchLimits(wait=LONG))

    async def ask() -> list[int]:
        return [await batches.ask(n) for n in range(3)]

    assert asyncio.run(ask()) == [0, 2, 4]
    assert desk.seen == [[0], [1], [2]]


def test_what_comes_during_a_batch_makes_up_the_next_ones_in_order() -> None:
    desk = Desk()
    batches: Batches[int, int] = Batches(desk, BatchLimits(size=4))

    async def ask() -> list[int]:
        tasks = await held(desk, batches, range(6))
        desk.gate.set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(ask()) == [0, 2, 4, 6, 8, 10, -2]
    assert desk.seen == [[-1], [0, 1, 2, 3], [4, 5]]


def test_a_worker_waits_for_as_many_as_came_together_before() -> None:
    desk = Desk()
    batches: Batches[int, int] = Batches(desk, BatchLimits(wait=LONG))

    async def ask() -> None:
        tasks = await held(desk, batches, range(3))
        desk.gate.set()
        await asyncio.gather(*tasks)
        early = [asyncio.create_task(batches.ask(n)) for n in (7, 8)]
        await until(lambda: batches._wanted == 3)
        await asyncio.gather(*early, batches.ask(9))

    asyncio.run(ask())
    assert desk.seen == [[-1], [0, 1, 2], [7, 8, 9]]


def test_it_waits_no_longer_than_it_may() -> None:
    desk = Desk()
    batches: Batches[int, int] = Batches(desk, BatchLimits(wait=0.01))

    async def ask() -> int:
        tasks = await held(desk, batches, range(3))
        desk.gate.set()
        await asyncio.gather(*tasks)
        return await batches.ask(7)

    assert asyncio.run(ask()) == 14


def test_an_error_is_its_own_requests_alone() -> None:
    desk = Desk()
    batches: Batches[int, int] = Batches(desk)

    async def ask() -> list[int | BaseException]:
        tasks = await held(desk, batches, [1, 100, 2])
        desk.gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    one, refused, two, _ = asyncio.run(ask())
    assert (one, two) == (2, 4)
    assert isinstance(refused, ValueError)
    assert desk.seen[1] == [1, 100, 2]


def test_an_error_of_the_whole_batch_reaches_all_of_it_and_nobody_after() -> None:
    def answer(asked: Sequence[int]) -> list[int | Exception]:
        if asked[0] == 0:
            raise KeyError("model")
        return list(asked)

    batches: Batches[int, int] = Batches(answer)

    async def ask() -> int:
        with pytest.raises(KeyError, match="model"):
            await batches.ask(0)
        return await batches.ask(1)

    assert asyncio.run(ask()) == 1


def test_a_cancelled_request_is_left_out_and_disturbs_nobody() -> None:
    desk = Desk()
    batches: Batches[int, int] = Batches(desk)

    async def ask() -> list[int]:
        tasks = await held(desk, batches, [1, 2, 3])
        tasks[1].cancel()
        tasks[-1].cancel()  # this one is being answered
        await asyncio.sleep(0)
        desk.gate.set()
        return [await tasks[0], await tasks[2]]

    assert asyncio.run(ask()) == [2, 6]
    assert desk.seen == [[-1], [1, 3]]


def test_when_too_many_wait_the_next_is_refused_until_there_is_room() -> None:
    desk = Desk()
    batches: Batches[int, int] = Batches(desk, BatchLimits(waiting=2))

    async def ask() -> int:
        tasks = await held(desk, batches, [1, 2])
        with pytest.raises(Overloaded):
            await batches.ask(3)
        desk.gate.set()
        await asyncio.gather(*tasks)
        return await batches.ask(4)

    assert asyncio.run(ask()) == 8


def test_closing_answers_who_waits_and_refuses_who_comes() -> None:
    desk = Desk()
    batches: Batches[int, int] = Batches(desk)

    async def ask() -> list[int]:
        tasks = await held(desk, batches, [1, 2])
        batches.close()
        with pytest.raises(Overloaded, match="stopping"):
            await batches.ask(3)
        desk.gate.set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(ask()) == [2, 4, -2]
    for thread in threading.enumerate():
        if thread.name == "batches":
            thread.join(LONG)
    assert batches._threads == 0


def test_a_loop_that_has_gone_does_not_stop_the_others() -> None:
    desk = Desk()
    batches: Batches[int, int] = Batches(desk)

    async def leave() -> None:
        task = asyncio.create_task(batches.ask(-1))
        await until(desk.busy.is_set)
        task.cancel()

    asyncio.run(leave())
    desk.gate.set()
    assert asyncio.run(batches.ask(5)) == 10


def test_several_loops_and_workers_get_their_own_answers() -> None:
    batches: Batches[int, int] = Batches(Desk(), BatchLimits(size=8, workers=3))

    async def ask(start: int) -> list[int]:
        return await asyncio.gather(*(batches.ask(n % 100) for n in range(start, start + 50)))

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda start: asyncio.run(ask(start)), [0, 50, 100, 150]))
    assert found == [[2 * (n % 100) for n in range(s, s + 50)] for s in (0, 50, 100, 150)]


def test_a_worker_without_work_ends_and_another_one_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.001)
    batches: Batches[int, int] = Batches(Desk())
    assert asyncio.run(batches.ask(1)) == 2
    for thread in threading.enumerate():
        if thread.name == "batches":
            thread.join(LONG)
    assert batches._threads == 0
    assert asyncio.run(batches.ask(2)) == 4


def test_nobody_holds_what_is_no_longer_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.001)
    batches: Batches[int, int] = Batches(Desk())
    asyncio.run(batches.ask(1))
    for thread in threading.enumerate():
        if thread.name == "batches":
            thread.join(LONG)
    gone = weakref.ref(batches)
    del batches
    gc.collect()
    assert gone() is None
