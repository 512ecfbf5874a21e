"""Files of runs and versions: where they may lie, and which are refused.

A pickle runs code when it is opened, so none is ever stored or accepted: weights are safetensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from agenticrs.platform.errors import TrackingError

PICKLES = frozenset({".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib", ".npy", ".dill"})
"""File name endings under which pickles travel (an .npy file may hold one)."""


def refuse_pickles(names: Iterable[str]) -> None:
    """TrackingError when a file may be a pickle."""
    for name in names:
        if PurePosixPath(name).suffix.lower() in PICKLES:
            raise TrackingError(
                f"file {name!r} may be a pickle, which can run code when it is opened",
                hint="keep weights as .safetensors and settings as .json",
            )


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write each file below ``folder``; TrackingError for a path that leads out of it."""
    for name, content in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise TrackingError(f"artifact path {name!r} is not inside the run")
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
