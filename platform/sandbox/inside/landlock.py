"""Landlock: the kernel's own list of what a process may open, where the kernel has it (5.13).

Beside files it forbids TCP (6.7), and signals and nameless sockets to outside (6.12).
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence

from agenticrs.platform.sandbox.inside.kernel import (
    LANDLOCK_ADD_RULE,
    LANDLOCK_CREATE_RULESET,
    LANDLOCK_RESTRICT_SELF,
    syscall,
)

_WRITE_FILE, _READ_FILE, _READ_DIR, _MAKE_FILE = 1 << 1, 1 << 2, 1 << 3, 1 << 8
_TRUNCATE = 1 << 14
_FIRST = (1 << 13) - 1
_SINCE = {2: 1 << 13, 3: _TRUNCATE, 5: 1 << 15}
"""Rights that a later version of the interface added: move between folders, truncate, devices."""
_BENEATH = 1


def version() -> int:
    """Version of the interface, at least 1; OSError where the kernel has none or has it off."""
    return syscall(LANDLOCK_CREATE_RULESET, None, 0, 1)


def restrict(readable: Sequence[str], scratch: str) -> None:
    """Files may be read beneath ``readable``, made and written in ``scratch``, nothing else.

    Needs no_new_privs. Folders, links, sockets and devices cannot be made in ``scratch`` either.
    """
    newest = version()
    rights = _FIRST | sum(bit for since, bit in _SINCE.items() if newest >= since)
    attributes = struct.pack("Q", rights)
    if newest >= 4:
        attributes += struct.pack("Q", 0b11)
    if newest >= 6:
        attributes += struct.pack("Q", 0b11)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    rules = syscall(LANDLOCK_CREATE_RULESET, buffer, len(attributes), 0)
    for path in readable:
        _allow(rules, path, _READ_FILE | (_READ_DIR if os.path.isdir(path) else 0))
    inside = _READ_FILE | _READ_DIR | _WRITE_FILE | _MAKE_FILE | _TRUNCATE
    _allow(rules, scratch, inside & rights)
    syscall(LANDLOCK_RESTRICT_SELF, rules, 0)
    os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rule = struct.pack("=Qi", rights, place)
    syscall(LANDLOCK_ADD_RULE, rules, _BENEATH, ctypes.create_string_buffer(rule, len(rule)), 0)
    os.close(place)
