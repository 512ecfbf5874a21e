"""One confined child: start it, read what it says within bounds, end it and all of its group.

The module does not know what is asked and answered. It never reads a file that the child wrote.
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
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
from agenticrs.platform.sandbox.inside.launch import CONFINED, END
from agenticrs.platform.sandbox.installation import Installation
from agenticrs.platform.sandbox.limits import Limits

_TICK = 0.1
_CHUNK = 1 << 16
_MOST_FILES = 1000
_TAIL = 4000
# The folder above the package: the child begins with nothing but the standard library.
_SOURCE = Path(__file__).absolute().parents[3]
_START = f"""
import sys
sys.path.insert(0, {str(_SOURCE)!r})
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
        asked = {
            **{"reply": reply_end.fileno(), "parent": os.getpid(), "probe": probe},
            **{"root": str(folder / "root"), "scratch": str(folder / "scratch")},
            **{"namespaces": layers.namespaces, "landlock": layers.landlock},
            **{"readable": installation.readable, "python": installation.python},
            "limits": limits.for_child(),
        }
        (folder / "request").write_bytes(request)
        with (folder / "request").open("rb") as stdin, reply_end, output_end:
            (folder / "request").unlink()
            process = _started(asked, stdin, output_end)
        watch = _Watch(process, reply, output, folder / "scratch", limits)
        return watch.to_the_end()


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
        self._begun = time.monotonic()
        self._answer = _Bounded(reply, limits.result + 1024, "answered")
        self._printed = _Bounded(output, limits.output, "printed")

    def to_the_end(self) -> Ended:
        """How it ended; whatever happens, nothing of the child is left."""
        try:
            self._follow()
        finally:
            self._kill()
        # Nobody is left that could write: what is in the pipes now is all.
        while self._answer.take() or self._printed.take():
            pass
        said = bytes(self._answer.data)
        if self._process.wait() != 0 or not said.startswith(CONFINED):
            self._say_why(said)
        code, peak, cpu_seconds = END.unpack(said[-END.size :])
        printed = self._printed.data[-_TAIL:].decode("utf-8", "replace")
        self._refuse_bad_end(code, cpu_seconds, printed)
        seconds = time.monotonic() - self._begun
        return Ended(said[len(CONFINED) : -END.size], printed, seconds, peak)

    def _follow(self) -> None:
        end = os.pidfd_open(self._process.pid)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(end, selectors.EVENT_READ)
                for source in (self._answer, self._printed):
                    selector.register(source.stream, selectors.EVENT_READ, source)
                while self._step(selector):
                    self._look_at_scratch()
        finally:
            os.close(end)

    def _step(self, selector: selectors.BaseSelector) -> bool:
        """Read what there is, or wait a moment; False when the child has ended."""
        left = self._begun + self._limits.seconds - time.monotonic()
        if left <= 0:
            raise TimedOut(f"killed after {self._limits.seconds:g} s")
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

    def _kill(self) -> None:
        """End the whole group, which the child cannot leave."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

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
