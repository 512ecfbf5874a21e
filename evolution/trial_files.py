"""What a finished trial leaves on disk: its weights and its per-user rewards.

A folder appears whole or not at all (written aside, then renamed), and always before the trial's
row says that it is done; so a row that is done has its files.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

REWARDS = "per_user.npz"


@dataclass(frozen=True)
class TrialFiles:
    """``users`` (n,) are the scored users, ``per_user`` a value for each of them by metric."""

    artifacts: Mapping[str, bytes]
    users: npt.NDArray[Any]
    per_user: Mapping[str, npt.NDArray[Any]]


def write(folder: Path, files: TrialFiles) -> None:
    """Keep the files; a folder that is already there is replaced."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".writing-"))
    for name, content in files.artifacts.items():
        (aside / name).write_bytes(content)
    with (aside / REWARDS).open("wb") as handle:
        named: dict[str, Any] = {f"m:{name}": v for name, v in files.per_user.items()}
        np.savez(handle, users=files.users, **named)
        handle.flush()
        os.fsync(handle.fileno())
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def read(folder: Path) -> TrialFiles:
    """The files of a finished trial; FileNotFoundError when they are gone."""
    with np.load(folder / REWARDS, allow_pickle=False) as arrays:
        users = arrays["users"]
        per_user = {name[2:]: arrays[name] for name in arrays.files if name.startswith("m:")}
    artifacts = {
        path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != REWARDS
    }
    return TrialFiles(artifacts, users, per_user)
