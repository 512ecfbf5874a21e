"""A file from which an interrupted training goes on, with the same result as without the break.

Safetensors, written aside and renamed, so that a kill leaves the old one or the new one. It carries
the identity of its training: one that was left by another training is not taken up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

EVERY_SECONDS = 30.0
"""How much work a kill may cost. Trainings that are shorter never write a file."""


class Checkpoint:
    """The checkpoint of one training. ``identity`` is whatever its result depends on."""

    def __init__(self, file: Path, identity: str, every: float = EVERY_SECONDS) -> None:
        self._file, self._identity, self._every = file, identity, every
        self._written = time.monotonic()

    def load(self) -> dict[str, Tensor] | None:
        """What was saved; None when there is nothing, or nothing that belongs to this training."""
        try:
            with safe_open(self._file, "pt") as found:
                if (found.metadata() or {}).get("identity") != self._identity:
                    return None
                return {name: found.get_tensor(name) for name in found.keys()}  # noqa: SIM118
        except (OSError, SafetensorError):
            return None

    def due(self) -> bool:
        """Whether enough time has passed since the last one was saved."""
        return time.monotonic() - self._written >= self._every

    def save(self, state: Mapping[str, Tensor]) -> None:
        """Replace the file by one with this state."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        aside = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        held = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        save_file(held, aside, metadata={"identity": self._identity})
        aside.replace(self._file)
        self._written = time.monotonic()
