"""The code of an agent: whether it is ours, and a digest that changes with its text."""

from __future__ import annotations

import hashlib
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

from agenticrs.agents.agent import Agent

_OWN = "agenticrs"


def is_foreign(implementation: type[Agent[Any]]) -> bool:
    """Whether the agent comes from another package than AgenticRS."""
    return _package(implementation) != _OWN


def code_of(implementation: type[Agent[Any]]) -> str | None:
    """Digest of the code of AgenticRS and of the package that the agent comes from, if any."""
    packages = sorted({_OWN, _package(implementation)})
    found = [_source(package) for package in packages]
    return None if None in found else " ".join(str(one) for one in found)


def _package(implementation: type[Agent[Any]]) -> str:
    return implementation.__module__.partition(".")[0]


@cache
def _source(package: str) -> str | None:
    """Digest of a package's Python files, or None where there are none to be seen."""
    module = sys.modules.get(package)
    file = getattr(module, "__file__", None)
    texts: dict[str, Path] = {}
    for folder in map(Path, getattr(module, "__path__", [])):
        texts |= {str(one.relative_to(folder)): one for one in _python_files(folder)}
    if not texts and file is not None:
        texts = {Path(file).name: Path(file)}
    digest = hashlib.sha256()
    for name, one in sorted(texts.items()):
        digest.update(f"{name} ".encode())
        digest.update(one.read_bytes())
    return digest.hexdigest() if texts else None


def _python_files(folder: Path) -> list[Path]:
    """All of them below a folder, through links, each folder once."""
    found, seen = list[Path](), set[str]()
    for here, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(here))
        folders[:] = [f for f in folders if os.path.realpath(os.path.join(here, f)) not in seen]
        found += [Path(here, name) for name in names if name.endswith(".py")]
    return found
