"""Few heaps: counted by the C library itself, in a process of its own."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from agenticrs.platform import allocator

needs_glibc = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_info"), reason="the C library is not glibc"
)
COUNT = """
import ctypes, os, sys, tempfile, threading
from agenticrs.platform import allocator

if sys.argv[1] == "few":
    assert allocator.bound_heaps()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.fdopen.restype, libc.fdopen.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_char_p]
libc.malloc_info.argtypes, libc.fflush.argtypes = [ctypes.c_int, ctypes.c_void_p], [ctypes.c_void_p]
all_there = threading.Barrier(8)

def ask():
    assert libc.malloc(5000)  # a foreign function is called without Python's lock
    all_there.wait()

threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
with tempfile.TemporaryFile() as told:
    stream = libc.fdopen(os.dup(told.fileno()), b"w")
    libc.malloc_info(0, stream)
    libc.fflush(stream)
    told.seek(0)
    print(told.read().count(b"<heap nr="), os.environ.get("MALLOC_ARENA_MAX"))
"""


GIVE_BACK = """
import ctypes
from agenticrs.platform import allocator

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def resident():
    with open("/proc/self/statm") as told:
        return int(told.read().split()[1])

before = resident()
parts = [libc.malloc(4000) for _ in range(20_000)]
for part in parts:
    ctypes.memset(part, 1, 4000)
held = resident() - before
for part in parts[:-1]:  # the last one lies above all others
    libc.free(part)
kept = resident() - before
allocator.give_back()
print(kept / held > 0.9, (resident() - before) / held < 0.1)
"""


LARGE = """
import ctypes
from agenticrs.platform import allocator

assert allocator.bound_heaps()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def resident():
    with open("/proc/self/statm") as told:
        return int(told.read().split()[1]) * 4096

libc.free(libc.malloc(8 * allocator.LARGE))  # from now on glibc would have such blocks in the heap
before = resident()
block, above = libc.malloc(4 * allocator.LARGE), libc.malloc(5000)
ctypes.memset(block, 1, 4 * allocator.LARGE)
libc.free(block)
print(resident() - before < allocator.LARGE)
"""


def counted(how: str) -> list[str]:
    """How many heaps eight threads have together, and what a child would be told."""
    environment = {k: v for k, v in os.environ.items() if k not in allocator._CHOSEN}
    done = subprocess.run(
        [sys.executable, "-c", COUNT, how],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.split()


@needs_glibc
def test_many_threads_share_few_heaps_and_children_do_so_too() -> None:
    assert counted("few") == [str(allocator.HEAPS), str(allocator.HEAPS)]
    many, told = counted("as many as it likes")
    assert int(many) > allocator.HEAPS, "else this test could not fail"
    assert told == "None"


@needs_glibc
def test_a_large_block_goes_back_to_the_system_when_it_is_freed() -> None:
    environment = {k: v for k, v in os.environ.items() if k not in allocator._CHOSEN}
    done = subprocess.run(
        [sys.executable, "-c", LARGE], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["True"]


@needs_glibc
def test_what_is_free_below_something_that_is_held_is_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", GIVE_BACK], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["True", "True"]


@pytest.mark.parametrize("name", allocator._CHOSEN)
def test_what_a_person_has_chosen_stays(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(allocator, "_CHOSEN", (name,))
    monkeypatch.setenv(name, "something")
    assert not allocator.bound_heaps()
    assert os.environ[name] == "something"


def test_another_c_library_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in allocator._CHOSEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: object())
    assert not allocator.bound_heaps()
    assert "MALLOC_ARENA_MAX" not in os.environ
    allocator.give_back()
