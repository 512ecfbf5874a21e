"""System calls that Python has no function for, by number (x86-64) through the C library."""

from __future__ import annotations

import ctypes
import os

LANDLOCK_CREATE_RULESET = 444
LANDLOCK_ADD_RULE = 445
LANDLOCK_RESTRICT_SELF = 446
MOUNT_SETATTR = 442
PIVOT_ROOT = 155
UNSHARE = 272
CAPSET = 126

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38

_LIBC = ctypes.CDLL(None, use_errno=True)


def syscall(number: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """The call's result; OSError with the kernel's reason when it fails."""
    given = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _checked(_LIBC.syscall(ctypes.c_long(number), *given))


def prctl(option: int, *arguments: int) -> int:
    """``prctl(2)``; arguments that are not given are 0, as the kernel demands."""
    given = [*arguments, 0, 0, 0, 0][:4]
    return _checked(_LIBC.prctl(option, *(ctypes.c_ulong(a) for a in given)))


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """``mount(2)``."""
    texts = [os.fsencode(text) for text in (source, target, kind)]
    _checked(_LIBC.mount(*texts, ctypes.c_ulong(flags), os.fsencode(options)))


def detach(target: str) -> None:
    """Take the mount at ``target`` out of sight at once (MNT_DETACH)."""
    _checked(_LIBC.umount2(os.fsencode(target), 2))


def drop_capabilities() -> None:
    """No capability is left. With no_new_privs none can come back."""
    header = ctypes.create_string_buffer(b"\x22\x05\x08\x20" + bytes(4), 8)  # version 3, itself
    syscall(CAPSET, header, ctypes.create_string_buffer(24))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
