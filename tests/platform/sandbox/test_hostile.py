"""Hostile programs, with nothing but the operating system between them and the machine.

Nobody reads them beforehand here (``policy=None``): what holds is held by ``inside/``.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agenticrs.platform.sandbox import child, installation
from agenticrs.platform.sandbox.child import Layers
from agenticrs.platform.sandbox.confinement import Confinement
from agenticrs.platform.sandbox.errors import (
    MalformedResult,
    OutOfMemory,
    ProgramFailed,
    ProgramKilled,
    SandboxError,
    TimedOut,
    TooMuchOutput,
)
from agenticrs.platform.sandbox.limits import Limits
from agenticrs.platform.sandbox.sandbox import Sandbox

LAYERS = [Layers(True, True), Layers(True, False), Layers(False, True)]
MIB = 1 << 20
LIMITS = Limits(
    seconds=30, cpu_seconds=20, memory=256 * MIB, scratch=4 * MIB, output=20_000, result=MIB
)
SECRET = "the-registry-and-its-passwords"
ATTEMPTS = (Path(__file__).parent / "attempts.py").read_text()


@pytest.fixture(scope="module", params=LAYERS, ids=str)
def layers(request: pytest.FixtureRequest) -> Confinement:
    """Each set of layers that this machine can put on."""
    chosen: Layers = request.param
    try:
        child.run(b"", chosen, LIMITS, installation.find(), probe=True)
    except SandboxError as error:
        pytest.skip(f"no confinement by {chosen} here: {error.message}")
    return Confinement(chosen.namespaces, chosen.landlock)


@pytest.fixture(scope="module")
def strongest() -> Confinement:
    """The layers that a user of this machine would get."""
    found = Sandbox.detect()
    if not found.sufficient:
        pytest.skip(f"nothing can be confined here: {'; '.join(found.reasons)}")
    return found


def run(confinement: Confinement, source: str, arguments: Any = None, **limits: Any) -> Any:
    """What ``program`` returned, with the policy switched off."""
    given = Limits(**{**LIMITS.__dict__, **limits})
    sandbox = Sandbox(given, policy=None, confinement=confinement)
    return sandbox.run(source, "program", arguments=arguments)


@pytest.fixture
def assert_nothing_is_left(
    children_of: Callable[[int], list[str]], until: Callable[[Callable[[], bool]], None]
) -> Callable[[], None]:
    """Fails when a process of this test's sandboxes goes on to run."""
    # A killed process may need a moment to go.
    return lambda: until(lambda: children_of(os.getpid()) == [])


class Tried(NamedTuple):
    """One run of attempts.py, and the world outside afterwards."""

    ended: dict[str, str]
    facts: dict[str, Any]
    secret: Path
    outside: Path
    arrived: list[bytes]


@pytest.fixture(scope="module")
def tried(layers: Confinement, tmp_path_factory: pytest.TempPathFactory) -> Tried:
    """Everything tried once, with a file to steal and a server to reach."""
    folder = tmp_path_factory.mktemp("outside")
    folder.chmod(0o755)
    secret = folder / "registry.db"
    secret.write_text(SECRET)
    secret.chmod(0o666)
    arrived: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        given = {
            **{"parent": os.getpid(), "secret": str(secret), "outside": f"/tmp/evil-{os.getpid()}"},
            **{"port": server.getsockname()[1], "local": str(folder / "socket")},
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AGENTICRS_SECRET", SECRET)
            patch.setenv("OPENAI_API_KEY", SECRET)
            result = run(layers, ATTEMPTS, given)
        try:
            link, _ = server.accept()
            with link:
                arrived.append(link.recv(100))
        except BlockingIOError:
            pass
    told = result.values
    return Tried(told["ended"], told["facts"], secret, Path(given["outside"]), arrived)


def test_every_attempt_is_refused(tried: Tried) -> None:
    assert {name: how for name, how in tried.ended.items() if how.startswith("DONE")} == {}
    assert len(tried.ended) > 70
    # Refused by the kernel, not by a mistake of the attempt.
    assert set(tried.ended.values()) <= {
        *("OSError", "PermissionError", "FileNotFoundError", "NotADirectoryError"),
        *("ValueError", "ModuleNotFoundError"),
    }


def test_nothing_outside_has_changed(tried: Tried) -> None:
    assert tried.secret.read_text() == SECRET
    assert [path.name for path in tried.secret.parent.iterdir()] == ["registry.db"]
    assert not tried.outside.exists()
    packages = Path(installation.find().python[0])
    assert not (packages / "evil.py").exists()
    assert not (Path(os.__file__).parent / "evil.py").exists()


def test_nothing_arrives_at_a_server_that_listens(tried: Tried) -> None:
    assert tried.arrived == []


def test_the_environment_holds_nothing_of_the_parent(tried: Tried) -> None:
    environment = tried.facts["environment"]
    assert SECRET not in str(environment)
    assert set(environment) <= {
        *("HOME", "TMPDIR", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "LC_ALL", "LC_CTYPE")
    }


def test_no_file_of_the_parent_is_open_and_nobody_is_root(tried: Tried) -> None:
    assert set(tried.facts["descriptors"]) <= {0, 1, 2, 3}
    assert tried.facts["user"] != 0
    assert tried.facts["scratch"] == []


def test_a_fork_bomb_makes_no_process(
    strongest: Confinement, assert_nothing_is_left: Callable[[], None]
) -> None:
    source = """
import os, threading
def bomb(counts):
    for _ in range(2000):
        try:
            if os.fork() == 0:
                os._exit(0)
            counts.append(1)
        except OSError:
            pass
def program(_, __):
    counts = []
    crowd = [threading.Thread(target=bomb, args=(counts,)) for _ in range(4)]
    [t.start() for t in crowd]; [t.join() for t in crowd]
    return {}, len(counts)
"""
    assert run(strongest, source).values == 0
    assert_nothing_is_left()


def test_a_thread_bomb_is_bounded(layers: Confinement) -> None:
    source = """
import threading
def program(_, __):
    stop, crowd = threading.Event(), []
    threading.stack_size(64 << 10)
    try:
        while len(crowd) < 5000:
            crowd.append(threading.Thread(target=stop.wait))
            crowd[-1].start()
    except RuntimeError:
        crowd.pop()
    started = len(crowd)
    stop.set()
    return {}, started
"""
    assert 0 < run(layers, source, threads=24).values < 200


def test_a_memory_hog_ends_in_an_error_of_its_own(strongest: Confinement) -> None:
    with pytest.raises(OutOfMemory):
        run(strongest, "def program(_, __):\n    return {}, len(bytearray(1 << 30))")


@pytest.mark.parametrize("flags", ["0x22", "0x122", "0x21"], ids=["private", "growing", "shared"])
def test_memory_past_python_is_bounded_too(strongest: Confinement, flags: str) -> None:
    source = f"""
import ctypes
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
def program(_, __):
    got = 0
    while got < 64:
        at = libc.mmap(None, ctypes.c_size_t(16 << 20), 3, {flags}, -1, 0)
        if at in (None, 2**64 - 1):
            break
        ctypes.memset(at, 1, 16 << 20)
        got += 1
    return {{}}, got
"""
    assert run(strongest, source).values * 16 * MIB <= LIMITS.memory


def test_reported_memory_is_measured_from_outside(strongest: Confinement) -> None:
    small = run(strongest, "def program(_, __):\n    return {}, 0").peak_memory
    large = run(
        strongest, "def program(_, __):\n    return {}, len(b'x' * (100 << 20))"
    ).peak_memory
    assert 90 * MIB < large - small < 150 * MIB


@pytest.mark.parametrize(
    "body",
    [
        "while True: pass",
        "import signal\n"
        "    for n in {*signal.valid_signals()} - {signal.SIGKILL, signal.SIGSTOP}:\n"
        "        signal.signal(n, signal.SIG_IGN)\n"
        "    while True: pass",
        "import os\n    [os.close(n) for n in (1, 2, 3)]\n    while True: pass",
        "import threading\n    threading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start()\n"
        "    threading.Event().wait()",
    ],
    ids=["loop", "ignores signals", "closes its pipes", "thread"],
)
def test_what_never_ends_is_killed_with_all_that_belongs_to_it(
    strongest: Confinement, body: str, assert_nothing_is_left: Callable[[], None]
) -> None:
    with pytest.raises(TimedOut, match="after 1 s"):
        run(strongest, f"def program(_, __):\n    {body}", seconds=1)
    assert_nothing_is_left()


def test_processor_time_is_bounded_however_many_threads_share_it(
    layers: Confinement, assert_nothing_is_left: Callable[[], None]
) -> None:
    with pytest.raises(TimedOut, match="processor"):
        run(layers, "def program(_, __):\n    while True: pass", cpu_seconds=1)
    assert_nothing_is_left()


def test_giant_output_ends_the_program(
    strongest: Confinement, assert_nothing_is_left: Callable[[], None]
) -> None:
    with pytest.raises(TooMuchOutput, match="printed"):
        run(strongest, "def program(_, __):\n    while True: print('x' * 1000)")
    with pytest.raises(TooMuchOutput, match="answered"):
        run(strongest, "def program(_, __):\n    return {}, 'x' * (2 << 20)")
    assert_nothing_is_left()


@pytest.mark.parametrize(("name", "size"), [("one", 64 * MIB), ("many", 256 * 1024), ("empty", 0)])
def test_the_scratch_folder_cannot_fill_the_disk(layers: Confinement, name: str, size: int) -> None:
    source = f"""
import itertools, os, time
def program(_, __):
    for number in itertools.count():
        try:
            with open(f"file{{number}}", "wb") as file:
                file.write(bytes({size}))
            os.unlink(file.name)
        except OSError as error:
            if number == 0 and {size} > {4 * MIB}:
                return {{}}, type(error).__name__ + str(os.path.getsize("file0"))
        if number > 2000:
            time.sleep(0.01)
"""
    if name == "one":
        assert run(layers, source).values == f"OSError{4 * MIB}"
    else:
        with pytest.raises(TooMuchOutput, match="storing"):
            run(layers, source)


def test_files_can_be_made_and_read_in_the_scratch_folder(layers: Confinement) -> None:
    source = """
import os
def program(_, __):
    with open("note", "w") as file:
        file.write("kept for now")
    return {}, [open("note").read(), os.getcwd()]
"""
    text, folder = run(layers, source).values
    assert text == "kept for now"
    assert not (Path(folder) / "note").exists()


FORGERY = """
import json, os, struct
def frame(told, data=b""):
    text = json.dumps(told).encode()
    return struct.pack("<QQ", len(text), len(data)) + text + data
"""


@pytest.mark.parametrize(
    "body",
    [
        "os.write(3, frame({'values': 'forged'}))\n    return {}, 'honest'",
        "os.write(3, b'C' + frame({'values': 'forged'}))\n    os._exit(0)",
        "os.write(3, frame({'values': 2}) + struct.pack('<qqd', 0, 1, 0.0))\n    os._exit(0)",
        "os.write(3, frame({'values': 1}, b'\\x80\\x04K\\x01.'))\n    os._exit(0)",
        "os.write(1, b'C' + frame({'values': 'forged'}))\n    os._exit(0)",
        "os.write(3, b'N' + b'not confined')\n    os._exit(0)",
        "os._exit(0)",
        "open('answer', 'wb').write(frame({'values': 'forged'}))\n    os._exit(0)",
    ],
)
def test_an_answer_past_the_protocol_is_refused(strongest: Confinement, body: str) -> None:
    with pytest.raises(MalformedResult):
        run(strongest, f"{FORGERY}\ndef program(_, __):\n    {body}")


def test_what_is_printed_is_never_the_answer(strongest: Confinement) -> None:
    source = (
        f"{FORGERY}\ndef program(_, __):\n    print(frame({{'values': 2}}))\n    return {{}}, 1"
    )
    result = run(strongest, source)
    assert result.values == 1
    assert "values" in result.printed


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ("import os; os.abort()", "SIG"),
        ("import ctypes; ctypes.string_at(8)", "SIGSEGV"),
        ("import os; os._exit(7)", "status 7"),
        # A socket by a call of the 32-bit kind, and one of the x32 kind.
        (
            "import ctypes, mmap\n"
            "    m = mmap.mmap(-1, 4096, flags=0x22, prot=7)\n"
            "    m.write(bytes.fromhex('b867010000bb01000000b901000000ba00000000cd80c3'))\n"
            "    at = ctypes.addressof(ctypes.c_char.from_buffer(m))\n"
            "    ctypes.CFUNCTYPE(ctypes.c_int)(at)()",
            "SIGSYS",
        ),
        ("import ctypes; ctypes.CDLL(None).syscall(ctypes.c_long(0x40000029), 2, 1, 0)", "SIGSYS"),
    ],
    ids=["abort", "crash", "exit", "32 bit", "x32"],
)
def test_a_program_that_dies_is_told_from_one_that_answers(
    strongest: Confinement, body: str, how: str
) -> None:
    with pytest.raises(ProgramKilled, match=how):
        run(strongest, f"def program(_, __):\n    {body}")


def test_leaving_by_an_exception_of_any_kind_is_a_failure_with_its_traceback(
    strongest: Confinement,
) -> None:
    with pytest.raises(ProgramFailed, match="SystemExit") as caught:
        run(strongest, "import sys\ndef program(_, __):\n    sys.exit(0)")
    assert "line 3, in program" in caught.value.trace
