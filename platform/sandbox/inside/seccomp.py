"""A filter of system calls: what is not on the list does not exist for the program.

The list is what Python and torch need to compute and to read files. There is no call on it that
makes a process, a socket, a mount or a key, looks into another process or sends it a signal, runs
a program, removes a file (it would go on to take room), or changes its owner, mode or time. What is
missing is answered with ENOSYS, as by an older kernel, so that libraries take their other way.
Numbers are those of x86-64.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator, Sequence

from agenticrs.platform.sandbox.inside.kernel import PR_SET_SECCOMP, prctl

ALLOWED = {
    **{"read": 0, "write": 1, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "poll": 7},
    **{"lseek": 8, "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13},
    **{"rt_sigprocmask": 14, "rt_sigreturn": 15, "pread64": 17, "pwrite64": 18, "readv": 19},
    **{"writev": 20, "access": 21, "pipe": 22, "select": 23, "sched_yield": 24, "mremap": 25},
    **{"msync": 26, "madvise": 28, "dup": 32, "dup2": 33, "nanosleep": 35, "getpid": 39},
    **{"exit": 60, "uname": 63, "fsync": 74, "fdatasync": 75, "ftruncate": 77, "getcwd": 79},
    **{"chdir": 80, "readlink": 89, "umask": 95},
    **{"gettimeofday": 96, "getrlimit": 97, "getrusage": 98, "sysinfo": 99, "times": 100},
    **{"getuid": 102, "getgid": 104, "geteuid": 107, "getegid": 108, "getppid": 110},
    **{"rt_sigpending": 127, "sigaltstack": 131, "statfs": 137, "fstatfs": 138, "gettid": 186},
    **{"time": 201, "futex": 202, "sched_getaffinity": 204, "getdents64": 217},
    **{"set_tid_address": 218, "restart_syscall": 219, "clock_gettime": 228, "clock_getres": 229},
    **{"clock_nanosleep": 230, "exit_group": 231, "openat": 257, "newfstatat": 262},
    **{"readlinkat": 267, "faccessat": 269, "pselect6": 270},
    **{"ppoll": 271, "set_robust_list": 273, "eventfd2": 290, "dup3": 292, "pipe2": 293},
    **{"preadv": 295, "getcpu": 309, "getrandom": 318, "membarrier": 324, "statx": 332},
    **{"rseq": 334, "faccessat2": 439, "open": 2},
}
"""Calls that are allowed with any arguments."""

_MMAP, _CLONE, _IOCTL, _FCNTL, _PRCTL, _TGKILL, _PRLIMIT = 9, 56, 16, 72, 157, 234, 302
_CLONE_THREAD = 0x10000
# Shared memory without a file and growing stacks would not count against RLIMIT_DATA.
_MAP_SHARED, _MAP_ANONYMOUS, _MAP_GROWSDOWN = 0x01, 0x20, 0x100
_IOCTLS = (0x5401, 0x5450, 0x5451)  # is it a terminal?, close on exec or not
_FCNTLS = (0, 1, 2, 3, 4, 1030)  # duplicate, flags: nothing that names another process
_PRCTLS = (15,)  # a thread's name

_LOAD, _AND, _EQUAL, _ANY_BIT, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x45, 0x35, 0x06
_FILTER = 2
_OK = 0x7FFF0000
_KILL = 0x80000000
_ENOSYS = 0x00050000 | 38
_EPERM = 0x00050000 | 1
_X86_64 = 0xC000003E
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_X32 = 0x40000000

Instruction = tuple[int, int, int, int]
"""Operation, how many to skip if true, how many if false, operand."""


def restrict() -> None:
    """From here on this process, and every thread it starts, has the listed calls only.

    Needs no_new_privs, and must be called before there is a second thread.
    """
    code = b"".join(struct.pack("HBBI", *line) for line in program(os.getpid()))
    lines = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(lines))
    given = ctypes.create_string_buffer(header, len(header))
    prctl(PR_SET_SECCOMP, _FILTER, ctypes.addressof(given))


def program(process: int) -> list[Instruction]:
    """The filter for the process with that number, in the kernel's own small language."""
    lines: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, _X86_64),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    lines += _only(_MMAP, _mapping())
    lines += _only(_CLONE, _threads())
    for number, index, values in (
        (_IOCTL, 1, _IOCTLS),
        (_FCNTL, 1, _FCNTLS),
        (_PRCTL, 0, _PRCTLS),
        (_TGKILL, 0, (process,)),
        (_PRLIMIT, 0, (0,)),
    ):
        lines += _only(number, _one_of(index, values))
    for number in ALLOWED.values():
        lines += _only(number, iter([(_RETURN, 0, 0, _OK)]))
    return [*lines, (_RETURN, 0, 0, _ENOSYS)]


def _only(number: int, body: Iterator[Instruction]) -> list[Instruction]:
    lines = list(body)
    return [(_EQUAL, 0, len(lines), number), *lines]


def _argument(index: int) -> Instruction:
    """The lower half of an argument: the kernel looks at no more where this is used."""
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index)


def _mapping() -> Iterator[Instruction]:
    yield _argument(3)
    yield (_ANY_BIT, 3, 0, _MAP_GROWSDOWN)
    yield (_AND, 0, 0, _MAP_SHARED | _MAP_ANONYMOUS)
    yield (_EQUAL, 1, 0, _MAP_SHARED | _MAP_ANONYMOUS)
    yield (_RETURN, 0, 0, _OK)
    yield (_RETURN, 0, 0, _EPERM)


def _threads() -> Iterator[Instruction]:
    yield _argument(0)
    yield (_ANY_BIT, 0, 1, _CLONE_THREAD)
    yield (_RETURN, 0, 0, _OK)
    yield (_RETURN, 0, 0, _EPERM)


def _one_of(index: int, values: Sequence[int]) -> Iterator[Instruction]:
    yield _argument(index)
    for value in values:
        yield (_EQUAL, 0, 1, value)
        yield (_RETURN, 0, 0, _OK)
    yield (_RETURN, 0, 0, _EPERM)
