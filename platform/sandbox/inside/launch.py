"""Start of the child: give up rights in the right order, say so, run the program.

Two processes: the outer one waits, the inner one is confined. Standard input is the request, and
descriptor 3 is where the answer goes; all others are closed. The first byte of the answer is
``CONFINED``; when a layer fails it is ``NOT_CONFINED``, the reason follows, and nothing is run. The
last bytes are ``END``, by the outer process when the inner one is gone: no program can write them.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from agenticrs.platform.sandbox.inside import kernel, landlock, namespaces, program, seccomp

REPLY = 3
CONFINED = b"C"
NOT_CONFINED = b"N"
END = struct.Struct("<Qqqd")
"""``OVER``, status (or negative signal), most bytes of memory, seconds of processor time."""
OVER = 2**64 - 1
"""Where an answer would say how long it is: no answer is so long."""

ADDRESS_SPACE = 16 << 30
"""Bytes of addresses beside the memory limit: libraries are mapped, and take none of it."""

_FIRST_USER = 1_900_000_000
_NOBODY = 65534


def main() -> NoReturn:
    """Confine this process as ``sys.argv[1]`` says, a JSON object, and run what stands on stdin."""
    asked: dict[str, Any] = json.loads(sys.argv[1])
    _arrange_descriptors(asked["reply"])
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != asked["parent"]:
        os._exit(1)
    child = _or_say_why("namespaces", lambda: _fork(asked))
    if child:
        _tell_the_end(child)
    with suppress(OSError):  # a wish: when the machine is short of memory, this goes first
        Path("/proc/self/oom_score_adj").write_text("1000")
    scratch = _or_say_why("namespaces", lambda: _own_root(asked))
    _or_say_why("limits", lambda: _limit(asked["limits"]))
    _or_say_why("rights", lambda: _drop_rights(asked["user"]))
    if asked["landlock"]:
        readable = [path for path in asked["readable"] if os.path.exists(path)]
        _or_say_why("landlock", lambda: landlock.restrict(readable, scratch))
    libraries = [os.path.dirname(os.__file__), *asked["python"]]
    _or_say_why("the Python installation", lambda: [os.listdir(path) for path in libraries])
    _or_say_why("seccomp", seccomp.restrict)
    os.write(REPLY, CONFINED)
    if asked["probe"]:
        os._exit(0)
    program.run(asked["python"], REPLY)


def _arrange_descriptors(reply: int) -> None:
    if reply != REPLY:
        os.dup2(reply, REPLY)
    os.set_inheritable(REPLY, False)
    os.closerange(REPLY + 1, os.sysconf("SC_OPEN_MAX"))


def _fork(asked: dict[str, Any]) -> int:
    asked["user"] = _user_for(asked["scratch"])
    if asked["namespaces"]:
        namespaces.leave()
    return os.fork()


def _user_for(scratch: str) -> int:
    """Whom the program runs as; root takes a number that nobody has, and gives it the folder."""
    if os.geteuid() != 0:
        return os.geteuid()
    for user in (_FIRST_USER + os.getpid(), _NOBODY):
        with suppress(OSError):  # a container may know few numbers
            os.chown(scratch, user, user)
            return user
    raise PermissionError("root may not become an ordinary user here")


def _own_root(asked: dict[str, Any]) -> str:
    scratch: str = asked["scratch"]
    if asked["namespaces"]:
        namespaces.build_root(asked["root"], asked["readable"], scratch)
        scratch = namespaces.SCRATCH
    os.chdir(scratch)
    os.environ["HOME"] = os.environ["TMPDIR"] = scratch
    return scratch


def _limit(limits: dict[str, int]) -> None:
    user = os.geteuid()
    threads = limits["threads"] + (_threads_of(user) if user else 0)
    for name, most in (
        (resource.RLIMIT_CPU, limits["cpu_seconds"]),
        (resource.RLIMIT_DATA, limits["memory"]),
        (resource.RLIMIT_AS, limits["memory"] + ADDRESS_SPACE),
        (resource.RLIMIT_FSIZE, limits["scratch"]),
        (resource.RLIMIT_NPROC, threads),
        (resource.RLIMIT_NOFILE, 128),
        (resource.RLIMIT_STACK, 8 << 20),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        _, hard = resource.getrlimit(name)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(name, (least, least))


def _threads_of(user: int) -> int:
    """Threads that the user has already; an own root shows none, and its count starts anew."""
    found = 0
    for process in Path("/proc").glob("[0-9]*") if Path("/proc").is_dir() else ():
        with suppress(OSError):  # it may have ended by now
            if process.stat().st_uid == user:
                found += len(os.listdir(process / "task"))
    return found


def _drop_rights(user: int) -> None:
    if os.geteuid() != user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.drop_capabilities()


def _or_say_why(layer: str, step: Callable[[], Any]) -> Any:
    try:
        return step()
    except OSError as error:
        os.write(REPLY, NOT_CONFINED + f"{layer}: {error}".encode()[:1000] + b"\0")
        os._exit(1)


def _tell_the_end(child: int) -> NoReturn:
    _, status, used = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os.write(REPLY, END.pack(OVER, code, used.ru_maxrss * 1024, used.ru_utime + used.ru_stime))
    os._exit(0)
