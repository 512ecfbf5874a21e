"""One confined child: start it, read what it says within bounds, end it and all of its group.

``run`` is a child for one request; ``Listening`` is one that goes on to answer. The module does not
know what is asked and answered. It never reads a file that the child wrote.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

from agenticrs.platform.sandbox.errors import (
    OutOfMemory,
    ProgramKilled,
    SandboxUnavailable,
    TimedOut,
    TooMuchOutput,
)
from agenticrs.platform.sandbox.inside.launch import CONFINED, END, OVER
from agenticrs.platform.sandbox.installation import PROJECT, Installation
from agenticrs.platform.sandbox.limits import Limits

_TICK = 0.1
_CHUNK = 1 << 16
_MOST_FILES = 1000
_TAIL = 4000
_FRAME = 1024
"""Bytes around an answer, at most."""
_OVER = OVER.to_bytes(8, "little")
_BEGIN = 64
"""Bytes of an answer that say how long it is, at most."""
# The child begins with nothing but the standard library.
_START = f"""
import sys
sys.path.insert(0, {str(PROJECT)!r})
from agenticrs.platform.sandbox.inside.launch import main
sys.path.pop(0)
main()
"""


@dataclass(frozen=True)
class Layers:
    """Which layers beside seccomp, limits and lost rights the child has to put on."""

    namespaces: bool
    landlock: bool

    def __str__(self) -> str:
        names = [name for name in ("namespaces", "landlock") if getattr(self, name)]
        return " with ".join(names)


@dataclass(frozen=True)
class Ended:
    """A child that ended by itself with status 0."""

    answer: bytes
    printed: str
    """The end of what it printed."""
    seconds: float
    peak_memory: int
    """Bytes of memory that it had at most, as the kernel counted."""


def run(
    request: bytes,
    layers: Layers,
    limits: Limits,
    installation: Installation,
    *,
    probe: bool = False,
) -> Ended:
    """Run the child to its end; with ``probe`` it is confined and ends.

    Raises SandboxUnavailable, ProgramKilled, OutOfMemory, TimedOut or TooMuchOutput; no process of
    the child is left then.
    """
    with _folder() as folder, _pipe() as (reply, reply_end), _pipe() as (output, output_end):
        asked = _asked(folder, reply_end, layers, limits, installation) | {"probe": probe}
        (folder / "request").write_bytes(request)
        with (folder / "request").open("rb") as stdin, reply_end, output_end:
            (folder / "request").unlink()
            process = _started(asked, stdin, output_end)
        watch = _Watch(process, reply, output, folder / "scratch", limits)
        return watch.to_the_end()


class Listening:
    """A child that answers one request after the other, until it is closed, ends, or fails.

    ``size_of`` says how long an answer is by how it begins, None while that is too little.
    ``limits.seconds`` are those of each answer; all other limits are those of the whole life. A
    child that nobody refers to any more is ended.
    """

    def __init__(
        self,
        layers: Layers,
        limits: Limits,
        installation: Installation,
        size_of: Callable[[bytes], int | None],
    ) -> None:
        self._size_of = size_of
        with ExitStack() as stack:
            folder = stack.enter_context(_folder())
            reply, reply_end = stack.enter_context(_pipe())
            output, output_end = stack.enter_context(_pipe())
            requests_end, self._requests = stack.enter_context(_pipe())
            for ours, blocks in ((self._requests, False), (requests_end, True)):
                os.set_blocking(ours.fileno(), blocks)
            asked = _asked(folder, reply_end, layers, limits, installation) | {"probe": False}
            with requests_end, reply_end, output_end:
                process = stack.enter_context(
                    _staying(lambda: _started(asked, requests_end, output_end))
                )
            self._watch = _Watch(process, reply, output, folder / "scratch", limits)
            self.close = weakref.finalize(self, stack.pop_all().close)

    def answer(self, request: bytes, more_seconds: float = 0.0) -> bytes:
        """Hand the request over and wait for its answer, for so much longer than the limit.

        Raises what ``run`` raises, ProgramKilled also when it ended instead of answering; nothing
        of the child is left then.
        """
        try:
            self._watch.begin(more_seconds)
            return self._watch.next_answer(request, self._requests, self._size_of)
        except BaseException:
            self.close()
            raise

    @property
    def ended(self) -> bool:
        """Whether it can answer nothing more."""
        return not self.close.alive or self._watch.ended


def _asked(
    folder: Path, reply: IO[bytes], layers: Layers, limits: Limits, installation: Installation
) -> dict[str, Any]:
    """What the child is told on its command line."""
    return {
        **{"reply": reply.fileno(), "parent": os.getpid()},
        **{"root": str(folder / "root"), "scratch": str(folder / "scratch")},
        **{"namespaces": layers.namespaces, "landlock": layers.landlock},
        **{"readable": installation.readable, "python": installation.python},
        "limits": limits.for_child(),
    }


@contextmanager
def _staying(start: Callable[[], subprocess.Popen[bytes]]) -> Iterator[subprocess.Popen[bytes]]:
    """A child out of a thread that lives as long: the kernel ends it with whoever started it."""
    started: Future[subprocess.Popen[bytes]] = Future()
    over = threading.Event()

    def stay() -> None:
        try:
            started.set_result(start())
        except BaseException as error:  # whoever waits is told
            started.set_exception(error)
        over.wait()

    threading.Thread(target=stay, daemon=True).start()
    try:
        process = started.result()
        try:
            yield process
        finally:
            _kill(process)
    finally:
        over.set()


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="agenticrs-sandbox-"))
    try:
        folder.chmod(0o711)  # another user passes through to the scratch folder, and sees nothing
        (folder / "root").mkdir(mode=0o700)
        (folder / "scratch").mkdir(mode=0o700)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _pipe() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    here, there = os.pipe()
    with open(here, "rb", buffering=0) as reading, open(there, "wb", buffering=0) as writing:
        os.set_blocking(here, False)
        yield reading, writing


def _started(asked: dict[str, Any], stdin: IO[bytes], output: IO[bytes]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", _START]
    return subprocess.Popen(  # noqa: S603 (our own command)
        [*command, json.dumps(asked)],
        stdin=stdin,
        stdout=output,
        stderr=output,
        pass_fds=(asked["reply"],),
        env={"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "LC_ALL": "C.UTF-8"},
        cwd="/",
        start_new_session=True,
    )


class _Watch:
    """Reads both pipes and looks at the clock and the scratch folder until the child has ended."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reply: IO[bytes],
        output: IO[bytes],
        scratch: Path,
        limits: Limits,
    ) -> None:
        self._process = process
        self._scratch = scratch
        self._limits = limits
        self.begin()
        self._answer = _Bounded(reply, limits.result + _FRAME, "answered")
        self._printed = _Bounded(output, limits.output, "printed")

    def begin(self, more_seconds: float = 0.0) -> None:
        """Count the time anew, up to so much more than the limit."""
        self._begun = time.monotonic()
        self._most_seconds = self._limits.seconds + more_seconds

    def to_the_end(self) -> Ended:
        """How it ended; whatever happens, nothing of the child is left."""
        try:
            self._follow()
        finally:
            _kill(self._process)
        # Nobody is left that could write: what is in the pipes now is all.
        while self._answer.take() or self._printed.take():
            pass
        said = bytes(self._answer.data)
        if self._process.wait() != 0 or not said.startswith(CONFINED):
            self._say_why(said)
        _, code, peak, cpu_seconds = END.unpack(said[-END.size :])
        printed = self._printed.data[-_TAIL:].decode("utf-8", "replace")
        self._refuse_bad_end(code, cpu_seconds, printed)
        seconds = time.monotonic() - self._begun
        return Ended(said[len(CONFINED) : -END.size], printed, seconds, peak)

    def next_answer(
        self, request: bytes, into: IO[bytes], size_of: Callable[[bytes], int | None]
    ) -> bytes:
        """The answer to a request; what the child says first of all is that it is confined."""
        self._printed.data.clear()
        self._answer.take()
        said, start = self._answer.data, len(CONFINED)
        if len(said) > start:
            raise ProgramKilled("it was killed for speaking unasked")

        def whole() -> bool:
            begin = bytes(said[start:_BEGIN])
            if not said.startswith(CONFINED) or begin.startswith(_OVER):
                return False  # it ends, or has ended
            size = size_of(begin)
            if size is not None and size > self._limits.result + _FRAME:
                raise TooMuchOutput(f"killed for announcing an answer of {size} bytes")
            if size is not None and len(said) > start + size:
                raise ProgramKilled("it was killed for saying more than its answer")
            return size is not None and len(said) == start + size

        if not self._follow(whole, _Outgoing(request, into)):
            self.to_the_end()
            raise ProgramKilled("it ended without an answer")
        answer = bytes(said[start:])
        del said[start:]
        return answer

    @property
    def ended(self) -> bool:
        """Whether it has ended; it stays to be buried."""
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, how) is not None

    def _follow(
        self, enough: Callable[[], bool] = lambda: False, outgoing: _Outgoing | None = None
    ) -> bool:
        """Read until there is enough (true), or the child has ended."""
        end = os.pidfd_open(self._process.pid)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(end, selectors.EVENT_READ)
                for source in (self._answer, self._printed):
                    selector.register(source.stream, selectors.EVENT_READ, source)
                if outgoing is not None:
                    selector.register(outgoing.stream, selectors.EVENT_WRITE, outgoing)
                while not enough():
                    if not self._step(selector):
                        return False
                    self._look_at_scratch()
                return True
        finally:
            os.close(end)

    def _step(self, selector: selectors.BaseSelector) -> bool:
        """Read what there is, or wait a moment; False when the child has ended."""
        left = self._begun + self._most_seconds - time.monotonic()
        if left <= 0:
            raise TimedOut(f"killed after {self._most_seconds:g} s")
        for key, _ in selector.select(min(left, _TICK)):
            if key.data is None:
                return False
            if not key.data.take():
                selector.unregister(key.fileobj)
        return True

    def _look_at_scratch(self) -> None:
        taken = 0
        with os.scandir(self._scratch) as entries:
            for number, entry in enumerate(entries, start=1):
                taken += entry.stat(follow_symlinks=False).st_blocks * 512
                if taken > self._limits.scratch or number > _MOST_FILES:
                    most = f"{self._limits.scratch} bytes or {_MOST_FILES} files"
                    raise TooMuchOutput(f"killed for storing more than {most}")

    def _say_why(self, said: bytes) -> NoReturn:
        if said.startswith(CONFINED):
            raise ProgramKilled("its guard was killed with it")
        why = said[1:].split(b"\0")[0].decode("utf-8", "replace") or "the child did not start"
        raise SandboxUnavailable(
            f"the program could not be confined: {why}", hint="nothing of it was run"
        )

    def _refuse_bad_end(self, code: int, cpu_seconds: float, printed: str) -> None:
        if code == 0:
            return
        if code == -signal.SIGKILL and cpu_seconds >= self._limits.cpu_seconds - 0.5:
            raise TimedOut(f"killed after {self._limits.cpu_seconds} s of processor time")
        if "bad_alloc" in printed:
            raise OutOfMemory(f"wanted more than {self._limits.memory} bytes")
        how = signal.Signals(-code).name if code < 0 else f"status {code}"
        raise ProgramKilled(f"ended with {how}; the end of its output: {printed[-500:]!r}")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the whole group, which the child cannot leave."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class _Outgoing:
    """A request on its way into a pipe."""

    def __init__(self, request: bytes, stream: IO[bytes]) -> None:
        self.stream = stream
        self._left = memoryview(request)

    def take(self) -> bool:
        """Write once; False when all is written, or nobody reads it any more."""
        try:
            written = self.stream.write(self._left[:_CHUNK])
        except BrokenPipeError:  # it ends: whoever watches it will see how
            return False
        self._left = self._left[written or 0 :]
        return bool(self._left)


class _Bounded:
    """A pipe that is read until it has said too much."""

    def __init__(self, stream: IO[bytes], most: int, verb: str) -> None:
        self.stream = stream
        self.data = bytearray()
        self._most = most
        self._verb = verb

    def take(self) -> bool:
        """Read once; False when there is nothing more. TooMuchOutput beyond the bound."""
        data = self.stream.read(_CHUNK)
        self.data += data or b""
        if len(self.data) > self._most:
            raise TooMuchOutput(f"killed for having {self._verb} more than {self._most} bytes")
        return bool(data)
