"""What a program in the sandbox must be able to read: Python's library, packages, system libraries.

Nothing of the home folder or of the system's configuration is among it; of the project only what is
asked for.
"""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_PACKAGES = ("torch", "safetensors", "numpy")
PROJECT = Path(__file__).absolute().parents[3]
"""The folder above the package."""
_SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/dev/urandom")


@dataclass(frozen=True)
class Installation:
    """``readable`` are the paths to show, ``python`` those to search for packages."""

    readable: tuple[str, ...]
    python: tuple[str, ...]


def find(project: Sequence[str] = ()) -> Installation:
    """The installation that this process runs on. torch is looked for, not imported.

    ``project`` names the folders of this project that can be imported too: ``agents``.
    """
    packages: dict[str, None] = {}
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            packages[str(Path(spec.origin).parents[1])] = None
    own = Path(sys.base_prefix) / "lib"  # libraries that wheels of other builders link against
    wanted = [*_SYSTEM, sysconfig.get_path("stdlib"), str(own), *packages]
    if project:
        packages[str(PROJECT)] = None
        # The folders may be links to others: see decision 1.
        folders = [str((PROJECT / "agenticrs" / name).resolve()) for name in project]
        wanted += [str(PROJECT), *folders]
    return Installation(_outermost(wanted), tuple(packages))


def _outermost(paths: list[str]) -> tuple[str, ...]:
    there = {path for path in map(Path, paths) if path.exists()}
    return tuple(sorted(str(path) for path in there if there.isdisjoint(path.parents)))
