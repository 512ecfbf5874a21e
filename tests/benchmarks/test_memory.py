"""The benchmark of memory in small: it runs, answers, and says what it took."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "memory.py"


@pytest.mark.slow
def test_memory_does_not_grow_with_users_times_items() -> None:
    sizes = ["--interactions=300000", "--users=30000", "--items=100000"]
    done = subprocess.run(
        [sys.executable, SCRIPT, "--agent=bpr", *sizes], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    before, peak, _, told = done.stdout.strip().split(" ", 3)
    assert told.startswith("epoch 1 of 1")
    # The scores of all users for all items alone would be 12 GB.
    assert float(peak) - float(before) < 1.5
