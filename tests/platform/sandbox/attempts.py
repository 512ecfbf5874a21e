"""A program that tries everything and says how each attempt ended. It runs inside the sandbox.

Given to the sandbox as text, with the policy switched off: only the operating system is left.
"""

from __future__ import annotations

import ctypes
import fcntl
import importlib
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)


def raw(number: int, *arguments: Any) -> int:
    """A system call past Python; raises like Python does."""
    done: int = LIBC.syscall(
        number, *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    )
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done


def read(path: str | int) -> str:
    with open(path, "rb") as file:
        return repr(file.read(200))


def write(path: str) -> None:
    with open(path, "wb") as file:
        file.write(b"was here")


def connect(family: int, address: Any) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as link:
        link.connect(address)
        link.sendall(b"hello")


def descriptors() -> list[int]:
    found = []
    for number in range(300):
        try:
            os.fstat(number)
            found.append(number)
        except OSError:
            pass
    return found


def signal_by_descriptor(parent: int) -> None:
    """Let the kernel send a signal for us when something can be read."""
    ours, _ = os.pipe()
    fcntl.fcntl(ours, 8, parent)  # F_SETOWN


def attempts(given: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    parent, secret, port = given["parent"], given["secret"], given["port"]
    scratch = os.getcwd()
    packages = next(p for p in sys.path if p.endswith("-packages"))
    return {
        "read a secret": lambda: read(secret),
        "read the secret by another way": lambda: read("/proc/self/root" + secret),
        "read a secret through a folder": lambda: read(
            os.open(os.path.basename(secret), 0, dir_fd=os.open(os.path.dirname(secret), 0))
        ),
        "list the folder of the secret": lambda: os.listdir(os.path.dirname(secret)),
        "read the password file": lambda: read("/etc/shadow"),
        "read the users": lambda: read("/etc/passwd"),
        "list the processes": lambda: os.listdir("/proc"),
        "environment of the first process": lambda: read("/proc/1/environ"),
        "environment of the parent": lambda: read(f"/proc/{parent}/environ"),
        "memory of the parent": lambda: read(f"/proc/{parent}/mem"),
        "own start environment": lambda: read("/proc/self/environ"),
        "write beside the secret": lambda: write(secret + ".2"),
        "overwrite the secret": lambda: write(secret),
        "write to tmp": lambda: write(given["outside"]),
        "write to the packages": lambda: write(packages + "/evil.py"),
        "write to the library": lambda: write(os.path.dirname(os.__file__) + "/evil.py"),
        "write to the root": lambda: write("/evil"),
        "change a mode": lambda: os.chmod(packages, 0o777),
        "change a time": lambda: os.utime(packages),
        "change an owner": lambda: os.chown(packages, os.getuid(), os.getgid()),
        "remove the secret": lambda: os.unlink(secret),
        "rename the secret": lambda: os.rename(secret, secret + ".3"),
        "cut the secret": lambda: os.truncate(secret, 0),
        "link the secret": lambda: os.link(secret, scratch + "/hard"),
        "link softly": lambda: os.symlink(secret, scratch + "/soft"),
        "make a device": lambda: os.mknod(scratch + "/device", 0o20666, os.makedev(1, 1)),
        "make a fifo": lambda: os.mkfifo(scratch + "/fifo"),
        "make a folder": lambda: os.mkdir(scratch + "/folder"),
        "connect to the server": lambda: connect(socket.AF_INET, ("127.0.0.1", port)),
        "connect to a local socket": lambda: connect(socket.AF_UNIX, given["local"]),
        "make a pair of sockets": socket.socketpair,
        "a socket that sends anywhere": lambda: str(
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        ),
        "fork": os.fork,
        "fork by number": lambda: raw(57),
        "vfork": lambda: raw(58),
        "clone a process": lambda: raw(56, signal.SIGCHLD, 0, 0, 0, 0),
        "clone a namespace": lambda: raw(56, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0),
        "clone in the new way": lambda: raw(435, ctypes.create_string_buffer(88), 88),
        "run a shell": lambda: subprocess.run(["/bin/sh", "-c", "true"], check=True),
        "become a shell": lambda: os.execv("/bin/sh", ["sh"]),
        "become Python": lambda: os.execv(sys.executable, ["python"]),
        "kill the parent": lambda: os.kill(parent, signal.SIGTERM),
        "kill the guard": lambda: os.kill(os.getppid(), signal.SIGKILL),
        "kill all": lambda: os.kill(-1, signal.SIGKILL),
        "kill the group": lambda: os.killpg(0, signal.SIGKILL),
        "kill a thread of the parent": lambda: raw(234, parent, parent, signal.SIGTERM),
        "queue a signal": lambda: raw(129, parent, signal.SIGTERM, bytes(128)),
        "a signal by a descriptor": lambda: signal_by_descriptor(parent),
        "leave the session": os.setsid,
        "leave the group": lambda: os.setpgid(0, 0),
        "trace the parent": lambda: raw(101, 16, parent, 0, 0),
        "be traced": lambda: raw(101, 0, 0, 0, 0),
        "read the parent": lambda: raw(310, parent, 0, 0, 0, 0, 0),
        "a handle of the parent": lambda: raw(434, parent, 0),
        "limits of the parent": lambda: raw(302, parent, 7, None, bytes(16)),
        "own limits": lambda: resource.setrlimit(resource.RLIMIT_CPU, (9999, 9999)),
        "become root": lambda: os.setuid(0),
        "capabilities": lambda: raw(126, bytes.fromhex("2205082000000000"), b"\xff" * 24),
        "mount": lambda: raw(165, b"tmpfs", b"/", b"tmpfs", 0, None),
        "unmount": lambda: raw(166, b"/", 2),
        "own namespaces": lambda: raw(272, 0x10000000),
        "another root": lambda: raw(161, b"/"),
        "keys of the kernel": lambda: raw(250, 0, -3, 0, 0, 0),
        "programs of the kernel": lambda: raw(321, 0, 0, 0),
        "performance events": lambda: raw(298, 0, 0, -1, -1, 0),
        "asynchronous calls": lambda: raw(425, 1, ctypes.create_string_buffer(120)),
        "page faults": lambda: raw(323, 0),
        "a file in memory": lambda: os.memfd_create("x"),
        "open by handle": lambda: raw(304, -100, bytes(16), 0),
        "shared memory": lambda: raw(29, 0, 4096, 0o1600),
        "messages": lambda: raw(68, 0, 0o1600),
        "memory that does not count": lambda: str(mmap.mmap(-1, 1 << 20)),
        "personality": lambda: raw(135, 0x0040000),
        "another filter": lambda: raw(317, 1, 0, 0),
        "the kernel's log": lambda: raw(103, 3, ctypes.create_string_buffer(100), 100),
        "priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, -10),
        "import the project": lambda: str(importlib.import_module("agenticrs.platform.settings")),
        "type into the terminal": lambda: fcntl.ioctl(0, 0x5412, b"x"),
    }


def program(_: Any, given: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """For each attempt the error, or what it got."""
    facts = {
        "environment": dict(os.environ),
        "user": os.getuid(),
        "threads": threading.active_count(),
        "descriptors": descriptors(),
        "modules": sorted(name for name in sys.modules if name.startswith("agenticrs")),
        "path": sys.path,
        "arguments": sys.argv,
        "scratch": os.listdir("."),
    }
    ended: dict[str, str] = {}
    for name, attempt in attempts(given).items():
        try:
            ended[name] = f"DONE {attempt()!r}"
        except Exception as error:
            ended[name] = type(error).__name__
    return {}, {"ended": ended, "facts": facts}
