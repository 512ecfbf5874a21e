"""What a finished trial leaves on disk: its weights, its predictions, and its per-user rewards.

A folder appears whole or not at all (written aside, then renamed), and always before the trial's
row says that it is done; so a row that is done has its files. ``SUMS`` lists their digests, as
``sha256sum -c`` reads them: a later trial with the same content may take the files over.
"""

from __future__ import annotations

import hashlib
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
PREDICTIONS = "predictions.safetensors"
SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class TrialFiles:
    """``users`` (n,) are the scored users, ``per_user`` a value for each of them by metric.

    ``predictions`` is the file (``agents.predictions``) that the values were computed from; empty
    where no lists were judged.
    """

    artifacts: Mapping[str, bytes]
    users: npt.NDArray[Any]
    per_user: Mapping[str, npt.NDArray[Any]]
    predictions: bytes = b""


def write(folder: Path, files: TrialFiles) -> None:
    """Keep the files; a folder that is already there is replaced."""
    aside = _aside(folder)
    for name, content in files.artifacts.items():
        (aside / name).write_bytes(content)
    if files.predictions:
        (aside / PREDICTIONS).write_bytes(files.predictions)
    with (aside / REWARDS).open("wb") as handle:
        named: dict[str, Any] = {f"m:{name}": v for name, v in files.per_user.items()}
        np.savez(handle, users=files.users, **named)
        handle.flush()
        os.fsync(handle.fileno())
    written = sorted(path.name for path in aside.iterdir())
    (aside / SUMS).write_text("".join(f"{_digest(aside / n)}  {n}\n" for n in written))
    _put(aside, folder)


def take_over(source: Path, folder: Path) -> None:
    """Let ``folder`` hold the files of another trial, as links where the disk can do that.

    They stay when the other folder is removed. Raises OSError when files are gone, ValueError when
    they are not what was written.
    """
    listed = [line.split("  ", 1) for line in (source / SUMS).read_text().splitlines()]
    names = {name for _, name in listed}
    if REWARDS not in names or names != {p.name for p in source.iterdir()} - {SUMS}:
        raise ValueError(f"{source} does not hold what {SUMS} lists")
    aside = _aside(folder)
    try:
        for name in (*sorted(names), SUMS):
            _link(source / name, aside / name)
        for digest, name in listed:
            if _digest(aside / name) != digest:
                raise ValueError(f"{source / name} has changed since it was written")
    except (OSError, ValueError):
        shutil.rmtree(aside)
        raise
    _put(aside, folder)


def read(folder: Path) -> TrialFiles:
    """The files of a finished trial; FileNotFoundError when they are gone."""
    with np.load(folder / REWARDS, allow_pickle=False) as arrays:
        users = arrays["users"]
        per_user = {name[2:]: arrays[name] for name in arrays.files if name.startswith("m:")}
    artifacts = {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.name not in (REWARDS, PREDICTIONS, SUMS)
    }
    kept = folder / PREDICTIONS
    predictions = kept.read_bytes() if kept.exists() else b""
    return TrialFiles(artifacts, users, per_user, predictions)


def _aside(folder: Path) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=folder.parent, prefix=".writing-"))


def _put(aside: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        raise
    except OSError:  # another disk, or one that knows no links
        shutil.copyfile(source, target)


def _digest(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
