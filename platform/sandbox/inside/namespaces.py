"""A world of its own: an empty network, no other processes, and a root with a few folders.

An ordinary user gets the rights for that in a user namespace; root has them already.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path

from agenticrs.platform.sandbox.inside import kernel

SCRATCH = "/scratch"
"""Where the scratch folder lies in the new root."""

_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
_NEWUSER, _NEWPID, _NEWNET = 0x10000000, 0x20000000, 0x40000000
_READ_ONLY, _NO_SUID, _NO_DEVICES, _NO_EXEC, _REMOUNT = 1, 2, 4, 8, 32
_BIND, _RECURSIVE, _PRIVATE = 4096, 16384, 1 << 18
_HERE, _AT_RECURSIVE = -100, 0x8000


def leave() -> None:
    """Leave the machine's namespaces; the next child is the first process of a new one."""
    user, group = os.geteuid(), os.getegid()
    if user != 0:
        kernel.syscall(kernel.UNSHARE, _NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    own = _NEWNS | _NEWCGROUP | _NEWUTS | _NEWIPC | _NEWPID | _NEWNET
    kernel.syscall(kernel.UNSHARE, own)


def build_root(place: str, readable: Sequence[str], scratch: str) -> None:
    """Make ``place`` the root: ``readable`` at their own paths, the scratch folder, nothing else.

    Only the scratch folder can be written, and nothing in it can be executed.
    """
    kernel.mount("", "/", "", _PRIVATE | _RECURSIVE)
    tight = _NO_SUID | _NO_DEVICES
    kernel.mount("tmpfs", place, "tmpfs", tight | _NO_EXEC, "size=1m,nr_inodes=4k,mode=0755")
    for path in readable:
        _bind(path, place + path)
        ordinary = os.path.isdir(path) or os.path.isfile(path)
        _seal(place + path, _READ_ONLY | (tight if ordinary else _NO_SUID))
    _bind(scratch, place + SCRATCH)
    _seal(place + SCRATCH, tight | _NO_EXEC)
    kernel.mount("", place, "", _BIND | _REMOUNT | _READ_ONLY | tight | _NO_EXEC)
    os.chdir(place)
    kernel.syscall(kernel.PIVOT_ROOT, b".", b".")
    kernel.detach(".")
    os.chdir("/")


def _bind(source: str, target: str) -> None:
    if os.path.isdir(source):
        Path(target).mkdir(parents=True, exist_ok=True)
    else:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).touch()
    kernel.mount(source, target, "", _BIND | _RECURSIVE)


def _seal(target: str, flags: int) -> None:
    """Set mount attributes of everything beneath ``target`` (Linux 5.12)."""
    attributes = struct.pack("QQQQ", flags, 0, 0, 0)
    kernel.syscall(
        kernel.MOUNT_SETATTR,
        _HERE,
        os.fsencode(target),
        _AT_RECURSIVE,
        attributes,
        len(attributes),
    )
