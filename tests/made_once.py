"""What is the same at the beginning of many tests: made once in a process, then copied."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


class MadeOnce(Generic[T]):
    """A folder that ``make`` fills when it is first wanted, and what ``make`` returned."""

    def __init__(self, make: Callable[[Path], T]) -> None:
        self._make = make

    def copy_to(self, folder: Path) -> T:
        """The folder's content, there too; what is returned belongs to all copies."""
        original, made = self._original
        shutil.copytree(original, folder, dirs_exist_ok=True)
        return made

    @cached_property
    def _original(self) -> tuple[Path, T]:
        folder = Path(tempfile.mkdtemp(prefix="agenticrs-made-once-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder, self._make(folder)
