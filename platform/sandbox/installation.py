"""What a program in the sandbox must be able to read: Python's library, packages, system libraries.

Nothing of the home folder, of the project or of the system's configuration is among it.
"""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

_PACKAGES = ("torch", "safetensors", "numpy")
_SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/dev/urandom")


@dataclass(frozen=True)
class Installation:
    """``readable`` are the paths to show, ``python`` those to search for packages."""

    readable: tuple[str, ...]
    python: tuple[str, ...]


def find() -> Installation:
    """The installation that this process runs on. torch is looked for, not imported."""
    packages: dict[str, None] = {}
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            packages[str(Path(spec.origin).parents[1])] = None
    own = Path(sys.base_prefix) / "lib"  # libraries that wheels of other builders link against
    wanted = [*_SYSTEM, sysconfig.get_path("stdlib"), str(own), *packages]
    return Installation(_outermost(wanted), tuple(packages))


def _outermost(paths: list[str]) -> tuple[str, ...]:
    there = {path for path in map(Path, paths) if path.exists()}
    return tuple(sorted(str(path) for path in there if there.isdisjoint(path.parents)))
