"""A child that stays: many calls, one after the other, whatever becomes of the child."""

from __future__ import annotations

import gc
import os
import select
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agenticrs.platform.sandbox.errors import (
    MalformedResult,
    OutOfMemory,
    ProgramFailed,
    ProgramKilled,
    RefusedSource,
    TimedOut,
    TooMuchOutput,
)
from agenticrs.platform.sandbox.limits import Limits
from agenticrs.platform.sandbox.sandbox import Sandbox
from agenticrs.platform.sandbox.session import Call, Session

MIB = 1 << 20
LIMITS = Limits(seconds=30, memory=256 * MIB, scratch=MIB, output=20_000, result=MIB)
COUNTER = """
import os, sys, threading
count = [0]
def begin(_, start):
    count[0] = start
    return {}, None
def more(_, by):
    count[0] += by
    return {}, count[0]
def fail(_, __): raise ValueError("no")
def forever(_, __):
    while True: pass
def hog(_, __): return {}, len(bytearray(1 << 30))
def leave(_, __): os._exit(0)
def crash(_, __): os._exit(7)
def talk(_, size): return {}, "x" * size
def chatter(_, __):
    while True: print("x" * 1000)
def junk(_, __):
    os.write(3, (5).to_bytes(8, "little") + bytes(8) + b"junk!")
    threading.Event().wait()
def announce(_, __):
    os.write(3, bytes([254]) * 16)
    threading.Event().wait()
def forge(_, __):
    text = b'{"values": "forged"}'
    os.write(3, len(text).to_bytes(8, "little") + bytes(8) + text)
    return {}, "honest"
def later(_, __):
    threading.Timer(0.05, os.write, (3, b"unasked")).start()
    return {}, 1
def sees(_, path): return {}, os.path.exists(path)
def imports(_, name): return {}, str(__import__(name, fromlist=["x"]).__name__)
"""


@pytest.fixture
def make_session() -> Callable[..., Session]:
    found = Sandbox.detect()
    if not found.sufficient:
        pytest.skip(f"nothing can be confined here: {'; '.join(found.reasons)}")

    def make(limits: Limits = LIMITS, project: tuple[str, ...] = (), start: int = 5) -> Session:
        sandbox = Sandbox(limits, policy=None, confinement=found, project=project)
        return sandbox.open("counter", {"counter": COUNTER}, Call("begin", {}, start))

    return make


def more(session: Session, by: int = 1) -> object:
    return session.call(Call("more", {}, by))[1]


def test_what_a_child_was_told_first_is_kept_from_call_to_call(
    make_session: Callable[..., Session],
) -> None:
    session = make_session()
    assert [more(session) for _ in range(20)] == list(range(6, 26))
    session.close()


def test_an_error_of_the_program_is_raised_and_the_child_goes_on(
    make_session: Callable[..., Session],
) -> None:
    session = make_session()
    assert more(session) == 6
    with pytest.raises(ProgramFailed, match="ValueError: no"):
        session.call(Call("fail", {}))
    assert more(session) == 7


@pytest.mark.parametrize(
    ("function", "argument", "error", "limits"),
    [
        ("forever", None, TimedOut, {"seconds": 2}),
        ("forever", None, TimedOut, {"cpu_seconds": 1}),
        ("leave", None, ProgramKilled, {}),
        ("crash", None, ProgramKilled, {}),
        ("talk", 2 * MIB, TooMuchOutput, {}),
        ("chatter", None, TooMuchOutput, {}),
        ("announce", None, TooMuchOutput, {}),
        ("junk", None, MalformedResult, {}),
    ],
)
def test_a_child_that_goes_wrong_is_ended_and_the_next_call_has_a_new_one(
    make_session: Callable[..., Session],
    function: str,
    argument: object,
    error: type[Exception],
    limits: dict[str, int],
) -> None:
    session = make_session(Limits(**{**LIMITS.__dict__, **limits}))
    assert more(session) == 6
    with pytest.raises(error):
        session.call(Call(function, {}, argument))
    assert more(session) == 6


def test_a_program_that_speaks_unasked_is_ended_when_it_is_asked_again(
    make_session: Callable[..., Session], until: Callable[[Callable[[], bool]], None]
) -> None:
    session = make_session()
    assert session.call(Call("later", {}))[1] == 1
    assert session._child is not None
    stream = session._child._watch._answer.stream
    until(lambda: select.select([stream], [], [], 0)[0] != [])
    with pytest.raises(ProgramKilled, match="unasked"):
        more(session)
    assert more(session) == 6


def test_a_forged_answer_before_the_honest_one_is_no_more_than_a_claim(
    make_session: Callable[..., Session], until: Callable[[Callable[[], bool]], None]
) -> None:
    session = make_session()

    def ask_twice() -> None:
        assert session.call(Call("forge", {}))[1] == "forged"
        assert session._child is not None
        pipe = session._child._watch._answer.stream
        until(lambda: bool(select.select([pipe], [], [], 0)[0]))
        more(session)

    # At once when both come together, else when a call finds an answer that nobody has asked for.
    with pytest.raises(ProgramKilled):
        ask_twice()
    assert more(session) == 6


def test_too_much_memory_is_an_error_of_the_call(make_session: Callable[..., Session]) -> None:
    session = make_session()
    with pytest.raises(OutOfMemory):
        session.call(Call("hog", {}))
    assert more(session) == 6


def test_large_requests_go_through_the_pipe(make_session: Callable[..., Session]) -> None:
    session = make_session()
    assert session.call(Call("sees", {}, "x" * (4 * MIB)))[1] is False
    assert len(session.call(Call("talk", {}, MIB // 2))[1]) == MIB // 2


def test_threads_take_turns(make_session: Callable[..., Session]) -> None:
    session, seen = make_session(), list[object]()
    crowd = [threading.Thread(target=lambda: seen.append(more(session))) for _ in range(8)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    assert sorted(seen) == list(range(6, 14))  # type: ignore[type-var]


def test_a_child_outlives_the_thread_that_asked_first(
    make_session: Callable[..., Session],
) -> None:
    session = make_session()
    first = threading.Thread(target=lambda: more(session))
    first.start()
    first.join()
    assert more(session) == 7


def test_nothing_is_left_of_a_session_that_is_closed_or_forgotten(
    make_session: Callable[..., Session],
    tmp_path: Path,
    children_of: Callable[[int], list[str]],
    until: Callable[[Callable[[], bool]], None],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path))
        gc.collect()  # what other tests have left open is none of this one's
        before = set(os.listdir("/proc/self/fd"))
        session = make_session()
        more(session)
        assert len(list(tmp_path.iterdir())) == 1
        session.close()
        assert set(os.listdir("/proc/self/fd")) <= before
        assert more(session) == 6
        del session
        gc.collect()
        assert set(os.listdir("/proc/self/fd")) <= before
    assert list(tmp_path.iterdir()) == []
    until(lambda: children_of(os.getpid()) == [])


def test_a_child_sees_of_the_project_what_it_was_given(
    make_session: Callable[..., Session],
) -> None:
    root = Path(__file__).resolve().parents[3]
    bare, given = make_session(), make_session(project=("registry", "platform"))
    for name in ("registry", "platform", "ui", "evolution", "pyproject.toml", ".git", "tests"):
        assert bare.call(Call("sees", {}, str(root / name)))[1] is False
        seen = given.call(Call("sees", {}, str(root / name)))[1]
        assert seen is (name in ("registry", "platform"))
    name = "agenticrs.platform.errors"
    assert given.call(Call("imports", {}, name))[1] == name
    with pytest.raises(ProgramFailed, match="ModuleNotFoundError"):
        bare.call(Call("imports", {}, name))


def test_a_first_call_that_fails_leaves_no_child(make_session: Callable[..., Session]) -> None:
    sandbox = Sandbox(LIMITS, policy=None, confinement=Sandbox.detect())
    session = sandbox.open("counter", {"counter": COUNTER}, Call("fail", {}))
    for _ in range(2):
        with pytest.raises(ProgramFailed, match="no"):
            more(session)
    assert session._child is not None
    assert session._child.ended


def test_what_is_beside_a_host_is_read_first(make_session: Callable[..., Session]) -> None:
    sandbox = Sandbox(LIMITS, confinement=Sandbox.detect())
    with pytest.raises(RefusedSource, match="'os' is not allowed"):
        sandbox.open("counter", {"counter": COUNTER}, Call("begin", {}))
