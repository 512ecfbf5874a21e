"""How the C library keeps the memory of processes that live for months and work in many threads.

glibc gives threads heaps of their own, up to eight for each core, and keeps in each what it once
needed at most. Cycles and requests come in ever new threads, so that in the end every heap has seen
the largest of them: a process grows for days without holding anything more. Few heaps are enough,
because only the thread that has Python's lock asks for memory, but for a few inside torch.

Large blocks lie outside of the heaps at first and go back to the system when they are freed. But
glibc takes the largest that was freed, up to 32 MiB, for what is asked for all the time, and has
all up to that size in the heaps from then on; the small ones that come to lie between them stay,
and so do the holes.
"""

from __future__ import annotations

import ctypes
import os

HEAPS = 2
LARGE = 2**20
"""Bytes of a block that lies outside of the heaps. A smaller bound costs time where many items are
scored for one request: each block from the system is filled with zeros, page by page."""
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # of mallopt(3)
_VARIABLE = "MALLOC_ARENA_MAX"
_CHOSEN = (_VARIABLE, "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def give_back() -> None:
    """Return whole pages that are free to the system; takes milliseconds, so after large work."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # else no glibc
        trim(0)


def bound_heaps() -> bool:
    """Few heaps, without large blocks, in this process; return whether that worked.

    Processes that it will start have few heaps, too. To be called before there are many threads:
    heaps that exist stay. Nothing is done where a person has chosen in the environment, or where
    the C library is another one.
    """
    if any(os.environ.get(name) for name in _CHOSEN):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no glibc
        return False
    if not (mallopt(_M_ARENA_MAX, HEAPS) and mallopt(_M_MMAP_THRESHOLD, LARGE)):
        return False
    os.environ[_VARIABLE] = str(HEAPS)
    return True
